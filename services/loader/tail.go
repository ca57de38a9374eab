package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Consumer is what the loader needs of a Kafka consumer.
type Consumer interface {
	Poll(ctx context.Context) ([]kafka.Record, error)
	Position(kafka.TopicPartition) int64
	Close() error
}

// Admin is what the loader asks of the cluster.
type Admin interface {
	Describe(ctx context.Context, topics ...string) (map[string]kafka.TopicDescription, error)
	Offsets(ctx context.Context, parts []kafka.TopicPartition, readCommitted bool) (map[kafka.TopicPartition]kafka.OffsetRange, error)
}

const (
	tailFirst = 4_000
	// tailMost bounds how far back a partition is searched for a feed's last record.
	tailMost = 2_000_000
	tailStep = 8
	// tailStall is how long a partition may deliver nothing before its search is begun anew.
	tailStall = 10 * time.Second
)

// tailEnd is the last record of a feed.
type tailEnd struct {
	found      bool
	epoch      int64
	receivedAt int64 // µs
	// beyond says that the search ended at its bound: the feed may have run longer ago.
	beyond bool
}

// tailReader finds the last record of each owned feed: a feed's records stand in one partition, so only those partitions
// are read, backwards in growing steps.
type tailReader struct {
	topic    kafka.TopicDescription
	admin    Admin
	consumer func(kafka.ConsumerConfig) (Consumer, error)
	decode   func(ctx context.Context, value []byte) ([]byte, error)
}

// read returns the ends by key.
func (t *tailReader) read(ctx context.Context, keys []string) (map[string]tailEnd, error) {
	ends := make(map[string]tailEnd, len(keys))
	byPartition := map[int32][]string{}
	var parts []kafka.TopicPartition
	for _, key := range keys {
		p := partitionOf(key, t.topic.Partitions)
		if byPartition[p] == nil {
			parts = append(parts, kafka.TopicPartition{Topic: t.topic.Name, Partition: p})
		}
		byPartition[p] = append(byPartition[p], key)
	}
	ranges, err := t.admin.Offsets(ctx, parts, false)
	if err != nil {
		return nil, fmt.Errorf("asking for the ends of %s: %w", t.topic.Name, err)
	}
	for _, part := range parts {
		if err := t.partition(ctx, part, ranges[part], byPartition[part.Partition], ends); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// partition searches one partition.
func (t *tailReader) partition(ctx context.Context, part kafka.TopicPartition, r kafka.OffsetRange, keys []string, ends map[string]tailEnd) error {
	size := int64(tailFirst)
	for end := r.Latest; ; size *= tailStep {
		start := max(r.Earliest, r.Latest-size)
		if start < end {
			if err := t.window(ctx, part, start, end, keys, ends); err != nil {
				return err
			}
		}
		end = start
		missing := 0
		for _, key := range keys {
			if !ends[key].found {
				missing++
			}
		}
		if missing == 0 || start == r.Earliest {
			return nil
		}
		if size >= tailMost {
			for _, key := range keys {
				if !ends[key].found {
					ends[key] = tailEnd{beyond: true}
				}
			}
			return nil
		}
	}
}

// window reads the records of [start, end). What an earlier, later window found stays.
func (t *tailReader) window(ctx context.Context, part kafka.TopicPartition, start, end int64, keys []string, ends map[string]tailEnd) error {
	consumer, err := t.consumer(kafka.ConsumerConfig{
		Assign: []kafka.Committed{{TopicPartition: part, Offset: start}}, ReadUncommitted: true,
	})
	if err != nil {
		return fmt.Errorf("reading the tail of %s: %w", part, err)
	}
	defer consumer.Close()
	open := map[string]bool{}
	for _, key := range keys {
		open[key] = !ends[key].found
	}
	progress := time.Now()
	for position := start; position < end; {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return fmt.Errorf("reading the tail of %s: %w", part, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(batch) == 0 && time.Since(progress) > tailStall {
			return fmt.Errorf("reading the tail of %s: nothing between offsets %d and %d for %s", part, position, end, tailStall)
		}
		for i := range batch {
			progress = time.Now()
			position = batch[i].Offset + 1
			if batch[i].Offset < end && open[string(batch[i].Key)] {
				if err := t.note(ctx, &batch[i], ends); err != nil {
					return err
				}
			}
		}
		// Offsets without a record (removed, or a transaction's marker) only show in the position.
		if reached := consumer.Position(part); reached > position {
			position, progress = reached, time.Now()
		}
	}
	return nil
}

func (t *tailReader) note(ctx context.Context, record *kafka.Record, ends map[string]tailEnd) error {
	var frame records.Frame
	body, err := t.decode(ctx, record.Value)
	if err == nil {
		err = frame.DecodeAvro(body)
	}
	switch {
	case errors.Is(err, registry.ErrUnavailable) || ctx.Err() != nil:
		return fmt.Errorf("reading the tail of %s[%d] at offset %d: %w", record.Topic, record.Partition, record.Offset, err)
	case err != nil:
		// Whoever wrote it, it stands in this feed's order; the time at which it was received is also the record's own.
		frame = records.Frame{ReceivedAt: record.TimestampMs * 1000}
	}
	key := string(record.Key)
	before := ends[key]
	ends[key] = tailEnd{found: true, epoch: max(before.epoch, frame.LoaderEpoch), receivedAt: frame.ReceivedAt}
	return nil
}

// partitionOf is where the partitioner murmur2_random (Java's) puts a key.
func partitionOf(key string, partitions int) int32 {
	return int32(murmur2(key)&0x7fffffff) % int32(partitions)
}

// murmur2 is the hash of Kafka's Java client.
func murmur2(key string) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	data := []byte(key)
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
