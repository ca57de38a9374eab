package ddl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// ViewTables are what one resolution of a view is made of: rows inserted into From pass through Fill, which adds them up into
// Target; users SELECT from Reader, which adds up what Target has not merged yet.
type ViewTables struct {
	Interval string
	// Seconds of the interval.
	Seconds int
	// From is the product's table, or the target of a finer resolution.
	From string
	// Target holds states by group and time. Its columns' comments are the file's descriptions.
	Target  Spec
	Columns []ExistingColumn
	// Fill is the name of the materialized view, FillSelect its query.
	Fill, FillSelect string
	// Reader is the name of the plain view, ReaderSelect its query, ReaderColumns what it shows.
	Reader, ReaderSelect string
	ReaderColumns        []Column
}

// Name of the database's object, quoted.
func (v ViewTables) name(object string) string {
	return QuoteName(v.Target.Database) + "." + QuoteName(object)
}

// The columns of a view that no file names.
const (
	viewTime     = "time"
	viewOrder    = "o"
	viewInstant  = "t"
	viewPriority = "UInt256"
)

var seconds = map[string]int{"1s": 1, "10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400}

// Viewable says why a view cannot be made over the table of a contract and its schema, as errors joined.
func Viewable(v contract.View, c contract.Contract, schemaText string) error {
	_, err := Views(v, c, schemaText, "", Options{})
	return err
}

// Views writes the tables of every resolution of a view, the finest first. database is where the environment wants them; empty
// for the contract's own.
func Views(v contract.View, c contract.Contract, schemaText, database string, options Options) ([]ViewTables, error) {
	source, err := SpecOf(c, database)
	if err != nil {
		return nil, err
	}
	columns, err := ColumnsOf(schemaText, source.Columns)
	if err != nil {
		return nil, err
	}
	w := viewWriter{view: v, source: source, options: options, columns: map[string]Column{}, made: map[string]viewColumn{}}
	for _, column := range columns {
		w.columns[column.Name] = column
	}
	w.read()
	var all []ViewTables
	for i, r := range v.Every {
		finer := -1
		for j := range i {
			if seconds[r.Interval] <= seconds[v.Every[j].Interval] {
				w.fail("every: %s stands behind %s; write the finest first, each once", r.Interval, v.Every[j].Interval)
			} else if seconds[r.Interval]%seconds[v.Every[j].Interval] == 0 {
				finer = j
			}
		}
		if finer < 0 {
			all = append(all, w.tables(r, source.Table))
		} else {
			all = append(all, w.tables(r, all[finer].Target.Table))
		}
	}
	if len(w.errs) > 0 {
		return nil, errors.Join(w.errs...)
	}
	return all, nil
}

// viewColumn is one that a target stores.
type viewColumn struct {
	name, comment string
	stored        string // type in the target
	result        Type   // type in the reader
	// fill makes it from the product's rows, chain from a finer target's, read shows it.
	fill, chain, read string
}

type viewWriter struct {
	view    contract.View
	source  Spec
	options Options
	columns map[string]Column
	stored  []viewColumn
	made    map[string]viewColumn
	// shown are the reader's columns in the file's order.
	shown []viewColumn
	errs  []error
}

func (w *viewWriter) fail(format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf(format, args...))
}

// column of the product's table, whose type's name has to be one of those given.
func (w *viewWriter) column(what, name string, nullable bool, types ...string) Type {
	c, ok := w.columns[name]
	if !ok {
		w.fail("%s: the table %s has no column %s", what, w.source.Table, name)
		return Type{}
	}
	t := c.Type
	if t.Name == "Nullable" && nullable {
		t = t.Args[0]
	}
	if len(types) > 0 && !slices.Contains(types, t.Name) || t.Name == "Nullable" {
		w.fail("%s: column %s is %s; it has to be %s and never null", what, name, c.Type, orAnything(types))
	}
	return t
}

func orAnything(types []string) string {
	if len(types) == 0 {
		return "of any type"
	}
	return strings.Join(types, " or ")
}

// read looks at the file once, for all resolutions.
func (w *viewWriter) read() {
	for _, name := range w.view.GroupBy {
		w.column("groupBy", name, false)
	}
	w.column("time", w.view.Time.Column, w.view.Time.Else != "", "DateTime64")
	if w.view.Time.Else != "" {
		w.column("time", w.view.Time.Else, false, "DateTime64")
	}
	for _, name := range w.view.Order {
		w.column("order", name, false, "Int32", "Int64")
	}
	names := append(slices.Clone(w.view.GroupBy), viewTime)
	for _, c := range w.view.Columns {
		if slices.Contains(names, c.Name) {
			w.fail("column %s stands twice", c.Name)
		}
		names = append(names, c.Name)
		if len(c.Ratio) > 0 {
			w.ratio(c)
			continue
		}
		made := w.added(c)
		w.stored = append(w.stored, made)
		w.made[c.Name] = made
		w.shown = append(w.shown, made)
	}
}

const decimal256 = 76

// added is a column that is added up.
func (w *viewWriter) added(c contract.ViewColumn) viewColumn {
	what := "column " + c.Name
	simple := func(function string, t Type, from string) viewColumn {
		return viewColumn{
			name: c.Name, comment: c.Description, result: t, stored: "SimpleAggregateFunction(" + function + ", " + t.String() + ")",
			fill: function + "(" + from + ")", chain: function + "(s." + QuoteName(c.Name) + ")", read: "CAST(" + function + "(s." + QuoteName(c.Name) + "), " + QuoteString(t.String()) + ")", // it would show as SimpleAggregateFunction
		}
	}
	of := func(name string) string { return "r." + QuoteName(name) }
	switch {
	case c.First != "" || c.Last != "":
		name, function := c.First, "argMin"
		if c.Last != "" {
			name, function = c.Last, "argMax"
		}
		t := w.column(what, name, false)
		state := QuoteName(c.Name)
		return viewColumn{
			name: c.Name, comment: c.Description, result: t, stored: "AggregateFunction(" + function + ", " + t.String() + ", " + viewPriority + ")",
			fill: function + "State(" + of(name) + ", " + viewOrder + ")", chain: function + "MergeState(s." + state + ")", read: function + "Merge(s." + state + ")",
		}
	case c.Minimum != "":
		return simple("min", w.column(what, c.Minimum, false, "Decimal", "Int32", "Int64"), of(c.Minimum))
	case c.Maximum != "":
		return simple("max", w.column(what, c.Maximum, false, "Decimal", "Int32", "Int64"), of(c.Maximum))
	case c.Sum != "":
		// A sum of Decimal(38) would wrap around without a word.
		scale := scaleOf(w.column(what, c.Sum, false, "Decimal"))
		return simple("sum", decimalOf(decimal256, scale), fmt.Sprintf("toDecimal256(%s, %d)", of(c.Sum), scale))
	case len(c.SumOfProduct) == 2:
		a, b := scaleOf(w.column(what, c.SumOfProduct[0], false, "Decimal")), scaleOf(w.column(what, c.SumOfProduct[1], false, "Decimal"))
		return simple("sum", decimalOf(decimal256, a+b), fmt.Sprintf("toDecimal256(%s, %d) * %s", of(c.SumOfProduct[0]), a, of(c.SumOfProduct[1])))
	case c.Count != "":
		made := simple("sum", Simple("UInt64"), "")
		made.fill = "count()"
		return made
	}
	w.fail("%s says not what it is made from", what)
	return viewColumn{}
}

// ratio is a column that only the reader has. The digits are divided as whole numbers: a division of decimals would have to widen
// the dividend first, beyond what 256 bits hold.
func (w *viewWriter) ratio(c contract.ViewColumn) {
	a, okA := w.made[c.Ratio[0]]
	b, okB := w.made[c.Ratio[1]]
	if !okA || !okB || a.result.Name != "Decimal" || b.result.Name != "Decimal" {
		w.fail("column %s: ratio is of two columns above it that are sums of decimals", c.Name)
		return
	}
	scale := scaleOf(a.result) - scaleOf(b.result)
	if scale < 0 {
		w.fail("column %s: %s has fewer digits behind the point than %s", c.Name, c.Ratio[0], c.Ratio[1])
		return
	}
	t := decimalOf(decimal256, scale)
	digits := func(column viewColumn) string { return "reinterpretAsInt256(" + column.read + ")" }
	// Nothing is divided by null, and everything by something else.
	w.shown = append(w.shown, viewColumn{name: c.Name, comment: c.Description, result: Nullable(t), read: fmt.Sprintf(
		"if(%s = 0, NULL, reinterpret(intDiv(%s, if(%s = 0, toInt256(1), %s)), '%s'))", b.read, digits(a), b.read, digits(b), t)})
}

func decimalOf(precision, scale int) Type {
	return Type{Name: "Decimal", Params: []int{precision, scale}}
}

func scaleOf(t Type) int {
	if len(t.Params) < 2 {
		return 0 // No decimal, which is told elsewhere.
	}
	return t.Params[1]
}

// instant is the time of a row, never null.
func (w *viewWriter) instant() string {
	column, other := "r."+QuoteName(w.view.Time.Column), "r."+QuoteName(w.view.Time.Else)
	if w.view.Time.Else == "" {
		return column
	}
	return fmt.Sprintf("ifNull(if(abs(toUnixTimestamp64Micro(%s) - toUnixTimestamp64Micro(%s)) <= %d, %s, NULL), %s)",
		column, other, int64(w.view.Time.WithinHours)*3_600_000_000, column, other)
}

// priority orders rows within a group: the time, and behind it what decides between rows of one time, 64 bits each. ClickHouse
// compares one number much faster than a tuple.
func (w *viewWriter) priority() string {
	parts := []string{"toUnixTimestamp64Micro(" + w.instant() + ")"}
	for _, name := range w.view.Order {
		parts = append(parts, "r."+QuoteName(name))
	}
	key := "to" + viewPriority + "(" + parts[len(parts)-1] + ")"
	for i, part := range slices.Backward(parts[:len(parts)-1]) {
		key = fmt.Sprintf("bitOr(bitShiftLeft(to%s(%s), %d), %s)", viewPriority, part, 64*(len(parts)-1-i), key)
	}
	return key
}

// tables of one resolution that is made from a table: the product's own, or a finer target.
func (w *viewWriter) tables(r contract.Resolution, from string) ViewTables {
	name := w.view.Name + "_" + r.Interval
	partition := map[string]string{"day": "toYYYYMMDD", "month": "toYYYYMM"}[r.PartitionBy] + "(" + viewTime + ")"
	v := ViewTables{
		Interval: r.Interval, Seconds: seconds[r.Interval], From: from, Fill: name + "_fill", Reader: name,
		Target: Spec{
			Database: w.source.Database, Table: name + "_states", Engine: "AggregatingMergeTree",
			OrderBy: strings.Join(append(slices.Clone(w.view.GroupBy), viewTime), ", "), PartitionBy: partition,
			TTLColumn: viewTime, TTLDays: r.TTLDays, DedupWindow: DefaultDedupWindow,
			Comment: w.view.Description + " States of " + r.Interval + "; SELECT from " + name + ".",
		},
	}
	step, alias := seconds[r.Interval], "s"
	start := fmt.Sprintf("toDateTime(intDiv(toUnixTimestamp(s.%s), %d) * %d, 'UTC')", viewTime, step, step)
	if from == w.source.Table {
		alias = "r"
		start = fmt.Sprintf("toDateTime(intDiv(toUnixTimestamp64Micro(%s), %d) * %d, 'UTC')", w.instant(), step*1_000_000, step)
	}
	var fill, read, by, readBy []string
	for _, column := range w.view.GroupBy {
		quoted := QuoteName(column)
		v.Columns = append(v.Columns, ExistingColumn{Name: column, Type: w.columns[column].Type.String(), Comment: w.columns[column].Comment})
		v.ReaderColumns = append(v.ReaderColumns, Column{Name: column, Type: w.columns[column].Type})
		fill, by = append(fill, alias+"."+quoted+" AS "+quoted), append(by, alias+"."+quoted)
		read, readBy = append(read, "s."+quoted+" AS "+quoted), append(readBy, "s."+quoted)
	}
	v.Columns = append(v.Columns, ExistingColumn{Name: viewTime, Type: "DateTime('UTC')", Comment: "Begin of the interval, UTC."})
	v.ReaderColumns = append(v.ReaderColumns, Column{Name: viewTime, Type: Type{Name: "DateTime", Zone: "UTC"}})
	fill, by = append(fill, start+" AS "+viewTime), append(by, start)
	read, readBy = append(read, "s."+viewTime+" AS "+viewTime), append(readBy, "s."+viewTime)
	for _, c := range w.stored {
		expression := c.chain
		if from == w.source.Table {
			expression = strings.ReplaceAll(c.fill, ", "+viewOrder+")", ", "+w.priority()+")")
		}
		v.Columns = append(v.Columns, ExistingColumn{Name: c.name, Type: c.stored, Comment: c.comment})
		fill = append(fill, expression+" AS "+QuoteName(c.name))
	}
	for _, c := range w.shown {
		v.ReaderColumns = append(v.ReaderColumns, Column{Name: c.name, Type: c.result})
		read = append(read, c.read+" AS "+QuoteName(c.name))
	}
	v.FillSelect = "SELECT " + strings.Join(fill, ", ") + " FROM " + v.name(from) + " AS " + alias + " GROUP BY " + strings.Join(by, ", ")
	v.ReaderSelect = "SELECT " + strings.Join(read, ", ") + " FROM " + v.Target.readable(w.options).Name() + " AS s GROUP BY " + strings.Join(readBy, ", ")
	return v
}

// FillOver is the fill's query over something else than From: a query that has its columns.
func (v ViewTables) FillOver(query string) string {
	return strings.Replace(v.FillSelect, "FROM "+v.name(v.From)+" AS ", "FROM ("+query+") AS ", 1)
}

// ReadOver is the reader's query over something else than the target: a query that has its columns.
func (v ViewTables) ReadOver(query string) string {
	return strings.Replace(v.ReaderSelect, "FROM "+v.Target.Name()+" AS s ", "FROM ("+query+") AS s ", 1)
}

// CreateTarget writes the table that holds the states.
func (v ViewTables) CreateTarget(options Options) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + v.Target.Name() + options.onCluster() + "\n(\n")
	for i, c := range v.Columns {
		b.WriteString("    " + QuoteName(c.Name) + " " + c.Type + " COMMENT " + QuoteString(c.Comment))
		if i < len(v.Columns)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(")\n")
	v.Target.writeEngine(&b, options)
	return b.String()
}

// CreateFill writes the materialized view.
func (v ViewTables) CreateFill(options Options) string {
	return "CREATE MATERIALIZED VIEW IF NOT EXISTS " + v.name(v.Fill) + options.onCluster() + " TO " + v.Target.Name() + " AS\n" + v.FillSelect
}
