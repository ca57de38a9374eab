package replayproof

import (
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// columnsOf finds the columns that a writer's version makes.
func (p *proof) columnsOf(w *writer, text string) {
	if p.report.Table == nil {
		return
	}
	var err error
	if w.columns, err = mapped(text, w.schema, p.config.Columns); err != nil && p.report.Table.Problem == "" {
		p.report.Table.Problem = "the version that wrote the records has no table: " + err.Error()
	}
}

// mapped leaves out the contract's options for fields that the version does not have: the contract is the new one's.
func mapped(text string, schema *avro.Schema, all map[string]ddl.ColumnOptions) ([]ddl.Column, error) {
	options := map[string]ddl.ColumnOptions{}
	for path, o := range all {
		if _, err := contract.FieldAt(schema, path); err == nil {
			options[path] = o
		}
	}
	columns, err := ddl.ColumnsOf(text, options)
	return slices.DeleteFunc(columns, func(c ddl.Column) bool { return len(c.Path) == 0 }), err
}

// row keeps what a record's row would become, of few records: those that something happens to, or else the first.
func (p *proof) row(at At, w *writer, before, after dynamic.Value, failure error, matters bool) {
	t := p.report.Table
	if t == nil || t.Problem != "" || len(t.Rows) >= maxSamples || !matters && len(p.dull) >= maxSamples {
		return
	}
	row := Row{At: at}
	if failure != nil {
		row.Failure = clip(failure.Error())
	} else {
		columns, err := mapped(p.config.Schema, p.schema, p.config.Columns)
		if err != nil {
			t.Problem = "the new schema has no table: " + err.Error()
			return
		}
		row.Cells = p.cells(w.columns, columns, before, after)
	}
	if matters {
		t.Rows = append(t.Rows, row)
	} else {
		p.dull = append(p.dull, row)
	}
}

// noColumn stands for the value of a column that is not there.
const noColumn = "no column"

// unfilled is what rows to come have in a column that no field fills any more: a plan never drops one.
func unfilled(c ddl.Column) string {
	const stays = ", the column stays and nothing fills it"
	switch {
	case c.Default != "":
		return "its default " + c.Default + stays
	case strings.Contains(c.Type.String(), "Nullable("):
		return "null" + stays
	}
	return "the empty value of its type" + stays
}

// cells are the columns whose type or value changes.
func (p *proof) cells(old, next []ddl.Column, before, after dynamic.Value) []Cell {
	var cells []Cell
	for _, c := range next {
		cell := Cell{Column: c.Name, Before: noColumn, TypeAfter: c.Type.String(), After: p.cellText(c, after)}
		if i := slices.IndexFunc(old, func(o ddl.Column) bool { return o.Name == c.Name }); i >= 0 {
			cell.TypeBefore, cell.Before = old[i].Type.String(), p.cellText(old[i], before)
			_, err := ddl.Alter(ddl.Spec{}, ddl.Existing(old[i:i+1]), []ddl.Column{c}, ddl.Options{})
			cell.Refused = err != nil
		}
		if cell.Before != cell.After || cell.TypeBefore != cell.TypeAfter {
			cells = append(cells, cell)
		}
	}
	for _, c := range old {
		if !slices.ContainsFunc(next, func(o ddl.Column) bool { return o.Name == c.Name }) {
			cells = append(cells, Cell{Column: c.Name, TypeBefore: c.Type.String(), Before: p.cellText(c, before), After: unfilled(c)})
		}
	}
	return cells
}

// cellText is what stands in a column: the contract's value where the record has null.
func (p *proof) cellText(c ddl.Column, record dynamic.Value) string {
	found := valuesAt(record, strings.Join(c.Path, "."))
	if len(found) == 0 || found[0].Kind == dynamic.Null {
		if as := p.config.Columns[c.Name].NullAs; as != nil {
			return *as
		}
		return "null"
	}
	return textOf(found[0])
}
