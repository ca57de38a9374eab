package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// errTopicIsAnother ends a session whose topic was deleted and made again.
var errTopicIsAnother = errors.New("the topic was deleted and made again; beginning anew")

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

const (
	// commitPause is how long a commit waits that was refused because the group is changing.
	commitPause = 100 * time.Millisecond
	// commitQuiet is how often a commit that goes on waiting is logged.
	commitQuiet = 10 * time.Second
)

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
