package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// frontier is how far the live group has committed. A backfill never reads beyond it: once the live group is paused, the two have
// the same rows, and the live group goes on where the new table ends.
type frontier struct {
	mutex   sync.Mutex
	offsets map[[16]byte]map[int32]int64 // by topic id
}

const (
	frontierEvery = 500 * time.Millisecond
	holdBackFor   = 500 * time.Millisecond
)

// of a partition: records before it may be read.
func (f *frontier) of(topicID [16]byte, partition int32) int64 {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.offsets[topicID][partition]
}

// follow asks until ctx ends. While nobody answers, what was known holds: offsets only grow.
func (f *frontier) follow(ctx context.Context, admin *kafka.Admin, topic string, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		if err := f.ask(ctx, admin, topic); err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			log.Warn("how far the live group is cannot be asked", "error", said)
		}
		select {
		case <-ctx.Done():
		case <-time.After(frontierEvery):
		}
	}
}

func (f *frontier) ask(ctx context.Context, admin *kafka.Admin, topic string) error {
	described, err := admin.Describe(ctx, topic)
	if err != nil {
		return err
	}
	t := described[topic]
	committed, err := admin.GroupOffsets(ctx, contract.WriterGroup(topic), t.TopicPartitions())
	if err != nil {
		return err
	}
	offsets := map[int32]int64{}
	for _, c := range committed {
		// What was committed of a topic that had the name before counts for nothing.
		if c.Metadata == "" || strings.Contains(c.Metadata, hex.EncodeToString(t.ID[:])) {
			offsets[c.Partition] = max(0, c.Offset)
		}
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.offsets = map[[16]byte]map[int32]int64{t.ID: offsets}
	return nil
}

// holdBack lets a partition wait in front of a record that the live group has not committed. It is no fault, and nobody is alarmed.
func (p *product) holdBack(part *partition, r *kafka.Record) error {
	part.next = r.Offset
	part.parked = fmt.Sprintf("partition %d waits at offset %d for the live group", r.Partition, r.Offset)
	part.retryAt = time.Now().Add(holdBackFor)
	tp := p.partitionName(r.Partition)
	if err := p.consumer.Pause([]kafka.TopicPartition{tp}); err != nil {
		return err
	}
	return p.consumer.Seek(tp, r.Offset)
}
