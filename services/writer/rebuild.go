package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// takeLease commits that the views of an old plan's rows are about to be rebuilt, and begins with it. Nobody else begins before the
// lease's horizon is past: he would rebuild in the middle of what is under way here.
func (p *product) takeLease() error {
	if same, err := p.sameTopic(); !same || err != nil {
		return err
	}
	j := p.leasing
	for partition := range j.mine {
		if p.parts[partition] == nil {
			return fmt.Errorf("BUG: a lease for partition %d, which is not ours", partition)
		}
	}
	l := lease{Created: p.now().Unix(), Horizon: p.horizon()}
	committed, err := p.commit(j.plan.leased(p.topic, l, j.mine), nil, nil)
	if !committed || err != nil {
		return err
	}
	next := j.anew(j.mine)
	next.lease, next.fresh = l, true
	p.leasing = nil
	p.start(next)
	return nil
}

// rebuildViews makes the buckets of an old plan's rows again from the table: nobody knows whether the views have got what the table
// has. It says false when it has to wait for a lease; one is good for one attempt, because of a statement that fails nobody knows
// either whether it goes on.
func (p *product) rebuildViews(ctx context.Context, j *job) (rebuilt bool, err error) {
	if !slices.ContainsFunc(j.scope, func(partition int32) bool { return !j.viewsOf[partition] }) {
		return true, nil
	}
	fills, err := p.deps.ClickHouse.Fills(ctx, p.spec.Database, p.spec.Table)
	if err != nil || len(fills) == 0 {
		return err == nil, err
	}
	if !j.fresh {
		if !j.lease.settled(p.now()) {
			return false, &waitError{clickhouse.Retry, fmt.Sprintf("a rebuild of views was begun %d s ago, and may be under way until it is %d s old", p.now().Unix()-j.lease.Created, j.lease.Horizon)}
		}
		j.wantsLease = true
		return false, nil
	}
	j.fresh = false
	missing, _, err := p.lookUpAtOnce(ctx, j, 0)
	if err != nil && !errors.Is(err, errIncomplete) {
		return false, err
	}
	declared, undeclared, err := p.declaredViews(fills)
	if err != nil {
		return false, err
	}
	for _, d := range declared {
		r := rebuilding{product: p, lease: j.lease, plan: j.plan.of(j.scope), scope: j.scope, view: d.view, tables: d.tables}
		if err := r.run(ctx, missing.block); err != nil {
			return false, fmt.Errorf("rebuilding view %s: %w", d.view.Name, err)
		}
	}
	for _, view := range undeclared {
		p.leaveView(view, "no file in contracts/ declares it")
	}
	j.viewsOf = maps.Clone(j.viewsOf)
	if j.viewsOf == nil {
		j.viewsOf = map[int32]bool{}
	}
	for _, partition := range j.scope {
		j.viewsOf[partition] = true
	}
	return true, nil
}

// leaveView tells of a view that cannot be rebuilt. It may lack rows that the table has.
func (p *product) leaveView(view, why string) {
	p.metrics.viewsLeft.WithLabelValues(p.topic).Inc()
	p.log.Error("a view is not rebuilt after a plan that was found behind its horizon, and may lack rows; `streamforge verify` says whether", "view", view, "reason", why)
}

// rebuilding of what one view has of a plan's rows.
//
// The finest resolution is filled from the table and each coarser one from a finer, so that what is inserted into one goes on into the
// next. Whole buckets of the coarsest resolution are therefore taken out of every target, and the finest ones made again.
type rebuilding struct {
	product *product
	lease   lease
	plan    blockPlan
	scope   []int32
	view    contract.View
	tables  []ddl.ViewTables
}

// maxBuckets of one round, which bounds the text of its statements.
const maxBuckets = 2000

// bucket of the coarsest resolution, as a tuple in SQL: the group, and the time in steps of the resolution.
type bucket struct {
	text string
	at   int64
}

// step of the coarsest resolution, in seconds. Every finer one divides it.
func (r *rebuilding) step() int64 { return int64(r.tables[len(r.tables)-1].Seconds) }

func (r *rebuilding) run(ctx context.Context, missing *columnar.Block) error {
	all, err := r.buckets(ctx, missing)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(all, maxBuckets) {
		why, err := r.blocked(ctx, some)
		if err != nil {
			return err
		}
		if why != "" {
			r.product.leaveView(r.view.Name, why)
			continue
		}
		if err := r.round(ctx, some); err != nil {
			return err
		}
		r.product.metrics.rebuilt.WithLabelValues(r.product.topic).Add(float64(len(some)))
		r.product.log.Warn("buckets of a view were made again", "view", r.view.Name, "buckets", len(some), "seconds_each", r.step())
	}
	return nil
}

// buckets that hold rows of the plan: those that the table has, and those that it lacks, which a view may have had all the same.
func (r *rebuilding) buckets(ctx context.Context, missing *columnar.Block) ([]bucket, error) {
	var ranges []string
	for _, of := range r.plan.Ranges {
		ranges = append(ranges, fmt.Sprintf("_partition = %d AND _offset >= %d AND _offset < %d", of.Partition, of.From, of.To))
	}
	there := r.source("_topic_id = toUUID('" + uuidText(r.product.topicID) + "') AND (" + strings.Join(ranges, " OR ") + ")")
	all, err := r.product.askOver(ctx, r.named(there), nil)
	if err == nil && missing != nil && missing.Rows() > 0 {
		var more []bucket
		more, err = r.product.askOver(ctx, r.named("SELECT * FROM "+missingRows), missing)
		all = append(all, more...)
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text)) })
	return slices.Compact(all), err
}

// missingRows is what a question calls the rows that it brings along.
const missingRows = "missing_rows"

// named asks for the buckets of rows.
func (r *rebuilding) named(rows string) string {
	return fmt.Sprintf("SELECT DISTINCT formatRow('Values', %s) AS text, toString(toInt64(%s)) AS at FROM (%s) FORMAT JSONEachRow", r.keys(), r.at(), r.tables[0].FillOver(rows))
}

// askOver asks for buckets, of rows that the question brings along or of the table's.
func (p *product) askOver(ctx context.Context, query string, rows *columnar.Block) (all []bucket, err error) {
	over := clickhouse.Over{Name: missingRows}
	if rows != nil {
		over.Structure, over.Chunks = strings.Join(rows.Layout().Columns(), ", "), rows.Native()
	}
	answer, err := p.deps.ClickHouse.AskOver(ctx, query, over)
	if err != nil {
		return nil, err
	}
	for lines := json.NewDecoder(bytes.NewReader(answer)); ; {
		var line struct {
			Text string
			At   int64 `json:",string"`
		}
		if err := lines.Decode(&line); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the buckets of a plan: %w", err)
		}
		all = append(all, bucket{strings.TrimSpace(line.Text), line.At})
	}
}

// source reads the rows of the product's table that pass a condition.
func (r *rebuilding) source(condition string) string {
	return "SELECT * FROM " + r.product.spec.Name() + " WHERE " + condition
}

// at is a bucket's time in steps, keys are what names a bucket.
func (r *rebuilding) at() string { return fmt.Sprintf("intDiv(toUnixTimestamp(time), %d)", r.step()) }

func (r *rebuilding) keys() string { return r.groups() + ", " + r.at() }

func (r *rebuilding) groups() string {
	var names []string
	for _, name := range r.view.GroupBy {
		names = append(names, ddl.QuoteName(name))
	}
	return strings.Join(names, ", ")
}

// in is the condition for a row of a target, or of what fills it, to be of the buckets.
func (r *rebuilding) in(some []bucket) string {
	texts := make([]string, len(some))
	for i, b := range some {
		texts[i] = b.text
	}
	return "(" + r.keys() + ") IN (" + strings.Join(texts, ", ") + ")"
}

// around is the condition by which the table can leave out what lies too far away for the buckets.
func (r *rebuilding) around(some []bucket) string {
	from, to := r.times(some)
	column, reach := r.view.Time.Column, time.Duration(0)
	if r.view.Time.Else != "" {
		column, reach = r.view.Time.Else, time.Duration(r.view.Time.WithinHours)*time.Hour
	}
	name := ddl.QuoteName(column)
	return fmt.Sprintf("%s >= toDateTime('%s', 'UTC') AND %s < toDateTime('%s', 'UTC')", name, from.Add(-reach).Format(time.DateTime), name, to.Add(reach).Format(time.DateTime))
}

func (r *rebuilding) times(some []bucket) (from, to time.Time) {
	order := func(a, b bucket) int { return int(a.at - b.at) }
	first, last := slices.MinFunc(some, order), slices.MaxFunc(some, order)
	return time.Unix(first.at*r.step(), 0).UTC(), time.Unix((last.at+1)*r.step(), 0).UTC()
}

// blocked says why buckets cannot be made again; empty when they can.
func (r *rebuilding) blocked(ctx context.Context, some []bucket) (string, error) {
	p := r.product
	from, _ := r.times(some)
	if days := p.spec.TTLDays; days > 0 && from.Before(p.now().AddDate(0, 0, -days).Add(time.Duration(r.view.Time.WithinHours)*time.Hour+time.Hour)) {
		return fmt.Sprintf("the table may have dropped rows of %s for their age already", from.Format(time.DateTime)), nil
	}
	mine := make([]string, len(r.scope))
	for i, partition := range r.scope {
		mine[i] = fmt.Sprint(partition)
	}
	// Where others write into the same buckets, what they insert meanwhile would be taken out of them, or be in them twice.
	others := r.source("_topic_id = toUUID('" + uuidText(p.topicID) + "') AND _partition NOT IN (" + strings.Join(mine, ", ") + ") AND " + r.around(some))
	n, err := r.count(ctx, "("+r.tables[0].FillOver(others)+")", r.in(some))
	if n > 0 {
		return fmt.Sprintf("%d of its buckets hold rows of other partitions, too, which are not this plan's", n), err
	}
	return "", err
}

func (r *rebuilding) count(ctx context.Context, from, condition string) (uint64, error) {
	rows, err := r.product.deps.ClickHouse.Query(ctx, "SELECT count() FROM "+from+" WHERE "+condition+" SETTINGS max_query_size = 16777216")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var n uint64
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// errLeaseIsOut ends an attempt whose deadline passed at the server.
var errLeaseIsOut = errors.New("the server did not do it before the lease's deadline; waiting for another lease")

// round takes buckets out of every target and makes them again. The server does neither after the lease's deadline: a statement that
// comes late finds the condition false. A mutation, however long it goes on, is of parts that were there when it came.
func (r *rebuilding) round(ctx context.Context, some []bucket) error {
	p := r.product
	in := r.in(some)
	// A bucket that only rows had which the table lacks stays away.
	want, err := r.count(ctx, "(SELECT DISTINCT "+r.keys()+" FROM ("+r.tables[0].FillOver(r.source(r.around(some)))+") WHERE "+in+")", "1")
	if err != nil {
		return err
	}
	inTime := fmt.Sprintf("now() < toDateTime(%d)", r.lease.deadline())
	for _, t := range slices.Backward(r.tables) {
		if err := p.deps.ClickHouse.Exec(ctx, "DELETE FROM "+t.Target.Name()+" WHERE "+in+" AND "+inTime+
			" SETTINGS lightweight_deletes_sync = 2, allow_nondeterministic_mutations = 1, max_query_size = 16777216"); err != nil {
			return err
		}
	}
	if err := r.expect(ctx, in, 0); err != nil {
		return fmt.Errorf("taking buckets out: %w", err)
	}
	for _, t := range r.tables {
		if t.From != p.spec.Table {
			continue // The finer target's insert fills it.
		}
		columns := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			columns[i] = ddl.QuoteName(c.Name)
		}
		// The token is for the driver, which may send a statement again by itself. One block, so that the token is one, too.
		statement := fmt.Sprintf("INSERT INTO %s (%s) SETTINGS async_insert = 0, insert_deduplicate = 1, deduplicate_blocks_in_dependent_materialized_views = 1, insert_deduplication_token = 'rebuilt-%s',"+
			" max_insert_block_size = 16777216, min_insert_block_size_rows = 16777216, min_insert_block_size_bytes = 0, max_insert_threads = 1, max_execution_time = %d, max_query_size = 16777216"+
			" SELECT * FROM (%s) WHERE %s AND %s", t.Target.Name(), strings.Join(columns, ", "), uuid.NewString(), int(r.lease.execution().Seconds()), t.FillOver(r.source(r.around(some))), in, inTime)
		if err := p.deps.ClickHouse.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return r.expect(ctx, in, want)
}

// expect looks whether every target has so many of the buckets: a statement that comes too late does nothing, and says nothing.
func (r *rebuilding) expect(ctx context.Context, in string, want uint64) error {
	for _, t := range r.tables {
		n, err := r.count(ctx, "(SELECT DISTINCT "+r.keys()+" FROM "+t.Target.Name()+" WHERE "+in+")", "1")
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%s has %d of %d buckets: %w", t.Target.Name(), n, want, errLeaseIsOut)
		}
	}
	return nil
}
