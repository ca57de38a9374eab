package kafka

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
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
	// OnDelivery is told of every record's end, from one goroutine, in order a partition.
	OnDelivery func(Delivery)
}

// Message is a record to produce.
type Message struct {
	Topic string
	// Partition, or -1 for the one that the key decides (murmur2_random, Java's).
	Partition  int32
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
type Producer struct{}

// NewProducer makes a producer. It does not wait for the broker.
func NewProducer(client ClientConfig, config ProducerConfig, log *slog.Logger, registerer prometheus.Registerer) (*Producer, error) {
	panic("BUG: being written")
}

// Produce queues a copy of m. ErrQueueFull asks to try again later; other errors are for good.
func (p *Producer) Produce(m *Message) error { panic("BUG: being written") }

// Flush waits until every record has its delivery, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error { panic("BUG: being written") }

// Close gives up what is still queued (their deliveries say so) and frees the producer. Flush first.
func (p *Producer) Close() { panic("BUG: being written") }
