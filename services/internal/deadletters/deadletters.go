// Package deadletters is what every consumer does with a record that it cannot process: it writes the record down,
// untouched, with where it came from and why it failed, and it stops when that happens too often, because a flood of
// bad records is an outage of understanding and not a run of bad luck.
package deadletters

import (
	"fmt"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Topic and Subject of the dead letters.
const (
	Topic   = "dead-letters"
	Subject = "dead-letters-value"
)

// Classes of errors: short and stable, for filters.
const (
	BadFrame      = "bad-frame"      // a venue's frame that its decoder refuses
	BadItem       = "bad-item"       // one item of a frame
	BadValue      = "bad-value"      // a body that its own schema does not describe
	NotWireFormat = "not-wire"       // no magic byte and schema id
	UnknownSchema = "unknown-schema" // the registry has denied the id for a minute
	TooLarge      = "too-large"      // what was made of it is larger than its topic takes
	RejectedRow   = "rejected-row"   // the sink refuses this row
	BrokenRule    = "rule"           // a value that a field rule of its contract diverts
)

// Writer makes dead letters of one consumer group.
type Writer struct {
	// Group that fails.
	Group string
	// SchemaID of this build's DeadLetter in the registry.
	SchemaID int
	// Producer is program@version.
	Producer string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const (
	// MaxRecord is the most bytes that key, value and headers of a record may have to be kept in a letter: dead-letters takes
	// records of 20 MiB, and so do the topics whose records it keeps, but theirs may have been compressed on the way.
	MaxRecord = 20<<20 - 64<<10
	// maxError bounds the words of an error, in bytes.
	maxError = 16 << 10
)

// Letter makes the key and the value of a dead letter: item is the position in the record, or records.WholeRecord. Of a
// record too large for a letter only the coordinates and the error are kept, which then says so.
func (w *Writer) Letter(record kafka.Record, topicID [16]byte, item int32, class string, cause error) (key string, value []byte) {
	letter := records.DeadLetter{
		Status: records.DeadLetterFailed, Group: w.Group,
		Topic: record.Topic, TopicID: topicID, Partition: record.Partition, Offset: record.Offset, Item: item,
		Key: record.Key, Value: record.Value,
		// A record without a timestamp has -1, which is no time.
		RecordTime: max(record.TimestampMs, 0) * 1000,
		ErrorClass: class, Error: text(cause),
		FailedAt: w.now().UnixMicro(), Producer: w.Producer, ResolvedAt: market.NoTime,
	}
	if id, _, err := registry.ParseWire(record.Value); err == nil {
		letter.SchemaID = market.Some(int64(id))
	}
	size := len(record.Key) + len(record.Value)
	for _, h := range record.Headers {
		letter.Headers = append(letter.Headers, records.Header{Name: h.Name, Value: h.Value})
		size += len(h.Name) + len(h.Value)
	}
	if size > MaxRecord {
		letter.Error = fmt.Sprintf("%s (key, value and headers of %d bytes are not kept here, a letter holds %d: read the record in its topic while it is there)", letter.Error, size, MaxRecord)
		letter.Key, letter.Value, letter.Headers = nil, nil, nil
	}
	return letter.KafkaKey(), letter.AppendAvro(registry.AppendWireHeader(nil, w.SchemaID))
}

func text(cause error) string {
	t := cause.Error()
	if len(t) > maxError {
		return strings.ToValidUTF8(t[:maxError], "") + "…"
	}
	return t
}
