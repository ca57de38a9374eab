package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// job is one planned block on its way into the table. It runs in a goroutine of its own, so that polling goes on.
type job struct {
	plan blockPlan
	// mine are the partitions that this writer has owned ever since it planned the block, or read the plan there: the
	// writer's share of the plan. Of a partition that was given away in between another writer's word is the last. Touched
	// by the session's goroutine only; scope is what it was when the job began.
	mine  map[int32]bool
	scope []int32
	// block of rows; nil for a plan whose rows are read again first, into rebuilt. That one belongs to the job's
	// goroutine until the job is done; held is its memory, in bytes.
	block   *columnar.Block
	rebuilt *columnar.Block
	held    atomic.Int64
	// oldest is the Kafka timestamp of the oldest record, in milliseconds; 0 is unknown.
	oldest int64
	// again says that the table is to be asked at once what it lacks: the plan's own insert is acknowledged.
	again bool
	// changed says that the rows cannot be made again.
	changed bool
	// burnt says that the plan's insert is acknowledged, and that the table or a view lacks rows of it all the same.
	burnt bool
	// limit is how many rows a look-up takes at most, 0 for all: ClickHouse refuses a row among more. rejected is what it said
	// of the plan's only row.
	limit    int
	rejected error
	// lease is the latest on the plan that is known, and found what a predecessor left at a partition that has come to the share
	// since the job began; the session's goroutine folds it in. fresh says that the lease is the job's own, for one attempt.
	lease, found lease
	fresh        bool
	// viewsOf are the partitions whose rows' views are rebuilt. wantsLease ends a job that cannot go on without a lease.
	viewsOf    map[int32]bool
	wantsLease bool
	// unknown says that an insert of the plan may have taken place, or still may.
	unknown   bool
	notBefore time.Time
	// missing is the plan for what the table lacks of this one, which is rebuilt's; letters are for what is no row any more.
	missing *blockPlan
	letters []letter
	cancel  context.CancelFunc
	err     error
}

// share is a job for some partitions of a plan.
func share(plan blockPlan, partitions ...int32) *job {
	j := &job{plan: plan, mine: map[int32]bool{}}
	for _, partition := range partitions {
		j.mine[partition] = true
	}
	return j
}

// anew is the same look-up for other partitions of the plan. What ClickHouse refused is found again.
func (j *job) anew(mine map[int32]bool) *job {
	return &job{plan: j.plan, mine: mine, again: j.again, changed: j.changed, burnt: j.burnt, limit: j.limit, lease: j.lease.later(j.found), viewsOf: j.viewsOf}
}

// start runs a job; its end comes over p.done.
func (p *product) start(j *job) {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.scope = nil
	for partition := range j.mine {
		j.scope = append(j.scope, partition)
	}
	slices.Sort(j.scope)
	p.job = j
	done := p.done
	go func() {
		j.err = p.execute(ctx, j)
		done <- j
	}()
}

// errPastDeadline says that a plan's insert may not be sent any more: the table may forget its token.
var errPastDeadline = errors.New("the plan's deadline is past")

// execute inserts the job's block and returns when ClickHouse has it, or ctx ends. A plan that cannot be inserted any more
// is looked up in the table instead.
func (p *product) execute(ctx context.Context, j *job) error {
	rows := j.block
	if rows == nil {
		j.unknown = true
		if err := p.retrying(ctx, classifyRebuild, func() error { return p.rebuild(ctx, j) }); err != nil {
			return err
		}
		rows = j.rebuilt
	}
	if rows != nil {
		j.held.Store(int64(rows.Footprint()))
	}
	if j.missing != nil || j.wantsLease {
		return nil
	}
	chunks := rows.Native()
	token := j.plan.token(p.clusterID, p.spec.Database+"."+p.spec.Table)
	block := clickhouse.Block{
		Database: p.spec.Database, Table: p.spec.Table, Columns: rows.Layout().Names(),
		Chunks: chunks, Rows: rows.Rows(), Token: token, MaxExecution: j.plan.execution(),
	}
	began := time.Now()
	attempt := 0
	err := p.retrying(ctx, classifyInsert, func() error {
		if !j.plan.insertable(p.now()) {
			return errPastDeadline
		}
		if err := p.decoders.stillSound(ctx); err != nil {
			return err
		}
		attempt++
		// The attempt keeps the id unique: an earlier one may still run when its connection was lost.
		block.QueryID = fmt.Sprintf("%s-%d-%d", token, began.UnixMilli()%1e9, attempt)
		err := p.deps.ClickHouse.Insert(ctx, block)
		if err != nil && clickhouse.Classify(err).Action == clickhouse.Split {
			p.metrics.retries.WithLabelValues(p.topic, clickhouse.Split.String()).Inc()
			return &refusedError{err}
		}
		j.unknown = j.unknown || err != nil
		return err
	})
	if err != nil {
		return err
	}
	p.acknowledged(j, rows.Rows(), chunks, began)
	if !j.unknown {
		return nil
	}
	return p.retrying(ctx, classifyBurnt, func() (err error) { j.burnt, err = p.burnt(ctx, j); return err })
}

func (p *product) acknowledged(j *job, rows int, chunks [][]byte, began time.Time) {
	bytes := 0
	for _, c := range chunks {
		bytes += len(c)
	}
	m := p.metrics
	m.rows.WithLabelValues(p.topic).Add(float64(rows))
	m.bytes.WithLabelValues(p.topic).Add(float64(bytes))
	m.blocks.WithLabelValues(p.topic).Inc()
	m.insert.WithLabelValues(p.topic).Observe(time.Since(began).Seconds())
	if j.oldest > 0 {
		m.latency.WithLabelValues(p.topic).Observe(time.Since(time.UnixMilli(j.oldest)).Seconds())
	}
}

// refusedError says that ClickHouse refuses some row of a block, and therefore all of it.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// retrying runs f until it succeeds, ctx ends, a deadline is past, the clock is found to be off or a row is refused. Every other error is waited out: what passes by itself
// with a growing delay, what needs a person slowly and with an alarm. Nothing is skipped.
func (p *product) retrying(ctx context.Context, classify func(error) clickhouse.Verdict, f func() error) error {
	delays := backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: 5 * time.Second}
	delays.Reset()
	failures := 0
	for {
		err := f()
		if err == nil {
			if failures > 0 {
				p.log.Info("inserting again", "failures", failures)
			}
			p.insertState.Store(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refused *refusedError
		var off *clockError
		if errors.Is(err, errPastDeadline) || errors.As(err, &refused) || errors.As(err, &off) {
			return err
		}
		verdict := classify(err)
		p.metrics.retries.WithLabelValues(p.topic, verdict.Action.String()).Inc()
		p.trouble(verdict, err, failures)
		failures++
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(verdict.Delay, delays.NextBackOff())):
		}
	}
}

// classifyInsert is ClickHouse's verdict, and the writer's own on a table that is no longer sound.
func classifyInsert(err error) clickhouse.Verdict {
	var wrong *unsoundError
	if errors.As(err, &wrong) {
		return clickhouse.Verdict{Action: clickhouse.Alarm, Delay: 5 * time.Second, Reason: "it was sound when the writer began"}
	}
	return clickhouse.Classify(err)
}

// classifyRebuild is for reading a planned block again, which asks Kafka, the registry and the table: whatever fails there
// is waited out.
func classifyRebuild(err error) clickhouse.Verdict {
	var wait *waitError
	if errors.As(err, &wait) {
		return clickhouse.Verdict{Action: wait.action, Delay: time.Second, Reason: "an insert of it may still come"}
	}
	if wrong := new(unsoundError); errors.As(err, &wrong) {
		return classifyInsert(err)
	}
	return clickhouse.Verdict{Action: clickhouse.Retry, Delay: time.Second, Reason: "a planned block has to be read again first"}
}

// waitError says that a plan can neither be repeated nor repaired yet.
type waitError struct {
	action clickhouse.Action
	text   string
}

func (e *waitError) Error() string { return e.text }

// trouble says once, and again every so often, what holds the product up.
func (p *product) trouble(verdict clickhouse.Verdict, err error, failures int) {
	text := fmt.Sprintf("%s (%s)", err, verdict.Reason)
	if verdict.Action == clickhouse.Apply {
		text += "; run `streamforge apply`"
	}
	state := &trouble{text: text, alarm: verdict.Action != clickhouse.Retry}
	p.insertState.Store(state)
	if failures == 0 || failures%20 == 0 {
		p.log.Warn("insert is waiting", "action", verdict.Action.String(), "failures", failures, "error", text)
	}
}

// rebuild makes the rows of a plan again. Before the plan's deadline they go in under its token, whatever the table shows: a view
// may lack what the table has. After its horizon, when no insert of it can come any more, the table is asked what it
// lacks, and at once when its token is burnt. In between, and when the rows are others now, there is nothing to do but wait: somebody
// may still be able to repeat it.
func (p *product) rebuild(ctx context.Context, j *job) error {
	now := p.now()
	if !j.again && !j.changed && !j.burnt && j.lease == (lease{}) && j.plan.insertable(now) {
		b, err := p.reread(ctx, j.plan, nil)
		if err != nil && !errors.Is(err, errIncomplete) {
			return err
		}
		if err == nil && b.same() {
			p.log.Info("repeating a planned block", "rows", b.rows, "age_s", now.Unix()-j.plan.Created)
			p.metrics.recovered.WithLabelValues(p.topic).Inc()
			j.rebuilt = b.block
			return nil
		}
		j.changed = true
		p.log.Warn("the rows of a planned block cannot be made again", "rows_planned", j.plan.Rows, "rows_read", b.rows, "complete", err == nil)
	}
	if !j.again && !j.burnt && !j.plan.settled(now) {
		action := clickhouse.Retry
		if j.changed {
			action = clickhouse.Alarm
		}
		return &waitError{action, fmt.Sprintf("a block of %d rows, planned %d s ago, cannot be repeated; what the table lacks of it is inserted %d s after it was planned",
			j.plan.Rows, now.Unix()-j.plan.Created, j.plan.Horizon)}
	}
	// A clock that has gone wrong since would make this too early.
	if err := p.decoders.stillSound(ctx); err != nil {
		return err
	}
	if !j.again {
		if rebuilt, err := p.rebuildViews(ctx, j); !rebuilt || err != nil {
			return err
		}
	}
	return p.lookUp(ctx, j)
}

// maxLookUp bounds the partitions of one look-up, so that the text of its plan has room for what is excluded.
const maxLookUp = 48

// lookUp asks the table what it lacks of the job's share of a plan, and makes those rows.
func (p *product) lookUp(ctx context.Context, j *job) error {
	j.scope = j.scope[:min(len(j.scope), maxLookUp)]
	for limit := j.limit; ; {
		b, there, err := p.lookUpAtOnce(ctx, j, limit)
		if err != nil && !errors.Is(err, errIncomplete) {
			return err
		}
		plan := b.mended()
		if len(plan.String()) <= kafka.MaxMetadataBytes-planReserve/2 {
			p.log.Warn("a planned block was looked up in the table", "partitions", strings.Trim(fmt.Sprint(j.scope), "[]"), "rows_there", there,
				"rows_missing", plan.Rows, "dead_letters", len(b.letters), "records_expired", err != nil, "more", plan.more())
			j.rebuilt, j.missing, j.letters = b.block, &plan, b.letters
			return nil
		}
		// Too much is to be left out for one text: less at once.
		if j.scope = j.scope[:(len(j.scope)+1)/2]; len(j.scope) == 1 {
			limit = max(1, b.rows/2)
		}
	}
}

// lookUpAtOnce looks the whole scope up. It also returns how many of the rows are there.
func (p *product) lookUpAtOnce(ctx context.Context, j *job, limit int) (*rereading, int, error) {
	part := j.plan.of(j.scope)
	have, err := p.present(ctx, part)
	if err != nil {
		return nil, 0, err
	}
	b, err := p.reread(ctx, part, &repair{have: have, limit: limit, rejected: j.rejected})
	return b, len(have), err
}
