// Package backfill is how a product's table is made again beside the live one and takes its place: which tables, views and group
// belong to it, and the exchange. It is text and ClickHouse; who pauses whom, and when, is the command's.
package backfill

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

const (
	suffix = "_backfill"
	// mark stands in the comment of a table that was made beside the live one, until it has taken its place: a comment moves
	// with its table, so that an exchange that was broken off can tell which are exchanged already.
	mark = " (backfill)"
)

// CompletedMark begins the metadata of an offset before which every row is in the table; a plan, and what a person has set, begin otherwise.
const CompletedMark = "sf0"

// Group fills the table beside the live one.
func Group(topic string) string { return contract.BackfillGroup(topic) }

// Contract is the product's with the table beside the live one.
func Contract(c contract.Contract) contract.Contract {
	if c.Sink != nil {
		sink := *c.Sink
		sink.Table += suffix
		c.Sink = &sink
	}
	c.Purpose += mark
	return c
}

// Views are the product's with the tables beside the live ones.
func Views(views []contract.View) []contract.View {
	beside := slices.Clone(views)
	for i := range beside {
		beside[i].Name += suffix
		beside[i].Description += mark
	}
	return beside
}

// Layout is what takes part.
type Layout struct {
	// Create makes the tables beside the live ones, then their views; each statement may be repeated.
	Create []string
	// Tables that change places.
	Tables []Pair
	// Live and Beside are the materialized views that fill them. None exists while the tables change places: not every version of
	// ClickHouse (26.5 before its release) leaves a view with the table that has its source's name.
	Live, Beside []Fill

	database string
}

// Pair of a live table and the one beside it.
type Pair struct {
	Live, Beside string
	// Comment of the live table.
	Comment string
}

// Fill is a materialized view.
type Fill struct{ Name, Create string }

// LayoutOf a product with a table and its views. options are those that `streamforge apply` makes tables with.
func LayoutOf(c contract.Contract, views []contract.View, schemaText, database string, options ddl.Options) (Layout, error) {
	l := Layout{database: database}
	live, err := ddl.SpecOf(c, database)
	if err != nil {
		return l, err
	}
	l.database = live.Database
	other := Contract(c)
	statement, err := ddl.CreateTable(other, schemaText, database, options)
	if err != nil {
		return l, err
	}
	l.Create = []string{statement}
	l.Tables = []Pair{{live.Table, other.Sink.Table, live.Comment}}
	for i, beside := range Views(views) {
		was, err := ddl.Views(views[i], c, schemaText, database, options)
		if err != nil {
			return l, err
		}
		made, err := ddl.Views(beside, other, schemaText, database, options)
		if err != nil {
			return l, err
		}
		var fills []string
		for j, v := range made {
			l.Create = append(l.Create, v.CreateTarget(options))
			l.Tables = append(l.Tables, Pair{was[j].Target.Table, v.Target.Table, was[j].Target.Comment})
			l.Live = append(l.Live, Fill{was[j].Fill, was[j].CreateFill(options)})
			l.Beside = append(l.Beside, Fill{v.Fill, v.CreateFill(options)})
			fills = append(fills, v.CreateFill(options))
		}
		// Whoever is filled last is there first.
		slices.Reverse(fills)
		l.Create = append(l.Create, fills...)
	}
	return l, nil
}

// State of a backfill in ClickHouse.
type State string

// States, in their order.
const (
	None      State = "none"      // no table beside the live one
	Filling   State = "filling"   // it is there, and nothing has changed places
	Exchanged State = "exchanged" // some have changed places, or all, and the old ones wait for their names
)

// Look finds out how far a backfill is.
func (l Layout) Look(ctx context.Context, store *clickhouse.Client) (State, error) {
	state := None
	for _, p := range l.Tables {
		_, liveMarked, err := l.table(ctx, store, p.Live)
		if err != nil {
			return None, err
		}
		there, marked, err := l.table(ctx, store, p.Beside)
		if err != nil {
			return None, err
		}
		switch {
		case liveMarked, there && !marked:
			return Exchanged, nil
		case there:
			state = Filling
		}
	}
	return state, nil
}

// table says whether a table exists, and whether it was made beside a live one.
func (l Layout) table(ctx context.Context, store *clickhouse.Client, name string) (exists, marked bool, err error) {
	rows, err := store.Query(ctx, "SELECT comment FROM system.tables WHERE database = ? AND name = ?", l.database, name)
	if err != nil {
		return false, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var comment string
		if err := rows.Scan(&comment); err != nil {
			return false, false, err
		}
		exists, marked = true, strings.Contains(comment, mark)
	}
	return exists, marked, rows.Err()
}

// Foreign lists the materialized views over the live table that no contract says: an exchange would have to know what becomes of them.
func (l Layout) Foreign(ctx context.Context, store *clickhouse.Client) ([]string, error) {
	fills, err := store.Fills(ctx, l.database, l.Tables[0].Live)
	var foreign []string
	for _, f := range fills {
		if !slices.ContainsFunc(l.Live, func(ours Fill) bool { return f.View == l.database+"."+ours.Name }) {
			foreign = append(foreign, f.View)
		}
	}
	return foreign, err
}

// name of a table of the database, quoted.
func (l Layout) name(table string) string {
	return ddl.QuoteName(l.database) + "." + ddl.QuoteName(table)
}

// Exchange puts the tables beside the live ones in their places and keeps the old ones as <table>_before_<stamp>. Nothing may be
// inserted meanwhile. Broken off at any point it is finished by the same call with the same stamp.
func (l Layout) Exchange(ctx context.Context, store *clickhouse.Client, stamp string, say func(string)) error {
	do := func(statement string) error {
		say(statement)
		if err := store.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		return nil
	}
	for _, fill := range slices.Concat(l.Live, l.Beside) {
		if err := do("DROP VIEW IF EXISTS " + l.name(fill.Name)); err != nil {
			return err
		}
	}
	for _, p := range l.Tables {
		// Marked, the one beside has not changed places yet; unmarked, it is the old one.
		if _, marked, err := l.table(ctx, store, p.Beside); err != nil {
			return err
		} else if marked {
			if err := do("EXCHANGE TABLES " + l.name(p.Live) + " AND " + l.name(p.Beside)); err != nil {
				return err
			}
		}
	}
	for _, fill := range slices.Backward(l.Live) {
		if err := do(fill.Create); err != nil {
			return err
		}
	}
	for _, p := range l.Tables {
		if there, _, err := l.table(ctx, store, p.Beside); err != nil {
			return err
		} else if there {
			if err := do("RENAME TABLE " + l.name(p.Beside) + " TO " + l.name(p.Live+"_before_"+stamp)); err != nil {
				return err
			}
		}
		// Last, for it is what tells that the table has changed places.
		if err := do("ALTER TABLE " + l.name(p.Live) + " MODIFY COMMENT " + ddl.QuoteString(p.Comment)); err != nil {
			return err
		}
	}
	return nil
}

// Old lists the tables that were in the live ones' places.
func (l Layout) Old(ctx context.Context, store *clickhouse.Client) ([]string, error) {
	var old []string
	for _, p := range l.Tables {
		rows, err := store.Query(ctx, "SELECT name FROM system.tables WHERE database = ? AND startsWith(name, ?) ORDER BY name", l.database, p.Live+"_before_")
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				rows.Close()
				return nil, err
			}
			old = append(old, name)
		}
		err = rows.Err()
		rows.Close()
		if err != nil {
			return nil, err
		}
	}
	return old, nil
}

// Drop removes tables of this layout's database, and what is beside the live ones with beside.
func (l Layout) Drop(ctx context.Context, store *clickhouse.Client, old []string, beside bool) error {
	var statements []string
	if beside {
		// A swap that was broken off may have taken the live views away already.
		for _, fill := range slices.Backward(l.Live) {
			statements = append(statements, fill.Create)
		}
		for _, fill := range l.Beside {
			statements = append(statements, "DROP VIEW IF EXISTS "+l.name(fill.Name))
		}
		for _, p := range l.Tables {
			old = append(old, p.Beside)
		}
	}
	for _, table := range old {
		statements = append(statements, "DROP TABLE IF EXISTS "+l.name(table))
	}
	for _, s := range statements {
		if err := store.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
