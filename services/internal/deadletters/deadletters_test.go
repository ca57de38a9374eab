package deadletters

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestALetterHoldsTheWholeRecord(t *testing.T) {
	w := Writer{Group: "parser", SchemaID: 9, Producer: "parser@1", Now: func() time.Time { return time.UnixMicro(77) }}
	record := kafka.Record{
		Topic: "raw-frames", Partition: 3, Offset: 12, TimestampMs: 5, Key: []byte("binance/a"), Value: registry.AppendWireHeader(nil, 4711),
		Headers: []kafka.Header{{Name: "producer", Value: []byte("loader@1")}, {Name: "empty"}},
	}
	want := records.DeadLetter{
		Status: records.DeadLetterFailed, Group: "parser", Topic: "raw-frames", TopicID: [16]byte{15: 1}, Partition: 3, Offset: 12, Item: 2,
		SchemaID: market.Some(4711), Key: record.Key, Value: record.Value,
		Headers:    []records.Header{{Name: "producer", Value: []byte("loader@1")}, {Name: "empty"}},
		RecordTime: 5000, ErrorClass: BadItem, Error: "no number", FailedAt: 77, Producer: "parser@1", ResolvedAt: market.NoTime,
	}
	check := func() {
		t.Helper()
		key, value := w.Letter(record, want.TopicID, want.Item, BadItem, errors.New("no number"))
		if key != "parser/00000000-0000-0000-0000-000000000001/3/12/2" {
			t.Errorf("key %q", key)
		}
		id, body, err := registry.ParseWire(value)
		var got records.DeadLetter
		if err == nil {
			err = got.DecodeAvro(body)
		}
		if err != nil || id != 9 {
			t.Fatalf("schema id %d, %v", id, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check()
	// A tombstone without key, headers and time, and a value in no wire format, are kept as they are.
	record.Key, record.Value, record.Headers, record.TimestampMs = nil, nil, nil, -1
	want.Key, want.Value, want.Headers, want.RecordTime, want.SchemaID = nil, nil, nil, 0, market.OptInt{}
	check()
	record.Value = []byte("garbage")
	want.Value = record.Value
	check()
}

// The topics' limit of 20 MiB is of what was compressed: a record may be larger, and its letter must not be refused for ever.
func TestALetterOfARecordThatIsTooLargeKeepsWhereItIs(t *testing.T) {
	w := Writer{Group: "parser", SchemaID: 9, Producer: "parser@1"}
	for size, kept := range map[int]bool{MaxRecord - 3: true, MaxRecord - 2: false, 100 << 20: false} {
		record := kafka.Record{Topic: "raw-frames", Partition: 3, Offset: 12, Key: []byte("k"), Value: make([]byte, size), Headers: []kafka.Header{{Name: "h", Value: []byte("i")}}}
		_, value := w.Letter(record, [16]byte{}, records.WholeRecord, BadFrame, errors.New(strings.Repeat("x", 1<<20)))
		_, body, err := registry.ParseWire(value)
		var got records.DeadLetter
		if err == nil {
			err = got.DecodeAvro(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		if (len(got.Value) == size) != kept || strings.Contains(got.Error, "not kept here") == kept || got.Offset != 12 || len(value) > 20<<20 {
			t.Errorf("%d bytes: a letter of %d with a value of %d, offset %d", size, len(value), len(got.Value), got.Offset)
		}
	}
}
