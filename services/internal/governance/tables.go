package governance

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

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
	existing, err := g.deps.Tables.Describe(ctx, database, c.Sink.Table)
	if err != nil {
		return err
	}
	if len(existing.Columns) == 0 {
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
	before := len(p.Steps) + len(p.Refused)
	statements, err := ddl.Alter(spec, existing.Columns, wanted, g.config.DDL)
	if err != nil {
		p.refuse(KindTable, c.Sink.Table, strings.ReplaceAll(err.Error(), "\n", "; "), "see contracts/"+c.File)
	}
	for _, statement := range statements {
		p.step(Step{Kind: KindTable, Action: ActionAlter, Object: c.Sink.Table, What: "alter", SQL: statement})
	}
	compareStorage(p, spec, existing, g.config.DDL)
	if len(p.Steps)+len(p.Refused) == before {
		p.Unchanged++
	}
	return nil
}

var (
	ttlOf    = regexp.MustCompile(`TTL toDateTime\(([^)]*)\) \+ toIntervalDay\((\d+)\)`)
	anyTTL   = regexp.MustCompile(` TTL (.*?)( SETTINGS |$)`)
	windowOf = regexp.MustCompile(`replicated_deduplication_window = (\d+)`)
)

// compareStorage looks at what is not a column: the keys, which ClickHouse cannot change, the TTL and the window in which a
// repeated insert is recognised, which it can.
func compareStorage(p *Plan, spec ddl.Spec, have Table, options ddl.Options) {
	const instead = "make a new table and copy the rows, or set the contract right"
	if plain(have.SortingKey) != plain(spec.OrderBy) {
		p.refuse(KindTable, spec.Table, fmt.Sprintf("the table has ORDER BY (%s), its contract says (%s)", have.SortingKey, spec.OrderBy), instead)
	}
	if plain(have.PartitionKey) != plain(spec.PartitionBy) {
		p.refuse(KindTable, spec.Table, fmt.Sprintf("the table has PARTITION BY %s, its contract says %s", have.PartitionKey, spec.PartitionBy), instead)
	}
	prefix := "ALTER TABLE " + spec.Name()
	if options.Cluster != "" {
		prefix += " ON CLUSTER " + ddl.QuoteName(options.Cluster)
	}
	days := strconv.Itoa(spec.TTLDays)
	if m := ttlOf.FindStringSubmatch(have.EngineFull); m == nil || plain(m[1]) != spec.TTLColumn || m[2] != days {
		from := "none"
		if m := anyTTL.FindStringSubmatch(have.EngineFull); m != nil {
			from = m[1]
		}
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: "TTL", From: from, To: days + " days after " + spec.TTLColumn,
			What: fmt.Sprintf("TTL: %s → %s days after %s (older rows go)", from, days, spec.TTLColumn),
			SQL:  fmt.Sprintf("%s MODIFY TTL toDateTime(%s) + INTERVAL %s DAY", prefix, ddl.QuoteName(spec.TTLColumn), days),
		})
	}
	window := strconv.Itoa(spec.DedupWindow)
	if m := windowOf.FindStringSubmatch(have.EngineFull); m == nil || m[1] != window {
		from, setting := "none", "non_replicated_deduplication_window"
		if m != nil {
			from = m[1]
		}
		if options.Cluster != "" {
			setting = "replicated_deduplication_window"
		}
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: setting, From: from, To: window,
			What: fmt.Sprintf("%s: %s → %s", setting, from, window), SQL: prefix + " MODIFY SETTING " + setting + " = " + window,
		})
	}
}

// plain takes quotes, blanks and a pair of parentheses around the whole out, so that only what differs differs.
func plain(expression string) string {
	s := strings.NewReplacer("`", "", " ", "", "\n", "").Replace(expression)
	if len(s) < 2 || s[0] != '(' || s[len(s)-1] != ')' {
		return s
	}
	depth := 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 && i < len(s)-1 { // (a), (b)
			return s
		}
	}
	return s[1 : len(s)-1]
}

func (g *Governance) schemaOf(c contract.Contract) (string, error) {
	for _, s := range g.deps.Subjects {
		if s.Name == c.Subject {
			return g.selfContained(s)
		}
	}
	return "", fmt.Errorf("subject %s has no schema", c.Subject)
}
