package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// ProcessorConfig of a Processor.
type ProcessorConfig struct {
	Group  string
	Topics []string
	// TransactionalID is stable over restarts and different for each instance: program and ordinal. It is also the
	// instance's static membership in the group, so that a restarted instance has its partitions back at once.
	TransactionalID string
	// CommitInterval is the least time between commits; 0 means 50 ms. While the processor is behind, so that batches come
	// full, a transaction goes on for ten times as long: its fixed cost is then divided among many records, and nobody
	// notices the latency.
	CommitInterval time.Duration
	// Headers asks for the records' headers.
	Headers bool
	// MaxBatchRecords bounds one batch; 0 means 8192.
	MaxBatchRecords int
	// SessionTimeout is how long a dead instance keeps its partitions from the others; 0 means 10 s.
	SessionTimeout time.Duration
	// Producer is the value of the header "producer" of every record produced: program@version.
	Producer string
}

// Output takes the records that a handler makes of its batch. They become visible together with the batch's offsets.
type Output interface {
	// Produce copies. The partition is the key's (murmur2_random). timestampMs is in milliseconds since 1970; 0 is now.
	// ErrTooLarge leaves the transaction unharmed; any other error spoils it, and the handler may as well return it.
	Produce(topic string, key, value []byte, timestampMs int64, headers []Header) error
	// ProduceTo is Produce for who has to choose the partition, because the record must stand beside another one.
	ProduceTo(topic string, partition int32, key, value []byte, timestampMs int64, headers []Header) error
}

// Handler transforms a batch. An error undoes the transaction and brings the records again, after a pause: what is bad
// in the input is the handler's to divert.
type Handler = func(ctx context.Context, batch []Record, out Output) error

// Processor consumes, transforms and produces exactly once, in Kafka transactions: what a handler produces and the
// offsets of what it read are committed together or not at all.
type Processor struct {
	client  ClientConfig
	config  ProcessorConfig
	options []rdkafka.Option
	header  []byte
	log     *slog.Logger
	metrics *processorMetrics
	shared  clientMetrics

	consumer *Consumer
	producer *transactor // nil until its transactional id is registered, and after it failed for good
	pause    *backoff.ExponentialBackOff
	ctx      context.Context // of the work; it outlives Run's by the drain

	open       bool // a transaction is
	began      time.Time
	lastCommit time.Time
	records    int
	next       map[TopicPartition]int64 // positions to commit
	offsets    []rdkafka.Partition
	// rewind says that the consumer's positions are ahead of what is committed: nothing it hands out may be used.
	rewind      bool
	rewindFails int
	// careful says until when every batch is committed alone: a transaction of several batches that is undone again and
	// again by one of them would never get past the others.
	careful time.Time

	joined, ready atomic.Bool
}

// maxRewindFails is how often going back may fail before the consumer is made anew, which also goes back.
const maxRewindFails = 5

// drainTimeout bounds the last commit after Run's context has ended.
const drainTimeout = 15 * time.Second

// carefulTime is how long after a failure every batch is committed alone.
const carefulTime = 2 * time.Second

// NewProcessor makes a processor. It does not wait for the broker.
func NewProcessor(client ClientConfig, config ProcessorConfig, log *slog.Logger, registerer prometheus.Registerer) (*Processor, error) {
	if config.TransactionalID == "" {
		return nil, errors.New("making a processor: the transactional id is empty; it is the program and its ordinal")
	}
	if config.CommitInterval <= 0 {
		config.CommitInterval = 50 * time.Millisecond
	}
	options, err := transactionOptions(client, config.TransactionalID)
	if err != nil {
		return nil, fmt.Errorf("making a processor: %w", err)
	}
	p := &Processor{
		client: client, config: config, options: options, log: log.With("transactional_id", config.TransactionalID),
		metrics: newProcessorMetrics(registerer, config.Group), shared: newClientMetrics(registerer, config.TransactionalID),
		next:  map[TopicPartition]int64{},
		pause: &backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.3},
	}
	p.pause.Reset()
	if config.Producer != "" {
		p.header = rdkafka.AppendHeader(nil, headerProducer, []byte(config.Producer))
	}
	p.consumer, err = NewConsumer(client, ConsumerConfig{
		Group: config.Group, Topics: config.Topics, Headers: config.Headers, MaxBatchRecords: config.MaxBatchRecords,
		InstanceID: config.TransactionalID, SessionTimeout: config.SessionTimeout,
		// Half the usual wait: it is part of every record's latency.
		MaxBatchWait: 5 * time.Millisecond,
		OnAssigned:   func([]TopicPartition) { p.joined.Store(true) },
		OnRevoked:    p.revoked,
	}, p.log, registerer)
	return p, err
}

// Ready says whether the processor has joined its group and can write transactions. Safe for concurrent use.
func (p *Processor) Ready() bool { return p.joined.Load() && p.ready.Load() }

// Run processes until ctx ends, then commits what was processed and leaves the group. It returns an error only when a
// person has to act: an unknown topic, a missing right. Everything else it waits out.
func (p *Processor) Run(ctx context.Context, handle Handler) error {
	// The last batch is finished and committed after ctx has ended, within a bound.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(drainTimeout, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()
	p.ctx = work
	var failed error
	for ctx.Err() == nil && failed == nil {
		failed = p.step(ctx, handle)
	}
	if p.open {
		p.finish("drain")
	}
	p.ready.Store(false)
	err := p.consumer.Close()
	if p.producer != nil {
		p.producer.close()
		p.producer = nil
	}
	if failed != nil {
		return failed
	}
	return err
}

// step polls once, lets the handler work and commits when it is time.
func (p *Processor) step(ctx context.Context, handle Handler) error {
	if p.producer == nil {
		if err := p.renewProducer(ctx); err != nil {
			return p.judge(ctx, "open", err)
		}
	}
	batch, err := p.consumer.Poll(ctx)
	if err != nil {
		return p.judge(ctx, "poll", err)
	}
	// A revocation inside Poll may have failed to commit; what Poll returned is then ahead of the truth.
	if p.rewind {
		if err := p.goBack(); err != nil {
			return p.judge(ctx, "rewind", err)
		}
		return nil
	}
	if len(batch) > 0 && p.producer != nil {
		if err := p.process(batch, handle); err != nil {
			p.undo("handler")
			return p.judge(ctx, "handle", err)
		}
	}
	if p.due(len(batch)) {
		p.finish("commit")
	}
	return nil
}

// behindFactor is by how much longer a transaction may be while the processor is behind.
const behindFactor = 10

// due says whether to commit: soon when there is nothing more to read, but not more often than every CommitInterval.
func (p *Processor) due(read int) bool {
	if !p.open {
		return false
	}
	if time.Now().Before(p.careful) {
		return true
	}
	interval := p.config.CommitInterval
	if p.behind(read) {
		return time.Since(p.began) >= behindFactor*interval
	}
	return time.Since(p.lastCommit) >= interval
}

// behind says whether records wait at the broker: batches come full as long as they do. Half is enough, because what was
// fetched ahead may end within a batch.
func (p *Processor) behind(read int) bool { return read >= p.consumer.config.MaxBatchRecords/2 }

func (p *Processor) process(batch []Record, handle Handler) error {
	if !p.open {
		if err := p.producer.begin(); err != nil {
			// A client that cannot begin is in a state that only a new one leaves.
			p.dropProducer()
			return err
		}
		p.open, p.began, p.records = true, time.Now(), 0
	}
	p.producer.ctx = p.ctx
	if err := handle(p.ctx, batch, p.producer); err != nil {
		return err
	}
	if p.producer.failed != nil {
		return p.producer.failed
	}
	for i := range batch {
		r := &batch[i]
		if i+1 == len(batch) || batch[i+1].Partition != r.Partition || batch[i+1].Topic != r.Topic {
			p.next[TopicPartition{Topic: r.Topic, Partition: r.Partition}] = r.Offset + 1
		}
	}
	p.records += len(batch)
	return nil
}

// finish commits the open transaction, or undoes it.
func (p *Processor) finish(when string) {
	p.offsets = p.offsets[:0]
	for tp, offset := range p.next {
		p.offsets = append(p.offsets, rdkafka.Partition{Topic: tp.Topic, Partition: tp.Partition, Offset: offset})
	}
	began := time.Now()
	if err := p.producer.commit(p.consumer, p.offsets); err != nil {
		p.metrics.failures.WithLabelValues(when).Inc()
		p.log.Warn("transaction failed; doing it again", "when", when, "records", p.records, "error", err.Error())
		p.undo(reason(err))
		return
	}
	p.metrics.committed.Inc()
	p.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	p.metrics.transactionRecords.Observe(float64(p.records))
	p.closeTransaction()
	p.pause.Reset()
}

func (p *Processor) closeTransaction() {
	p.open, p.records, p.lastCommit = false, 0, time.Now()
	clear(p.next)
}

func reason(err error) string {
	switch {
	case errors.Is(err, ErrFenced):
		return "fenced"
	case errors.Is(err, ErrRebalance):
		return "rebalance"
	case errors.Is(err, ErrUnreachable):
		return "unreachable"
	}
	return "other"
}

// undo aborts the open transaction and has the consumer go back. A client that cannot even abort is given up: its
// successor's registration aborts for it.
func (p *Processor) undo(why string) {
	p.rewind, p.rewindFails = true, 0
	p.careful = time.Now().Add(carefulTime)
	if !p.open {
		return
	}
	p.metrics.aborted.WithLabelValues(why).Inc()
	p.closeTransaction()
	if p.producer == nil {
		return
	}
	if err := p.producer.abort(); err != nil {
		p.log.Warn("transactional producer failed for good; making it anew", "error", err.Error())
		p.dropProducer()
	}
}

func (p *Processor) dropProducer() {
	p.shared.recreated.Inc()
	p.ready.Store(false)
	p.producer.close()
	p.producer = nil
}

// renewProducer registers the transactional id; that ends whatever a predecessor, or this one's lost client, left open.
func (p *Processor) renewProducer(ctx context.Context) error {
	producer, err := openTransactor(ctx, p.options, p.client.bootstrap(), p.header, p.log, p.metrics, p.shared)
	if err != nil {
		return err
	}
	p.producer = producer
	p.ready.Store(true)
	return nil
}

// revoked runs inside the consumer's Poll and Close: what was processed of the partitions is committed while they are
// still ours.
func (p *Processor) revoked(_ []TopicPartition, lost bool) {
	if !p.open {
		return
	}
	if lost {
		p.undo("lost")
		return
	}
	p.finish("revoke")
}

// goBack makes every assigned partition continue at what is committed. It asks the broker: after a commit whose answer
// was lost, only the broker knows.
func (p *Processor) goBack() error {
	assigned := p.consumer.Assignment()
	err := p.seekCommitted(assigned)
	if err == nil {
		p.rewind = false
		return nil
	}
	if p.rewindFails++; p.rewindFails >= maxRewindFails && p.consumer.client != nil {
		p.rewindFails = 0
		p.consumer.abandon(err)
		p.rewind = false
	}
	return err
}

func (p *Processor) seekCommitted(assigned []TopicPartition) error {
	committed, err := p.consumer.Committed(p.ctx, assigned)
	if err != nil {
		return err
	}
	for i := range committed {
		if committed[i].Offset < 0 {
			committed[i].Offset = OffsetBeginning
		}
	}
	return p.consumer.seek(committed)
}

// judge decides what an error means for Run: nil to go on after a pause, else the error that ends it.
func (p *Processor) judge(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if step != "handle" && (errors.Is(err, ErrUnknownTopic) || errors.Is(err, ErrDenied)) {
		if p.open {
			p.undo("stop")
		}
		return err
	}
	p.metrics.failures.WithLabelValues(step).Inc()
	wait := p.pause.NextBackOff()
	p.log.Warn("processing failed; trying again", "step", step, "error", err.Error(), "wait", wait.Round(time.Millisecond).String())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}
