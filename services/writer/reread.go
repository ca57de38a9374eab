package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// position of a row in Kafka.
type position struct {
	partition int32
	offset    int64
}

// present asks the table which rows of a plan it has.
func (p *product) present(ctx context.Context, plan blockPlan) (map[position]bool, error) {
	have := map[position]bool{}
	err := p.eachPresent(ctx, plan, func(r planRange, offset int64) { have[position{r.Partition, offset}] = true })
	return have, err
}

// eachPresent goes through the rows of a plan's ranges that the table has.
func (p *product) eachPresent(ctx context.Context, plan blockPlan, see func(r planRange, offset int64)) error {
	for _, r := range plan.Ranges {
		rows, err := p.deps.ClickHouse.Query(ctx, fmt.Sprintf(
			"SELECT _offset FROM %s WHERE _topic_id = toUUID('%s') AND _partition = %d AND _offset >= %d AND _offset < %d",
			p.spec.Name(), uuidText(p.topicID), r.Partition, r.From, r.To))
		if err != nil {
			return err
		}
		for rows.Next() {
			var offset int64
			if err := rows.Scan(&offset); err != nil {
				rows.Close()
				return err
			}
			see(r, offset)
		}
		err = rows.Err()
		rows.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// rereadIdle is how long the reading of a plan's ranges waits for a record before it concludes that none is left.
const rereadIdle = 15 * time.Second

// errIncomplete says that Kafka no longer has all records of a plan.
var errIncomplete = errors.New("not all records of the plan are in Kafka any more")

// rereading makes the rows of a plan again, also of partitions that belong to others now.
type rereading struct {
	product *product
	plan    blockPlan
	// repair is nil when the whole plan is repeated.
	repair *repair
	open   map[int32]planRange

	block   *columnar.Block
	hash    uint64
	rows    int
	letters []letter
	// Of a repair: the ranges of the new plan, and their text's length so far.
	ranges map[int32]*repairRange
	text   int
}

// repair is what a look-up knows before it reads.
type repair struct {
	// have are the rows that the table has already.
	have map[position]bool
	// limit of rows, 0 for none.
	limit int
	// rejected is ClickHouse's word on the only row of the plan.
	rejected error
}

// repairRange is a range whose excluded runs are found while its records come by.
type repairRange struct {
	planRange
	kept int64 // the last offset that is a row, -1 before the first
}

// skip excludes an offset. Offsets between two excluded ones that hold no record, such as transaction markers, are part of
// the run.
func (r *repairRange) skip(offset int64) (began bool) {
	if n := len(r.Excluded); n > 0 && r.Excluded[n-1].To > r.kept {
		r.Excluded[n-1].To = offset + 1
		return false
	}
	r.Excluded = append(r.Excluded, offsetRun{offset, offset + 1})
	return true
}

// reread reads a plan's ranges and decodes them. In a repair what the table has is left out, and what is no row any more
// becomes a letter.
func (p *product) reread(ctx context.Context, plan blockPlan, mending *repair) (*rereading, error) {
	b := &rereading{product: p, plan: plan, repair: mending, open: map[int32]planRange{}, ranges: map[int32]*repairRange{}}
	b.text = planHeadText + len(plan.Ranges)*maxRangeText
	var assign []kafka.Committed
	for _, r := range plan.Ranges {
		assign = append(assign, kafka.Committed{TopicPartition: p.partitionName(r.Partition), Offset: r.From})
		b.open[r.Partition] = r
		b.ranges[r.Partition] = &repairRange{planRange: planRange{Partition: r.Partition, From: r.From, Cut: r.To, To: r.To}, kept: -1}
	}
	consumer, err := kafka.NewConsumer(p.deps.Kafka, kafka.ConsumerConfig{
		Assign: assign, Headers: mending != nil, QueuedMaxKBytes: 8192, MaxBatchRecords: 4096, PartitionEnds: true,
	}, p.log, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	idle := time.Now()
	for len(b.open) > 0 {
		records, err := consumer.Poll(ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if len(records) > 0 {
			idle = time.Now()
		}
		if err := b.take(ctx, records); err != nil {
			return nil, err
		}
		for partition, r := range b.open {
			if consumer.Position(p.partitionName(partition)) >= r.To {
				delete(b.open, partition)
			}
		}
		if time.Since(idle) > rereadIdle {
			return b, errIncomplete
		}
	}
	return b, nil
}

// same says whether the rows are those that were planned.
func (b *rereading) same() bool { return b.hash == b.plan.Hash && b.rows == b.plan.Rows }

// mended is the plan for what was found missing: the next number, and the ranges without what is in the table.
func (b *rereading) mended() blockPlan {
	plan := blockPlan{TopicID: b.plan.TopicID, Number: b.plan.Number + 1, Rows: b.rows, Hash: b.hash}
	for _, old := range b.plan.Ranges {
		r := b.ranges[old.Partition].planRange
		for _, run := range old.Excluded {
			// What is left for later keeps what is known of it.
			if run.From = max(run.From, r.Cut); run.From < run.To {
				r.Excluded = append(r.Excluded, run)
			}
		}
		plan.Ranges = append(plan.Ranges, r)
	}
	plan.sort()
	return plan
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
		if err := b.record(ctx, want, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *rereading) record(ctx context.Context, want planRange, r *kafka.Record) error {
	switch mending := b.repair != nil; {
	case r.Value == nil:
		return nil // A tombstone is no row, however it is read.
	case !mending && r.Offset >= want.Cut, mending && r.Offset >= b.ranges[r.Partition].Cut:
		return nil
	case want.excludes(r.Offset), mending && b.repair.have[position{r.Partition, r.Offset}]:
		b.skip(r)
		return nil
	case mending && b.repair.rejected != nil && r.Offset < want.Cut:
		// The plan has but one row, and this is it.
		if err := b.divert(ctx, r, deadletters.RejectedRow, b.repair.rejected); err != nil {
			return err
		}
		b.repair.rejected = nil
		return nil
	case mending && b.repair.rejected == nil && (b.text > maxRepairText && b.rows > 0 || b.repair.limit > 0 && b.rows >= b.repair.limit):
		b.ranges[r.Partition].Cut = r.Offset
		return nil
	}
	class, err := b.append(ctx, r)
	switch {
	case err == nil:
		b.hash += recordHash(r.Partition, r.Offset, r.Value)
		b.rows++
		b.ranges[r.Partition].kept = r.Offset
		return nil
	case class == "":
		return err
	case b.repair == nil:
		return nil // It was a row when the block was planned and is none now: the rows are found to be others.
	}
	return b.divert(ctx, r, class, err)
}

func (b *rereading) divert(ctx context.Context, r *kafka.Record, class string, cause error) error {
	l, err := b.product.letter(ctx, r, class, cause)
	if err != nil {
		return err
	}
	b.product.log.Warn("record goes to dead-letters", "partition", r.Partition, "offset", r.Offset, "class", class, "error", cause.Error())
	b.letters = append(b.letters, l)
	b.skip(r)
	return nil
}

// maxRepairText leaves room for one more run in every range.
const maxRepairText = kafka.MaxMetadataBytes - 512

func (b *rereading) skip(r *kafka.Record) {
	if b.ranges[r.Partition].skip(r.Offset) {
		b.text += maxExcludedText
	}
}

// append makes a row. An error with a class is the record's; one without means to wait.
func (b *rereading) append(ctx context.Context, r *kafka.Record) (class string, err error) {
	id, body, err := registry.ParseWire(r.Value)
	if err != nil {
		return deadletters.NotWireFormat, err
	}
	plan, err := b.product.decoders.get(ctx, id)
	var unknown *badRecordError
	if errors.As(err, &unknown) {
		return unknown.class, err
	}
	if err != nil {
		return "", err
	}
	if b.block == nil {
		b.block = columnar.NewBlock(plan.Layout())
	}
	if b.block.Layout() != plan.Layout() {
		return "", errOtherLayout // The table has new columns since the first row: all are made again with them.
	}
	origin := columnar.Origin{TopicID: b.plan.TopicID, Partition: r.Partition, Offset: r.Offset}
	if err := plan.Append(b.block, &origin, body); err != nil {
		return deadletters.BadValue, err
	}
	return "", nil
}
