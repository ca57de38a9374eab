package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// A token is burnt when a table remembers it and has not the rows. A MergeTree that is not replicated writes the token down right before
// the part takes its place (ClickHouse 26.5, deduplication_logs), and a kill in between leaves the one without the other; the repetition
// is then dropped and acknowledged. A replicated table commits both at once. So whoever repeats an insert whose outcome was unknown looks
// afterwards whether the rows are there. By then the token is known to the table and to every view's target, and no copy of the insert,
// however late, has any effect: what lacks is made good at once, as after a plan's horizon, views first.

// burnt says whether the table, or a view, lacks what ClickHouse has just acknowledged of a repeated insert.
func (p *product) burnt(ctx context.Context, j *job) (bool, error) {
	table, err := p.deps.ClickHouse.Table(ctx, p.spec.Database, p.spec.Table)
	if err != nil {
		return false, err
	}
	if strings.HasPrefix(table.Engine, "Replicated") {
		return false, nil
	}
	there := 0
	if err := p.eachPresent(ctx, j.plan, func(r planRange, offset int64) {
		if offset < r.Cut && !r.excludes(offset) {
			there++
		}
	}); err != nil {
		return false, err
	}
	if there < j.plan.Rows {
		p.log.Error("ClickHouse drops a repeated block that it has lost in a crash; what lacks gets a plan of its own", "rows", j.plan.Rows, "rows_there", there)
		return true, nil
	}
	// Views are compared only when there was a crash: it means to add up all rows of their buckets.
	if crashed, err := p.crashedSince(ctx, j.plan); !crashed || err != nil {
		return false, err
	}
	return p.viewsLack(ctx, j)
}

// crashedSince says whether ClickHouse was started after the plan was made.
func (p *product) crashedSince(ctx context.Context, plan blockPlan) (bool, error) {
	started, err := number(ctx, p.deps.ClickHouse, "SELECT toInt64(toUnixTimestamp(now())) - toInt64(uptime())")
	if err != nil {
		return false, err
	}
	// Both clocks are as close as sameClock wants them, and both numbers are whole seconds.
	margin := plan.Horizon*(100-deadlinePercent-executionPercent)/100/2 + 2
	return started >= plan.Created-margin, nil
}

// viewsLack says whether a view's buckets of a block differ from what the table adds up to. Nobody else inserts into them meanwhile, or
// they are left out: buckets that other partitions write into cannot be rebuilt either.
func (p *product) viewsLack(ctx context.Context, j *job) (bool, error) {
	fills, err := p.deps.ClickHouse.Fills(ctx, p.spec.Database, p.spec.Table)
	if err != nil || len(fills) == 0 {
		return false, err
	}
	declared, undeclared, err := p.declaredViews(fills)
	if err != nil {
		return false, err
	}
	if len(undeclared) > 0 {
		p.log.Warn("ClickHouse was started again while a block was on its way; whether views that no file in contracts/ declares have it all is not known", "views", undeclared)
	}
	for _, d := range declared {
		r := rebuilding{product: p, plan: j.plan.of(j.scope), scope: j.scope, view: d.view, tables: d.tables}
		if lack, err := r.lack(ctx); lack || err != nil {
			return lack, err
		}
	}
	return false, nil
}

// lack compares every resolution of the buckets that hold rows of the plan with what the table adds up to.
func (r *rebuilding) lack(ctx context.Context) (bool, error) {
	all, err := r.buckets(ctx, nil)
	if err != nil {
		return false, err
	}
	for some := range slices.Chunk(all, maxBuckets) {
		why, err := r.blocked(ctx, some)
		if err != nil {
			return false, err
		}
		if why != "" {
			r.product.log.Warn("ClickHouse was started again while a block was on its way; whether a view has it all is not known, `streamforge verify` says it", "view", r.view.Name, "reason", why)
			continue
		}
		filled := map[string]string{r.product.spec.Table: r.source(r.around(some))}
		for _, t := range r.tables {
			filled[t.Target.Table] = t.FillOver(filled[t.From])
			side := func(number int, query string) string {
				return fmt.Sprintf("SELECT %s, time, sipHash64(toString(tuple(*))) AS shown, %d AS side FROM (%s) WHERE %s", r.groups(), number, query, r.in(some))
			}
			n, err := r.count(ctx, fmt.Sprintf("(SELECT time FROM (%s UNION ALL %s) GROUP BY %s, time HAVING count() != 2 OR uniqExact(shown) != 1 OR uniqExact(side) != 2)",
				side(0, t.ReadOver(filled[t.Target.Table])), side(1, t.ReaderSelect), r.groups()), "1")
			if err != nil {
				return false, err
			}
			if n > 0 {
				r.product.log.Error("a view lacks rows of a block that ClickHouse was killed in; its buckets are made again", "view", t.Reader, "buckets", n)
				return true, nil
			}
		}
	}
	return false, nil
}

// declaredView is a view of contracts/ with those of its resolutions that hang on the table.
type declaredView struct {
	view   contract.View
	tables []ddl.ViewTables
}

// declaredViews tells views of contracts/ from others, which are named.
func (p *product) declaredViews(fills []clickhouse.Fill) (declared []declaredView, undeclared []string, err error) {
	known := map[string]bool{}
	for _, v := range p.views {
		tables, err := ddl.Views(v, p.contract, p.decoders.latest(), p.spec.Database, ddl.Options{})
		if err != nil {
			return nil, nil, err
		}
		tables = slices.DeleteFunc(tables, func(t ddl.ViewTables) bool {
			return !slices.ContainsFunc(fills, func(f clickhouse.Fill) bool { return f.View == t.Target.Database+"."+t.Fill })
		})
		for _, t := range tables {
			known[t.Target.Database+"."+t.Fill] = true
		}
		if len(tables) > 0 {
			declared = append(declared, declaredView{v, tables})
		}
	}
	for _, f := range fills {
		if !known[f.View] {
			undeclared = append(undeclared, f.View)
		}
	}
	return declared, undeclared, nil
}

// classifyBurnt is for looking whether the table has a block: whatever fails there is waited out.
func classifyBurnt(err error) clickhouse.Verdict {
	if wrong := new(unsoundError); errors.As(err, &wrong) {
		return classifyInsert(err)
	}
	return clickhouse.Verdict{Action: clickhouse.Retry, Delay: time.Second, Reason: "whether the table has the block has to be known first"}
}
