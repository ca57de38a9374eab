package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// take decodes a batch into the open block. Records are valid only until the next Poll, which is why nothing waits here:
// a record that cannot be decoded yet parks its partition.
func (p *product) take(ctx context.Context, records []kafka.Record) error {
	if p.held {
		p.rewind = p.rewind || len(records) > 0 // They were on their way when the fetching was paused.
		return nil
	}
	// The clock is asked once a batch and not once a row.
	p.flood.Add(p.good, 0)
	p.good = 0
	for i := range records {
		r := &records[i]
		part := p.parts[r.Partition]
		if part == nil || part.parked != "" || r.Offset < part.next {
			continue
		}
		if part.next < 0 {
			part.next = r.Offset
		}
		if p.frontier != nil && r.Offset >= p.frontier.of(p.topicID, r.Partition) {
			if err := p.holdBack(part, r); err != nil {
				return err
			}
			continue
		}
		if r.Value == nil {
			p.metrics.tombstones.WithLabelValues(p.topic).Inc()
			p.advance(part, r)
			continue
		}
		err := p.row(ctx, part, r)
		if errors.Is(err, errOtherLayout) {
			// The table has new columns: the block of the old ones closes first, what follows is read again.
			p.open.close = true
			return p.rewindAll()
		}
		if err != nil {
			if err := p.park(part, r, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance moves the partition's end in the open block behind a record.
func (p *product) advance(part *partition, r *kafka.Record) {
	if !part.touched {
		part.touched, part.from = true, part.next
		p.open.touched++
	}
	part.next = r.Offset + 1
	if p.open.began.IsZero() {
		p.open.began = time.Now()
	}
}

var errOtherLayout = errors.New("the open block has another layout")

// row makes a row of a record, or diverts it. An error means that the record has to wait.
func (p *product) row(ctx context.Context, part *partition, r *kafka.Record) error {
	id, body, err := registry.ParseWire(r.Value)
	if err != nil {
		return p.divert(ctx, part, r, deadletters.NotWireFormat, err)
	}
	plan := p.plans[id]
	if plan == nil {
		if plan, err = p.decoders.get(ctx, id); err != nil {
			var bad *badRecordError
			if errors.As(err, &bad) {
				return p.divert(ctx, part, r, bad.class, err)
			}
			return err
		}
		p.plans[id] = plan
	}
	if err := p.ensureBlock(plan); err != nil {
		return err
	}
	origin := columnar.Origin{TopicID: p.topicID, Partition: r.Partition, Offset: r.Offset}
	if err := plan.Append(p.open.block, &origin, body); err != nil {
		return p.divert(ctx, part, r, deadletters.BadValue, err)
	}
	p.good++
	p.open.hash += recordHash(r.Partition, r.Offset, r.Value)
	if p.open.oldest == 0 || r.TimestampMs > 0 && r.TimestampMs < p.open.oldest {
		p.open.oldest = r.TimestampMs
	}
	p.advance(part, r)
	return nil
}

// ensureBlock makes sure that the open block has the plan's layout.
func (p *product) ensureBlock(plan *columnar.Plan) error {
	layout := plan.Layout()
	if b := p.open.block; b != nil && b.Layout() == layout {
		return nil
	}
	if b := p.open.block; b != nil && b.Rows() > 0 {
		p.plans = map[int]*columnar.Plan{}
		return errOtherLayout
	}
	p.open.block = p.spare
	p.spare = nil
	if p.open.block == nil || p.open.block.Layout() != layout {
		p.open.block = columnar.NewBlock(layout)
	}
	return nil
}

// divert sends a bad record to the dead letters, unless there are too many of them: then something is wrong that no dead
// letter cures, and the partition stops.
func (p *product) divert(ctx context.Context, part *partition, r *kafka.Record, class string, cause error) error {
	if err := p.flood.Admit(p.topic, 1+p.good, 1); err != nil {
		return &floodError{fmt.Errorf("%w; offset %d of partition %d: %s: %w; mend the producer or the schema, or start the writer with --accept-dead-letters=%s",
			err, r.Offset, r.Partition, class, cause, p.topic)}
	}
	bad := *r
	bad.Headers = p.consumer.HeadersOf(r)
	l, err := p.letter(ctx, &bad, class, cause)
	if err != nil {
		p.flood.Add(-1-p.good, -1)
		return err
	}
	p.good = 0
	p.log.Warn("record goes to dead-letters", "partition", r.Partition, "offset", r.Offset, "class", class, "error", cause.Error())
	p.open.letters = append(p.open.letters, l)
	p.open.letterBytes += len(l.key) + len(l.value)
	p.advance(part, r)
	runs := len(part.excluded)
	part.excluded = exclude(part.excluded, r.Offset)
	p.open.excluded += len(part.excluded) - runs
	return nil
}

// floodError parks a partition until a person has looked.
type floodError struct{ error }

// parkedFor is how long a partition waits before its next record is tried again.
const parkedFor = time.Second

// park stops a partition in front of a record that cannot be decoded yet. The others of the product go on.
func (p *product) park(part *partition, r *kafka.Record, cause error) error {
	part.next = r.Offset
	part.parked = fmt.Sprintf("partition %d waits at offset %d: %s", r.Partition, r.Offset, cause)
	part.retryAt = time.Now().Add(parkedFor)
	var flood *floodError
	if errors.As(cause, &flood) {
		part.retryAt = time.Time{}
	}
	if state := p.parkState.Load(); state == nil || state.text != part.parked {
		p.log.Warn("partition is waiting", "partition", r.Partition, "offset", r.Offset, "error", cause.Error())
	}
	p.parkState.Store(&trouble{text: part.parked, alarm: true})
	tp := p.partitionName(r.Partition)
	if err := p.consumer.Pause([]kafka.TopicPartition{tp}); err != nil {
		return err
	}
	return p.consumer.Seek(tp, r.Offset)
}

// unpark lets partitions whose time has come try again.
func (p *product) unpark(now time.Time) error {
	parked := false
	var resume []kafka.TopicPartition
	for number, part := range p.parts {
		if part.parked == "" {
			continue
		}
		if part.retryAt.IsZero() || now.Before(part.retryAt) || p.paused {
			parked = true
			continue
		}
		part.parked = ""
		resume = append(resume, p.partitionName(number))
	}
	if !parked && len(resume) == 0 {
		p.parkState.Store(nil)
	}
	return p.consumer.Resume(resume)
}

// rewindAll makes every partition be read again from where the blocks end.
func (p *product) rewindAll() error {
	p.rewind = false
	for number, part := range p.parts {
		offset := part.next
		if offset < 0 {
			offset = kafka.OffsetBeginning
		}
		if err := p.consumer.Seek(p.partitionName(number), offset); err != nil {
			return err
		}
	}
	return nil
}

// discard gives the open block up, to be read again.
func (p *product) discard() {
	if b := p.open.block; b != nil {
		p.metrics.discarded.WithLabelValues(p.topic).Add(float64(b.Rows()))
		b.Reset()
		p.spare = b
	}
	for _, part := range p.parts {
		if part.touched {
			part.next, part.touched, part.excluded = part.from, false, nil
		}
	}
	p.open = openBlock{}
	p.rewind = true
}
