package completeness

import (
	"fmt"
	"strconv"
	"strings"
)

// Kinds of faults.
const (
	Lost       = "lost"       // Kafka holds the record, and neither the table nor the dead letters do
	Duplicated = "duplicated" // more than one row of a record, or a row beside an open dead letter
	Foreign    = "foreign"    // a row of an offset that holds no record that a reader sees
)

// Fault is a run of offsets that are wrong, and the query that shows it.
type Fault struct {
	Kind string `json:"kind"`
	Run
	SQL string `json:"sql"`
}

// Report is what was found of one product. Records = rows + letters + tombstones + past the TTL + lost, where nothing is doubled or foreign.
type Report struct {
	Topic   string `json:"topic"`
	Table   string `json:"table"`
	TopicID string `json:"topicId"`
	// Records that a reader of Kafka sees, before the committed offsets; the rows, letters and tombstones that they became.
	Records    int64 `json:"records"`
	Rows       int64 `json:"rows"`
	Letters    int64 `json:"deadLetters"`
	Tombstones int64 `json:"tombstones"`
	// PastTTL are records without a row whose time is past the table's TTL.
	PastTTL int64 `json:"pastTTL"`
	// OnlyRows are rows whose records Kafka's retention, or its compaction, has taken.
	OnlyRows int64 `json:"onlyRows"`
	// Unread are offsets that Kafka's retention took before they were committed.
	Unread int64 `json:"unread"`
	// Pending are offsets that are not committed yet, and are not judged.
	Pending int64 `json:"pending"`
	// EarlierRows are of topics that had the name before.
	EarlierRows int64 `json:"earlierRows"`

	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Foreign    int64 `json:"foreign"`
	// Faults are the first maxFaults; LeftOut more there are.
	Faults  []Fault `json:"faults,omitempty"`
	LeftOut int64   `json:"leftOut,omitempty"`
	Views   []View  `json:"views,omitempty"`
	// Error says why the product could not be verified, and what to do; the counts say nothing then.
	Error string `json:"error,omitempty"`
}

// View is one resolution of a view beside what its product's table gives.
type View struct {
	Name string `json:"name"`
	// Buckets that were compared, and Pending ones, which hold rows that are not committed yet.
	Buckets   int64    `json:"buckets"`
	Pending   int64    `json:"pending,omitempty"`
	Differing int64    `json:"differing"`
	Faults    []Bucket `json:"faults,omitempty"`
}

// Bucket that differs: its group and time, and the query that shows what the table gives and what the view has.
type Bucket struct {
	Key string `json:"key"`
	SQL string `json:"sql"`
}

// maxFaults bounds what a report lists.
const maxFaults = 1000

// Sound says that the product was verified, and that nothing is lost, doubled, foreign or different.
func (r *Report) Sound() bool {
	for _, v := range r.Views {
		if v.Differing > 0 {
			return false
		}
	}
	return r.Error == "" && r.Lost == 0 && r.Duplicated == 0 && r.Foreign == 0
}

func (r *Report) fault(kind string, run Run, sql string) {
	if len(r.Faults) >= maxFaults {
		r.LeftOut++
		return
	}
	r.Faults = append(r.Faults, Fault{kind, run, sql})
}

// Verdict is the report in one line.
func (r *Report) Verdict() string {
	if r.Error != "" {
		return r.Topic + ": NOT VERIFIED: " + r.Error
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s records = %s rows + %s dead letters", r.Topic, grouped(r.Records), grouped(r.Rows), grouped(r.Letters))
	also := func(n int64, sign, text string) {
		if n > 0 {
			fmt.Fprintf(&b, "%s%s %s", sign, grouped(n), text)
		}
	}
	also(r.Tombstones, " + ", "tombstones")
	also(r.PastTTL, " + ", "past the TTL")
	fmt.Fprintf(&b, ", lost=%d duplicated=%d", r.Lost, r.Duplicated)
	also(r.Foreign, ", FOREIGN ", "rows")
	for _, v := range r.Views {
		if v.Differing == 0 {
			fmt.Fprintf(&b, ", %s equal (%s buckets)", v.Name, grouped(v.Buckets))
		} else {
			fmt.Fprintf(&b, ", %s DIFFERS in %s of %s buckets", v.Name, grouped(v.Differing), grouped(v.Buckets))
		}
	}
	also(r.OnlyRows, "; ", "rows whose records Kafka no longer has")
	also(r.Unread, "; ", "offsets expired in Kafka before they were committed")
	also(r.Pending, "; ", "offsets pending")
	also(r.EarlierRows, "; ", "rows of an earlier topic of this name")
	return b.String()
}

// grouped writes 26869 as 26,869.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
