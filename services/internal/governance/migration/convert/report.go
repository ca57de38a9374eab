package convert

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// The exit statuses of a comparison.
const (
	ExitSame   = 0
	ExitDiffer = 3
)

// Report of a comparison of two versions.
type Report struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Up are the earlier version's own records and what was made of them, Down the later's.
	Up   DirectionReport `json:"up"`
	Down DirectionReport `json:"down"`
}

// DirectionReport counts the records of one direction's origin and what was made of them.
type DirectionReport struct {
	// Compared have a copy; in Different of them it is not what it should be, in the fields that Differing counts.
	Compared  int64            `json:"compared"`
	Different int64            `json:"different"`
	Differing map[string]int64 `json:"differing"`
	// Missing have none though the converter has passed them. Extra are copies without an origin, or more than one of it.
	Missing int64 `json:"missing"`
	Extra   int64 `json:"extra"`
	// Diverted are in the dead letters; Waiting the converter has not come to yet; Expired are those whose origin or whose copy
	// retention has taken; Foreign are copies of a topic that was deleted.
	Diverted int64 `json:"diverted"`
	Waiting  int64 `json:"waiting"`
	Expired  int64 `json:"expired"`
	Foreign  int64 `json:"foreign"`
	// Samples are a few of each kind.
	Samples []Sample `json:"samples"`
}

// Sample is one record that is not as it should be.
type Sample struct {
	Kind       string `json:"kind"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"`
	CopyOffset int64  `json:"copyOffset,omitempty"`
	Field      string `json:"field,omitempty"`
	Want       string `json:"want,omitempty"`
	Got        string `json:"got,omitempty"`
}

// maxSamples of one kind and field, and maxShown bytes of a value.
const (
	maxSamples = 3
	maxShown   = 200
)

// Clean tells whether everything that could be compared is as it should be. What is in the dead letters is accounted for.
func (r Report) Clean() bool { return r.Up.clean() && r.Down.clean() }

func (d DirectionReport) clean() bool { return d.Different == 0 && d.Missing == 0 && d.Extra == 0 }

// ExitCode of the command.
func (r Report) ExitCode() int {
	if r.Clean() {
		return ExitSame
	}
	return ExitDiffer
}

func (d *DirectionReport) sample(s Sample) {
	same := 0
	for _, other := range d.Samples {
		if other.Kind == s.Kind && other.Field == s.Field {
			same++
		}
	}
	if same < maxSamples {
		s.Want, s.Got = short(s.Want), short(s.Got)
		d.Samples = append(d.Samples, s)
	}
}

func short(text string) string {
	if len(text) > maxShown {
		return strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}

func (d *DirectionReport) add(o DirectionReport) {
	d.Compared += o.Compared
	d.Different += o.Different
	d.Missing += o.Missing
	d.Extra += o.Extra
	d.Diverted += o.Diverted
	d.Waiting += o.Waiting
	d.Expired += o.Expired
	d.Foreign += o.Foreign
	for field, n := range o.Differing {
		d.Differing[field] += n
	}
	for _, s := range o.Samples {
		d.sample(s)
	}
}

// WriteText writes the report for a person.
func (r Report) WriteText(out io.Writer) error {
	var b strings.Builder
	r.Up.text(&b, r.From, r.To)
	r.Down.text(&b, r.To, r.From)
	verdict := "clean: every record that both hold is the same in both"
	if !r.Clean() {
		verdict = "NOT clean"
	}
	fmt.Fprintf(&b, "compare: %s\n", verdict)
	_, err := io.WriteString(out, b.String())
	return err
}

func (d DirectionReport) text(b *strings.Builder, origin, copies string) {
	fmt.Fprintf(b, "%s → %s: %d compared, %d different, %d missing, %d extra", origin, copies, d.Compared, d.Different, d.Missing, d.Extra)
	for _, further := range []struct {
		n    int64
		what string
	}{{d.Diverted, "in the dead letters"}, {d.Waiting, "not converted yet"}, {d.Expired, "gone by retention on one side"}, {d.Foreign, "copies of a topic that was deleted"}} {
		if further.n > 0 {
			fmt.Fprintf(b, ", %d %s", further.n, further.what)
		}
	}
	b.WriteString("\n")
	for _, field := range slices.Sorted(maps.Keys(d.Differing)) {
		fmt.Fprintf(b, "  %s differs in %d\n", field, d.Differing[field])
	}
	for _, s := range d.Samples {
		fmt.Fprintf(b, "    %s: %s[%d] offset %d", s.Kind, origin, s.Partition, s.Offset)
		if s.CopyOffset > 0 || s.Field != "" {
			fmt.Fprintf(b, ", %s offset %d", copies, s.CopyOffset)
		}
		if s.Field != "" {
			fmt.Fprintf(b, ": %s is %s, should be %s", s.Field, s.Got, s.Want)
		}
		b.WriteString("\n")
	}
}
