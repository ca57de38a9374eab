package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// PartitionLag is how far a group is behind in one partition.
type PartitionLag struct {
	TopicPartition
	// Committed is the group's offset, OffsetNone where it has none; End is after the last record a reader may see.
	Committed, End int64
	// Records still to be read. Transactions' control records at the end do not count; among many records they do.
	Records int64
	// Seconds is the age of the next record to be read, by its timestamp; 0 when there is none.
	Seconds float64
}

const (
	// lagPatience bounds the reading of the next records of a group that is behind.
	lagPatience = 3 * time.Second
	// lagBatch is how many records are looked at in one call.
	lagBatch = 512
)

// Lag of a group on all partitions of topics. A partition where the group has committed nothing is behind by all that
// is there.
func (a *Admin) Lag(ctx context.Context, group string, topics []string) ([]PartitionLag, error) {
	described, err := a.Describe(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var parts []TopicPartition
	for _, topic := range topics {
		d, ok := described[topic]
		if !ok {
			return nil, fmt.Errorf("asking for the lag of group %s: %w %s; %s", group, ErrUnknownTopic, topic, remedy(ErrUnknownTopic))
		}
		parts = append(parts, d.TopicPartitions()...)
	}
	committed, err := a.GroupOffsets(ctx, group, parts)
	if err != nil {
		return nil, err
	}
	ends, err := a.Offsets(ctx, parts, true)
	if err != nil {
		return nil, err
	}
	lags := make([]PartitionLag, len(parts))
	next := map[TopicPartition]int64{}
	for i, c := range committed {
		end := ends[c.TopicPartition]
		from := max(c.Offset, end.Earliest)
		lags[i] = PartitionLag{TopicPartition: c.TopicPartition, Committed: c.Offset, End: end.Latest, Records: max(0, end.Latest-from)}
		if lags[i].Records > 0 {
			next[c.TopicPartition] = from
		}
	}
	found, err := a.lag.read(ctx, next)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for i := range lags {
		l := &lags[i]
		f, ok := found[l.TopicPartition]
		switch {
		case l.Records == 0 || !ok:
		case f.none:
			l.Records = 0
		default:
			l.Records = l.End - f.offset
			if f.complete {
				l.Records = f.records
			}
			l.Seconds = max(0, now.Sub(time.UnixMilli(f.timestampMs)).Seconds())
		}
	}
	return lags, nil
}

// nextRecord is what stands at or after a group's committed offset.
type nextRecord struct {
	from        int64 // the committed offset that was asked for
	none        bool  // only control records
	offset      int64
	timestampMs int64
	records     int64 // counted so far
	complete    bool  // to the end of the partition
}

// lagReader reads the next records of groups that are behind, without belonging to any group.
type lagReader struct {
	client ClientConfig

	mu     sync.Mutex
	handle *rdkafka.Handle
	arena  []byte
	found  map[TopicPartition]nextRecord
	open   int // partitions without an answer
	closed bool
}

func (r *lagReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.handle != nil {
		r.handle.Destroy(true)
		r.handle = nil
	}
}

func (r *lagReader) start() error {
	if r.closed {
		return ErrClosed
	}
	if r.handle != nil {
		return nil
	}
	options, err := r.client.clientOptions()
	if err != nil {
		return err
	}
	options = append(options,
		option{"group.id", "streamforge-lag"},
		option{"enable.auto.commit", "false"},
		option{"isolation.level", "read_committed"},
		option{"allow.auto.create.topics", "false"},
		option{"auto.offset.reset", "earliest"},
		// The end of a partition without a record is the answer "only control records".
		option{"enable.partition.eof", "true"},
		// One record a partition is wanted: small answers, little ahead.
		option{"max.partition.fetch.bytes", "16384"},
		option{"queued.max.messages.kbytes", "1024"},
		option{"queued.min.messages", "1"},
		option{"fetch.wait.max.ms", "10"},
		// With one record queued librdkafka pauses fetching; by default for a second, which every other partition waits too.
		option{"fetch.queue.backoff.ms", "1"},
		option{"fetch.error.backoff.ms", "10"},
		option{"receive.message.max.bytes", itoa(maxMessageBytes + 8<<20)},
	)
	r.handle, err = rdkafka.OpenConsumer(lowOptions(options), lagBatch, func(rdkafka.Code, []rdkafka.Partition) {})
	return wrap("making a lag reader", err)
}

// read finds the next record of each partition, from the offset given. What has no answer in time is absent.
func (r *lagReader) read(ctx context.Context, from map[TopicPartition]int64) (map[TopicPartition]nextRecord, error) {
	if len(from) == 0 {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.start(); err != nil {
		return nil, err
	}
	parts := make([]rdkafka.Partition, 0, len(from))
	r.found, r.open = make(map[TopicPartition]nextRecord, len(from)), len(from)
	for tp, offset := range from {
		parts = append(parts, rdkafka.Partition{Topic: tp.Topic, Partition: tp.Partition, Offset: offset})
	}
	if err := r.handle.Assign(parts); err != nil {
		return nil, wrap("reading a group's next records", err)
	}
	defer func() { _ = r.handle.Assign(nil) }()
	for deadline := time.Now().Add(lagPatience); r.open > 0 && ctx.Err() == nil && time.Now().Before(deadline); {
		if err := r.look(from); err != nil {
			return nil, err
		}
	}
	return r.found, ctx.Err()
}

func (r *lagReader) look(from map[TopicPartition]int64) error {
	count, bytes, err := r.handle.Gather(20*time.Millisecond, rdkafka.HeadersNone)
	if err != nil {
		return wrap("reading a group's next records", err)
	}
	for count > 0 {
		if uint64(len(r.arena)) < bytes {
			r.arena = make([]byte, bytes)
		}
		count -= r.handle.Copy(r.arena, rdkafka.HeadersNone, func(raw *rdkafka.Raw) { r.take(raw, from) })
	}
	return nil
}

func (r *lagReader) take(raw *rdkafka.Raw, from map[TopicPartition]int64) {
	tp := TopicPartition{Topic: raw.Topic, Partition: raw.Partition}
	start, asked := from[tp]
	if !asked {
		return
	}
	f, seen := r.found[tp]
	switch {
	case raw.Code == rdkafka.LocalPartitionEOF && !seen:
		f.none = true
	case raw.Code == rdkafka.LocalPartitionEOF:
		f.complete = true
	case raw.Code != 0 || (!seen && raw.Offset < start):
		return
	case !seen:
		f = nextRecord{from: start, offset: raw.Offset, timestampMs: raw.TimestampMs, records: 1}
	default:
		f.records++
	}
	if !seen {
		r.open--
	}
	r.found[tp] = f
}
