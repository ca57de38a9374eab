package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

const deadLettersTopic = "dead-letters"

// letters writes dead letters for all products over one producer.
type letters struct {
	deps     Deps
	producer *kafka.Producer

	mutex   sync.Mutex
	outlets []*outlet
}

// outlet is one product's part of it: its letters under way, and the first that could not be written.
type outlet struct {
	*letters
	index   uint64
	pending atomic.Int64
	failed  atomic.Pointer[error]
}

func newLetters(deps Deps) (*letters, error) {
	l := &letters{deps: deps}
	producer, err := kafka.NewProducer(deps.Kafka, kafka.ProducerConfig{
		ProducerName: deps.Producer, LingerMs: 5, QueueMaxBytes: 64 << 20, OnDelivery: l.delivered,
	}, deps.Log, deps.Metrics)
	l.producer = producer
	return l, err
}

func (l *letters) outlet() *outlet {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	o := &outlet{letters: l, index: uint64(len(l.outlets))}
	l.outlets = append(l.outlets, o)
	return o
}

func (l *letters) delivered(d kafka.Delivery) {
	l.mutex.Lock()
	o := l.outlets[d.Opaque]
	l.mutex.Unlock()
	if d.Err != nil {
		o.failed.CompareAndSwap(nil, &d.Err)
	}
	o.pending.Add(-1)
}

func (l *letters) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// A letter that is not acknowledged was not counted on either: its offset is not committed.
	_ = l.producer.Flush(ctx)
	l.producer.Close()
}

// settled says whether every letter of the product is in Kafka; an error is the first that is not.
func (o *outlet) settled() (bool, error) {
	if err := o.failed.Swap(nil); err != nil {
		return false, fmt.Errorf("writing a dead letter: %w", *err)
	}
	return o.pending.Load() == 0, nil
}

// send queues the letter of one record. An error means that it could not be queued, and that the record has to wait.
func (o *outlet) send(ctx context.Context, group string, topicID [16]byte, r *kafka.Record, class string, cause error) error {
	subjectID, err := o.deps.Registry.ID(ctx, deadLettersTopic+"-value")
	if err != nil {
		return err
	}
	letter := records.DeadLetter{
		Status: records.DeadLetterFailed, Group: group, Topic: r.Topic, TopicID: topicID,
		Partition: r.Partition, Offset: r.Offset, Item: records.WholeRecord,
		Key: r.Key, Value: r.Value, RecordTime: max(r.TimestampMs, 0) * 1000,
		ErrorClass: class, Error: cause.Error(), FailedAt: time.Now().UnixMicro(), Producer: o.deps.Producer, ResolvedAt: market.NoTime,
	}
	if id, _, err := registry.ParseWire(r.Value); err == nil {
		letter.SchemaID = market.Some(int64(id))
	}
	for _, h := range r.Headers {
		letter.Headers = append(letter.Headers, records.Header{Name: h.Name, Value: h.Value})
	}
	message := kafka.Message{
		Topic: deadLettersTopic, Partition: -1, Key: []byte(letter.KafkaKey()),
		Value: letter.AppendAvro(registry.AppendWireHeader(nil, subjectID)), Opaque: o.index,
	}
	o.pending.Add(1)
	if err := o.producer.Produce(&message); err != nil {
		o.pending.Add(-1)
		if errors.Is(err, kafka.ErrQueueFull) {
			return err
		}
		return fmt.Errorf("writing a dead letter: %w", err)
	}
	return nil
}

// rate watches the share of bad rows over the last minute.
type rate struct {
	limit   float64
	started time.Time
	good    int
	bad     int
}

// minFlood is how many bad rows are needed before their share means anything: one bad row among the first three records
// of a day is no flood. A limit of 0 allows none at all.
const minFlood = 20

// allows counts one bad row and says whether it may still be diverted.
func (r *rate) allows(now time.Time) bool {
	r.tick(now)
	if r.limit <= 0 {
		return false
	}
	if float64(r.bad+1) > max(minFlood, r.limit*float64(r.good+r.bad+1)) {
		return false
	}
	r.bad++
	return true
}

// tick lets the counts of a past minute fade: half of them stay, so that a flood across the border is still one.
func (r *rate) tick(now time.Time) {
	switch past := now.Sub(r.started); {
	case past >= 2*time.Minute:
		r.started, r.good, r.bad = now, 0, 0
	case past >= time.Minute:
		r.started, r.good, r.bad = now, r.good/2, r.bad/2
	}
}
