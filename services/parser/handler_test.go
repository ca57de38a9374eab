package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// recorder is an Output that keeps the records, and fails where it is told to.
type recorder struct {
	topics []string
	keys   []string
	bodies [][]byte // without the wire format's header
	fail   func(topic string) error
}

func (r *recorder) Produce(topic string, key, value []byte, _ int64, _ []kafka.Header) error {
	if r.fail != nil {
		if err := r.fail(topic); err != nil {
			return err
		}
	}
	_, body, err := registry.ParseWire(value)
	if err != nil {
		return err
	}
	r.topics, r.keys, r.bodies = append(r.topics, topic), append(r.keys, string(key)), append(r.bodies, bytes.Clone(body))
	return nil
}

func (r *recorder) ProduceTo(topic string, _ int32, key, value []byte, timestampMs int64, headers []kafka.Header) error {
	return r.Produce(topic, key, value, timestampMs, headers)
}

// bench is a parser without connections, whose registry denies every other id.
func bench(t testing.TB) *Parser {
	t.Helper()
	p := newParser(schemaIDs{trade: 2, book: 3, gap: 4}, newFrameReader(&answers{err: registry.ErrUnknownID}, 1, ownSchema(t)))
	p.adapters = all.Get
	p.letters = &deadletters.Writer{Group: "parser", SchemaID: 5, Producer: "parser@test"}
	p.flood = &deadletters.Flood{Limit: 1}
	p.metrics, p.log = newMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)
	p.source = newSource(func(context.Context) ([16]byte, error) { return [16]byte{1}, nil }, p.log)
	p.rules = must[fieldRules](t)(newFieldRules(must[[]contract.Contract](t)(contract.Load(contracts.FS)), subscription.NewRuleCounter(nil, "parser"), p.log))
	return p
}

// batchOf is a batch of one partition, from offset 0.
func batchOf(frames ...*records.Frame) []kafka.Record {
	batch := make([]kafka.Record, len(frames))
	for i, f := range frames {
		batch[i] = kafka.Record{
			Topic: topicFrames, Offset: int64(i), TimestampMs: f.ReceivedAt / 1000, Key: []byte(records.FrameKey(f.Venue, f.Feed)),
			Value: f.AppendAvro(registry.AppendWireHeader(nil, 1)),
		}
	}
	return batch
}

func TestARecordThatNoTopicTakesIsDiverted(t *testing.T) {
	p := bench(t)
	out := &recorder{fail: func(topic string) error {
		if topic == topicTrades {
			return kafka.ErrTooLarge
		}
		return nil
	}}
	if err := p.Handle(t.Context(), batchOf(binanceTrade("BTCUSDT", 1)), out); err != nil {
		t.Fatal(err)
	}
	if len(out.topics) != 1 || out.topics[0] != deadletters.Topic {
		t.Errorf("produced to %v", out.topics)
	}
	if n := testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues(deadletters.TooLarge)); n != 1 {
		t.Errorf("%v letters", n)
	}
	if n := testutil.ToFloat64(p.metrics.trades.WithLabelValues("binance")); n != 0 {
		t.Errorf("%v trades", n)
	}
}

// A transaction that is undone brings its records again; they are counted the first time only.
func TestARepeatedTransactionIsCountedOnce(t *testing.T) {
	p := bench(t)
	asked := 0
	p.source.ask = func(context.Context) ([16]byte, error) { asked++; return [16]byte{1}, nil }
	frames := []*records.Frame{binanceTrade("BTCUSDT", 1), frame("binance", "{"), binanceTrade("BTCUSDT", 2)}
	batch := batchOf(frames...)
	failed := errors.New("the broker is gone")
	fails := 0
	out := &recorder{}
	out.fail = func(string) error {
		// The third record of the first try.
		if fails++; fails == 3 {
			return failed
		}
		return nil
	}
	if err := p.Handle(t.Context(), batch, out); !errors.Is(err, failed) || subscription.CauseOf(err) != "output" {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Handle(t.Context(), batch, out); err != nil {
			t.Fatal(err)
		}
	}
	more := batchOf(append(frames, binanceTrade("BTCUSDT", 3))...)[3:]
	if err := p.Handle(t.Context(), more, out); err != nil {
		t.Fatal(err)
	}
	if trades, letters := testutil.ToFloat64(p.metrics.trades.WithLabelValues("binance")), testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues(deadletters.BadFrame)); trades != 3 || letters != 1 {
		t.Errorf("%v trades, %v letters", trades, letters)
	}
	// The first batch, and each time that the partition went back; not for the batch that blocked, nor for the one that follows.
	if asked != 3 {
		t.Errorf("asked for the topic's id %d times", asked)
	}
}

func TestPartitionsThatTakeTurnsInABatchAreFollowed(t *testing.T) {
	p := bench(t)
	asked := 0
	p.source.ask = func(context.Context) ([16]byte, error) { asked++; return [16]byte{byte(asked)}, nil }
	handle := func(places ...[2]int64) {
		t.Helper()
		var batch []kafka.Record
		for _, at := range places {
			r := batchOf(binanceTrade("BTCUSDT", 1))[0]
			r.Partition, r.Offset = int32(at[0]), at[1]
			batch = append(batch, r)
		}
		if err := p.Handle(t.Context(), batch, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	handle([2]int64{0, 5}, [2]int64{1, 9}, [2]int64{0, 6}, [2]int64{0, 7}, [2]int64{1, 10})
	handle([2]int64{1, 11}, [2]int64{0, 8}, [2]int64{1, 12})
	if asked != 1 {
		t.Fatalf("asked %d times for partitions that go on", asked)
	}
	// Offset 0 again: another topic, whose records are new.
	handle([2]int64{0, 0}, [2]int64{1, 0})
	if asked != 2 || p.source.id != [16]byte{2} {
		t.Fatalf("asked %d times, id %v", asked, p.source.id)
	}
	if n := testutil.ToFloat64(p.metrics.trades.WithLabelValues("binance")); n != 10 {
		t.Errorf("%v trades counted of 10", n)
	}
}

func TestABrokerThatDoesNotTellTheTopicsIDBlocks(t *testing.T) {
	p := bench(t)
	p.source.ask = func(context.Context) ([16]byte, error) { return [16]byte{}, kafka.ErrUnreachable }
	if err := p.Handle(t.Context(), batchOf(binanceTrade("BTCUSDT", 1)), &recorder{}); subscription.CauseOf(err) != "topic" {
		t.Fatal(err)
	}
}

func TestAFloodBlocksAndResumes(t *testing.T) {
	p := bench(t)
	now := time.Unix(1_000_000, 0)
	p.flood = &deadletters.Flood{Limit: 0.1, Now: func() time.Time { return now }}
	bad := make([]*records.Frame, 15)
	for i := range bad {
		bad[i] = frame("binance", "{")
	}
	batch := batchOf(append(bad, bad...)...)
	if err := p.Handle(t.Context(), batch[:15], &recorder{}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := p.Handle(t.Context(), batch[15:], &recorder{}); subscription.CauseOf(err) != "flood" {
			t.Fatal(err)
		}
		now = now.Add(5 * time.Second)
	}
	now = now.Add(10 * time.Second)
	if err := p.Handle(t.Context(), batch[15:], &recorder{}); err != nil {
		t.Fatal(err)
	}
}
