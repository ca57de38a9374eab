package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// progress does what is due between two polls: it takes the end of an insert, plans the next block, commits, pauses.
func (p *product) progress(now time.Time) error {
	select {
	case j := <-p.done:
		p.finish(j)
	default:
	}
	if err := p.unpark(now); err != nil {
		return err
	}
	if p.job == nil && len(p.waiting) > 0 {
		next := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.start(next)
	}
	full, crowded := p.fullness()
	if p.job == nil && p.open.touched > 0 && (full || crowded || p.open.close || now.Sub(p.open.began) >= p.flushAfter()) {
		if err := p.plan(now); err != nil {
			return err
		}
	}
	if p.job == nil && p.open.touched == 0 && len(p.completed) > 0 {
		if err := p.commit(nil); err != nil {
			return err
		}
	}
	p.observe(now)
	return p.pause((full || crowded) && p.open.touched > 0)
}

// behindFactor is by how much longer a block stays open while the product is behind.
const behindFactor = 5

// flushAfter is the age at which a block closes. While more records wait at the broker, it may grow towards its greatest
// size instead: a large block costs ClickHouse half of what a small one does, and its first row is late anyway.
func (p *product) flushAfter() time.Duration {
	if p.behind {
		return behindFactor * p.config.FlushInterval
	}
	return p.config.FlushInterval
}

// fullness says whether the open block should close for its size, and whether all blocks of the writer take too much.
func (p *product) fullness() (full, crowded bool) {
	held := 0
	if p.job != nil {
		held += int(p.job.held.Load())
	}
	if p.spare != nil {
		held += p.spare.Footprint()
	}
	if b := p.open.block; b != nil {
		held += b.Footprint()
		full = b.Rows() >= p.config.MaxBlockRows || b.Bytes() >= p.config.MaxBlockBytes
	}
	p.metrics.memory.WithLabelValues(p.topic).Set(float64(held))
	crowded = !p.budget.report(p.topic, held)
	// The plan has to fit the metadata of an offset.
	text := planHeadText + p.open.touched*maxRangeText + p.open.excluded*maxExcludedText
	return full || text > kafka.MaxMetadataBytes, crowded
}

// maxExcludedText is the most characters of an excluded offset: a batch closes the block long before ten digits.
const maxExcludedText = 8

// plan closes the open block: its dead letters are in Kafka, its plan is committed together with the end of the block
// before, and then it goes into the table.
func (p *product) plan(now time.Time) error {
	settled, err := p.letters.settled()
	if err != nil {
		p.log.Warn("block given up", "error", err.Error())
		p.discard()
		return p.rewindAll()
	}
	if !settled {
		return nil
	}
	plan := blockPlan{Created: now.Unix(), TopicID: p.topicID, Hash: p.open.hash}
	if p.open.block != nil {
		plan.Rows = p.open.block.Rows()
	}
	for number, part := range p.parts {
		if part.touched {
			plan.Ranges = append(plan.Ranges, planRange{Partition: number, From: part.from, To: part.next, Excluded: part.excluded})
		}
	}
	plan.sort()
	if plan.Rows == 0 {
		// Nothing but dead letters and tombstones: there is no insert whose outcome could be unknown.
		for _, r := range plan.Ranges {
			p.completed[r.Partition] = r.To
		}
		p.closed()
		return p.commit(nil)
	}
	if text := plan.String(); len(text) > kafka.MaxMetadataBytes {
		p.log.Warn("block given up, its plan is too long", "bytes", len(text), "rows", plan.Rows)
		p.discard()
		return p.rewindAll()
	}
	if err := p.commit(&plan); err != nil {
		return err
	}
	if !p.committed {
		return nil
	}
	j := &job{plan: plan, block: p.open.block, oldest: p.open.oldest}
	j.held.Store(int64(j.block.Footprint()))
	p.open.block = nil
	p.closed()
	p.start(j)
	return nil
}

// closed begins the next block.
func (p *product) closed() {
	for _, part := range p.parts {
		part.touched, part.excluded = false, nil
	}
	if p.open.block != nil {
		p.open.block.Reset()
	}
	p.open = openBlock{block: p.open.block}
}

// commit writes the ends of blocks that are in the table and, with a plan, the plan on every partition of its block. It
// leaves p.committed false when the group is changing: then the next polls say what is still ours.
func (p *product) commit(plan *blockPlan) error {
	p.committed = false
	var offsets []kafka.Committed
	planned := map[int32]bool{}
	if plan != nil {
		offsets = plan.begins(p.topic)
		for _, r := range plan.Ranges {
			// Ownership is checked here, on the goroutine that rebalances run on: the broker checks membership only.
			if p.parts[r.Partition] == nil {
				return fmt.Errorf("BUG: planning partition %d, which is not ours", r.Partition)
			}
			planned[r.Partition] = true
		}
	}
	for number, end := range p.completed {
		if !planned[number] && p.parts[number] != nil {
			offsets = append(offsets, kafka.Committed{TopicPartition: p.partitionName(number), Offset: end, Metadata: p.completedText()})
		}
	}
	if len(offsets) == 0 {
		clear(p.completed)
		p.committed = true
		return nil
	}
	err := p.consumer.Commit(offsets)
	switch {
	case err == nil:
		clear(p.completed)
		p.committed = true
		return nil
	case errors.Is(err, kafka.ErrRebalance), errors.Is(err, kafka.ErrFenced), errors.Is(err, kafka.ErrUnreachable):
		// The next polls bring the rebalance, or the broker back; the block stays open meanwhile.
		p.log.Info("commit has to wait", "error", err.Error())
		return nil
	}
	return err
}

// finish takes the end of an insert.
func (p *product) finish(j *job) {
	if j != p.job {
		return // Abandoned at a rebalance.
	}
	p.job = nil
	j.cancel()
	if j.err != nil {
		return
	}
	for _, r := range j.plan.Ranges {
		if part := p.parts[r.Partition]; part != nil && (part.next < 0 || r.To <= part.next) {
			p.completed[r.Partition] = r.To
		}
	}
	if j.block != nil && j.block.Layout() == p.decoders.current() {
		j.block.Reset()
		if p.spare == nil {
			p.spare = j.block
		}
	}
}

// pause stops or resumes the fetching of all partitions that are not parked; polling goes on, so that the group's
// membership is kept however long ClickHouse is away.
func (p *product) pause(wanted bool) error {
	if wanted == p.paused {
		return nil
	}
	var parts []kafka.TopicPartition
	for number, part := range p.parts {
		if part.parked == "" {
			parts = append(parts, p.partitionName(number))
		}
	}
	p.paused = wanted
	if wanted {
		return p.consumer.Pause(parts)
	}
	return p.consumer.Resume(parts)
}

// observe exports what the product is waiting for.
func (p *product) observe(now time.Time) {
	oldest := p.open.oldest
	if p.job != nil && p.job.oldest > 0 {
		oldest = p.job.oldest
	}
	lag := 0.0
	if oldest > 0 {
		lag = now.Sub(time.UnixMilli(oldest)).Seconds()
	}
	p.metrics.lag.WithLabelValues(p.topic).Set(lag)
	blocked := 0.0
	for _, t := range []*trouble{p.sessionState.Load(), p.insertState.Load(), p.parkState.Load()} {
		if t != nil && t.alarm {
			blocked = 1
		}
	}
	p.metrics.blocked.WithLabelValues(p.topic).Set(blocked)
}

// revokeWait is how long a rebalance waits for the insert under way. One that takes longer is repeated by the new owner,
// under the plan and token that are committed already.
const revokeWait = 5 * time.Second

// revoked gives partitions up. It runs inside Poll and Close.
func (p *product) revoked(parts []kafka.TopicPartition, lost bool) {
	if !lost {
		p.awaitJob(revokeWait)
	}
	shared := false
	for _, tp := range parts {
		if part := p.parts[tp.Partition]; part != nil && part.touched {
			shared = true
		}
	}
	if shared {
		// Rows of the lost partitions cannot be taken out of the columns: the open block is given up as a whole, and what
		// stays ours is read again.
		p.discard()
	}
	if !lost && p.job == nil {
		if err := p.commit(nil); err != nil {
			p.log.Info("last commit of revoked partitions failed, their new owner repeats the block", "error", err.Error())
		}
	}
	for _, tp := range parts {
		delete(p.parts, tp.Partition)
		delete(p.completed, tp.Partition)
	}
	if lost {
		p.abandon()
		clear(p.completed)
	}
	if len(p.parts) == 0 {
		p.rewind = false
	}
}

// awaitJob waits for the insert under way.
func (p *product) awaitJob(most time.Duration) {
	if p.job == nil {
		return
	}
	select {
	case j := <-p.done:
		p.finish(j)
	case <-time.After(most):
	}
}

// abandon ends the insert under way without waiting for its outcome: its plan is committed, whoever owns the partitions
// next repeats it under its token.
func (p *product) abandon() {
	if p.job != nil {
		p.job.cancel()
		p.job = nil
		p.done = make(chan *job, 1)
	}
	p.waiting = nil
	p.insertState.Store(nil)
}

// drainWait bounds each insert of a drain.
const drainWait = 10 * time.Second

// drain puts what is decoded into the table and commits. What ClickHouse does not take in time stays planned, for the
// next writer, or unread.
func (p *product) drain() error {
	p.awaitJob(drainWait)
	if p.job == nil && p.open.touched > 0 {
		deadline := time.Now().Add(2 * time.Second)
		for p.job == nil && p.open.touched > 0 && time.Now().Before(deadline) {
			if err := p.plan(time.Now()); err != nil {
				return err
			}
			if p.job == nil && p.open.touched > 0 {
				time.Sleep(5 * time.Millisecond) // A dead letter is on its way, or the group is changing.
			}
		}
		p.awaitJob(drainWait)
	}
	if p.job != nil {
		p.log.Warn("drained without the last block, the next writer repeats it", "rows", p.job.plan.Rows)
		return nil
	}
	return p.commit(nil)
}
