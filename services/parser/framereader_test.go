package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// answers is a registry that says what a test wants, and that holds every id under the topic's subject.
type answers struct {
	schema registry.Schema
	err    error
	asked  int
}

func (a *answers) Under(context.Context, int, string) (bool, error) { return true, nil }

func (a *answers) SchemaByID(context.Context, int) (registry.Schema, error) {
	a.asked++
	return a.schema, a.err
}

func ownSchema(t testing.TB) string {
	t.Helper()
	s := must[schemas.Subject](t)(schemas.Get("raw-frames-value"))
	return must[string](t)(schemas.SelfContained(s))
}

func TestAnIDThatAppearsIsRead(t *testing.T) {
	source := &answers{err: registry.ErrUnknownID}
	reader := newFrameReader(source, 1, ownSchema(t))
	want := binanceTrade("BTCUSDT", 1)
	value := want.AppendAvro(registry.AppendWireHeader(nil, 7))
	var got records.Frame
	if _, err := reader.read(t.Context(), value, &got); subscription.CauseOf(err) != "unknown-id" {
		t.Fatal(err)
	}
	source.err, source.schema = nil, registry.Schema{ID: 7, Text: ownSchema(t)}
	for range 3 {
		if _, err := reader.read(t.Context(), value, &got); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Error(diff)
	}
	if source.asked != 2 {
		t.Errorf("asked %d times", source.asked)
	}
}

func TestASchemaThatThisBuildCannotReadBlocks(t *testing.T) {
	reader := newFrameReader(&answers{schema: registry.Schema{ID: 7, Text: `{"type":"record","name":"RawFrame","namespace":"streamforge.market","fields":[{"name":"kind","type":"string"}]}`}}, 1, ownSchema(t))
	reader.values.Grace = time.Nanosecond
	for range 2 {
		if _, err := reader.read(t.Context(), registry.AppendWireHeader(nil, 7), new(records.Frame)); subscription.CauseOf(err) != "schema" {
			t.Fatal(err)
		}
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
		_, err := reader.read(context.Background(), value, &got)
		var bad *subscription.BadRecord
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
