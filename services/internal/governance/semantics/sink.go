package semantics

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// TableChange is what a change of a product means for its ClickHouse table.
type TableChange struct {
	// Statements in the order in which they have to run, all before the first record of the new version.
	Statements []string
	// Refused is what no statement can do without losing or rewriting rows, with the reason.
	Refused []string
	// Stays names columns that the new schema has no field for: they keep their rows, and new rows get their default.
	Stays []string
}

// Table says what ClickHouse would have to be told. base is nil for a new product. A product without a sink has no change.
// The error means that the new version cannot be mapped to a table at all.
func Table(base *Product, next Product, options ddl.Options) (TableChange, error) {
	if next.Contract.Sink == nil || next.Schema == nil {
		return TableChange{}, nil
	}
	text := next.Schema.SelfContained()
	if base == nil || base.Contract.Sink == nil || base.Schema == nil {
		statement, err := ddl.CreateTable(next.Contract, text, "", options)
		if err != nil {
			return TableChange{}, err
		}
		return TableChange{Statements: []string{statement}}, nil
	}
	spec, err := ddl.SpecOf(next.Contract, "")
	if err != nil {
		return TableChange{}, err
	}
	wanted, err := ddl.Columns(next.Contract, text)
	if err != nil {
		return TableChange{}, err
	}
	have, err := ddl.Columns(base.Contract, base.Schema.SelfContained())
	if err != nil {
		// The base could not be mapped to a table, so there is none yet.
		return Table(nil, next, options)
	}
	return tableChange(spec, base.Contract, next.Contract, have, wanted, options), nil
}

func tableChange(spec ddl.Spec, base, next contract.Contract, have, wanted []ddl.Column, options ddl.Options) TableChange {
	var t TableChange
	statements, err := ddl.Alter(spec, ddl.Existing(have), wanted, options)
	t.Statements = statements
	t.Refused = lines(err)
	for _, c := range have {
		if !slices.ContainsFunc(wanted, func(w ddl.Column) bool { return w.Name == c.Name }) {
			t.Stays = append(t.Stays, c.Name)
		}
	}
	if from, to := strings.Join(base.Sink.OrderBy, ", "), strings.Join(next.Sink.OrderBy, ", "); from != to {
		t.Refused = append(t.Refused, fmt.Sprintf("ORDER BY (%s) cannot become (%s): make a new table and copy the rows", from, to))
	}
	if from, to := base.Sink.PartitionBy, next.Sink.PartitionBy; from != to {
		t.Refused = append(t.Refused, fmt.Sprintf("PARTITION BY %s cannot become %s: make a new table and copy the rows", from, to))
	}
	if base.Sink.TTLDays != next.Sink.TTLDays || base.Sink.TimeColumn != next.Sink.TimeColumn {
		prefix := "ALTER TABLE " + spec.Name()
		if options.Cluster != "" {
			prefix += " ON CLUSTER " + ddl.QuoteName(options.Cluster)
		}
		t.Statements = append(t.Statements, fmt.Sprintf("%s MODIFY TTL toDateTime(%s) + INTERVAL %d DAY", prefix, ddl.QuoteName(spec.TTLColumn), spec.TTLDays))
	}
	return t
}

// lines of an error that joins others.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range joined.Unwrap() {
		all = append(all, e.Error())
	}
	return all
}

// sinks compares what two contracts ask of ClickHouse.
func (c *comparison) sinks(base, next Product) {
	from, to := base.Contract.Sink, next.Contract.Sink
	switch {
	case from == nil:
		return
	case to == nil:
		c.value(rule.SinkRemoved, "sink", from.Table, "", "the table %s gets no new records any more%s", "leave the ClickHouse server in the contract until nobody queries the table")
		return
	}
	c.value(rule.OrderByChanged, "orderBy", strings.Join(from.OrderBy, ", "), strings.Join(to.OrderBy, ", "),
		"ORDER BY goes from (%s) to (%s), which ClickHouse cannot change in a table", "leave it, or make a new table and copy the rows")
	c.value(rule.PartitionByChanged, "partitionBy", from.PartitionBy, to.PartitionBy,
		"PARTITION BY goes from %s to %s, which ClickHouse cannot change in a table", "leave it, or make a new table and copy the rows")
	if to.TTLDays < from.TTLDays {
		c.value(rule.TTLShortened, "ttlDays", fmt.Sprint(from.TTLDays), fmt.Sprint(to.TTLDays), "rows were kept for %s days and would be kept for %s: the older ones are deleted at once", "leave it, or copy the rows first")
	}
	c.columns(base, next)
}

// columns compares the types that the two versions give to the columns of both.
func (c *comparison) columns(base, next Product) {
	if base.Schema == nil || next.Schema == nil {
		return
	}
	have, err := ddl.Columns(base.Contract, base.Schema.SelfContained())
	if err != nil {
		return // no table could be made of the base
	}
	wanted, err := ddl.Columns(next.Contract, next.Schema.SelfContained())
	if err != nil {
		// A lint of the contracts names this too, but only here it is a change.
		c.add(change{
			rule: rule.ColumnTypeChanged, scope: "sink", from: "", to: err.Error(), what: "ClickHouse cannot hold the new schema: " + strings.Join(lines(err), "; "),
			do: "change the schema, or leave the ClickHouse server out of the contract",
		})
		return
	}
	spec := ddl.Spec{Database: next.Contract.Sink.Database, Table: next.Contract.Sink.Table}
	for _, column := range wanted {
		for _, old := range have {
			if old.Name != column.Name {
				continue
			}
			if _, err := ddl.Alter(spec, []ddl.ExistingColumn{{Name: old.Name, Type: old.Type.String()}}, []ddl.Column{column}, ddl.Options{}); err != nil {
				from, to := old.Type.String(), column.Type.String()
				c.add(change{
					rule: rule.ColumnTypeChanged, scope: "sink", path: column.Name, places: []string{column.Name}, from: from, to: to,
					what: fmt.Sprintf("column %s of %s is %s and would be %s: its rows would be rewritten or lost", column.Name, next.Contract.Sink.Table, from, to),
					do:   "add a new field, which is a new column, or " + c.newMajor(),
				})
			}
		}
	}
}
