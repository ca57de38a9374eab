package main

import (
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// revokeWait is how long a rebalance waits for the insert under way. One that takes longer is repeated by the new owner,
// under the plan and token that are committed already.
const revokeWait = 5 * time.Second

// revoked gives partitions up. It runs inside Poll and Close.
func (p *product) revoked(parts []kafka.TopicPartition, lost bool) {
	if lost {
		p.forget()
	} else {
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
		if _, err := p.commit(nil, nil, nil); err != nil {
			p.log.Info("last commit of revoked partitions failed, their new owner repeats the block", "error", err.Error())
		}
	}
	for _, tp := range parts {
		delete(p.parts, tp.Partition)
		p.owned.set(tp.Partition, false)
		delete(p.completed, tp.Partition)
		p.giveAway(tp.Partition)
	}
	if len(p.parts) == 0 {
		p.rewind = false
	}
}

// giveAway takes a partition out of our shares of plans: from now on another writer has the last word on it.
func (p *product) giveAway(partition int32) {
	if j := p.leasing; j != nil {
		if delete(j.mine, partition); len(j.mine) == 0 {
			p.leasing = nil
		}
	}
	if j := p.missing; j != nil && j.mine[partition] {
		// What was found missing is so of all its partitions together.
		p.missing = nil
		p.await(j.anew(j.mine))
	}
	kept := p.waiting[:0]
	for _, j := range p.waiting {
		if delete(j.mine, partition); len(j.mine) > 0 {
			kept = append(kept, j)
		}
	}
	p.waiting = kept
	if p.job == nil {
		return
	}
	if delete(p.job.mine, partition); len(p.job.mine) == 0 {
		p.stopJob()
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

// stopJob ends the insert under way without waiting for its outcome: its plan is committed, whoever owns the partitions next
// repeats it under its token.
func (p *product) stopJob() {
	if p.job != nil {
		p.job.cancel()
		p.job = nil
		p.done = make(chan *job, 1)
	}
	p.insertState.Store(nil)
}

// abandon ends everything that is planned.
func (p *product) abandon() {
	p.stopJob()
	p.waiting, p.missing, p.leasing = nil, nil, nil
}

// drainWait bounds each insert of a drain.
const drainWait = 10 * time.Second

// drain puts what is decoded into the table and commits. What ClickHouse does not take in time stays planned, for the
// next writer, or unread.
func (p *product) drain() error {
	p.awaitJob(drainWait)
	if p.fault == nil && p.idle() && p.open.touched > 0 {
		if err := p.plan(); err != nil {
			return err
		}
		p.awaitJob(drainWait)
	}
	if p.job != nil {
		p.log.Warn("drained without the last block, the next writer repeats it", "rows", p.job.plan.Rows)
		return nil
	}
	_, err := p.commit(nil, nil, nil)
	return err
}
