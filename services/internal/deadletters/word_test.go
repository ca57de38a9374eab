package deadletters

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// Every word on a letter keeps the record's bytes and stands under the letter's key, so that each can follow on any other.
func TestWordsOnALetter(t *testing.T) {
	w := &Writer{SchemaID: 9, Producer: "writer@2", Now: func() time.Time { return time.UnixMicro(99_000) }}
	letter := records.DeadLetter{
		Status: records.DeadLetterFailed, Group: "writer.t", Topic: "t", TopicID: [16]byte{1}, Partition: 3, Offset: 7,
		Item: records.WholeRecord, Value: []byte("v"), ErrorClass: BadValue, Error: "e", FailedAt: 5, Producer: "writer@1", ResolvedAt: market.NoTime,
	}
	read := func(m kafka.Message) Word {
		t.Helper()
		word, err := ReadWord(kafka.Record{Topic: m.Topic, Partition: 2, Offset: 11, Key: m.Key, Value: m.Value, Headers: m.Headers})
		if err != nil || word.Partition != 2 || word.Offset != 11 {
			t.Fatal(word, err)
		}
		return word
	}
	asked, replayed, discarded, again := letter, letter, letter, letter
	asked.Resolution = "asked by a"
	replayed.Status, replayed.Resolution, replayed.ResolvedAt = records.DeadLetterReplayed, "r", 99_000
	discarded.Status, discarded.Resolution, discarded.ResolvedAt = records.DeadLetterDiscarded, "d", 99_000
	again.ErrorClass, again.Error, again.FailedAt, again.Producer = RejectedRow, "no", 99_000, "writer@2"
	for status, c := range map[string]struct {
		message kafka.Message
		want    records.DeadLetter
	}{
		StatusAsked:     {w.Ask(Word{Letter: letter, Offset: 10}, "asked by a"), asked},
		StatusReplayed:  {w.Resolve(letter, records.DeadLetterReplayed, "r"), replayed},
		StatusDiscarded: {w.Resolve(letter, records.DeadLetterDiscarded, "d"), discarded},
		StatusFailed:    {w.Again(asked, RejectedRow, errors.New("no")), again},
	} {
		word := read(c.message)
		if diff := cmp.Diff(c.want, word.Letter); diff != "" || word.Status() != status {
			t.Errorf("%s: %s %s", status, word.Status(), diff)
		}
	}
	// A request that a resolution carries on by mistake is none, and a key that is another letter's resolves nothing.
	m := w.Resolve(letter, records.DeadLetterReplayed, "r")
	m.Headers = []kafka.Header{{Name: RequestHeader}}
	if word := read(m); word.Asked {
		t.Error("a resolution asks for a replay")
	}
	if _, err := ReadWord(kafka.Record{Key: []byte("other"), Value: m.Value}); err == nil {
		t.Error("a word under another letter's key is taken")
	}
	if _, err := ReadWord(kafka.Record{Key: m.Key}); err == nil {
		t.Error("a tombstone is taken")
	}
}
