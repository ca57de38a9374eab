package records

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/market"
)

// DeadLetterStatus says what became of a record; the values are the Avro enum's positions.
type DeadLetterStatus uint8

// Statuses in the order of the enum DeadLetterStatus.
const (
	DeadLetterUnknown DeadLetterStatus = iota
	DeadLetterFailed
	DeadLetterReplayed
	DeadLetterDiscarded
)

// Header is one header of a Kafka record.
type Header struct {
	Name  string
	Value []byte // nil: null
}

// WholeRecord is the Item of a dead letter that holds a whole record rather than one item of it.
const WholeRecord int32 = -1

// DeadLetter is a value of dead-letters.
type DeadLetter struct {
	Status     DeadLetterStatus
	Group      string
	Topic      string
	TopicID    [16]byte
	Partition  int32
	Offset     int64
	Item       int32
	SchemaID   market.OptInt
	Key, Value []byte // nil: null
	Headers    []Header
	RecordTime int64 // µs since 1970 UTC
	ErrorClass string
	Error      string
	FailedAt   int64 // µs since 1970 UTC
	Producer   string
	ResolvedAt int64  // µs since 1970 UTC, or market.NoTime
	Resolution string // empty: null
}

// KafkaKey is group/topic id/partition/offset/item: a resolution written under the same key replaces the letter.
func (d *DeadLetter) KafkaKey() string {
	return fmt.Sprintf("%s/%s/%d/%d/%d", d.Group, uuid.UUID(d.TopicID), d.Partition, d.Offset, d.Item)
}

// AppendAvro writes the record's body.
func (d *DeadLetter) AppendAvro(dst []byte) []byte {
	dst = appendLong(dst, int64(d.Status))
	dst = appendString(dst, d.Group)
	dst = appendString(dst, d.Topic)
	dst = append(dst, d.TopicID[:]...)
	dst = appendLong(dst, int64(d.Partition))
	dst = appendLong(dst, d.Offset)
	dst = appendLong(dst, int64(d.Item))
	dst = appendOptInt(dst, d.SchemaID)
	dst = appendOptBytes(dst, d.Key)
	dst = appendOptBytes(dst, d.Value)
	if len(d.Headers) > 0 {
		dst = appendLong(dst, int64(len(d.Headers)))
		for _, h := range d.Headers {
			dst = appendString(dst, h.Name)
			dst = appendOptBytes(dst, h.Value)
		}
	}
	dst = append(dst, 0)
	dst = appendLong(dst, d.RecordTime)
	dst = appendString(dst, d.ErrorClass)
	dst = appendString(dst, d.Error)
	dst = appendLong(dst, d.FailedAt)
	dst = appendString(dst, d.Producer)
	dst = appendOptTime(dst, d.ResolvedAt)
	return appendOptString(dst, d.Resolution)
}

// DecodeAvro reads a body. Key, Value and the headers' values alias it.
func (d *DeadLetter) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	d.Status = DeadLetterStatus(r.enum("status", 4))
	d.Group = r.string("group")
	d.Topic = r.string("topic")
	copy(d.TopicID[:], r.fixed("topic_id", 16))
	d.Partition = r.int32("partition")
	d.Offset = r.long("offset")
	d.Item = r.int32("item")
	d.SchemaID = r.optInt("schema_id")
	d.Key = r.optBytes("key")
	d.Value = r.optBytes("value")
	d.Headers = r.headers(d.Headers[:0])
	d.RecordTime = r.long("record_time")
	d.ErrorClass = r.string("error_class")
	d.Error = r.string("error")
	d.FailedAt = r.long("failed_at")
	d.Producer = r.string("producer")
	d.ResolvedAt = r.optTime("resolved_at")
	d.Resolution = r.optString("resolution")
	return r.end("dead-letters record")
}

func (r *reader) headers(headers []Header) []Header {
	for r.err == nil {
		count := r.long("headers")
		if count == 0 {
			break
		}
		if count < 0 {
			count = -count
			r.long("headers")
		}
		if count < 0 || count > int64(len(r.rest)/2) {
			r.fail(fmt.Errorf("an array block of %d headers in %d bytes", count, len(r.rest)))
			break
		}
		for range count {
			headers = append(headers, Header{Name: r.string("headers"), Value: r.optBytes("headers")})
		}
	}
	return headers
}
