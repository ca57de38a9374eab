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

// errIncomplete says that Kafka no longer has all records of a plan.
var errIncomplete = errors.New("not all records of the plan are in Kafka any more")

// rereading makes the rows of a plan again, also of partitions that belong to others now.
type rereading struct {
	product *product
	plan    blockPlan
	// have are the rows that the table has already; nil repeats the whole plan.
	have map[position]bool
	open map[int32]planRange

	block   *columnar.Block
	hash    uint64
	rows    int
	letters []letter
	// Of a repair: the ranges of the new plan, their text's length so far, and whether not everything fitted.
	ranges map[int32]*repairRange
	text   int
	more   bool
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

// reread reads a plan's ranges and decodes them. have, when not nil, makes it a repair: what the table has is left out,
// what is no row any more becomes a letter.
func (p *product) reread(ctx context.Context, plan blockPlan, have map[position]bool) (*rereading, error) {
	b := &rereading{product: p, plan: plan, have: have, open: map[int32]planRange{}, ranges: map[int32]*repairRange{}}
	b.text = planHeadText + len(plan.Ranges)*maxRangeText
	var assign []kafka.Committed
	for _, r := range plan.Ranges {
		assign = append(assign, kafka.Committed{TopicPartition: p.partitionName(r.Partition), Offset: r.From})
		b.open[r.Partition] = r
		b.ranges[r.Partition] = &repairRange{planRange: planRange{Partition: r.Partition, From: r.From, To: r.To}, kept: -1}
	}
	consumer, err := kafka.NewConsumer(p.deps.Kafka, kafka.ConsumerConfig{
		Assign: assign, Headers: have != nil, QueuedMaxKBytes: 8192, MaxBatchRecords: 4096, PartitionEnds: true,
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

// repair is the plan for what was found missing: the next number, and the ranges without what is in the table.
func (b *rereading) repair() blockPlan {
	plan := blockPlan{TopicID: b.plan.TopicID, Number: b.plan.Number + 1, Rows: b.rows, Hash: b.hash, More: b.more}
	for _, r := range b.ranges {
		plan.Ranges = append(plan.Ranges, r.planRange)
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
	switch {
	case r.Value == nil:
		return nil // A tombstone is no row, however it is read.
	case want.excludes(r.Offset), b.have[position{r.Partition, r.Offset}]:
		b.skip(r)
		return nil
	case b.have != nil && b.text > maxRepairText:
		b.more = true
		b.skip(r)
		return nil
	}
	class, err := b.append(ctx, r)
	if err == nil {
		b.hash += recordHash(r.Partition, r.Offset, r.Value)
		b.rows++
		b.ranges[r.Partition].kept = r.Offset
		return nil
	}
	if class == "" {
		return err
	}
	// It was a row when the block was planned and is none now. A repetition only finds that the rows are others.
	if b.have != nil {
		l, letterErr := b.product.letter(ctx, r, class, err)
		if letterErr != nil {
			return letterErr
		}
		b.letters = append(b.letters, l)
		b.skip(r)
	}
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
