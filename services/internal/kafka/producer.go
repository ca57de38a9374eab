package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// ProducerConfig of a Producer.
type ProducerConfig struct {
	// ProducerName is the value of the header "producer" of every record: program@version.
	ProducerName string
	// LingerMs is how long a record may wait for others of its partition, in milliseconds; 0 means 5.
	LingerMs int
	// QueueMaxBytes bounds what waits for the broker, in bytes; 0 means 256 MiB.
	QueueMaxBytes int
	// MaxMessageBytes bounds one record; 0 means 20 MiB.
	MaxMessageBytes int
	// OnDelivery is told of every record's end, from one goroutine, in order a partition. It must not call Flush or
	// Close.
	OnDelivery func(Delivery)
}

// headerProducer is the header that every record of the platform carries.
const headerProducer = "producer"

// Message is a record to produce.
type Message struct {
	Topic string
	// Partition, or -1 for the one that the key decides (murmur2_random, Java's).
	Partition int32
	// Key and Value; a nil Value is a tombstone, a nil Key no key.
	Key, Value []byte
	// TimestampMs in milliseconds since 1970; 0 is now.
	TimestampMs int64
	Headers     []Header
	// Opaque comes back with the delivery.
	Opaque uint64
}

// Delivery is the end of one record: in Kafka, at Partition and Offset, or refused for good.
type Delivery struct {
	Opaque    uint64
	Partition int32
	Offset    int64
	Err       error
}

// Producer writes records idempotently and waits out an absent broker. Its methods may be called from any goroutine.
type Producer struct {
	config    ProducerConfig
	bootstrap string
	options   []rdkafka.Option
	header    []byte // the encoded header "producer"
	log       *slog.Logger
	metrics   *producerMetrics
	shared    clientMetrics
	buffers   sync.Pool // *[]byte, for headers

	// mu is held for reading by every call into the client, and for writing while it is replaced or freed.
	mu     sync.RWMutex
	client *client
	topics sync.Map // string → rdkafka.Topic

	closing atomic.Bool
	done    sync.WaitGroup
}

// NewProducer makes a producer. It does not wait for the broker.
func NewProducer(client ClientConfig, config ProducerConfig, log *slog.Logger, registerer prometheus.Registerer) (*Producer, error) {
	if config.LingerMs <= 0 {
		config.LingerMs = 5
	}
	if config.QueueMaxBytes <= 0 {
		config.QueueMaxBytes = 256 << 20
	}
	if config.MaxMessageBytes <= 0 {
		config.MaxMessageBytes = maxMessageBytes
	}
	options, err := client.producerOptions(config.LingerMs, config.QueueMaxBytes, config.MaxMessageBytes)
	if err != nil {
		return nil, fmt.Errorf("making a producer: %w", err)
	}
	// A record waits for the broker for as long as it takes: the bounded queue pushes back, nothing is given up.
	options = append(options, option{"message.timeout.ms", "0"})
	name := orDefault(config.ProducerName, "producer")
	p := &Producer{
		config: config, bootstrap: client.bootstrap(), options: lowOptions(options), log: log,
		metrics: newProducerMetrics(registerer, name), shared: newClientMetrics(registerer, name),
	}
	p.buffers.New = func() any { b := make([]byte, 0, 256); return &b }
	if config.ProducerName != "" {
		p.header = rdkafka.AppendHeader(nil, headerProducer, []byte(config.ProducerName))
	}
	if err := p.open(); err != nil {
		return nil, err
	}
	p.done.Go(p.serve)
	return p, nil
}

func (p *Producer) open() error {
	handle, err := rdkafka.OpenProducer(p.options, true)
	if err != nil {
		return wrap("making a producer", err)
	}
	p.client = newClient(handle, p.bootstrap, p.log, p.shared)
	return nil
}

// free gives the client up. The caller holds mu.
func (p *Producer) free() {
	p.topics.Range(func(name, topic any) bool {
		topic.(rdkafka.Topic).Release()
		p.topics.Delete(name)
		return true
	})
	p.client.destroy(true)
	p.client = nil
}

// Produce queues a copy of m. ErrQueueFull asks to try again later; ErrTooLarge and other errors are for good.
func (p *Producer) Produce(m *Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.client == nil || p.closing.Load() {
		return ErrClosed
	}
	topic, err := p.topic(m.Topic)
	if err != nil {
		return err
	}
	headers := p.header
	if len(m.Headers) > 0 {
		buffer := p.buffers.Get().(*[]byte)
		defer p.buffers.Put(buffer)
		*buffer = append((*buffer)[:0], p.header...)
		for _, h := range m.Headers {
			*buffer = rdkafka.AppendHeader(*buffer, h.Name, h.Value)
		}
		headers = *buffer
	}
	code := p.client.Produce(topic, m.Partition, m.Key, m.Value, m.TimestampMs, headers, m.Opaque)
	switch code {
	case 0:
		p.metrics.produced.Inc()
		p.metrics.bytes.Add(float64(len(m.Key) + len(m.Value)))
		return nil
	case rdkafka.LocalQueueFull:
		p.metrics.queueFull.Inc()
		return ErrQueueFull
	case rdkafka.LocalFatal:
		// The serving goroutine is about to make the client anew.
		p.metrics.queueFull.Inc()
		return fmt.Errorf("%w: the producer is being made anew after a fatal error", ErrQueueFull)
	}
	p.metrics.failed.WithLabelValues(itoa(int32(code))).Inc()
	return wrap(fmt.Sprintf("producing a record of %d bytes to %s", len(m.Key)+len(m.Value), m.Topic), rdkafka.NewError(code))
}

func (p *Producer) topic(name string) (rdkafka.Topic, error) {
	if known, ok := p.topics.Load(name); ok {
		return known.(rdkafka.Topic), nil
	}
	topic, err := p.client.TopicHandle(name)
	if err != nil {
		return topic, wrap("producing to "+name, err)
	}
	if known, loaded := p.topics.LoadOrStore(name, topic); loaded {
		topic.Release()
		return known.(rdkafka.Topic), nil
	}
	return topic, nil
}

// serve tells deliveries until Close.
func (p *Producer) serve() {
	for !p.closing.Load() {
		n := p.client.Deliveries(100*time.Millisecond, p.deliver)
		p.metrics.queued.Set(float64(p.client.Queued()))
		if n == 0 {
			if fatal := p.client.Fatal(); fatal != nil {
				p.renew(fatal)
			}
		}
	}
}

func (p *Producer) deliver(d rdkafka.Delivery) {
	delivery := Delivery{Opaque: d.Opaque, Partition: d.Partition, Offset: d.Offset}
	if d.Code == 0 {
		p.metrics.delivered.Inc()
	} else {
		p.metrics.failed.WithLabelValues(itoa(int32(d.Code))).Inc()
		delivery.Err = wrap("delivering a record", rdkafka.NewError(d.Code))
	}
	if p.config.OnDelivery != nil {
		p.config.OnDelivery(delivery)
	}
}

// renew replaces a client that can no longer keep its promise of neither holes nor duplicates. What it held is told as
// failed, for the caller to decide.
func (p *Producer) renew(fatal error) {
	p.log.Error("producer failed for good; making it anew", "error", fatal.Error(), "queued", p.client.Queued())
	p.shared.recreated.Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drainPurged()
	p.free()
	for !p.closing.Load() {
		err := p.open()
		if err == nil {
			return
		}
		p.log.Error("making the producer anew failed; trying again", "error", err.Error())
		time.Sleep(time.Second)
	}
}

// drainPurged gives up everything queued and tells it. The caller holds mu.
func (p *Producer) drainPurged() {
	p.client.Purge()
	for deadline := time.Now().Add(10 * time.Second); p.client.Queued() > 0 && time.Now().Before(deadline); {
		p.client.Deliveries(10*time.Millisecond, p.deliver)
	}
}

// Flush waits until every record has its delivery, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error {
	for {
		p.mu.RLock()
		if p.client == nil {
			p.mu.RUnlock()
			return ErrClosed
		}
		done := p.client.Flush(20 * time.Millisecond)
		queued := p.client.Queued()
		p.mu.RUnlock()
		if done {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("flushing: %d records are not delivered: %w", queued, err)
		}
	}
}

// Close gives up what is still queued (their deliveries say so) and frees the producer. Flush first.
func (p *Producer) Close() {
	if p.closing.Swap(true) {
		return
	}
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		return
	}
	p.drainPurged()
	p.free()
	p.metrics.queued.Set(0)
}
