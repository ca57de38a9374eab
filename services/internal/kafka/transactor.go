package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

const (
	// transactionTimeout is how long the broker lets a dead program's transaction hold back its readers.
	transactionTimeout = 10 * time.Second
	// transactionTries bounds how often a call that librdkafka calls retriable is made again.
	transactionTries = 5
	// transactionLinger is how long, in milliseconds, a record may wait for others of its partition. The commit sends
	// what is left without waiting, so that this delays nothing that could have been read sooner; a shorter one cuts a
	// long transaction into many small batches.
	transactionLinger = 50
	// fullPause is how long a handler waits when the bounded queue is full.
	fullPause = time.Millisecond
)

// transactor is a transactional producer: one librdkafka client, used by the processor's goroutine only.
type transactor struct {
	client  *client
	topics  map[string]rdkafka.Topic
	header  []byte // the encoded header "producer"
	buffer  []byte
	metrics *processorMetrics
	ctx     context.Context
	// failed is the first error that spoils the open transaction, whatever the handler makes of it.
	failed error
}

// openTransactor makes the client and registers the transactional id, waiting for the broker.
func openTransactor(ctx context.Context, options []rdkafka.Option, bootstrap string, header []byte, log *slog.Logger, metrics *processorMetrics, shared clientMetrics) (*transactor, error) {
	handle, err := rdkafka.OpenProducer(options, false)
	if err != nil {
		return nil, wrap("making a transactional producer", err)
	}
	t := &transactor{client: newClient(handle, bootstrap, log, shared), topics: map[string]rdkafka.Topic{}, header: header, metrics: metrics}
	// librdkafka 2.13.0 looks for the coordinator at once, and when no broker is connected yet, again after 500 ms: every second start
	// would take that long. The first answer makes brokers of the bootstrap addresses, the second comes from one of those.
	for range 2 {
		if ctx.Err() == nil {
			t.client.AwaitBroker(time.Second)
		}
	}
	for {
		err := t.client.Init(time.Second)
		if err == nil {
			return t, nil
		}
		var low *rdkafka.Error
		if ctx.Err() != nil || !errors.As(err, &low) || !low.Retriable {
			t.close()
			return nil, errors.Join(ctx.Err(), wrap("registering the transactional id", err))
		}
		t.client.Serve()
	}
}

func transactionOptions(client ClientConfig, transactionalID string) ([]rdkafka.Option, error) {
	options, err := client.producerOptions(transactionLinger, 512<<20, maxMessageBytes)
	if err != nil {
		return nil, err
	}
	options = append(options,
		option{"transactional.id", transactionalID},
		// A program that dies holds its readers back for this long, if it is not restarted sooner.
		option{"transaction.timeout.ms", strconv.FormatInt(transactionTimeout.Milliseconds(), 10)},
	)
	return lowOptions(options), nil
}

// byKey has librdkafka choose the partition.
const byKey = -1

// Produce implements Output.
func (t *transactor) Produce(topic string, key, value []byte, timestampMs int64, headers []Header) error {
	return t.ProduceTo(topic, byKey, key, value, timestampMs, headers)
}

// ProduceTo implements Output.
func (t *transactor) ProduceTo(topic string, partition int32, key, value []byte, timestampMs int64, headers []Header) error {
	if t.failed != nil {
		return t.failed
	}
	handle, ok := t.topics[topic]
	if !ok {
		var err error
		if handle, err = t.client.TopicHandle(topic); err != nil {
			t.failed = wrap("producing to "+topic, err)
			return t.failed
		}
		t.topics[topic] = handle
	}
	encoded := t.header
	if len(headers) > 0 {
		t.buffer = append(t.buffer[:0], t.header...)
		for _, h := range headers {
			t.buffer = rdkafka.AppendHeader(t.buffer, h.Name, h.Value)
		}
		encoded = t.buffer
	}
	for {
		code := t.client.Produce(handle, partition, key, value, timestampMs, encoded, 0)
		switch code {
		case 0:
			t.metrics.produced.Inc()
			t.metrics.bytes.Add(float64(len(key) + len(value)))
			return nil
		case rdkafka.LocalQueueFull:
			if err := t.waitForRoom(); err != nil {
				return err
			}
		case rdkafka.MsgSizeTooLarge:
			// The record was not taken and the transaction is unharmed: the handler may divert it.
			return wrap(fmt.Sprintf("producing a record of %d bytes to %s", len(key)+len(value), topic), rdkafka.NewError(code))
		default:
			t.failed = wrap(fmt.Sprintf("producing a record of %d bytes to %s", len(key)+len(value), topic), rdkafka.NewError(code))
			return t.failed
		}
	}
}

func (t *transactor) waitForRoom() error {
	t.metrics.queueFull.Inc()
	t.client.Serve()
	timer := time.NewTimer(fullPause)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		t.failed = fmt.Errorf("waiting for room in the producer's queue: %w", t.ctx.Err())
		return t.failed
	case <-timer.C:
	}
	// A failed transaction never makes room again.
	if fatal := t.client.Fatal(); fatal != nil {
		t.failed = wrap("producing", fatal)
	}
	return t.failed
}

func (t *transactor) begin() error {
	t.failed = nil
	return wrap("beginning a transaction", t.client.Begin())
}

// commit sends the offsets, unless the consumer is nil, with the transaction and commits it.
func (t *transactor) commit(consumer *Consumer, offsets []rdkafka.Partition) error {
	if t.failed != nil {
		return t.failed
	}
	if consumer != nil {
		if consumer.client == nil {
			return fmt.Errorf("committing a transaction: %w", ErrFatal)
		}
		err := again(func() error { return t.client.SendOffsets(consumer.client.Handle, offsets, transactionTimeout) })
		if err != nil {
			return wrap(fmt.Sprintf("sending the offsets of %d partitions to a transaction", len(offsets)), err)
		}
	}
	return wrap("committing a transaction", again(func() error { return t.client.CommitTransaction(-time.Millisecond) }))
}

// abort undoes the transaction; an error means that the client is of no more use.
func (t *transactor) abort() error {
	t.failed = nil
	err := again(func() error { return t.client.AbortTransaction(-time.Millisecond) })
	if err == nil {
		err = t.client.Fatal()
	}
	return wrap("aborting a transaction", err)
}

// again makes a call that librdkafka calls retriable again, a few times.
func again(call func() error) error {
	for try := 1; ; try++ {
		err := call()
		var low *rdkafka.Error
		if err == nil || try == transactionTries || !errors.As(err, &low) || !low.Retriable || low.Abortable || low.Fatal {
			return err
		}
		time.Sleep(time.Duration(try) * 5 * time.Millisecond)
	}
}

func (t *transactor) close() {
	for _, topic := range t.topics {
		topic.Release()
	}
	t.client.destroy(true)
}
