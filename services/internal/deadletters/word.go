package deadletters

import (
	"bytes"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// RequestHeader is the Kafka header that makes a word on a letter a request to its group to replay it; its value is for
// a person. It is a header and no status, because the letter has failed until the group says otherwise.
const RequestHeader = "replay-request"

// Word is one record of dead-letters. Only the last under a key counts.
type Word struct {
	Letter records.DeadLetter
	// Asked says that the letter's group is to replay it.
	Asked bool
	// Partition and Offset of the word itself in dead-letters.
	Partition int32
	Offset    int64

	follows int64 // offset of the word that a request is about, or -1
}

// ReadWord reads a record of dead-letters, whose bytes it does not keep. A record whose key is not its letter's is an error:
// it would resolve another one.
func ReadWord(r kafka.Record) (Word, error) {
	w := Word{Partition: r.Partition, Offset: r.Offset, follows: -1}
	at := func(err error) error { return fmt.Errorf("%s[%d]@%d: %w", Topic, r.Partition, r.Offset, err) }
	_, body, err := registry.ParseWire(r.Value)
	if err != nil {
		return w, at(err)
	}
	if err := w.Letter.DecodeAvro(bytes.Clone(body)); err != nil {
		return w, at(err)
	}
	if key := w.Letter.KafkaKey(); key != string(r.Key) {
		return w, at(fmt.Errorf("the key is %q, its letter's is %q", r.Key, key))
	}
	for _, h := range r.Headers {
		w.Asked = w.Asked || h.Name == RequestHeader && w.Letter.Status == records.DeadLetterFailed
		if h.Name == followsHeader {
			w.follows = readFollows(h.Value)
		}
	}
	return w, nil
}

// Status of a letter after this word: failed, replay-asked, replayed, discarded, or unknown.
func (w *Word) Status() string {
	switch w.Letter.Status {
	case records.DeadLetterFailed:
		if w.Asked {
			return StatusAsked
		}
		return StatusFailed
	case records.DeadLetterReplayed:
		return StatusReplayed
	case records.DeadLetterDiscarded:
		return StatusDiscarded
	}
	return StatusUnknown
}

// What Status says.
const (
	StatusUnknown   = "unknown"
	StatusFailed    = "failed"
	StatusAsked     = "replay-asked"
	StatusReplayed  = "replayed"
	StatusDiscarded = "discarded"
)

// Ask asks the letter's group to replay it. Of says which word the asker has seen last: an answer behind it makes the request void.
func (w *Writer) Ask(of Word, why string) kafka.Message {
	letter := of.Letter
	letter.Status, letter.Resolution = records.DeadLetterFailed, why
	m := w.message(letter)
	m.Headers = []kafka.Header{{Name: RequestHeader, Value: []byte(why)}, follows(of.Offset)}
	return m
}

// Resolve says what became of a letter: records.DeadLetterReplayed or records.DeadLetterDiscarded, by whom and why.
func (w *Writer) Resolve(letter records.DeadLetter, status records.DeadLetterStatus, why string) kafka.Message {
	letter.Status, letter.Resolution, letter.ResolvedAt = status, why, w.now().UnixMicro()
	return w.message(letter)
}

// Again says that a letter has failed once more.
func (w *Writer) Again(letter records.DeadLetter, class string, cause error) kafka.Message {
	letter.Status, letter.Resolution = records.DeadLetterFailed, ""
	letter.ErrorClass, letter.Error, letter.FailedAt, letter.Producer = class, text(cause), w.now().UnixMicro(), w.Producer
	return w.message(letter)
}

func (w *Writer) message(letter records.DeadLetter) kafka.Message {
	return kafka.Message{
		Topic: Topic, Partition: -1, Key: []byte(letter.KafkaKey()),
		Value: letter.AppendAvro(registry.AppendWireHeader(nil, w.SchemaID)), TimestampMs: w.now().UnixMilli(),
	}
}

func (w *Writer) now() time.Time {
	if w.Now != nil {
		return w.Now()
	}
	return time.Now()
}
