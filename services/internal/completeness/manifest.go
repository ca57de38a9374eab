package completeness

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// ManifestVersion of the format.
const ManifestVersion = 1

// ManifestHead says what the lines behind it are about and rest on: the first line of a file, one a product.
type ManifestHead struct {
	Manifest int    `json:"manifest"`
	Topic    string `json:"topic"`
	Table    string `json:"table"`
	// GroupBy are the columns that a line is for, besides the day, in UTC, of TimeColumn.
	TimeColumn string   `json:"timeColumn"`
	GroupBy    []string `json:"groupBy"`
	// Columns are those that the hash covers, by name: one that is added to the table later does not change it.
	Columns []string `json:"columns"`
	// Sequences are the columns whose least and greatest values a line holds.
	Sequences []string `json:"sequences"`
	// Days that were looked at; one without lines had no rows.
	Days []string `json:"days"`
}

// ManifestLine is what a table holds of a day and a group.
type ManifestLine struct {
	Topic string   `json:"topic"`
	Day   string   `json:"day"`
	Group []string `json:"group"`
	Rows  uint64   `json:"rows"`
	// Offsets are the first and last of each topic id and partition.
	Offsets []ManifestOffsets `json:"offsets"`
	// Sequences are the least and greatest value of each of the head's, as text.
	Sequences [][2]string `json:"sequences,omitempty"`
	// Hash is the sum modulo 2^128 of the rows' sipHash128, so that it does not depend on an order.
	Hash string `json:"hash"`
}

// ManifestOffsets is the span of a line's rows in one partition.
type ManifestOffsets struct {
	TopicID   string `json:"topicId"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	Last      int64  `json:"last"`
}

// Manifest writes down and checks what a product's table holds.
type Manifest struct {
	v *verification
}

// NewManifest finds a product's table. A table that does not exist is an error that says so.
func NewManifest(ctx context.Context, deps Deps, product Product) (*Manifest, error) {
	v := newVerification(deps, product, nil)
	return &Manifest{v}, v.table(ctx)
}

// Head of a manifest that is written now for some days. The group is what stands before the time in the table's sorting key, and
// the sequences are the numbers behind it.
func (m *Manifest) Head(days []string) (ManifestHead, error) {
	c := m.v.Contract
	head := ManifestHead{Manifest: ManifestVersion, Topic: c.Topic.Name, Table: m.v.spec.Table, TimeColumn: c.Sink.TimeColumn, GroupBy: []string{}, Sequences: []string{}, Days: days}
	columns, err := ddl.Columns(c, m.v.Schema)
	if err != nil {
		return head, err
	}
	types := map[string]string{}
	for _, column := range columns {
		types[column.Name] = column.Type.Name
		if len(column.Path) > 0 {
			head.Columns = append(head.Columns, column.Name)
		}
	}
	behind := false
	for _, name := range c.Sink.OrderBy {
		switch {
		case name == c.Sink.TimeColumn:
			behind = true
		case !behind:
			head.GroupBy = append(head.GroupBy, name)
		case strings.Contains(types[name], "Int"):
			head.Sequences = append(head.Sequences, name)
		}
	}
	return head, nil
}

// Days of the table that are over, in UTC: no row should come to them any more.
func (m *Manifest) Days(ctx context.Context) (days []string, err error) {
	day := "toDate(" + ddl.QuoteName(m.v.Contract.Sink.TimeColumn) + ", 'UTC')"
	query := fmt.Sprintf("SELECT DISTINCT toString(%s) AS day FROM %s WHERE %s < toDate('%s') ORDER BY day", day, m.v.spec.Name(), day, time.Now().UTC().Format(time.DateOnly))
	err = m.v.ask(ctx, query, func(rows *sql.Rows) error {
		var day string
		err := rows.Scan(&day)
		days = append(days, day)
		return err
	})
	return days, err
}

// Expired says whether the table may have dropped rows of a day for their age.
func (m *Manifest) Expired(day string) bool {
	at, err := time.Parse(time.DateOnly, day)
	return err == nil && m.v.spec.TTLDays > 0 && at.AddDate(0, 0, m.v.spec.TTLDays).Before(time.Now())
}

// Lines are what the table holds of a day now, as the head asks, in the order of their groups.
func (m *Manifest) Lines(ctx context.Context, head ManifestHead, day string) ([]ManifestLine, error) {
	group, sequences := texts(head.GroupBy, "toString(%s)"), texts(head.Sequences, "toString(min(%[1]s)), toString(max(%[1]s))")
	query := fmt.Sprintf("SELECT [%s]::Array(String) AS line, toString(_topic_id) AS id, _partition, count(), min(_offset), max(_offset), [%s]::Array(String),"+
		" toString(sum(reinterpretAsUInt128(sipHash128(toString(tuple(%s)))))) FROM %s WHERE %s GROUP BY %sid, _partition ORDER BY line, id, _partition",
		group, sequences, texts(head.Columns, "%s"), m.v.spec.Name(), ofDay(head, day), texts(append(slices.Clone(head.GroupBy), ""), "%s"))
	var lines []ManifestLine
	hash := new(big.Int)
	err := m.v.ask(ctx, query, func(rows *sql.Rows) error {
		var group, ends []string
		var part ManifestOffsets
		var n uint64
		var text string
		if err := rows.Scan(&group, &part.TopicID, &part.Partition, &n, &part.First, &part.Last, &ends, &text); err != nil {
			return err
		}
		one, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return fmt.Errorf("hash %q is no number", text)
		}
		if k := len(lines); k == 0 || !slices.Equal(lines[k-1].Group, group) {
			lines = append(lines, ManifestLine{Topic: head.Topic, Day: day, Group: group})
			hash.SetInt64(0)
		}
		line := &lines[len(lines)-1]
		line.Rows += n
		line.Offsets = append(line.Offsets, part)
		line.widen(ends)
		hash.Add(hash, one).And(hash, maxHash)
		line.Hash = fmt.Sprintf("%032x", hash)
		return nil
	})
	return lines, err
}

// maxHash is 2^128 - 1.
var maxHash = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

// widen takes in the sequences of one partition, least and greatest in turn.
func (l *ManifestLine) widen(ends []string) {
	for i := 0; i+1 < len(ends); i += 2 {
		if i/2 >= len(l.Sequences) {
			l.Sequences = append(l.Sequences, [2]string{ends[i], ends[i+1]})
			continue
		}
		s := &l.Sequences[i/2]
		if number(ends[i]).Cmp(number(s[0])) < 0 {
			s[0] = ends[i]
		}
		if number(ends[i+1]).Cmp(number(s[1])) > 0 {
			s[1] = ends[i+1]
		}
	}
}

func number(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return cmp.Or(n, new(big.Int))
}

// texts writes a format for each column, with commas between.
func texts(columns []string, format string) string {
	all := make([]string, len(columns))
	for i, name := range columns {
		if name != "" {
			all[i] = fmt.Sprintf(format, ddl.QuoteName(name))
		}
	}
	return strings.Join(all, ", ")
}

func ofDay(head ManifestHead, day string) string {
	from, _ := time.Parse(time.DateOnly, day) // One that is no day gives one without rows; the caller has looked.
	column := ddl.QuoteName(head.TimeColumn)
	return fmt.Sprintf("%s >= toDateTime('%s', 'UTC') AND %s < toDateTime('%s', 'UTC')", column, from.Format(time.DateTime), column, from.AddDate(0, 0, 1).Format(time.DateTime))
}

// ManifestFault is a day and group of which the table holds something else than was written down.
type ManifestFault struct {
	ManifestLine
	// What says in which respect, SQL shows the rows.
	What, SQL string
}

// Check compares what was written down of a day with what the table holds now.
func (m *Manifest) Check(ctx context.Context, head ManifestHead, day string, written []ManifestLine) ([]ManifestFault, error) {
	now, err := m.Lines(ctx, head, day)
	if err != nil {
		return nil, err
	}
	key := func(l ManifestLine) string { return fmt.Sprintf("%q", l.Group) }
	was, is := map[string]ManifestLine{}, map[string]ManifestLine{}
	for _, l := range written {
		was[key(l)] = l
	}
	for _, l := range now {
		is[key(l)] = l
	}
	keys := slices.Collect(maps.Keys(was))
	for k := range is {
		if _, known := was[k]; !known {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var faults []ManifestFault
	for _, k := range keys {
		before, after := was[k], is[k]
		if what := before.against(after); what != "" {
			line := before
			if line.Group == nil {
				line = after
			}
			faults = append(faults, ManifestFault{line, what, m.show(head, line)})
		}
	}
	return faults, nil
}

// against says in what a line differs from what is there now.
func (l ManifestLine) against(now ManifestLine) string {
	var all []string
	differ := func(name string, was, is any) {
		if a, b := fmt.Sprint(was), fmt.Sprint(is); a != b {
			all = append(all, fmt.Sprintf("%s %s, now %s", name, a, b))
		}
	}
	differ("rows", l.Rows, now.Rows)
	differ("offsets", l.Offsets, now.Offsets)
	differ("sequences", l.Sequences, now.Sequences)
	differ("hash", l.Hash, now.Hash)
	return strings.Join(all, ", ")
}

func (m *Manifest) show(head ManifestHead, l ManifestLine) string {
	query := "SELECT * FROM " + m.v.spec.Name() + " WHERE " + ofDay(head, l.Day)
	for i, name := range head.GroupBy {
		query += fmt.Sprintf(" AND toString(%s) = %s", ddl.QuoteName(name), ddl.QuoteString(l.Group[i]))
	}
	return query + " ORDER BY _topic_id, _partition, _offset"
}
