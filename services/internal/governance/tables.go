package governance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// planTables compares the tables of the contracts that ask for a sink, and then the views over them.
func (g *Governance) planTables(ctx context.Context, p *Plan) error {
	if g.deps.Tables == nil {
		p.note(KindTable, "", "ClickHouse was not asked, tables are left out")
		return nil
	}
	database, err := g.deps.Tables.Database(ctx)
	if err != nil {
		return fmt.Errorf("asking ClickHouse for its database: %w", err)
	}
	named := map[string]bool{}
	for _, c := range g.deps.Contracts {
		if c.Sink == nil {
			continue
		}
		named[c.Sink.Table] = true
		if spec, err := ddl.SpecOf(c, database); err == nil {
			all, _ := ddl.Distributed(spec, g.config.DDL)
			named[all] = true
		}
		if c.Retired() {
			continue
		}
		if err := g.planTable(ctx, p, c, database); err != nil {
			return fmt.Errorf("contract %s: %w", c.ID, err)
		}
	}
	views, err := g.planViews(ctx, p, database)
	if err != nil {
		return err
	}
	if err := g.planSums(ctx, p, database, views); err != nil {
		return err
	}
	all, err := g.deps.Tables.List(ctx, database)
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, name := range all {
		if !named[name] && !views[name] {
			p.note(KindTable, name, "no contract names it; it is left alone")
		}
	}
	return nil
}

func (g *Governance) planTable(ctx context.Context, p *Plan, c contract.Contract, database string) error {
	spec, err := ddl.SpecOf(c, database)
	if err != nil {
		return err
	}
	existing, err := g.deps.Tables.Describe(ctx, database, c.Sink.Table)
	if err != nil {
		return err
	}
	if len(existing.Columns) == 0 {
		text, err := g.schemaOf(c)
		if err != nil {
			return err
		}
		statement, err := ddl.CreateSpec(spec, text, g.config.DDL)
		if err != nil {
			return err
		}
		p.step(Step{Kind: KindTable, Action: ActionCreate, Object: c.Sink.Table, What: "create", SQL: statement})
		return g.planDistributed(ctx, p, spec, nil)
	}
	if !slices.Contains(engines, existing.Engine) {
		p.refuse(KindTable, c.Sink.Table, fmt.Sprintf("it is a %s; rows of %s need a MergeTree, which drops and merges none of them", existing.Engine, c.ID),
			"rename it away and apply again, which makes the table")
		return nil
	}
	before := len(p.Steps) + len(p.Refused)
	if err := g.compareColumns(ctx, p, c, spec, existing.Columns); err != nil {
		return err
	}
	if err := g.compareWords(p, c, spec, existing); err != nil {
		return err
	}
	compareStorage(p, spec, existing, g.config.DDL)
	if len(p.Steps)+len(p.Refused) == before {
		p.Unchanged++
	}
	text, err := g.schemaOf(c)
	if err != nil {
		return err
	}
	wanted, err := ddl.ColumnsOf(text, spec.Columns)
	if err != nil {
		return err
	}
	return g.planDistributed(ctx, p, spec, ddl.Existing(ddl.Altered(existing.Columns, wanted)))
}

// planDistributed compares the table over all shards of a table with the columns that it is to show; nil for a table that is only
// being made. What else a shard's table has, it may lack.
func (g *Governance) planDistributed(ctx context.Context, p *Plan, spec ddl.Spec, wanted []ddl.ExistingColumn) error {
	name, statement := ddl.Distributed(spec, g.config.DDL)
	if name == "" {
		return nil
	}
	have, err := g.deps.Tables.Describe(ctx, spec.Database, name)
	if err != nil {
		return err
	}
	step := Step{Kind: KindTable, Action: ActionCreate, Object: name, What: "create", SQL: statement}
	if len(have.Columns) > 0 {
		if have.Engine != "Distributed" {
			p.refuse(KindTable, name, "it is a "+have.Engine+" and no Distributed table", "rename it away and apply again, which makes the table")
			return nil
		}
		i := slices.IndexFunc(wanted, func(w ddl.ExistingColumn) bool {
			return !slices.ContainsFunc(have.Columns, func(h ddl.ExistingColumn) bool { return h.Name == w.Name && h.Type == w.Type })
		})
		if i < 0 {
			p.Unchanged++
			return nil
		}
		step.Action, step.What = ActionAlter, fmt.Sprintf("make again: column %s is to be %s", wanted[i].Name, wanted[i].Type)
	}
	p.step(step)
	return nil
}

// compareColumns adds and changes what it may, refuses what would lose rows, and names what no schema does.
func (g *Governance) compareColumns(ctx context.Context, p *Plan, c contract.Contract, spec ddl.Spec, existing []ddl.ExistingColumn) error {
	text, err := g.schemaOf(c)
	if err != nil {
		return err
	}
	wanted, err := ddl.ColumnsOf(text, spec.Columns)
	if err != nil {
		return err
	}
	if existing, err = g.inOurWords(ctx, existing, wanted); err != nil {
		return err
	}
	statements, err := ddl.Alter(spec, existing, wanted, g.config.DDL)
	if err != nil {
		p.refuse(KindTable, c.Sink.Table, strings.ReplaceAll(err.Error(), "\n", "; "), "see contracts/"+c.File)
	}
	for _, statement := range statements {
		p.step(Step{Kind: KindTable, Action: ActionAlter, Object: c.Sink.Table, What: brief(statement), SQL: statement})
	}
	for _, have := range existing {
		if !slices.ContainsFunc(wanted, func(w ddl.Column) bool { return w.Name == have.Name }) {
			p.note(KindTable, c.Sink.Table, "column %s (%s) is of no field of schemas for %s; it is left alone", have.Name, have.Type, c.Subject)
		}
	}
	return nil
}

// inOurWords replaces defaults by the wanted expression where ClickHouse only writes the same one differently (1000 as
// 1000.), so that a plan shows no difference that is none.
func (g *Governance) inOurWords(ctx context.Context, existing []ddl.ExistingColumn, wanted []ddl.Column) ([]ddl.ExistingColumn, error) {
	existing = slices.Clone(existing)
	for i, have := range existing {
		j := slices.IndexFunc(wanted, func(w ddl.Column) bool { return w.Name == have.Name })
		if j < 0 || have.Default == "" || wanted[j].Default == "" || have.Default == wanted[j].Default {
			continue
		}
		normal, err := g.deps.Tables.Normal(ctx, wanted[j].Default)
		if err != nil {
			return nil, fmt.Errorf("column %s, default %s: %w", have.Name, wanted[j].Default, err)
		}
		if normal == have.Default {
			existing[i].Default = wanted[j].Default
		}
	}
	return existing, nil
}

// planColumns is planTables for a registration: only columns, and only of tables that exist. A table that is not there yet
// has no rows to be right for; `streamforge apply` makes it.
func (g *Governance) planColumns(ctx context.Context, p *Plan) error {
	if g.deps.Tables == nil {
		return g.columnsFromVersions(ctx, p)
	}
	database, err := g.deps.Tables.Database(ctx)
	if err != nil {
		return fmt.Errorf("asking ClickHouse for its database: %w", err)
	}
	for _, c := range g.deps.Contracts {
		if !c.Sinks() {
			continue
		}
		spec, err := ddl.SpecOf(c, database)
		if err != nil {
			return err
		}
		existing, err := g.deps.Tables.Describe(ctx, database, c.Sink.Table)
		if err != nil {
			return err
		}
		if len(existing.Columns) == 0 {
			p.note(KindTable, c.Sink.Table, "it does not exist yet; `streamforge apply` makes it")
			continue
		}
		if err := g.compareColumns(ctx, p, c, spec, existing.Columns); err != nil {
			return fmt.Errorf("contract %s: %w", c.ID, err)
		}
	}
	return nil
}

// columnsFromVersions says, without a ClickHouse, which columns the sinks of new versions need: the difference between the
// latest registered version and this build's.
func (g *Governance) columnsFromVersions(ctx context.Context, p *Plan) error {
	for _, c := range g.deps.Contracts {
		if !c.Sinks() || g.deps.Registry == nil {
			continue
		}
		statements, refused, err := g.statementsSince(ctx, c)
		if err != nil {
			return fmt.Errorf("contract %s: %w", c.ID, err)
		}
		switch {
		case refused != nil && g.config.SinkLater:
			p.note(KindTable, c.Sink.Table, "SINK=later promises that somebody else sees to it: %s", strings.ReplaceAll(refused.Error(), "\n", "; "))
		case refused != nil:
			p.refuse(KindTable, c.Sink.Table, strings.ReplaceAll(refused.Error(), "\n", "; "), "see contracts/"+c.File)
		case len(statements) == 0:
		case g.config.SinkLater:
			p.note(KindTable, c.Sink.Table, "before the first record of the new version, as SINK=later promises: %s", strings.Join(statements, "; "))
		default:
			p.refuse(KindTable, c.Sink.Table, fmt.Sprintf("its columns come before the schema, and no ClickHouse was given; %d statement(s) are needed", len(statements)),
				"set CLICKHOUSE_URL, or run them yourself and say SINK=later", statements...)
		}
	}
	return nil
}

// statementsSince are what a table needs that was made for the latest registered version; refused says why no statement may
// bring it there.
func (g *Governance) statementsSince(ctx context.Context, c contract.Contract) (statements []string, refused, err error) {
	versions, err := g.deps.Registry.LiveVersions(ctx, c.Subject)
	if err != nil || len(versions) == 0 {
		return nil, nil, err // A new product's table is made whole by apply.
	}
	spec, err := ddl.SpecOf(c, "")
	if err != nil {
		return nil, nil, err
	}
	text, err := g.schemaOf(c)
	if err != nil {
		return nil, nil, err
	}
	wanted, err := ddl.ColumnsOf(text, spec.Columns)
	if err != nil {
		return nil, nil, err
	}
	latest := versions[len(versions)-1]
	before, err := ddl.ColumnsOf(latest.Text, optionsWithin(spec.Columns, latest.Text))
	if err != nil {
		return nil, fmt.Errorf("version %d of %s, the latest, has no table to compare with: %w", latest.Version, c.Subject, err), nil
	}
	statements, refused = ddl.Alter(spec, ddl.Existing(before), wanted, g.config.DDL)
	return statements, refused, nil
}

// optionsWithin leaves out what the contract says about columns that an earlier version did not have.
func optionsWithin(options map[string]ddl.ColumnOptions, schemaText string) map[string]ddl.ColumnOptions {
	plain, err := ddl.ColumnsOf(schemaText, nil)
	if err != nil {
		// What has no column without its options needs them; all are given and what does not fit is reported there.
		return options
	}
	within := map[string]ddl.ColumnOptions{}
	for _, column := range plain {
		if o, ok := options[column.Name]; ok {
			within[column.Name] = o
		}
	}
	return within
}

func (g *Governance) schemaOf(c contract.Contract) (string, error) {
	for _, s := range g.deps.Subjects {
		if s.Name == c.Subject {
			return g.selfContained(s)
		}
	}
	return "", fmt.Errorf("subject %s has no schema", c.Subject)
}
