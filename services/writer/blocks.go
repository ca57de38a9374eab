package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// progress does what is due between two polls, and keeps records away while there is no room for them.
func (p *product) progress(now time.Time) error {
	for until := now.Add(holdPatience); ; now = time.Now() {
		stuck, err := p.step(now)
		if err != nil {
			return err
		}
		if !stuck || !p.awaitRoom(until) {
			return p.pause(stuck || p.held)
		}
	}
}

// step takes the end of an insert, plans the next block and commits. It says whether the open block has no room any more.
func (p *product) step(now time.Time) (stuck bool, err error) {
	select {
	case j := <-p.done:
		p.finish(j)
	default:
	}
	if p.fault != nil {
		return false, p.fault
	}
	if err := p.unpark(now); err != nil {
		return false, err
	}
	p.obey()
	// What predecessors planned comes before anything new.
	may := !now.Before(p.nextCommit)
	if may && p.job == nil && p.missing != nil && !now.Before(p.nextBlock) {
		if err := p.replan(); err != nil {
			return false, err
		}
	}
	if may && p.job == nil && p.leasing != nil {
		if err := p.takeLease(); err != nil {
			return false, err
		}
	}
	if p.job == nil && p.missing == nil && p.leasing == nil && len(p.waiting) > 0 && !now.Before(p.waiting[0].notBefore) {
		next := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.start(next)
	}
	full, crowded := p.fullness()
	due := may && p.idle() && p.open.touched > 0 && !now.Before(p.nextBlock)
	enough := full || crowded || due && p.enough()
	if enough {
		p.sortBlock()
	}
	if due && (enough || p.open.close || now.Sub(p.open.began) >= p.flushAfter()) {
		if err := p.plan(); err != nil {
			return false, err
		}
	}
	if may && p.idle() && p.open.touched == 0 && len(p.completed) > 0 {
		if _, err := p.commit(nil, nil, nil); err != nil {
			return false, err
		}
	}
	p.observe(now)
	return (full || crowded) && p.open.touched > 0, nil
}

// idle says that no block is on its way into the table, nor waits to be.
func (p *product) idle() bool {
	return p.job == nil && p.missing == nil && p.leasing == nil && len(p.waiting) == 0
}

// plan closes the open block: one transaction commits the ends of the block before, the plan on every partition of this
// one, and its dead letters. Then it goes into the table.
func (p *product) plan() error {
	if !p.controls.Fresh() {
		p.commitHasToWait(errNotHeard)
		return nil
	}
	if same, err := p.sameTopic(); !same || err != nil {
		return err
	}
	now := p.now()
	plan := blockPlan{Created: now.Unix(), Horizon: p.horizon(), TopicID: p.topicID, Hash: p.open.hash}
	if p.open.block != nil {
		plan.Rows = p.open.block.Rows()
	}
	for number, part := range p.parts {
		if part.touched {
			plan.Ranges = append(plan.Ranges, planRange{Partition: number, From: part.from, Cut: part.next, To: part.next, Excluded: part.excluded})
		}
	}
	plan.sort()
	j := &job{plan: plan, mine: map[int32]bool{}, block: p.open.block, oldest: p.open.oldest, letters: p.open.letters}
	for _, r := range plan.Ranges {
		j.mine[r.Partition] = true
	}
	if text := plan.String(); plan.Rows > 0 && len(text) > kafka.MaxMetadataBytes-planReserve {
		p.log.Warn("block given up, its plan is too long", "bytes", len(text), "rows", plan.Rows)
		p.discard()
		return p.rewindAll()
	}
	p.sortBlock()
	began, err := p.insertPlanned(j)
	if began {
		if plan.Rows > 0 {
			p.begun++
			p.open.block = nil
		}
		p.closed()
	}
	return err
}

// replan gives what the table lacks of an old plan a plan of its own.
func (p *product) replan() error {
	if !p.controls.Fresh() {
		p.commitHasToWait(errNotHeard)
		return nil
	}
	if same, err := p.sameTopic(); !same || err != nil {
		return err
	}
	old := p.missing
	plan := *old.missing
	plan.Created, plan.Horizon = p.now().Unix(), p.horizon()
	began, err := p.insertPlanned(&job{plan: plan, mine: old.mine, block: old.rebuilt, letters: old.letters, limit: old.limit})
	if began {
		p.metrics.repaired.WithLabelValues(p.topic).Inc()
		p.missing = nil
	}
	return err
}

// insertPlanned commits a block's plan and letters and starts its insert. A block without rows has nothing whose outcome could be
// unknown: its end is committed at once. It says false when the group is changing: then the next polls say what is still
// ours.
func (p *product) insertPlanned(j *job) (bool, error) {
	for _, r := range j.plan.Ranges {
		// Ownership is checked here, on the goroutine that rebalances run on: the broker checks membership only.
		if p.parts[r.Partition] == nil {
			return false, fmt.Errorf("BUG: planning partition %d, which is not ours", r.Partition)
		}
	}
	plan, ends := &j.plan, map[int32]int64(nil)
	if j.plan.Rows == 0 {
		if j.plan.more() {
			return false, errors.New("BUG: a plan without rows leaves some for later")
		}
		plan, ends = nil, map[int32]int64{}
		for _, r := range j.plan.Ranges {
			ends[r.Partition] = r.To
		}
	}
	var begins []kafka.Committed
	if plan != nil {
		begins = plan.begins(p.topic)
	}
	committed, err := p.commit(begins, ends, j.letters)
	if !committed || err != nil {
		return false, err
	}
	p.posted(j.letters)
	j.letters = nil
	if plan != nil {
		j.held.Store(int64(j.block.Footprint()))
		p.nextBlock = time.Now().Add(max(p.blockInterval(), p.timeOf(plan.Rows)))
		p.start(j)
	}
	return true, nil
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
	age := 0.0
	if p.job != nil {
		age = p.now().Sub(time.Unix(p.job.plan.Created, 0)).Seconds()
	}
	p.metrics.planAge.WithLabelValues(p.topic).Set(max(0, age))
	p.metrics.horizon.WithLabelValues(p.topic).Set(float64(p.horizon()))
	blocked := 0.0
	if p.heldUp() != nil {
		blocked = 1
	}
	for _, t := range []*trouble{p.sessionState.Load(), p.insertState.Load(), p.parkState.Load()} {
		if t != nil && t.alarm {
			blocked = 1
		}
	}
	p.metrics.blocked.WithLabelValues(p.topic).Set(blocked)
}
