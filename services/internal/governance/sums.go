package governance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

// summingEngines merge rows of the same group into one.
var summingEngines = []string{"AggregatingMergeTree", "ReplicatedAggregatingMergeTree", "SharedAggregatingMergeTree"}

// fillEngine is ClickHouse's word for a query that runs over what is inserted.
const fillEngine = "MaterializedView"

const anotherName = "a state cannot be computed anew from what was added up: put the changed view into a file of its own under another name, both are filled until somebody drops the old one"

// planSums compares the views that are added up while rows are inserted, and puts the names of their parts into named. All targets
// come first; then what fills them, from the coarsest resolution to the finest: the last one is what rows pass through first, so that
// all resolutions begin with the same row.
func (g *Governance) planSums(ctx context.Context, p *Plan, database string, named map[string]bool) error {
	for _, v := range g.deps.Views {
		c, _ := contract.Find(g.deps.Contracts, v.Source)
		if c.Sink == nil {
			continue // That is a lint's to say.
		}
		text, err := g.schemaOf(c)
		if err != nil {
			return err
		}
		tables, err := ddl.Views(v, c, text, database, g.config.DDL)
		if err != nil {
			p.refuse(KindView, v.Name, strings.ReplaceAll(err.Error(), "\n", "; "), "see contracts/"+v.File)
			continue
		}
		for _, t := range tables {
			all, _ := ddl.Distributed(t.Target, g.config.DDL)
			named[t.Target.Table], named[t.Fill], named[t.Reader], named[all] = true, true, true, true
		}
		if c.Retired() {
			continue
		}
		if err := g.planSum(ctx, p, tables, database); err != nil {
			return fmt.Errorf("view %s: %w", v.Name, err)
		}
	}
	return nil
}

func (g *Governance) planSum(ctx context.Context, p *Plan, tables []ddl.ViewTables, database string) error {
	for _, t := range tables {
		if err := g.planTarget(ctx, p, t, database); err != nil {
			return err
		}
	}
	for _, t := range slices.Backward(tables) {
		if err := g.planFill(ctx, p, t, database); err != nil {
			return err
		}
	}
	for _, t := range tables {
		comment := strings.ReplaceAll(t.Target.Comment, " States of "+t.Interval+"; SELECT from "+t.Reader+".", " Every "+t.Interval+".")
		if err := g.compareView(ctx, p, migration.View{Name: t.Reader, Select: t.ReaderSelect, Columns: t.ReaderColumns}, comment, database); err != nil {
			return err
		}
	}
	return nil
}

// planTarget compares the table that holds the states of a resolution.
func (g *Governance) planTarget(ctx context.Context, p *Plan, t ddl.ViewTables, database string) error {
	name := t.Target.Table
	have, err := g.deps.Tables.Describe(ctx, database, name)
	if err != nil {
		return err
	}
	if len(have.Columns) == 0 {
		p.step(Step{Kind: KindTable, Action: ActionCreate, Object: name, What: "create", SQL: t.CreateTarget(g.config.DDL)})
		return g.planDistributed(ctx, p, t.Target, nil)
	}
	if !slices.Contains(summingEngines, have.Engine) {
		p.refuse(KindTable, name, fmt.Sprintf("it is a %s and no %s", have.Engine, summingEngines[0]), "rename it away and apply again, which makes the table")
		return nil
	}
	before := len(p.Steps) + len(p.Refused)
	if from, to := columnsOf(have.Columns), columnsOf(t.Columns); from != to {
		from, to = whereTheyPart(from, to)
		p.refuse(KindTable, name, fmt.Sprintf("its columns are %s, its view needs %s", orNone(from), orNone(to)), anotherName)
		return nil
	}
	compareStorage(p, t.Target, have, g.config.DDL)
	alter := alterTable(t.Target, g.config.DDL)
	step := func(setting, from, to, sql string) {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: name, Setting: setting, From: from, To: to,
			What: fmt.Sprintf("%s: %s → %s", setting, orNone(from), orNone(to)), SQL: alter + " " + sql,
		})
	}
	if have.Comment != t.Target.Comment {
		step("comment", have.Comment, t.Target.Comment, "MODIFY COMMENT "+ddl.QuoteString(t.Target.Comment))
	}
	for i, c := range t.Columns {
		if existing := have.Columns[i].Comment; existing != c.Comment {
			step("comment of "+c.Name, existing, c.Comment, "COMMENT COLUMN "+ddl.QuoteName(c.Name)+" "+ddl.QuoteString(c.Comment))
		}
	}
	if len(p.Steps)+len(p.Refused) == before {
		p.Unchanged++
	}
	return g.planDistributed(ctx, p, t.Target, t.Columns)
}

func columnsOf(columns []ddl.ExistingColumn) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = c.Name + " " + c.Type
	}
	return strings.Join(parts, ", ")
}

// planFill compares the materialized view of a resolution. Its query is never changed: what was added up before would be of one
// definition and what follows of another, and nobody could tell them apart.
func (g *Governance) planFill(ctx context.Context, p *Plan, t ddl.ViewTables, database string) error {
	have, err := g.deps.Tables.Describe(ctx, database, t.Fill)
	if err != nil {
		return err
	}
	switch {
	case len(have.Columns) == 0:
		source, err := g.deps.Tables.Describe(ctx, database, t.From)
		if err != nil {
			return err
		}
		what := "create"
		if len(source.Columns) > 0 {
			what = "create: from now on; what is in " + t.From + " already is not added up"
		}
		p.step(Step{Kind: KindView, Action: ActionCreate, Object: t.Fill, What: what, SQL: t.CreateFill(g.config.DDL)})
		return nil
	case have.Engine != fillEngine:
		p.refuse(KindView, t.Fill, "it is a "+have.Engine+" and no "+fillEngine, "rename it away and apply again, which makes the view")
		return nil
	}
	const begin = "SELECT "
	wanted, err := g.deps.Tables.Normal(ctx, strings.TrimPrefix(t.FillSelect, begin))
	if err != nil {
		return err
	}
	if existing := strings.TrimPrefix(have.Select, begin); existing != wanted {
		from, to := whereTheyPart(existing, wanted)
		p.refuse(KindView, t.Fill, fmt.Sprintf("its query says %s, its file %s", from, to), anotherName)
		return nil
	}
	if !strings.Contains(plain(have.Created), plain(" TO "+database+"."+t.Target.Table)) {
		p.refuse(KindView, t.Fill, "it does not fill "+t.Target.Table, "drop it and apply again; rows inserted in between are not added up")
		return nil
	}
	p.Unchanged++
	return nil
}
