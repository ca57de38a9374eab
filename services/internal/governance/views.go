package governance

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

// viewEngine is ClickHouse's word for a table that is a query.
const viewEngine = "View"

// planViews compares the views that join the tables of two major versions, and returns their names. A view follows its tables'
// steps in the plan: it is made again whenever a column that it shows has changed.
func (g *Governance) planViews(ctx context.Context, p *Plan, database string) (named map[string]bool, err error) {
	named = map[string]bool{}
	for _, m := range g.deps.Migrations {
		from, _ := contract.Find(g.deps.Contracts, m.From)
		to, _ := contract.Find(g.deps.Contracts, m.To)
		if from.Sink == nil || to.Sink == nil {
			continue
		}
		name := migration.ViewName(to)
		if m.JoinAt == nil {
			p.note(KindView, name, "it is made after the cut-over, which writes joinAt into contracts/%s", m.File)
			continue
		}
		named[name] = true
		if from.Retired() {
			table, err := g.deps.Tables.Describe(ctx, database, from.Sink.Table)
			if err != nil {
				return nil, err
			}
			if len(table.Columns) == 0 {
				p.note(KindView, name, "%s is retired and has no table here: there is nothing to join", from.ID)
				continue
			}
		}
		if err := g.planView(ctx, p, m, from, to, database); err != nil {
			return nil, fmt.Errorf("migration %s: %w", m.To, err)
		}
	}
	return named, nil
}

func (g *Governance) planView(ctx context.Context, p *Plan, m migration.Migration, from, to contract.Contract, database string) error {
	var texts [2]string
	var columns [2][]ddl.ExistingColumn
	for i, c := range []contract.Contract{from, to} {
		var err error
		if texts[i], err = g.schemaOf(c); err != nil {
			return err
		}
		table, err := g.deps.Tables.Describe(ctx, database, c.Sink.Table)
		if err != nil {
			return err
		}
		columns[i] = table.Columns
	}
	name := migration.ViewName(to)
	var view migration.View
	mapping, err := migration.Compile(m, texts[0], texts[1])
	if err == nil {
		view, err = mapping.View(from, to, database, *m.JoinAt, columns)
	}
	if err != nil {
		p.refuse(KindView, name, strings.ReplaceAll(err.Error(), "\n", "; "), "see contracts/"+m.File)
		return nil
	}
	comment := fmt.Sprintf("Rows of %s up to the cut-over, in the columns of %s, and all of the latter's.", from.Sink.Table, to.Sink.Table)
	return g.compareView(ctx, p, view, comment, database)
}

// compareView makes a view, or makes it again where it is another than it should be.
func (g *Governance) compareView(ctx context.Context, p *Plan, view migration.View, comment, database string) error {
	name := view.Name
	step := Step{Kind: KindView, Action: ActionCreate, Object: name, What: "create", SQL: createView(view, database, comment, g.config.DDL)}
	existing, err := g.deps.Tables.Describe(ctx, database, name)
	switch {
	case err != nil:
		return err
	case len(existing.Columns) == 0:
		p.step(step)
		return nil
	case existing.Engine != viewEngine:
		p.refuse(KindView, name, "it is a "+existing.Engine+" and no view", "rename it away and apply again, which makes the view")
		return nil
	}
	step.Action = ActionAlter
	if step.Setting, step.From, step.To, err = g.viewDifference(ctx, view, comment, existing); err != nil {
		return err
	}
	if step.Setting == "" {
		p.Unchanged++
		return nil
	}
	step.What = fmt.Sprintf("%s: %s → %s", step.Setting, orNone(step.From), orNone(step.To))
	p.step(step)
	return nil
}

// createView writes the statement that makes or replaces a view in one step: no reader finds none.
func createView(v migration.View, database, comment string, options ddl.Options) string {
	s := "CREATE OR REPLACE VIEW " + ddl.QuoteName(database) + "." + ddl.QuoteName(v.Name)
	if options.Cluster != "" {
		s += " ON CLUSTER " + ddl.QuoteName(options.Cluster)
	}
	return s + " AS " + v.Select + " COMMENT " + ddl.QuoteString(comment)
}

// viewDifference names the first thing in which a view is another than it should be, "" for none. Queries are compared as
// ClickHouse writes both.
func (g *Governance) viewDifference(ctx context.Context, want migration.View, comment string, have Table) (setting, from, to string, err error) {
	const begin = "SELECT "
	wanted, err := g.deps.Tables.Normal(ctx, strings.TrimPrefix(want.Select, begin))
	if err != nil {
		return "", "", "", fmt.Errorf("view %s: %w", want.Name, err)
	}
	if existing := strings.TrimPrefix(have.Select, begin); existing != wanted {
		from, to = whereTheyPart(existing, wanted)
		return "query", from, to, nil
	}
	// A view keeps the types that its query had when it was made.
	for i, c := range want.Columns {
		if i >= len(have.Columns) || have.Columns[i].Name != c.Name {
			return "columns", fmt.Sprintf("%d", len(have.Columns)), fmt.Sprintf("%d, %s among them", len(want.Columns), c.Name), nil
		}
		if t, err := ddl.ParseType(have.Columns[i].Type); err != nil || !t.Equal(c.Type) {
			return "type of " + c.Name, have.Columns[i].Type, c.Type.String(), nil
		}
	}
	if have.Comment != comment {
		return "comment", have.Comment, comment, nil
	}
	return "", "", "", nil
}

// whereTheyPart cuts two texts down to what differs, in whole words and with some around it.
func whereTheyPart(a, b string) (string, string) {
	const around = 24
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		from++
	}
	until := 0
	for until < len(a)-from && until < len(b)-from && a[len(a)-1-until] == b[len(b)-1-until] {
		until++
	}
	if from = strings.LastIndexByte(a[:max(from-around, 0)], ' ') + 1; from > 0 {
		from--
	}
	cut := func(s string) string {
		end := len(s) - max(until-around, 0)
		if i := strings.IndexByte(s[end:], ' '); i >= 0 {
			end += i
		} else {
			end = len(s)
		}
		return strings.ToValidUTF8(strings.TrimSpace(s[from:end]), "")
	}
	return cut(a), cut(b)
}
