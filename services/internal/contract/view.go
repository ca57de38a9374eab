package contract

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/schemas"
)

// View is what ClickHouse adds up of a product's rows while they are inserted, in steps of time: candles of trades.
type View struct {
	// Name begins the names of its tables: <name>_<interval> is what users SELECT.
	Name string `json:"view"`
	// Owner is the team to ask; Description is the tables' comment.
	Owner, Description string
	// Source is the product.
	Source string
	// GroupBy are columns of the product's table that stand in the view as they are.
	GroupBy []string
	Time    ViewTime
	// Order tells which of several rows of the same time is the first: at most three columns of whole numbers.
	Order   []string
	Columns []ViewColumn
	// Every resolution, the finest first; each one that the one before divides is made from that.
	Every []Resolution

	// File is the path below contracts/.
	File string

	declaration
}

// ViewTime is where a row stands in time.
type ViewTime struct {
	Column string
	// Else stands in for a Column that is null or more than WithinHours away from it; empty for none.
	Else        string
	WithinHours int
}

// ViewColumn has exactly one of First … Count.
type ViewColumn struct {
	Name, Description string
	// First and Last in time, Minimum, Maximum and Sum of a column.
	First, Last, Minimum, Maximum, Sum string
	// SumOfProduct of two columns of the table; Ratio of two of the view's own columns.
	SumOfProduct, Ratio []string
	// Count is "rows".
	Count string
}

// Of are the table's columns that the column is made from.
func (c ViewColumn) Of() []string {
	for _, name := range []string{c.First, c.Last, c.Minimum, c.Maximum, c.Sum} {
		if name != "" {
			return []string{name}
		}
	}
	return c.SumOfProduct
}

// Resolution of a view.
type Resolution struct {
	// Interval is 1s, 10s, 1m, 5m, 15m, 1h or 1d.
	Interval string
	// PartitionBy is day or month.
	PartitionBy string
	TTLDays     int
}

// Reads are the columns of the product's table that the view needs, each once.
func (v View) Reads() []string {
	names := append(slices.Clone(v.GroupBy), v.Time.Column)
	if v.Time.Else != "" {
		names = append(names, v.Time.Else)
	}
	names = append(names, v.Order...)
	for _, c := range v.Columns {
		names = append(names, c.Of()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

const viewEnding = ".view.yaml"

// ViewReader is the name under which a view stands among the consumers of its product: a change of a field that it reads
// breaks it like any other reader.
func ViewReader(name string) string { return "view." + name }

// LoadViews reads <domain>/<view>.view.yaml and compares them with the contracts, sorted by file. The error is Problems.
func LoadViews(fsys fs.FS, contracts []Contract) ([]View, error) {
	all, problems, err := loadViews(fsys)
	if err != nil {
		return nil, err
	}
	return all, append(problems, linter{}.lintViews(all, contracts, nil)...).Err()
}

func loadViews(fsys fs.FS) ([]View, Problems, error) {
	return loadEach(fsys, "view", "*/*"+viewEnding, ParseView)
}

// ParseView reads one file; name is its path below contracts/.
func ParseView(name string, text []byte) (View, Problems) {
	var v View
	var problems Problems
	if v.declaration, problems = declare("view", name, text, &v); len(problems) > 0 {
		return View{}, problems
	}
	v.File = name
	if want := v.Name + viewEnding; path.Base(name) != want {
		problems = append(problems, v.problem("/view", fmt.Sprintf("view is %q, the file is named %s", v.Name, path.Base(name)), "the file is named "+want))
	}
	return v, problems
}

// WithViews makes Lint ask whether a view can be made of its product's table, with the given judge of a view, the contract and
// its self-contained schema; an error that joins others is a problem each. The one that knows ClickHouse is ddl.Viewable.
func WithViews(judge func(v View, c Contract, schemaText string) error) Option {
	return func(l *linter) { l.view = judge }
}

// lintViews compares views with the contracts, and with the schemas where the linter knows how.
func (l linter) lintViews(views []View, contracts []Contract, subjects []schemas.Subject) Problems {
	var problems Problems
	for i, v := range views {
		if j := slices.IndexFunc(views[:i], func(other View) bool { return other.Name == v.Name }); j >= 0 {
			problems = append(problems, v.problem("/view", fmt.Sprintf("the view %s belongs to contracts/%s already", v.Name, views[j].File), "give it a name of its own"))
		}
		for _, c := range contracts {
			if c.Sink != nil && (c.Sink.Table == v.Name || strings.HasPrefix(c.Sink.Table, v.Name+"_")) {
				problems = append(problems, v.problem("/view", fmt.Sprintf("the table %s of contracts/%s could be one of the view's", c.Sink.Table, c.File), "give the view a name of its own"))
			}
		}
		c, ok := Find(contracts, v.Source)
		switch {
		case !ok:
			problems = append(problems, v.problem("/source", fmt.Sprintf("product %s has no contract", v.Source), "write the id of a contract"))
			continue
		case c.Sink == nil:
			problems = append(problems, v.problem("/source", fmt.Sprintf("product %s has no table", v.Source), "write the id of a contract with a ClickHouse server"))
			continue
		case l.view == nil:
			continue
		}
		k := slices.IndexFunc(subjects, func(s schemas.Subject) bool { return s.Name == c.Subject })
		if k < 0 {
			continue // That is told with its contract.
		}
		text, err := schemas.SelfContainedAmong(subjects[k], subjects)
		if err != nil {
			continue
		}
		for _, err := range separate(l.view(v, c, text)) {
			problems = append(problems, v.problem("", strings.ReplaceAll(err.Error(), "\n", "; "), "see contracts/"+c.File))
		}
	}
	return problems
}

// readers are the views as consumers of their products.
func readers(views []View) []Consumer {
	all := make([]Consumer, len(views))
	for i, v := range views {
		all[i] = Consumer{Group: ViewReader(v.Name), Owner: v.Owner, View: true, Reads: []Read{{Product: v.Source, SchemaVersion: 1, Fields: v.Reads()}}, File: v.File}
	}
	return all
}
