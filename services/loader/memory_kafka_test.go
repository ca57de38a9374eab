package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// memoryKafka is a cluster in memory that can be taken away: while it is down, records stay in the producers' queues.
type memoryKafka struct {
	mu      sync.Mutex
	topics  map[string]*memoryTopic
	down    bool
	refuse  func(kafka.Message) error // a record that the broker refuses for good
	changed chan struct{}
}

type memoryTopic struct {
	kafka.TopicDescription
	records [][]kafka.Record
}

func newMemoryKafka() *memoryKafka {
	m := &memoryKafka{topics: map[string]*memoryTopic{}, changed: make(chan struct{})}
	m.create(framesTopic, 32)
	m.create(resyncTopic, 8)
	return m
}

func (m *memoryKafka) create(name string, partitions int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.topics[name] = &memoryTopic{
		TopicDescription: kafka.TopicDescription{Name: name, ID: [16]byte{byte(len(m.topics) + 1)}, Partitions: partitions},
		records:          make([][]kafka.Record, partitions),
	}
}

func (m *memoryKafka) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memoryKafka) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	m.notify()
}

// add appends a record as if some producer had written it.
func (m *memoryKafka) add(topic string, key, value []byte, timestampMs int64) (int32, int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addLocked(topic, key, value, timestampMs)
}

func (m *memoryKafka) addLocked(topic string, key, value []byte, timestampMs int64) (int32, int64) {
	t := m.topics[topic]
	p := partitionOf(string(key), t.Partitions)
	offset := int64(len(t.records[p]))
	t.records[p] = append(t.records[p], kafka.Record{
		Topic: topic, Partition: p, Offset: offset, TimestampMs: timestampMs, Key: slices.Clone(key), Value: slices.Clone(value),
	})
	m.notify()
	return p, offset
}

func (m *memoryKafka) Describe(_ context.Context, names ...string) (map[string]kafka.TopicDescription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, fmt.Errorf("describing topics: %w", kafka.ErrUnreachable)
	}
	found := map[string]kafka.TopicDescription{}
	for _, name := range names {
		if t := m.topics[name]; t != nil {
			found[name] = t.TopicDescription
		}
	}
	return found, nil
}

func (m *memoryKafka) Offsets(_ context.Context, parts []kafka.TopicPartition, _ bool) (map[kafka.TopicPartition]kafka.OffsetRange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[kafka.TopicPartition]kafka.OffsetRange{}
	for _, part := range parts {
		found[part] = kafka.OffsetRange{Latest: int64(len(m.topics[part.Topic].records[part.Partition]))}
	}
	return found, nil
}

type memoryConsumer struct {
	kafka     *memoryKafka
	positions []kafka.Committed
	perPoll   int
}

func (m *memoryKafka) consumer(c kafka.ConsumerConfig) (Consumer, error) {
	return &memoryConsumer{kafka: m, positions: slices.Clone(c.Assign), perPoll: 500}, nil
}

func (c *memoryConsumer) Poll(ctx context.Context) ([]kafka.Record, error) {
	c.kafka.mu.Lock()
	changed := c.kafka.changed
	var batch []kafka.Record
	for i := range c.positions {
		p := &c.positions[i]
		all := c.kafka.topics[p.Topic].records[p.Partition]
		for p.Offset < int64(len(all)) && len(batch) < c.perPoll {
			batch = append(batch, all[p.Offset])
			p.Offset++
		}
	}
	c.kafka.mu.Unlock()
	if len(batch) == 0 {
		select {
		case <-changed:
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return batch, nil
}

func (c *memoryConsumer) Position(tp kafka.TopicPartition) int64 {
	for _, p := range c.positions {
		if p.TopicPartition == tp {
			return p.Offset
		}
	}
	return kafka.OffsetNone
}

func (c *memoryConsumer) Close() error { return nil }

// memoryProducer has a bounded queue of its own, and delivers from one goroutine.
type memoryProducer struct {
	kafka  *memoryKafka
	config kafka.ProducerConfig

	mu     sync.Mutex
	queue  []kafka.Message
	bytes  int
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

func (m *memoryKafka) producer(c kafka.ProducerConfig) (Producer, error) {
	p := &memoryProducer{kafka: m, config: c, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go p.deliver()
	return p, nil
}

func (p *memoryProducer) Produce(m *kafka.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return kafka.ErrClosed
	}
	if p.bytes+len(m.Value) > max(p.config.QueueMaxBytes, len(m.Value)) {
		return kafka.ErrQueueFull
	}
	c := *m
	c.Key, c.Value = slices.Clone(m.Key), slices.Clone(m.Value)
	p.queue = append(p.queue, c)
	p.bytes += len(m.Value)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

func (p *memoryProducer) deliver() {
	defer close(p.done)
	for {
		p.mu.Lock()
		closed, batch := p.closed, p.queue
		p.mu.Unlock()
		if closed {
			return
		}
		p.kafka.mu.Lock()
		down, changed := p.kafka.down, p.kafka.changed
		p.kafka.mu.Unlock()
		if down || len(batch) == 0 {
			select {
			case <-changed:
			case <-p.wake:
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		for i := range batch {
			m := &batch[i]
			d := kafka.Delivery{Opaque: m.Opaque}
			p.kafka.mu.Lock()
			if p.kafka.refuse != nil {
				d.Err = p.kafka.refuse(*m)
			}
			if d.Err == nil {
				d.Partition, d.Offset = p.kafka.addLocked(m.Topic, m.Key, m.Value, m.TimestampMs)
			}
			p.kafka.mu.Unlock()
			p.mu.Lock()
			p.queue = p.queue[1:]
			p.bytes -= len(m.Value)
			p.mu.Unlock()
			p.config.OnDelivery(d)
		}
	}
}

func (p *memoryProducer) Flush(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := len(p.queue)
		p.mu.Unlock()
		if left == 0 {
			return nil
		}
		if !sleep(ctx, time.Millisecond) {
			return fmt.Errorf("flushing: %d records left: %w", left, ctx.Err())
		}
	}
}

func (p *memoryProducer) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	<-p.done
}

// memoryRegistry knows this build's schemas.
type memoryRegistry struct {
	mu  sync.Mutex
	err error
}

func (r *memoryRegistry) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *memoryRegistry) ID(_ context.Context, subject string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if subject == resyncSubject {
		return 8, r.err
	}
	return 7, r.err
}

func (r *memoryRegistry) SchemaByID(_ context.Context, id int) (registry.Schema, error) {
	subject := map[int]string{7: framesSubject, 8: resyncSubject}[id]
	if subject == "" {
		return registry.Schema{}, registry.ErrUnknownID
	}
	own, err := schemas.Get(subject)
	if err != nil {
		return registry.Schema{}, err
	}
	text, err := schemas.SelfContained(own)
	return registry.Schema{ID: id, Text: text}, err
}

// published is a record of raw-frames as it is read back.
type published struct {
	records.Frame
	TimestampMs int64
	Partition   int32
	Offset      int64
}

// frames reads all records of a feed, in order.
func (m *memoryKafka) frames(t testing.TB, key string) []published {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	topic := m.topics[framesTopic]
	var all []published
	for _, r := range topic.records[partitionOf(key, topic.Partitions)] {
		if string(r.Key) != key {
			continue
		}
		p := published{TimestampMs: r.TimestampMs, Partition: r.Partition, Offset: r.Offset}
		id, body, err := registry.ParseWire(r.Value)
		if err != nil || id != 7 {
			t.Fatalf("wire header: id %d, %v", id, err)
		}
		if err := p.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		p.Payload = slices.Clone(p.Payload)
		all = append(all, p)
	}
	return all
}

// await waits until ok holds for the records of a feed.
func (m *memoryKafka) await(t testing.TB, key string, what string, ok func([]published) bool) []published {
	t.Helper()
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		all := m.frames(t, key)
		if ok(all) {
			return all
		}
		select {
		case <-changed:
			time.Sleep(10 * time.Millisecond) // to look at every record anew after each of thousands takes longer than they do
		case <-deadline:
			t.Fatalf("waited %s for %s; there are %d records: %s", patience, what, len(all), summary(all))
		}
	}
}

// awaitKind waits for the first record of a kind under btcKey, passing over what is no frame.
func (m *memoryKafka) awaitKind(t testing.TB, kind records.FrameKind) (p published) {
	t.Helper()
	waitFor(t, "a record of kind "+kind.String(), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		topic := m.topics[framesTopic]
		for _, r := range topic.records[partitionOf(btcKey, topic.Partitions)] {
			_, body, err := registry.ParseWire(r.Value)
			if err == nil && p.DecodeAvro(body) == nil && p.Kind == kind {
				return true
			}
		}
		return false
	})
	return p
}

func summary(all []published) string {
	text := ""
	for i := range all {
		if i > 60 {
			return text + "…"
		}
		text += fmt.Sprintf("\n  seq %d conn %d %s %.120q", all[i].Sequence, all[i].Connection, all[i].Kind, all[i].Payload)
	}
	return text
}

var errTest = errors.New("refused by the test")
