package kafka

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ProcessorConfig of a Processor.
type ProcessorConfig struct {
	Group  string
	Topics []string
	// TransactionalID is stable over restarts and different for each instance: program and ordinal.
	TransactionalID string
	// CommitInterval is the least time between commits; 0 means 50 ms.
	CommitInterval time.Duration
	// Headers asks for the records' headers.
	Headers bool
	// MaxBatchRecords bounds one batch; 0 means 8192.
	MaxBatchRecords int
	// Producer is the value of the header "producer" of every record produced: program@version.
	Producer string
}

// Output takes the records that a handler makes of its batch. They become visible together with the batch's offsets.
type Output interface {
	// Produce copies. The partition is the key's (murmur2_random). timestampMs is in milliseconds since 1970.
	Produce(topic string, key, value []byte, timestampMs int64, headers []Header) error
}

// Handler transforms a batch. An error undoes the transaction and brings the records again, after a pause: what is bad
// in the input is the handler's to divert.
type Handler = func(ctx context.Context, batch []Record, out Output) error

// Processor consumes, transforms and produces exactly once, in Kafka transactions.
type Processor struct{}

// NewProcessor makes a processor. It does not wait for the broker.
func NewProcessor(client ClientConfig, config ProcessorConfig, log *slog.Logger, registerer prometheus.Registerer) (*Processor, error) {
	panic("BUG: being written")
}

// Run processes until ctx ends, then finishes the batch, commits and leaves the group.
func (p *Processor) Run(ctx context.Context, handle Handler) error { panic("BUG: being written") }

// Ready says whether the processor has joined its group and can write transactions.
func (p *Processor) Ready() bool { panic("BUG: being written") }
