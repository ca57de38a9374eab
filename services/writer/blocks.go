package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	if full || crowded {
		p.sortBlock()
	}
	if may && p.idle() && p.open.touched > 0 && !now.Before(p.nextBlock) && (full || crowded || p.open.close || now.Sub(p.open.began) >= p.flushAfter()) {
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
	if p.missing != nil {
		held += int(p.missing.held.Load())
	}
	held += p.open.letterBytes + p.sorter.Footprint()
	full = p.open.letterBytes >= p.config.MaxBlockBytes
	if b := p.open.block; b != nil {
		held += b.Footprint()
		full = full || b.Rows() >= p.config.MaxBlockRows || b.Bytes() >= p.config.MaxBlockBytes
	}
	p.metrics.memory.WithLabelValues(p.topic).Set(float64(held))
	crowded = !p.budget.report(p.topic, held)
	// The plan has to fit the metadata of an offset.
	text := planHeadText + p.open.touched*maxRangeText + p.open.excluded*maxExcludedText
	return full || text > kafka.MaxMetadataBytes-planReserve, crowded
}

// planReserve is room, in bytes, for what the plans that repair this one have to say more.
const planReserve = 256

// maxExcludedText is the most characters of a run of excluded offsets: a batch closes the block long before ten digits.
const maxExcludedText = 18

// errTopicIsAnother ends a session whose topic was deleted and made again.
var errTopicIsAnother = errors.New("the topic was deleted and made again; beginning anew")

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

// askTimeout bounds what the polling goroutine waits for the broker's word on the topic.
const askTimeout = 5 * time.Second

// sameTopic asks for the topic's id again: rows of a topic that was made anew while they were read are no rows of the old
// one. It says false when nobody answers.
func (p *product) sameTopic() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	id, err := p.admin.TopicID(ctx, p.topic)
	switch {
	case errors.Is(err, kafka.ErrUnknownTopic), err == nil && id != p.topicID:
		p.forget()
		return false, errTopicIsAnother
	case err != nil:
		p.commitHasToWait(err)
		return false, nil
	}
	return true, nil
}

// blockInterval is the least time between two blocks: the parts that all writers together make in a second stay within
// the contract, on which the horizon rests.
func (p *product) blockInterval() time.Duration {
	return time.Second * time.Duration(p.partitions) / time.Duration(p.partsPerSecond()*max(1, len(p.parts)))
}

// timeOf is how long rows take at the greatest rate that the writer is allowed.
func (p *product) timeOf(rows int) time.Duration {
	if p.config.MaxRowsPerSecond <= 0 {
		return 0
	}
	return time.Second * time.Duration(rows) / time.Duration(p.config.MaxRowsPerSecond)
}

func (p *product) partsPerSecond() int { return max(1, p.contract.Sink.MaxPartsPerSecond) }

// horizon is how long the table is sure to remember a block, in seconds: its window, at the greatest rate of blocks that
// the contract allows.
func (p *product) horizon() int64 { return int64(p.decoders.window() / p.partsPerSecond()) }

// minHorizon keeps deadline, execution and what follows apart, in seconds.
const minHorizon = 5

// checkHorizon refuses a window that is too small to insert anything within.
func (p *product) checkHorizon() error {
	if p.horizon() < minHorizon {
		return fmt.Errorf("table %s.%s remembers %d blocks, which at maxPartsPerSecond %d of contract %s are %d s; at least %d are needed: run `streamforge apply`, or lower the rate",
			p.spec.Database, p.spec.Table, p.decoders.window(), p.partsPerSecond(), p.contract.ID, p.horizon(), minHorizon)
	}
	return nil
}

// commitTimeout bounds the registration of the transactional id, and how long a transaction waits for room.
const commitTimeout = 20 * time.Second

// commit writes, in one transaction, the ends of blocks that are in the table, what begins at other partitions (a plan on every
// partition of its block, or a lease), and letters. It says false when the group is changing or the broker is away, and nothing
// was committed.
func (p *product) commit(begins []kafka.Committed, ends map[int32]int64, letters []letter) (bool, error) {
	offsets := slices.Clone(begins)
	named := map[int32]bool{}
	for _, begin := range begins {
		named[begin.Partition] = true
	}
	for _, known := range []map[int32]int64{ends, p.completed} {
		for number, end := range known {
			if !named[number] && p.parts[number] != nil {
				named[number] = true
				offsets = append(offsets, kafka.Committed{TopicPartition: p.partitionName(number), Offset: end, Metadata: p.completedText()})
			}
		}
	}
	if len(offsets) == 0 {
		clear(p.completed)
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := p.transactor.Commit(ctx, p.consumer, offsets, func(out kafka.Output) error { return post(out, letters) })
	switch {
	case err == nil:
		clear(p.completed)
		return true, nil
	case errors.Is(err, kafka.ErrOutcomeUnknown):
		// Whatever were committed now could stand beside a plan that is committed after all. The next session reads what is.
		p.forget()
		return false, err
	case errors.Is(err, kafka.ErrRebalance), errors.Is(err, kafka.ErrFenced), errors.Is(err, kafka.ErrUnreachable):
		// The next polls bring the rebalance, or the broker back; the block stays open meanwhile.
		p.commitHasToWait(err)
		return false, nil
	}
	return false, err
}

const (
	// commitPause is how long a commit waits that was refused because the group is changing.
	commitPause = 100 * time.Millisecond
	// commitQuiet is how often a commit that goes on waiting is logged.
	commitQuiet = 10 * time.Second
)

func (p *product) commitHasToWait(err error) {
	now := time.Now()
	p.nextCommit = now.Add(commitPause)
	p.metrics.commitWaits.WithLabelValues(p.topic).Inc()
	if now.Sub(p.toldOfWait) >= commitQuiet {
		p.toldOfWait = now
		p.log.Info("commit has to wait", "error", err.Error())
	}
}

// forget drops everything that is not committed, so that the end of the session commits nothing.
func (p *product) forget() {
	p.discard()
	clear(p.completed)
	p.abandon()
}

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

// inserted takes a block that is in the table.
func (p *product) inserted(j *job) {
	if j.plan.more() {
		next := &job{plan: j.plan, mine: j.mine, again: true, limit: j.limit * growth}
		if next.limit >= p.config.MaxBlockRows {
			next.limit = 0
		}
		p.await(next)
	} else {
		for _, r := range j.plan.Ranges {
			if p.parts[r.Partition] != nil && j.mine[r.Partition] {
				p.completed[r.Partition] = r.To
			}
		}
	}
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

// holdPatience is how long the writer stays away from polling while it has no room for more records.
const holdPatience = time.Second

// awaitRoom waits until there may be room in the open block, or until then, and says whether there may be. While it waits nothing is polled: to
// pause throws away what librdkafka (2.13.0) has fetched ahead, a quarter of the throughput of a writer that catches up, and
// nobody in the group notices a second.
func (p *product) awaitRoom(until time.Time) bool {
	now := time.Now()
	wait := until.Sub(now)
	if p.job == nil {
		// What else a block may wait for takes no time that is known.
		wait = min(wait, p.nextBlock.Sub(now))
	}
	if p.paused || wait <= 0 {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case j := <-p.done:
		p.finish(j)
		return true
	case <-timer.C:
		return p.job == nil
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
