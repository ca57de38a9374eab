package governance

import (
	"context"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// planTables compares the tables of the contracts that ask for a sink.
func (g *Governance) planTables(ctx context.Context, p *Plan) error {
	if g.deps.Tables == nil {
		p.note("clickhouse", "not asked, tables are left out")
		return nil
	}
	database, err := g.deps.Tables.Database(ctx)
	if err != nil {
		return fmt.Errorf("asking ClickHouse for its database: %w", err)
	}
	for _, c := range g.deps.Contracts {
		if c.Sink == nil {
			continue
		}
		if err := g.planTable(ctx, p, c, database); err != nil {
			return fmt.Errorf("contract %s: %w", c.ID, err)
		}
	}
	return nil
}

func (g *Governance) planTable(ctx context.Context, p *Plan, c contract.Contract, database string) error {
	text, err := g.schemaOf(c)
	if err != nil {
		return err
	}
	spec, err := ddl.SpecOf(c, database)
	if err != nil {
		return err
	}
	existing, err := g.deps.Tables.Columns(ctx, database, c.Sink.Table)
	if err != nil {
		return fmt.Errorf("reading the columns of table %s: %w", c.Sink.Table, err)
	}
	if len(existing) == 0 {
		statement, err := ddl.CreateSpec(spec, text, g.config.DDL)
		if err != nil {
			return err
		}
		p.step(Step{Kind: KindTable, Action: ActionCreate, Object: c.Sink.Table, What: "create", SQL: statement})
		return nil
	}
	wanted, err := ddl.ColumnsOf(text, spec.Columns)
	if err != nil {
		return err
	}
	statements, err := ddl.Alter(spec, existing, wanted, g.config.DDL)
	if err != nil {
		p.refuse(KindTable, c.Sink.Table, err.Error(), "see contracts/"+c.File)
	}
	for _, statement := range statements {
		p.step(Step{Kind: KindTable, Action: ActionAlter, Object: c.Sink.Table, What: "alter", SQL: statement})
	}
	if err == nil && len(statements) == 0 {
		p.Unchanged++
	}
	return nil
}

func (g *Governance) schemaOf(c contract.Contract) (string, error) {
	for _, s := range g.deps.Subjects {
		if s.Name == c.Subject {
			return g.selfContained(s)
		}
	}
	return "", fmt.Errorf("subject %s has no schema", c.Subject)
}
