package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// ConsumerConfig of a Consumer.
type ConsumerConfig struct {
	// Group is the consumer group. It may be empty when Assign is given and nothing is committed.
	Group string
	// InstanceID makes the membership static: a process that is killed and restarted under the same id takes its
	// partitions back at once, instead of after the session's timeout. It must differ in each instance of the group.
	InstanceID string
	// Topics to subscribe to.
	Topics []string
	// Headers asks for the records' headers, which cost. HeadersLater lets HeadersOf be asked for those of single records.
	Headers, HeadersLater bool
	// MaxBatchRecords bounds one batch, in records; 0 means 8192.
	MaxBatchRecords int
	// MaxBatchWait is how long a batch is gathered, when it does not get full; 0 means 10 ms.
	MaxBatchWait time.Duration
	// QueuedMaxKBytes bounds what is fetched ahead, in KiB; 0 means 16384.
	QueuedMaxKBytes int
	// SessionTimeout is how long a dead member keeps its partitions; 0 means 10 s. Brokers allow no less than 6 s by
	// default. The new group protocol takes the broker's instead.
	SessionTimeout time.Duration
	// MaxPollInterval is how long the caller may stay away from Poll before its partitions go to others; 0 means 5 min.
	MaxPollInterval time.Duration
	// FromLatest starts a group without committed offsets at the end; the default is the beginning.
	FromLatest bool
	// NoReset makes a missing or invalid offset an error (ErrNoOffset) instead of a guess.
	NoReset bool
	// ReadUncommitted also hands out records of open and aborted transactions.
	ReadUncommitted bool
	// Assign reads these partitions from these offsets, without a group's assignment.
	Assign []Committed
	// PartitionEnds lets Position reach the end of a partition even when the last records there are control records.
	PartitionEnds bool
	// Start, when set, is asked where newly assigned partitions begin, before they do. A partition that it does not
	// name starts at the group's committed offset. It runs inside Poll, and may call Committed.
	Start func(parts []TopicPartition) ([]Committed, error)
	// OnAssigned and OnRevoked run inside Poll (OnRevoked also inside Close). OnRevoked may Commit, unless lost says that
	// the partitions belong to somebody else already.
	OnAssigned func(parts []TopicPartition)
	OnRevoked  func(parts []TopicPartition, lost bool)
}

const (
	defaultBatchRecords = 8192
	// maxArenaBytes bounds the buffer of one batch; a single record that is larger still gets through.
	maxArenaBytes = 32 << 20
	// unknownTopicPatience is how long a subscribed topic may be unknown before Poll says so: a broker that has just
	// been restarted does not know everything at once.
	unknownTopicPatience = 15 * time.Second
	// maxHeaderNames bounds the table of interned header names.
	maxHeaderNames = 256
)

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	if c.MaxBatchRecords <= 0 {
		c.MaxBatchRecords = defaultBatchRecords
	}
	if c.MaxBatchWait <= 0 {
		c.MaxBatchWait = 10 * time.Millisecond
	}
	if c.QueuedMaxKBytes <= 0 {
		c.QueuedMaxKBytes = 16384
	}
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.MaxPollInterval <= 0 {
		c.MaxPollInterval = 5 * time.Minute
	}
	return c
}

func (c ConsumerConfig) headers() rdkafka.Headers {
	switch {
	case c.Headers:
		return rdkafka.HeadersCopy
	case c.HeadersLater:
		return rdkafka.HeadersLater
	}
	return rdkafka.HeadersNone
}

// Consumer reads batches of records. Its methods are to be called from ONE goroutine, but for Assignment.
type Consumer struct {
	config    ConsumerConfig
	bootstrap string
	options   []rdkafka.Option
	log       *slog.Logger
	metrics   *consumerMetrics
	shared    clientMetrics

	client     *client
	arena      []byte
	records    []Record
	headers    []Header
	spans      []headerSpan
	ended      []Committed       // partition ends that the batch brought
	names      map[string]string // header names, interned
	positions  positions
	rebalanced bool                 // the batch being taken came with a rebalance
	unknown    map[string]time.Time // subscribed topics that the cluster does not know, since when
	failed     error                // what a callback or an error record found, for the end of Poll
	retry      *backoff.ExponentialBackOff
	retryAt    time.Time // not before this is a client made anew
	closing    bool

	mu       sync.Mutex
	assigned map[TopicPartition]struct{}
}

// NewConsumer makes a consumer and subscribes. It does not wait for the broker.
func NewConsumer(client ClientConfig, config ConsumerConfig, log *slog.Logger, registerer prometheus.Registerer) (*Consumer, error) {
	config = config.withDefaults()
	if len(config.Topics) == 0 && len(config.Assign) == 0 {
		return nil, errors.New("making a consumer: neither topics to subscribe to nor partitions to assign")
	}
	if len(config.Topics) > 0 && config.Group == "" {
		return nil, errors.New("making a consumer: a subscription needs a group")
	}
	options, err := client.consumerOptions(config)
	if err != nil {
		return nil, fmt.Errorf("making a consumer: %w", err)
	}
	name := orDefault(config.Group, "without-group")
	c := &Consumer{
		config: config, bootstrap: client.bootstrap(), options: lowOptions(options), log: log.With("group", name),
		metrics: newConsumerMetrics(registerer, name), shared: newClientMetrics(registerer, name),
		names: map[string]string{}, positions: newPositions(), unknown: map[string]time.Time{},
		assigned: map[TopicPartition]struct{}{},
		retry:    &backoff.ExponentialBackOff{InitialInterval: 500 * time.Millisecond, Multiplier: 2, MaxInterval: 30 * time.Second, RandomizationFactor: 0.2},
	}
	c.retry.Reset()
	return c, c.open()
}

// open makes the librdkafka client and subscribes or assigns.
func (c *Consumer) open() error {
	handle, err := rdkafka.OpenConsumer(c.options, c.config.MaxBatchRecords, c.rebalance)
	if err != nil {
		return wrap("making a consumer", err)
	}
	c.client = newClient(handle, c.bootstrap, c.log, c.shared)
	if len(c.config.Assign) > 0 {
		err = c.assignManually()
	} else {
		err = handle.Subscribe(c.config.Topics)
	}
	if err != nil {
		c.client.destroy(true)
		c.client = nil
		return wrap("subscribing", err)
	}
	return nil
}

// assignManually starts where the last client ended, else where the configuration says.
func (c *Consumer) assignManually() error {
	parts := make([]rdkafka.Partition, len(c.config.Assign))
	for i, a := range c.config.Assign {
		parts[i] = rdkafka.Partition{Topic: a.Topic, Partition: a.Partition, Offset: a.Offset}
		if next := c.Position(a.TopicPartition); next >= 0 {
			parts[i].Offset = next
		}
	}
	if err := c.client.Assign(parts); err != nil {
		return err
	}
	c.own(highPartitions(parts))
	return nil
}

func (c *Consumer) own(parts []TopicPartition) {
	c.mu.Lock()
	for _, tp := range parts {
		c.assigned[tp] = struct{}{}
		delete(c.unknown, tp.Topic)
	}
	n := len(c.assigned)
	c.mu.Unlock()
	c.metrics.assigned.Set(float64(n))
}

func (c *Consumer) disown(parts []TopicPartition) {
	c.mu.Lock()
	for _, tp := range parts {
		delete(c.assigned, tp)
		delete(c.positions.of, tp)
	}
	n := len(c.assigned)
	c.mu.Unlock()
	c.metrics.assigned.Set(float64(n))
}

// Assignment is what this consumer owns now. Safe for concurrent use.
func (c *Consumer) Assignment() []TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.assigned))
}

// Position is the offset after the last record handed out of a partition; OffsetNone before the first.
func (c *Consumer) Position(tp TopicPartition) int64 {
	if now := c.positions.of[tp]; now != nil {
		return now.next
	}
	return OffsetNone
}

// Commit writes the group's positions, synchronously. ErrFenced: the work belongs to another member now; read
// Committed again. ErrRebalance: Poll, then try again.
func (c *Consumer) Commit(offsets []Committed) error {
	if len(offsets) == 0 {
		return nil
	}
	if c.client == nil {
		return ErrClosed
	}
	parts, err := commitPartitions(offsets)
	if err != nil {
		return err
	}
	began := time.Now()
	err = c.client.Commit(parts)
	// Each partition may fail alone.
	for _, p := range parts {
		if p.Code != 0 && (err == nil || classify(p.Code) == ErrFenced) {
			err = rdkafka.NewError(p.Code)
		}
	}
	if err != nil {
		c.metrics.failures.WithLabelValues("commit").Inc()
		return wrap(fmt.Sprintf("committing %d partitions of group %s", len(parts), c.config.Group), err)
	}
	c.metrics.commits.Inc()
	c.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	return nil
}

// commitPartitions checks what brokers refuse, or silently spoil.
func commitPartitions(offsets []Committed) ([]rdkafka.Partition, error) {
	parts := make([]rdkafka.Partition, len(offsets))
	for i, o := range offsets {
		if len(o.Metadata) > MaxMetadataBytes {
			return nil, fmt.Errorf("committing %s: metadata of %d bytes is longer than the %d that brokers keep", o.TopicPartition, len(o.Metadata), MaxMetadataBytes)
		}
		for j := range len(o.Metadata) {
			if b := o.Metadata[j]; b >= 0x80 || b == 0 {
				return nil, fmt.Errorf("committing %s: byte %d of the metadata is 0x%02x; only ASCII without NUL survives the way", o.TopicPartition, j, b)
			}
		}
		parts[i] = rdkafka.Partition{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Metadata: o.Metadata}
	}
	return parts, nil
}

// Committed reads the group's positions; Offset is OffsetNone where nothing was committed. While a transaction that
// commits offsets of these partitions is open it waits, unless the consumer reads uncommitted.
func (c *Consumer) Committed(ctx context.Context, parts []TopicPartition) ([]Committed, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	if c.client == nil {
		return nil, ErrClosed
	}
	low := lowPartitions(parts)
	err := c.client.Committed(low, timeoutOf(ctx, 10*time.Second))
	for _, p := range low {
		if err == nil && p.Code != 0 {
			err = rdkafka.NewError(p.Code)
		}
	}
	if err != nil {
		c.metrics.failures.WithLabelValues("committed").Inc()
		return nil, wrap("reading committed offsets of group "+c.config.Group, err)
	}
	committed := make([]Committed, len(low))
	for i, p := range low {
		committed[i] = Committed{TopicPartition: parts[i], Offset: p.Offset, Metadata: p.Metadata}
	}
	return committed, nil
}

func timeoutOf(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Millisecond, min(most, time.Until(deadline)))
	}
	return most
}

// Pause stops handing out records of these partitions until Resume; going on to Poll keeps the group's membership.
// Records that an earlier, larger batch has gathered already may still come.
func (c *Consumer) Pause(parts []TopicPartition) error { return c.pause(parts, false) }

// Resume undoes Pause.
func (c *Consumer) Resume(parts []TopicPartition) error { return c.pause(parts, true) }

func (c *Consumer) pause(parts []TopicPartition, resume bool) error {
	if len(parts) == 0 {
		return nil
	}
	if c.client == nil {
		return ErrClosed
	}
	return wrap("pausing or resuming", c.client.Pause(lowPartitions(parts), resume))
}

// Seek makes offset (or OffsetBeginning, OffsetEnd) the next record of a partition that is assigned.
func (c *Consumer) Seek(tp TopicPartition, offset int64) error {
	return c.seek([]Committed{{TopicPartition: tp, Offset: offset}})
}

func (c *Consumer) seek(to []Committed) error {
	if len(to) == 0 {
		return nil
	}
	if c.client == nil {
		return ErrClosed
	}
	low := make([]rdkafka.Partition, len(to))
	for i, t := range to {
		low[i] = rdkafka.Partition{Topic: t.Topic, Partition: t.Partition, Offset: t.Offset}
	}
	err := c.client.Seek(low, 10*time.Second)
	for _, p := range low {
		if err == nil && p.Code != 0 {
			err = rdkafka.NewError(p.Code)
		}
	}
	if err != nil {
		c.metrics.failures.WithLabelValues("seek").Inc()
		return wrap(fmt.Sprintf("seeking %s to offset %d", to[0].TopicPartition, to[0].Offset), err)
	}
	for _, t := range to {
		c.positions.set(t.TopicPartition, t.Offset)
	}
	return nil
}

// Close leaves the group (OnRevoked runs) and frees the consumer. Records handed out stay readable.
func (c *Consumer) Close() error {
	if c.client == nil {
		return nil
	}
	c.closing = true
	err := c.client.Close()
	if c.config.Assign != nil {
		c.disown(c.Assignment())
	}
	c.client.destroy(false)
	c.client = nil
	if err != nil {
		return wrap("leaving group "+c.config.Group, err)
	}
	return nil
}
