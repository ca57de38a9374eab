// Package kafka is the platform's only door to Kafka: a consumer that hands out batches, a producer, a processor that
// consumes, transforms and produces exactly once, and the questions an operator asks (admin, lag). Below it is
// librdkafka, reached by a thin layer of our own (package rdkafka) where the Go client costs too much.
package kafka

import "fmt"

// Header of a record.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record of a batch. Key, Value and the headers' values are slices of a buffer that the next Poll, or the
// return of the handler, makes invalid. A nil Value is a tombstone; a nil Key is no key.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	TimestampMs int64 // milliseconds since 1970, as the topic keeps them (creation or append time); -1 none
	Key, Value  []byte
	Headers     []Header // only when asked for

	message int32 // librdkafka's, for Consumer.HeadersOf
}

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s[%d]", tp.Topic, tp.Partition) }

// Offsets that are not positions.
const (
	OffsetBeginning int64 = -2
	OffsetEnd       int64 = -1
	OffsetNone      int64 = -1001 // nothing was ever committed
)

// Committed is a group's position in one partition: the offset of the record to read next, with what was written
// beside it. Metadata is ASCII of at most MaxMetadataBytes.
type Committed struct {
	TopicPartition
	Offset   int64
	Metadata string
}

// MaxMetadataBytes is the broker's limit of a commit's metadata (offset.metadata.max.bytes). It is checked here,
// because not every broker does.
const MaxMetadataBytes = 4096
