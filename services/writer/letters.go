package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
)

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
	subjectID, err := o.deps.Registry.ID(ctx, deadletters.Subject)
	if err != nil {
		return err
	}
	maker := deadletters.Writer{Group: group, SchemaID: subjectID, Producer: o.deps.Producer}
	key, value := maker.Letter(*r, topicID, records.WholeRecord, class, cause)
	// A record without a timestamp has -1.
	message := kafka.Message{Topic: deadletters.Topic, Partition: -1, Key: []byte(key), Value: value, TimestampMs: max(r.TimestampMs, 0), Opaque: o.index}
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
