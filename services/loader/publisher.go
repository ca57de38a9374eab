package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Producer is what the publisher needs of the Kafka client.
type Producer interface {
	Produce(*kafka.Message) error
	Flush(ctx context.Context) error
	Close()
}

const (
	queueFullWait = time.Millisecond
	// retellEvery is how often a lane is asked whether it has something untold, and how often it tells of refused records.
	retellEvery = time.Second
	// sampleEvery is the part of the deliveries whose latency is observed.
	sampleEvery = 64
)

// publisher takes the slabs out of the buffer, one lane after the other, and gives their records to the Kafka client. It
// is one goroutine, for the client has one queue.
type publisher struct {
	topic    string
	buffer   *Buffer
	producer Producer
	opaques  *opaques
	metrics  *metrics
	log      *slog.Logger

	produced atomic.Int64
	settled  atomic.Int64 // of those: delivered, or refused for good and told of
	closing  atomic.Bool  // what the client gives up from here on was counted as lost already

	failing  sync.Mutex // records are refused on the publisher's goroutine and on that of the deliveries
	failures complaint
}

// run publishes until stop is closed and the buffer is empty, or until deadline ends. An error means that the Kafka client
// is of no use any more.
func (p *publisher) run(stop <-chan struct{}, deadline context.Context) error {
	retell := time.NewTicker(retellEvery)
	defer retell.Stop()
	for {
		if l := p.buffer.next(); l != nil {
			if err := p.publish(deadline, l); err != nil {
				return err
			}
			continue
		}
		select {
		case <-p.buffer.wake:
		case <-retell.C:
			p.retell(false)
		case <-deadline.Done():
			return nil
		case <-stop:
			stop = nil
			p.retell(true)
			if l := p.buffer.next(); l != nil {
				if err := p.publish(deadline, l); err != nil {
					return err
				}
			}
		}
		if stop == nil && p.empty() {
			return nil
		}
	}
}

func (p *publisher) retell(now bool) {
	for _, l := range p.buffer.lanes {
		l.reopen(now)
	}
}

func (p *publisher) empty() bool {
	p.buffer.mu.Lock()
	defer p.buffer.mu.Unlock()
	return len(p.buffer.ready) == 0
}

// publish gives one slab of l to the client, and puts l back in line for its next.
func (p *publisher) publish(deadline context.Context, l *lane) error {
	slab := l.take()
	if slab == nil {
		return nil
	}
	n, err := p.slab(deadline, l, slab)
	l.published(n)
	if err != nil {
		return err
	}
	for _, reopened := range p.buffer.release(l, slab) {
		reopened.reopen(true)
	}
	p.buffer.announce(l)
	return nil
}

// slab produces the records of a slab and returns how many the client took.
func (p *publisher) slab(deadline context.Context, l *lane, slab []byte) (taken int64, err error) {
	message := kafka.Message{Topic: p.topic, Partition: -1, Key: l.key}
	for len(slab) > 0 {
		size := binary.LittleEndian.Uint32(slab)
		message.TimestampMs = int64(binary.LittleEndian.Uint64(slab[4:]))
		message.Opaque = binary.LittleEndian.Uint64(slab[12:])
		message.Value = slab[entryHeaderBytes : entryHeaderBytes+size]
		if err := p.produce(deadline, l, &message); err != nil {
			return taken, err
		}
		taken++
		slab = slab[entryHeaderBytes+size:]
	}
	return taken, nil
}

func (p *publisher) produce(deadline context.Context, l *lane, m *kafka.Message) error {
	p.produced.Add(1) // before the delivery can come
	for {
		err := p.producer.Produce(m)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kafka.ErrQueueFull):
			p.metrics.queueFull.Inc()
			if !sleep(deadline, queueFullWait) {
				p.produced.Add(-1)
				return fmt.Errorf("publishing: %w", errDeadline)
			}
		case errors.Is(err, kafka.ErrFatal), errors.Is(err, kafka.ErrClosed), errors.Is(err, kafka.ErrFenced):
			p.produced.Add(-1)
			return fmt.Errorf("publishing to %s: %w", p.topic, err)
		default:
			// Only this record is bad (too large for the client, say). It is counted and told of like a dropped one.
			p.produced.Add(-1)
			p.onFailure(p.opaques.open(m.Opaque, time.Now().UnixMicro()), err)
			return nil
		}
	}
}

var errDeadline = errors.New("the drain's deadline has passed")

// onDelivery is called by the Kafka client for every record, from one goroutine.
func (p *publisher) onDelivery(d kafka.Delivery) {
	n := p.settled.Add(1)
	if d.Err == nil {
		p.metrics.delivered.Inc()
		if d.Opaque&callbackBit == 0 && n%sampleEvery != 0 {
			return
		}
	}
	now := time.Now().UnixMicro()
	c := p.opaques.open(d.Opaque, now)
	if d.Err != nil {
		p.onFailure(c, d.Err)
		return
	}
	p.metrics.publishLatency.Observe(float64(now-c.receivedAt) / 1e6)
	if c.delivered != nil {
		c.delivered(d.Partition, d.Offset, nil)
	}
}

func (p *publisher) onFailure(c callback, err error) {
	if p.closing.Load() {
		return
	}
	p.metrics.deliveryErrors.Inc()
	if c.frame || c.delivered == nil { // a GAP takes back what it was to tell by itself
		p.buffer.lanes[c.lane].refused(c.receivedAt, c.frame, err)
	}
	if c.delivered != nil {
		c.delivered(0, -1, err)
	}
	p.failing.Lock()
	due := p.failures.due(err)
	p.failing.Unlock()
	if due {
		p.log.Error("kafka refused a record for good; a GAP will tell of it", "topic", p.topic, "error", err.Error())
	}
}

// undelivered counts the records that Kafka has not acknowledged: in the buffer, in the client, or dropped and untold.
func (p *publisher) undelivered() int64 {
	left := p.produced.Load() - p.settled.Load()
	for _, l := range p.buffer.lanes {
		buffered, untold := l.pending()
		left += buffered + untold
	}
	return left
}
