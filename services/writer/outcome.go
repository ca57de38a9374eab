package main

import (
	"errors"
	"fmt"
	"time"
)

// finish takes the end of a job.
func (p *product) finish(j *job) {
	if j != p.job {
		return // Abandoned at a rebalance.
	}
	p.job = nil
	j.cancel()
	var refused *refusedError
	var off *clockError
	switch {
	case errors.As(j.err, &refused):
		p.split(j, refused)
	case errors.As(j.err, &off):
		p.fault = off // The plan is committed; the next session takes it over.
	case errors.Is(j.err, errPastDeadline):
		p.log.Warn("a planned block was not inserted before its deadline", "rows", j.plan.Rows, "horizon_s", j.plan.Horizon)
		p.await(&job{plan: j.plan, mine: j.mine})
	case j.err != nil:
	case j.wantsLease:
		p.leasing = j.anew(j.mine)
	case j.missing != nil:
		p.lookedUp(j)
	case j.burnt:
		p.metrics.burnt.WithLabelValues(p.topic).Inc()
		p.await(&job{plan: j.plan, mine: j.mine, burnt: true})
	default:
		p.inserted(j)
	}
}

// refusedDelay is how long a row that is refused waits when there are too many of them.
const refusedDelay = 5 * time.Second

// split takes a block in which ClickHouse refuses a row. The table is asked again what it lacks of the plan, and half as many rows
// are taken, until the row is alone; then it goes to dead letters, unless too many do.
func (p *product) split(j *job, cause error) {
	next := &job{plan: j.plan, mine: j.mine, limit: max(1, j.plan.Rows/2)}
	// When an earlier try got no answer, it may still take place: then the horizon is waited for.
	next.again, next.changed = !j.unknown, j.unknown
	if j.plan.Rows == 1 {
		if err := p.flood.Admit(p.topic, 1, 1); err != nil {
			err = fmt.Errorf("%w; ClickHouse refuses rows: %w; mend the table or the producer, or start the writer with --accept-dead-letters=%s", err, cause, p.topic)
			p.log.Warn("insert is waiting", "error", err.Error())
			p.insertState.Store(&trouble{text: err.Error(), alarm: true})
			next.notBefore = time.Now().Add(refusedDelay)
		} else {
			next.rejected = cause
		}
	}
	p.await(next)
}

// growth of a look-up after a block without the refused row.
const growth = 8

// inserted takes a block that is in the table. What it left for later begins where it ended: to ask the table for its rows once more
// would never end where a TTL removes them at once.
func (p *product) inserted(j *job) {
	next := &job{plan: j.plan.rest(), mine: map[int32]bool{}, again: true, limit: j.limit * growth}
	if next.limit >= p.config.MaxBlockRows {
		next.limit = 0
	}
	for _, r := range j.plan.Ranges {
		switch {
		case p.parts[r.Partition] == nil || !j.mine[r.Partition]:
		case r.Cut < r.To:
			next.mine[r.Partition] = true
		default:
			p.completed[r.Partition] = r.To
		}
	}
	p.await(next)
	if j.block != nil && j.block.Layout() == p.decoders.current() {
		j.block.Reset()
		if p.spare == nil {
			p.spare = j.block
		}
	}
}

// lookedUp takes what the table lacks of a plan, unless the share has changed meanwhile.
func (p *product) lookedUp(j *job) {
	late := j.anew(map[int32]bool{})
	for partition := range j.mine {
		late.mine[partition] = true
	}
	whole := true
	for _, partition := range j.scope {
		whole = whole && j.mine[partition]
		delete(late.mine, partition)
	}
	if !whole {
		p.await(j.anew(j.mine))
		return
	}
	for partition := range late.mine {
		delete(j.mine, partition)
	}
	p.missing = j
	p.await(late)
}

// await puts a job first in line, if any of its partitions is ours.
func (p *product) await(j *job) {
	if len(j.mine) > 0 {
		p.waiting = append([]*job{j}, p.waiting...)
	}
}
