package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// ErrOutcomeUnknown: nobody here can say whether the transaction took place. Forget what was going on and begin anew at
// Committed, which waits until the broker has decided.
var ErrOutcomeUnknown = errors.New("the transaction's outcome is unknown")

// TransactorConfig of a Transactor.
type TransactorConfig struct {
	// Group whose positions are committed; the label of the metrics.
	Group string
	// TransactionalID is stable over restarts and different for each instance: the next one under it ends what this one
	// left open.
	TransactionalID string
	// Producer is the value of the header "producer" of every record: program@version.
	Producer string
}

// Transactor commits positions of a consumer's group, with their metadata, and records in one Kafka transaction: others see
// all of it or nothing. It is for who decides what to commit and when; a Processor needs no such decisions. Its methods are
// to be called from the goroutine that polls the consumer.
type Transactor struct {
	config    TransactorConfig
	options   []rdkafka.Option
	bootstrap string
	header    []byte
	log       *slog.Logger
	metrics   *processorMetrics
	shared    clientMetrics
	producer  *transactor // nil until its transactional id is registered, and after it failed for good
}

// openTimeout is how long one Commit waits for the registration of the transactional id.
const openTimeout = 5 * time.Second

// NewTransactor makes a Transactor. It does not wait for the broker.
func NewTransactor(client ClientConfig, config TransactorConfig, log *slog.Logger, registerer prometheus.Registerer) (*Transactor, error) {
	if config.TransactionalID == "" {
		return nil, errors.New("making a transactor: the transactional id is empty")
	}
	options, err := transactionOptions(client, config.TransactionalID)
	if err != nil {
		return nil, fmt.Errorf("making a transactor: %w", err)
	}
	t := &Transactor{
		config: config, options: options, bootstrap: client.bootstrap(), log: log.With("transactional_id", config.TransactionalID),
		metrics: newProcessorMetrics(registerer, config.Group), shared: newClientMetrics(registerer, config.TransactionalID),
	}
	if config.Producer != "" {
		t.header = rdkafka.AppendHeader(nil, headerProducer, []byte(config.Producer))
	}
	return t, nil
}

// Commit writes offsets of consumer's group and what produce produces. Either may be left out: a nil consumer for records alone, which
// only the transactional id keeps others from writing, or a nil produce. The broker refuses the offsets
// of who is no member of the group's present generation (ErrFenced, ErrRebalance), but does not know who owns a partition.
// After an error nothing has taken place, unless it is ErrOutcomeUnknown.
func (t *Transactor) Commit(ctx context.Context, consumer *Consumer, offsets []Committed, produce func(Output) error) error {
	parts, err := commitPartitions(offsets)
	if err != nil {
		return err
	}
	if err := t.Open(ctx); err != nil {
		return err
	}
	t.producer.ctx = ctx
	if err := t.producer.begin(); err != nil {
		// A client that cannot begin is in a state that only a new one leaves.
		t.drop()
		return err
	}
	began := time.Now()
	if produce != nil {
		err = produce(t.producer)
	}
	if err == nil {
		err = t.producer.commit(consumer, parts)
	}
	if err == nil {
		t.metrics.committed.Inc()
		t.metrics.commitSeconds.Observe(time.Since(began).Seconds())
		return nil
	}
	t.metrics.aborted.WithLabelValues(reason(err)).Inc()
	if abortErr := t.producer.abort(); abortErr != nil {
		t.drop()
		return fmt.Errorf("%w: %w; and then %w", ErrOutcomeUnknown, err, abortErr)
	}
	return err
}

// Open registers the transactional id, which ends whatever was left open under it and holds readers back. Commit does it
// itself when it has to.
func (t *Transactor) Open(ctx context.Context) error {
	if t.producer != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	producer, err := openTransactor(ctx, t.options, t.bootstrap, t.header, t.log, t.metrics, t.shared)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return err
	}
	t.producer = producer
	return nil
}

func (t *Transactor) drop() {
	t.shared.recreated.Inc()
	t.producer.close()
	t.producer = nil
}

// Close gives the client up. What was not committed never takes place.
func (t *Transactor) Close() {
	if t.producer != nil {
		t.producer.close()
		t.producer = nil
	}
}
