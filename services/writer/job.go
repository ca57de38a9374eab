package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// job is one planned block on its way into the table. It runs in a goroutine of its own, so that polling goes on.
type job struct {
	plan blockPlan
	// block of rows; nil for the block of a predecessor, whose rows are read again first, into rebuilt. That one belongs to
	// the job's goroutine until the job is done; held is its memory, in bytes.
	block   *columnar.Block
	rebuilt *columnar.Block
	held    atomic.Int64
	// oldest is the Kafka timestamp of the oldest record, in milliseconds; 0 is unknown.
	oldest int64
	// repair says that the token proves nothing: only what the table lacks is inserted.
	repair bool
	cancel context.CancelFunc
	err    error
}

// start runs a job; its end comes over p.done.
func (p *product) start(j *job) {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	p.job = j
	done := p.done
	go func() {
		j.err = p.execute(ctx, j)
		done <- j
	}()
}

// execute inserts the job's block and returns when ClickHouse has it, or ctx ends.
func (p *product) execute(ctx context.Context, j *job) error {
	rows := j.block
	if rows == nil {
		if err := p.retrying(ctx, classifyRebuild, func() error { return p.rebuild(ctx, j) }); err != nil {
			return err
		}
		rows = j.rebuilt
	}
	j.held.Store(int64(rows.Footprint()))
	if rows.Rows() == 0 {
		return nil
	}
	token := j.plan.token(p.clusterID, p.spec.Database+"."+p.spec.Table)
	if j.repair {
		token += fmt.Sprintf("-%d", rows.Rows())
	}
	chunks := rows.Native()
	block := clickhouse.Block{
		Database: p.spec.Database, Table: p.spec.Table, Columns: rows.Layout().Names(),
		Chunks: chunks, Rows: rows.Rows(), Token: token,
	}
	began := time.Now()
	attempt := 0
	err := p.retrying(ctx, clickhouse.Classify, func() error {
		attempt++
		// The id names the token, so that a later writer finds the insert; the attempt keeps it unique, because an earlier
		// one may still run when its connection was lost.
		block.QueryID = fmt.Sprintf("%s-%d-%d", token, began.UnixMilli()%1e9, attempt)
		return p.deps.ClickHouse.Insert(ctx, block)
	})
	if err != nil {
		return err
	}
	p.acknowledged(j, rows.Rows(), chunks, began)
	return nil
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

// retrying runs f until it succeeds or ctx ends. Every error is waited out: what passes by itself with a growing delay,
// what needs a person slowly and with an alarm. Nothing is skipped.
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

// classifyRebuild is for reading a planned block again, which asks Kafka, the registry and the table: whatever fails there
// is waited out.
func classifyRebuild(error) clickhouse.Verdict {
	return clickhouse.Verdict{Action: clickhouse.Retry, Delay: time.Second, Reason: "the planned block of a predecessor has to be read again first"}
}

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

// errIncomplete says that Kafka no longer has all records of a plan.
var errIncomplete = errors.New("not all records of the plan are in Kafka any more")

// rebuild reads the records of a predecessor's plan again and decodes them. When the rows cannot be made again, or the
// plan is older than the table remembers tokens, the job becomes a repair.
func (p *product) rebuild(ctx context.Context, j *job) error {
	horizon := p.horizon()
	age := j.plan.age(time.Now())
	block, hash, rows, err := p.reread(ctx, j.plan, nil)
	if err != nil && !errors.Is(err, errIncomplete) {
		return err
	}
	if err == nil && hash == j.plan.Hash && rows == j.plan.Rows && age < horizon {
		p.log.Info("repeating a planned block", "rows", rows, "age", age.String())
		p.metrics.recovered.WithLabelValues(p.topic).Inc()
		j.rebuilt = block
		return nil
	}
	p.log.Warn("a planned block cannot be repeated under its token, inserting what the table lacks",
		"rows_planned", j.plan.Rows, "rows_read", rows, "same_hash", hash == j.plan.Hash, "age", age.String(), "horizon", horizon.String())
	p.stopOld(ctx, j.plan)
	have, err := p.present(ctx, j.plan)
	if err != nil {
		return err
	}
	block, _, _, err = p.reread(ctx, j.plan, have)
	if err != nil && !errors.Is(err, errIncomplete) {
		return err
	}
	if err := p.awaitLetters(ctx); err != nil {
		return err
	}
	p.metrics.repaired.WithLabelValues(p.topic).Inc()
	j.rebuilt, j.repair = block, true
	return nil
}

// stopOld ends an insert of the predecessor that may still run: what it inserts after the table was asked would double. A
// server that refuses is a warning and no more: by now the insert is older than any that still runs.
func (p *product) stopOld(ctx context.Context, plan blockPlan) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	token := plan.token(p.clusterID, p.spec.Database+"."+p.spec.Table)
	if err := p.deps.ClickHouse.Exec(ctx, "KILL QUERY WHERE query_id LIKE '"+token+"-%' SYNC"); err != nil {
		p.log.Warn("an old insert could not be looked for", "error", err.Error())
	}
}

// awaitLetters waits until the dead letters of a repair are in Kafka.
func (p *product) awaitLetters(ctx context.Context) error {
	for {
		settled, err := p.letters.settled()
		if settled || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// horizon is how long the table remembers a block: its window, at the greatest rate of blocks that the contract allows.
func (p *product) horizon() time.Duration {
	rate := max(1, p.contract.Sink.MaxPartsPerSecond)
	return time.Duration(p.spec.DedupWindow) * time.Second / time.Duration(rate)
}

// position of a row in Kafka.
type position struct {
	partition int32
	offset    int64
}

// present asks the table which rows of a plan it has.
func (p *product) present(ctx context.Context, plan blockPlan) (map[position]bool, error) {
	have := map[position]bool{}
	for _, r := range plan.Ranges {
		rows, err := p.deps.ClickHouse.Query(ctx, fmt.Sprintf(
			"SELECT _offset FROM %s WHERE _topic_id = toUUID('%s') AND _partition = %d AND _offset >= %d AND _offset < %d",
			p.spec.Name(), uuidText(p.topicID), r.Partition, r.From, r.To))
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var offset int64
			if err := rows.Scan(&offset); err != nil {
				rows.Close()
				return nil, err
			}
			have[position{r.Partition, offset}] = true
		}
		err = rows.Err()
		rows.Close()
		if err != nil {
			return nil, err
		}
	}
	return have, nil
}

// rereadIdle is how long the reading of a plan's ranges waits for a record before it concludes that none is left.
const rereadIdle = 15 * time.Second

// reread reads a plan's ranges, also of partitions that belong to others now, and decodes them without the rows in skip.
func (p *product) reread(ctx context.Context, plan blockPlan, skip map[position]bool) (*columnar.Block, uint64, int, error) {
	var assign []kafka.Committed
	open := map[int32]planRange{}
	for _, r := range plan.Ranges {
		assign = append(assign, kafka.Committed{TopicPartition: p.partitionName(r.Partition), Offset: r.From})
		open[r.Partition] = r
	}
	consumer, err := kafka.NewConsumer(p.deps.Kafka, kafka.ConsumerConfig{Assign: assign, Headers: skip != nil, QueuedMaxKBytes: 8192, MaxBatchRecords: 4096}, p.log, prometheus.NewRegistry())
	if err != nil {
		return nil, 0, 0, err
	}
	defer consumer.Close()
	b := rereading{product: p, plan: plan, open: open, skip: skip, excluded: map[position]bool{}}
	for _, r := range plan.Ranges {
		for _, offset := range r.Excluded {
			b.excluded[position{r.Partition, offset}] = true
		}
	}
	idle := time.Now()
	for len(b.open) > 0 {
		records, err := consumer.Poll(ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, 0, err
		}
		if len(records) > 0 {
			idle = time.Now()
		}
		if err := b.take(ctx, records); err != nil {
			return nil, 0, 0, err
		}
		for partition, r := range b.open {
			if consumer.Position(p.partitionName(partition)) >= r.To {
				delete(b.open, partition)
			}
		}
		if time.Since(idle) > rereadIdle {
			return b.result(errIncomplete)
		}
	}
	return b.result(nil)
}

type rereading struct {
	product        *product
	plan           blockPlan
	open           map[int32]planRange
	skip, excluded map[position]bool
	block          *columnar.Block
	hash           uint64
	rows           int
}

func (b *rereading) result(err error) (*columnar.Block, uint64, int, error) {
	if b.block == nil {
		b.block = columnar.NewBlock(b.product.decoders.current())
	}
	return b.block, b.hash, b.rows, err
}

func (b *rereading) take(ctx context.Context, records []kafka.Record) error {
	for i := range records {
		r := &records[i]
		want, reading := b.open[r.Partition]
		if !reading {
			continue
		}
		if r.Offset >= want.To {
			delete(b.open, r.Partition)
			continue
		}
		at := position{r.Partition, r.Offset}
		if r.Value == nil || b.excluded[at] {
			continue
		}
		b.hash += recordHash(r.Partition, r.Offset, r.Value)
		b.rows++
		if b.skip[at] {
			continue
		}
		if err := b.append(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *rereading) append(ctx context.Context, r *kafka.Record) error {
	id, body, err := registry.ParseWire(r.Value)
	if err != nil {
		return b.bad(ctx, r, deadletters.NotWireFormat, err)
	}
	plan, err := b.product.decoders.get(ctx, id)
	var unknown *badRecordError
	if errors.As(err, &unknown) {
		return b.bad(ctx, r, unknown.class, err)
	}
	if err != nil {
		return err
	}
	if b.block == nil {
		b.block = columnar.NewBlock(plan.Layout())
	}
	origin := columnar.Origin{TopicID: b.plan.TopicID, Partition: r.Partition, Offset: r.Offset}
	if err := plan.Append(b.block, &origin, body); err != nil {
		return b.bad(ctx, r, deadletters.BadValue, err)
	}
	return nil
}

// bad takes a record that was a row when the block was planned and is none now. The first reading only counts: the number
// of rows then differs and the block is repaired. The repair diverts what the table does not have.
func (b *rereading) bad(ctx context.Context, r *kafka.Record, class string, cause error) error {
	b.rows--
	if b.skip == nil {
		return nil
	}
	b.product.metrics.deadLetters.WithLabelValues(b.product.topic, class).Inc()
	return b.product.letters.send(ctx, b.product.group, b.plan.TopicID, r, class, cause)
}
