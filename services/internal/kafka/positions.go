package kafka

import "time"

// positions follow what a consumer has handed out of each partition, and keep what comes a second time apart.
//
// In a rebalance librdkafka pauses all partitions, also those that stay, and lets them go on after the last record that
// a finished call had returned (2.13.0, rd_kafka_assignment_pause). What a call under way had gathered by then is
// returned if the partition's own thread is late with its barrier, and is then fetched again. The offsets tell.
type positions struct {
	of      map[TopicPartition]*position
	batch   int64
	current TopicPartition // of the run of records being taken
	now     *position      // of current; nil between two batches
}

type position struct {
	next  int64    // after the last record handed out
	began [2]int64 // where the last two batches began that had records of this partition
	batch int64    // the last such batch
	// guarded says until when records between began[0] and next are repetitions.
	guarded time.Time
}

// guardTime is how long after a rebalance records may come a second time: a fetch or two, even on a busy machine.
const guardTime = 10 * time.Second

func newPositions() positions { return positions{of: map[TopicPartition]*position{}} }

func (p *positions) beginBatch() {
	p.batch++
	p.now = nil
}

// take notes a record that is about to be handed out; false says that it was handed out before.
func (p *positions) take(topic string, partition int32, offset int64) bool {
	if p.now == nil || partition != p.current.Partition || topic != p.current.Topic {
		p.current = TopicPartition{Topic: topic, Partition: partition}
		if p.now = p.of[p.current]; p.now == nil {
			p.now = &position{next: offset, began: [2]int64{offset, offset}}
			p.of[p.current] = p.now
		}
	}
	now := p.now
	guarded := !now.guarded.IsZero() && time.Now().Before(now.guarded)
	if guarded && offset < now.next && offset >= now.began[0] {
		return false
	}
	if now.batch != p.batch && !guarded {
		now.guarded = time.Time{}
		now.batch = p.batch
		now.began[0], now.began[1] = now.began[1], offset
	}
	now.next = offset + 1
	return true
}

// guard is called after the batch with which a rebalance came.
func (p *positions) guard() {
	until := time.Now().Add(guardTime)
	for _, now := range p.of {
		now.guarded = until
	}
}

// set is told where a partition goes on: after a seek everything from there is new.
func (p *positions) set(tp TopicPartition, next int64) {
	p.now = nil
	if next < 0 {
		delete(p.of, tp)
		return
	}
	p.of[tp] = &position{next: next, began: [2]int64{next, next}}
}

// advance is told of the end of a partition, after control records that are handed to nobody.
func (p *positions) advance(tp TopicPartition, next int64) {
	if now := p.of[tp]; now != nil {
		now.next = max(now.next, next)
		return
	}
	p.set(tp, next)
}
