package replayproof

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
)

// maxSamples are kept of everything that is counted; maxFields bounds how many fields are told apart in one list.
const (
	maxSamples = 3
	maxFields  = 200
)

// At is where a record lies in its topic.
type At struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

func (a At) String() string { return fmt.Sprintf("%d/%d", a.Partition, a.Offset) }

// Tally counts records and names the first of them.
type Tally struct {
	Count   int      `json:"count"`
	Samples []Reason `json:"samples,omitempty"`
}

// Reason is a record and what is the matter with it.
type Reason struct {
	At
	Reason string `json:"reason"`
}

func (t *Tally) add(at At, reason string) {
	t.Count++
	if len(t.Samples) < maxSamples {
		t.Samples = append(t.Samples, Reason{at, clip(reason)})
	}
}

// Kind is what happens to a field.
type Kind string

// The kinds: the value is another one, the field is not read any more, or it is read as its default because nobody wrote it.
const (
	Differs  Kind = "differs"
	Vanishes Kind = "vanishes"
	Appears  Kind = "appears as its default"
)

// Field is one field that reads otherwise.
type Field struct {
	Path string `json:"path"`
	// Was is the field's name in the data, where an alias leads to another.
	Was  string `json:"was,omitempty"`
	Kind Kind   `json:"kind"`
	// Records that it happens to.
	Records int      `json:"records"`
	Samples []Sample `json:"samples"`
	// Suspect is the field that a vanished one probably became: a new one of the same type beside it, without an alias.
	Suspect string `json:"suspect,omitempty"`
	// Breaks tells whether the field counts against the change; WaivedBy is the waiver's file, when one holds.
	Breaks   bool   `json:"breaks"`
	WaivedBy string `json:"waivedBy,omitempty"`

	typed string
}

// Sample is one record's value of a field, before and after; empty where there is none.
type Sample struct {
	At
	Before string `json:"before"`
	After  string `json:"after"`
}

// Outcome is what came of reading: how many records failed, and which fields read otherwise in the rest.
type Outcome struct {
	Failed Tally   `json:"failed"`
	Fields []Field `json:"fields,omitempty"`
	// More is how often a field was found beyond those that are listed.
	More int `json:"more,omitempty"`
}

// ReaderResult is a declared reader's part.
type ReaderResult struct {
	Group   string `json:"group"`
	Owner   string `json:"owner"`
	Version int    `json:"version"`
	// Judged records were read both ways.
	Judged int `json:"judged"`
	Outcome
	// Today are records that its version cannot read as they are: no fault of the change.
	Today Tally `json:"failsToday"`
	// Unjudged says why the reader could not be tried at all.
	Unjudged string `json:"unjudged,omitempty"`
}

// Table is what the rows in ClickHouse would become.
type Table struct {
	Rows    []Row  `json:"rows,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Row is one record's row: the columns whose type or value changes.
type Row struct {
	At
	Failure string `json:"failure,omitempty"`
	Cells   []Cell `json:"cells,omitempty"`
}

// Cell is one column of a row; a type is empty where there is no column.
type Cell struct {
	Column     string `json:"column"`
	TypeBefore string `json:"typeBefore,omitempty"`
	TypeAfter  string `json:"typeAfter,omitempty"`
	Before     string `json:"before"`
	After      string `json:"after"`
	// Refused tells that no plan changes the type of a table's column so: the rows would need a table of their own.
	Refused bool `json:"refused,omitempty"`
}

// Report is the whole proof.
type Report struct {
	Topic string `json:"topic"`
	// Records that were replayed, the bad ones among them.
	Records int `json:"records"`
	// Bad records cannot be read by the schema that wrote them, or have none: no fault of the change.
	Bad Tally `json:"bad"`
	// Read is how the new schema reads what lies in the topic.
	Read Outcome `json:"read"`
	// Unwritable are values that the new schema has no place for, or no default beside.
	Unwritable Tally          `json:"unwritable"`
	Readers    []ReaderResult `json:"readers,omitempty"`
	Table      *Table         `json:"table,omitempty"`
}

// The exit codes of the command, those of the check.
const (
	ExitSame     = 0
	ExitUnjudged = 1
	ExitBreaks   = 3
)

// ExitCode is 3 when a record fails or reads otherwise and nothing declares that compatible, 1 when there was nothing to
// judge by or a reader could not be tried, and otherwise 0.
func (r Report) ExitCode() int {
	breaks := r.Read.breaks() || r.Unwritable.Count > 0
	unjudged := r.Records == r.Bad.Count
	for _, reader := range r.Readers {
		breaks = breaks || reader.breaks()
		unjudged = unjudged || reader.Unjudged != ""
	}
	switch {
	case breaks:
		return ExitBreaks
	case unjudged:
		return ExitUnjudged
	}
	return ExitSame
}

func (o Outcome) breaks() bool {
	return o.Failed.Count > 0 || o.More > 0 || slices.ContainsFunc(o.Fields, func(f Field) bool { return f.Breaks })
}

func (o *Outcome) add(at At, kind Kind, path, was, typed string, before, after dynamic.Value) {
	i := slices.IndexFunc(o.Fields, func(f Field) bool { return f.Path == path && f.Kind == kind })
	if i < 0 {
		if len(o.Fields) >= maxFields {
			o.More++
			return
		}
		i = len(o.Fields)
		o.Fields = append(o.Fields, Field{Path: path, Was: was, Kind: kind, typed: typed})
	}
	f := &o.Fields[i]
	f.Records++
	if len(f.Samples) >= maxSamples {
		return
	}
	s := Sample{At: at}
	if kind != Appears {
		s.Before = textOf(before)
	}
	if kind != Vanishes {
		s.After = textOf(after)
	}
	f.Samples = append(f.Samples, s)
}

// finish decides what counts. A field that vanishes alone was taken out on purpose, and who reads it is asked by itself;
// one that a new field of its type stands in for was probably renamed, and its values are lost.
func (o *Outcome) finish(waived map[string]string) {
	for i := range o.Fields {
		f := &o.Fields[i]
		if f.Kind == Vanishes {
			f.Suspect = o.suspect(*f)
		}
		if f.Breaks = f.Kind == Differs || f.Suspect != ""; !f.Breaks {
			continue
		}
		// A finding, and so its waiver, carries the name that the readers know.
		name := f.Path
		if f.Was != "" {
			name = f.Was
		}
		f.WaivedBy = waiverOf(name, waived)
		f.Breaks = f.WaivedBy == ""
	}
}

func (o *Outcome) suspect(gone Field) string {
	for _, f := range o.Fields {
		if f.Kind == Appears && f.typed == gone.typed && parent(f.Path) == parent(gone.Path) {
			return f.Path
		}
	}
	return ""
}

func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '.'))] }

// waiverOf finds a waiver for the field, or for what holds it.
func waiverOf(path string, waived map[string]string) string {
	for changed, file := range waived {
		if rest, ok := strings.CutPrefix(path, changed); ok && changed != "" && (rest == "" || strings.ContainsRune(".[{", rune(rest[0]))) {
			return file
		}
	}
	return ""
}

// maxText bounds a value or reason that is shown, in bytes.
const maxText = 160

func textOf(v dynamic.Value) string { return clip(string(v.AppendLine(nil, maxText/2))) }

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
