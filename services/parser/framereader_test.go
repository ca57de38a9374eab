package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// answers is a registry that says what a test wants.
type answers struct {
	schema  registry.Schema
	err     error
	foreign bool // the id belongs to other subjects only
	subject error
	asked   int
}

func (a *answers) Under(context.Context, int, string) (bool, error) { return !a.foreign, a.subject }

func (a *answers) SchemaByID(context.Context, int) (registry.Schema, error) {
	a.asked++
	return a.schema, a.err
}

func ownSchema(t testing.TB) string {
	t.Helper()
	s := must[schemas.Subject](t)(schemas.Get("raw-frames-value"))
	return must[string](t)(schemas.SelfContained(s))
}

// clocked is a reader whose clock the test sets.
func clocked(t *testing.T, source schemaSource) (*frameReader, *time.Time) {
	now := time.Unix(1_000_000, 0)
	f := newFrameReader(source, 1, ownSchema(t))
	f.now = func() time.Time { return now }
	return f, &now
}

func TestAnUnknownIDIsBadAfterAMinuteOfDenials(t *testing.T) {
	denied := fmt.Errorf("schema id 7: %w", registry.ErrUnknownID)
	away := fmt.Errorf("dial: %w", registry.ErrUnavailable)
	value := registry.AppendWireHeader(nil, 7)
	type step struct {
		after time.Duration
		says  error
		want  string // the cause of the block, or the class of the dead letter
	}
	for name, steps := range map[string][]step{
		"denied for a minute": {
			{0, denied, "unknown-id"},
			{20 * time.Second, denied, "unknown-id"},
			{20 * time.Second, denied, "unknown-id"},
			{19 * time.Second, denied, "unknown-id"},
			{time.Second, denied, deadletters.UnknownSchema},
			{time.Hour, denied, deadletters.UnknownSchema},
		},
		"the registry is away in between": {
			{0, denied, "unknown-id"},
			{20 * time.Second, denied, "unknown-id"},
			{20 * time.Second, away, "registry"},
			{20 * time.Second, denied, "unknown-id"},
			{30 * time.Second, denied, "unknown-id"},
			{29 * time.Second, denied, "unknown-id"},
			{time.Second, denied, deadletters.UnknownSchema},
		},
		"nobody asked in between": {
			{0, denied, "unknown-id"}, {61 * time.Second, denied, "unknown-id"}, {30 * time.Second, denied, "unknown-id"}, {30 * time.Second, denied, deadletters.UnknownSchema},
		},
		"the registry is away": {{0, away, "registry"}, {time.Hour, away, "registry"}},
	} {
		t.Run(name, func(t *testing.T) {
			source := &answers{}
			reader, now := clocked(t, source)
			for i, s := range steps {
				*now = now.Add(s.after)
				source.err = s.says
				err := reader.read(t.Context(), value, new(records.Frame))
				var bad *badRecord
				var blocked *blockedError
				got := ""
				switch {
				case errors.As(err, &bad):
					got = bad.class
				case errors.As(err, &blocked):
					got = blocked.cause
				}
				if got != s.want {
					t.Errorf("step %d: %q, want %q: %v", i, got, s.want, err)
				}
			}
		})
	}
}

func TestAnIDThatAppearsIsRead(t *testing.T) {
	source := &answers{err: registry.ErrUnknownID}
	reader, _ := clocked(t, source)
	want := binanceTrade("BTCUSDT", 1)
	value := want.AppendAvro(registry.AppendWireHeader(nil, 7))
	var got records.Frame
	if err := reader.read(t.Context(), value, &got); causeOf(err) != "unknown-id" {
		t.Fatal(err)
	}
	source.err, source.schema = nil, registry.Schema{ID: 7, Text: ownSchema(t)}
	for range 3 {
		if err := reader.read(t.Context(), value, &got); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Error(diff)
	}
	if source.asked != 2 || len(reader.denied) != 0 {
		t.Errorf("asked %d times, %d denied", source.asked, len(reader.denied))
	}
}

// A record of another topic is no newer version of this one's: it is bad after the time that an unknown id is given, unless
// the registry cannot say.
func TestASchemaOfAnotherSubjectIsBadAfterAMinute(t *testing.T) {
	foreign := `{"type":"record","name":"RawTrade","namespace":"streamforge.market","fields":[{"name":"venue","type":"string"}]}`
	for name, source := range map[string]*answers{
		"Avro":     {schema: registry.Schema{ID: 7, Text: foreign}, foreign: true},
		"Protobuf": {err: fmt.Errorf("schema id 7: %w", registry.ErrRefused), foreign: true},
	} {
		reader, now := clocked(t, source)
		value := registry.AppendWireHeader(nil, 7)
		read := func() error { return reader.read(t.Context(), value, new(records.Frame)) }
		for range 3 {
			if err := read(); causeOf(err) != "unknown-id" || !strings.Contains(err.Error(), "raw-frames-value") {
				t.Fatalf("%s: %v", name, err)
			}
			*now = now.Add(20 * time.Second)
		}
		var bad *badRecord
		if err := read(); !errors.As(err, &bad) || bad.class != deadletters.UnknownSchema {
			t.Errorf("%s: %v", name, err)
		}
		source.subject = registry.ErrUnavailable
		var blocked *blockedError
		if err := read(); !errors.As(err, &blocked) || blocked.cause == "unknown-id" {
			t.Errorf("%s, a registry that cannot say: %v", name, err)
		}
	}
}

func TestASchemaThatThisBuildCannotReadBlocks(t *testing.T) {
	reader, now := clocked(t, &answers{schema: registry.Schema{ID: 7, Text: `{"type":"record","name":"RawFrame","namespace":"streamforge.market","fields":[{"name":"kind","type":"string"}]}`}})
	for range 2 {
		if err := reader.read(t.Context(), registry.AppendWireHeader(nil, 7), new(records.Frame)); causeOf(err) != "schema" {
			t.Fatal(err)
		}
		*now = now.Add(time.Hour)
	}
}

// Other versions of the schema, as a change in a pull request may make them.
func olderSchema(t testing.TB) string {
	own := must[schemas.Subject](t)(schemas.Get("raw-frames-value")).Text
	line := own[strings.Index(own, `    {"name": "request"`):]
	return strings.Replace(own, line[:strings.Index(line, "\n")+1], "", 1)
}

func newerSchema(t testing.TB) string {
	own := must[schemas.Subject](t)(schemas.Get("raw-frames-value")).Text
	s := strings.Replace(own, `"OPEN", "CLOSE"]`, `"OPEN", "CLOSE", "PING"]`, 1)
	s = strings.Replace(s, `    {"name": "loader_epoch"`, `    {"name": "host", "doc": "Where the loader runs.", "type": ["null", "string"], "default": null},`+"\n"+`    {"name": "loader_epoch"`, 1)
	if s == own {
		t.Fatal("the schema's text is not what the test knows")
	}
	return s
}

func TestOlderAndNewerVersionsOfTheSchemaAreRead(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	sent := 0
	send := func(text, kind string) {
		id, _, err := s.schemas.Register(t.Context(), schemas.Subject{Name: "raw-frames-value", Path: "test", Text: text})
		if err != nil {
			t.Fatal(err)
		}
		f := binanceTrade("BTCUSDT", sent)
		// goavro writes what a loader of that version would.
		codec := must[*goavro.Codec](t)(goavro.NewCodec(text))
		value, err := codec.BinaryFromNative(registry.AppendWireHeader(nil, id), map[string]any{
			"kind": kind, "venue": f.Venue, "feed": f.Feed, "loader_epoch": 1, "connection": 1, "sequence": sent, "venue_symbol": nil, "request": nil,
			"host": goavro.Union("string", "loader-7"), "received_at": at, "payload": f.Payload,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.send("binance/binance-0", value, at)
		sent++
	}
	own := must[schemas.Subject](t)(schemas.Get("raw-frames-value")).Text
	for range 2 {
		send(own, "FRAME")
		send(olderSchema(t), "FRAME")
		send(newerSchema(t), "FRAME")
	}
	s.checkAfter(sent)
	// A kind that only the newer schema has is read as the default, UNKNOWN, and counted.
	send(newerSchema(t), "PING")
	p := s.start(Config{})
	s.drained()
	p.stop()
	if got := p.count(t, "unknown_frames_total"); got != 1 {
		t.Errorf("%v unknown frames", got)
	}
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// checkAfter lets a parser run until all is read, and checks n trades.
func (s *stack) checkAfter(n int) {
	s.t.Helper()
	p := s.start(Config{})
	s.drained()
	p.stop()
	s.checkTrades(n)
}

func FuzzFrameReader(f *testing.F) {
	own := ownSchema(f)
	frame := binanceTrade("BTCUSDT", 1)
	for id := range 3 {
		f.Add(frame.AppendAvro(registry.AppendWireHeader(nil, id)))
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	reader := newFrameReader(&answers{schema: registry.Schema{ID: 2, Text: newerSchema(f)}}, 1, own)
	f.Fuzz(func(t *testing.T, value []byte) {
		var got records.Frame
		err := reader.read(context.Background(), value, &got)
		var bad *badRecord
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("garbage blocks the partition: %v", err)
		}
		if id, body, wire := registry.ParseWire(value); err == nil && wire == nil && id == 1 {
			var again records.Frame
			if err := again.DecodeAvro(got.AppendAvro(nil)); err != nil || !cmp.Equal(got, again) {
				t.Fatalf("%x reads as %+v and that as %+v, %v", body, got, again, err)
			}
		}
	})
}

func FuzzGapPayload(f *testing.F) {
	f.Add([]byte(`{"venue_symbols":["BTCUSDT"],"channel":"all","reason":"RESYNC","missing":3,"from":"2024-08-08T23:54:14Z"}`))
	f.Add([]byte(`{"venue_symbols":[],"missing":1e99}`))
	f.Add([]byte(`nul`))
	p := bench(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		frame := frame("kraken", string(payload))
		frame.Kind = records.FrameGap
		out := &recorder{}
		if err := p.Handle(context.Background(), batchOf(frame), out); err != nil {
			t.Fatalf("a payload blocks the partition: %v", err)
		}
		if len(out.topics) == 0 {
			t.Fatalf("%q leaves no trace", payload)
		}
	})
}
