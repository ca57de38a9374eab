package kafka

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ReadAll hands every record that the topics hold now to read, topic by topic, each partition in order of offset, without
// a group, read committed. It returns when each partition's end at the time of the call is reached, or with read's error.
func ReadAll(ctx context.Context, client ClientConfig, topics []string, read func(Record) error) error {
	return readTopics(ctx, client, topics, math.MaxInt64, read)
}

// ReadLast is ReadAll for the newest records: of each partition it begins last offsets before the end. Where some of those
// are control records, fewer records come.
func ReadLast(ctx context.Context, client ClientConfig, topics []string, last int64, read func(Record) error) error {
	return readTopics(ctx, client, topics, last, read)
}

func readTopics(ctx context.Context, client ClientConfig, topics []string, last int64, read func(Record) error) error {
	admin, err := NewAdmin(client)
	if err != nil {
		return err
	}
	defer admin.Close()
	described, err := admin.Describe(ctx, topics...)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		d, ok := described[topic]
		if !ok {
			return fmt.Errorf("reading topic %s: %w; create it with `streamforge apply`", topic, ErrUnknownTopic)
		}
		if err := readTopic(ctx, client, admin, d, last, read); err != nil {
			return fmt.Errorf("reading topic %s: %w", topic, err)
		}
	}
	return nil
}

func readTopic(ctx context.Context, client ClientConfig, admin *Admin, d TopicDescription, last int64, read func(Record) error) error {
	held, err := admin.Offsets(ctx, d.TopicPartitions(), true)
	if err != nil {
		return err
	}
	ranges := map[TopicPartition]OffsetRange{}
	for tp, r := range held {
		ranges[tp] = OffsetRange{Earliest: max(r.Earliest, r.Latest-last), Latest: r.Latest}
	}
	return ReadRanges(ctx, client, ranges, read)
}

// ReadRanges hands the readable records of each partition from Earliest on and before Latest to read, each partition in order
// of offset, without a group, read committed. It waits for transactions that are open there to end. It returns when each
// range is through, or with read's error. A record is valid until read returns.
func ReadRanges(ctx context.Context, client ClientConfig, ranges map[TopicPartition]OffsetRange, read func(Record) error) error {
	return ReadRangesAhead(ctx, client, 0, ranges, read)
}

// ReadRangesAhead is ReadRanges where memory is dear: it fetches so many KiB ahead at most, 0 for the default. Small records take
// up to eight times as much.
func ReadRangesAhead(ctx context.Context, client ClientConfig, aheadKBytes int, ranges map[TopicPartition]OffsetRange, read func(Record) error) error {
	var assign []Committed
	open := map[TopicPartition]int64{}
	for tp, r := range ranges {
		if r.Latest > r.Earliest {
			assign = append(assign, Committed{TopicPartition: tp, Offset: r.Earliest})
			open[tp] = r.Latest
		}
	}
	if len(assign) == 0 {
		return nil
	}
	consumer, err := NewConsumer(client, ConsumerConfig{Assign: assign, Headers: true, PartitionEnds: true, QueuedMaxKBytes: aheadKBytes}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer consumer.Close()
	return readUntil(ctx, consumer, open, read)
}

// errEnough ends a reading that is not wanted to its end.
var errEnough = errors.New("no more records are wanted")

// Range is ReadRanges for one partition, as records to be pulled; a record is valid until the next one is asked for. The error
// is the last that comes.
func Range(ctx context.Context, client ClientConfig, tp TopicPartition, of OffsetRange) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := ReadRanges(ctx, client, map[TopicPartition]OffsetRange{tp: of}, func(r Record) error {
			if !yield(r, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Record{}, err)
		}
	}
}

// readUntil polls until every open partition's position has reached its end. The position, not the last record's
// offset, decides: the end may be a transaction's control record, which no reader sees.
func readUntil(ctx context.Context, consumer *Consumer, open map[TopicPartition]int64, read func(Record) error) error {
	for len(open) > 0 {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range batch {
			if end, ok := open[TopicPartition{batch[i].Topic, batch[i].Partition}]; !ok || batch[i].Offset >= end {
				continue
			}
			if err := read(batch[i]); err != nil {
				return err
			}
		}
		for tp, end := range open {
			if consumer.Position(tp) >= end {
				delete(open, tp)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// AwaitCommitted waits until a read_committed reader sees all that the topics have now, because the transactions that
// wrote it have ended. A producer's commit returns when the coordinator has decided; the markers that let readers see it follow.
func (a *Admin) AwaitCommitted(ctx context.Context, topics ...string) error {
	described, err := a.Describe(ctx, topics...)
	if err != nil {
		return err
	}
	var parts []TopicPartition
	for _, d := range described {
		parts = append(parts, d.TopicPartitions()...)
	}
	written, err := a.Offsets(ctx, parts, false)
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		committed, err := a.Offsets(ctx, parts, true)
		if err != nil {
			return err
		}
		open := 0
		for tp, r := range written {
			if committed[tp].Latest < r.Latest {
				open++
			}
		}
		if open == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for open transactions on %d partitions of %v: %w", open, topics, ctx.Err())
		case <-tick.C:
		}
	}
}
