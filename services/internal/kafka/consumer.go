package kafka

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ConsumerConfig of a Consumer.
type ConsumerConfig struct {
	// Group is the consumer group. It may be empty when Assign is given and nothing is committed.
	Group string
	// Topics to subscribe to.
	Topics []string
	// Headers asks for the records' headers, which cost.
	Headers bool
	// MaxBatchRecords bounds one batch, in records; 0 means 8192.
	MaxBatchRecords int
	// MaxBatchWait is how long a batch is gathered, when it does not get full; 0 means 10 ms.
	MaxBatchWait time.Duration
	// QueuedMaxKBytes bounds what is fetched ahead, in KiB; 0 means 16384.
	QueuedMaxKBytes int
	// FromLatest starts a group without committed offsets at the end; the default is the beginning.
	FromLatest bool
	// NoReset makes a missing or invalid offset an error (ErrNoOffset) instead of a guess.
	NoReset bool
	// ReadUncommitted also hands out records of open and aborted transactions.
	ReadUncommitted bool
	// Assign reads these partitions from these offsets, without a group's assignment.
	Assign []Committed
	// Start, when set, is asked where newly assigned partitions begin, before they do. A partition that it does not
	// name starts at the group's committed offset. It runs inside Poll.
	Start func(parts []TopicPartition) ([]Committed, error)
	// OnAssigned and OnRevoked run inside Poll (OnRevoked also inside Close). OnRevoked may Commit, unless lost says that
	// the partitions belong to somebody else already.
	OnAssigned func(parts []TopicPartition)
	OnRevoked  func(parts []TopicPartition, lost bool)
}

// Consumer reads batches of records. Its methods are to be called from ONE goroutine.
type Consumer struct{}

// NewConsumer makes a consumer and subscribes. It does not wait for the broker.
func NewConsumer(client ClientConfig, config ConsumerConfig, log *slog.Logger, registerer prometheus.Registerer) (*Consumer, error) {
	panic("BUG: being written")
}

// Poll returns the next batch, empty when nothing came within MaxBatchWait. The records are valid until the next call.
// An error means that the consumer cannot go on without a person or a decision of the caller.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) { panic("BUG: being written") }

// Commit writes the group's positions, synchronously.
func (c *Consumer) Commit(offsets []Committed) error { panic("BUG: being written") }

// Committed reads the group's positions; Offset is OffsetNone where nothing was committed.
func (c *Consumer) Committed(ctx context.Context, parts []TopicPartition) ([]Committed, error) {
	panic("BUG: being written")
}

// Pause stops handing out records of these partitions until Resume; membership of the group is kept by going on to Poll.
func (c *Consumer) Pause(parts []TopicPartition) error { panic("BUG: being written") }

// Resume undoes Pause.
func (c *Consumer) Resume(parts []TopicPartition) error { panic("BUG: being written") }

// Seek makes offset the next record of a partition that is assigned.
func (c *Consumer) Seek(tp TopicPartition, offset int64) error { panic("BUG: being written") }

// Assignment is what this consumer owns now.
func (c *Consumer) Assignment() []TopicPartition { panic("BUG: being written") }

// Position is the offset after the last record handed out of a partition; OffsetNone before the first.
func (c *Consumer) Position(tp TopicPartition) int64 { panic("BUG: being written") }

// Close leaves the group (OnRevoked runs) and frees the consumer.
func (c *Consumer) Close() error { panic("BUG: being written") }
