package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// awaitReady waits until the parser is ready, or, with a text, until it says so of what blocks it.
func (s *stack) awaitReady(r *running, text string) {
	s.t.Helper()
	s.await(fmt.Sprintf("/readyz to say %q", text), func() bool {
		err := r.Ready()
		return err == nil && text == "" || err != nil && text != "" && strings.Contains(err.Error(), text)
	})
}

func TestTheContractSetsTheDeadLetterRate(t *testing.T) {
	all := must[[]contract.Contract](t)(contract.Load(contracts.FS))
	for i := range all {
		if all[i].ID == topicFrames {
			all[i].DeadLetterRate = 0.25
		}
	}
	for _, c := range []struct {
		flag *float64
		want float64
	}{{nil, 0.25}, {new(0.5), 0.5}, {new(0.0), 0}} {
		r := must[*Service](t)(New(Config{DeadLetterRate: c.flag}, Deps{Contracts: all, Metrics: noMetrics()}))
		r.admin.Close()
		if r.limit != c.want {
			t.Errorf("limit %v, want %v", r.limit, c.want)
		}
	}
	if _, err := New(Config{}, Deps{Metrics: noMetrics()}); err == nil || !strings.Contains(err.Error(), "--dead-letter-rate") {
		t.Errorf("without a contract: %v", err)
	}
}

func TestAnUnknownVenueBlocksItsPartitionUntilABuildKnowsIt(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.start(Config{})
	s.sendFrame(binanceTrade("BTCUSDT", 0))
	s.drained()
	s.awaitReady(p, "")
	s.sendFrame(frame("mars", "{}"))
	s.flush()
	s.awaitReady(p, `no adapter for venue "mars"`)
	if p.count(t, "blocked") != 1 || p.count(t, "blocked_batches_total") == 0 {
		t.Error("no alarm")
	}
	p.stop()
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
	lags := must[[]kafka.PartitionLag](t)(s.admin.Lag(t.Context(), "parser", []string{topicFrames}))
	lag := int64(0)
	for _, l := range lags {
		lag += l.Records
	}
	if lag != 1 {
		t.Errorf("the lag is %d, want the one record that waits", lag)
	}
}

func TestAnIDThatTheRegistryDeniesIsDivertedAfterTheGrace(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.start(Config{DeadLetterRate: new(1.0), unknownIDGrace: 1500 * time.Millisecond})
	f := binanceTrade("BTCUSDT", 0)
	s.sendFrame(f)
	s.send("binance/binance-0", f.AppendAvro(registry.AppendWireHeader(nil, 4711)), at)
	// A schema that the registry knows, of another topic's records.
	foreign := must[int](t)(s.schemas.ID(t.Context(), "raw-trades-value"))
	s.send("binance/binance-0", f.AppendAvro(registry.AppendWireHeader(nil, foreign)), at)
	f = binanceTrade("BTCUSDT", 1)
	s.sendFrame(f)
	s.flush()
	s.awaitReady(p, "schema id 4711")
	s.drained()
	s.awaitReady(p, "")
	p.stop()
	letters := readAs[records.DeadLetter](s, deadletters.Topic)
	slices.SortFunc(letters, func(a, b records.DeadLetter) int { return int(a.Offset - b.Offset) })
	if len(letters) != 2 {
		t.Fatalf("letters %+v", letters)
	}
	for i, id := range []int{4711, foreign} {
		if l := letters[i]; l.ErrorClass != deadletters.UnknownSchema || l.SchemaID.Value != int64(id) || l.Offset != int64(i+1) {
			t.Errorf("letter %+v", l)
		}
	}
	s.checkTrades(2)
}

// A registered schema by which frames would be misread makes no bad frames of them: what runs blocks and alarms at once, and what
// is deployed later does not begin.
func TestAVersionThatThisBuildCannotReadBlocksAndIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.start(Config{DeadLetterRate: new(1.0), unknownIDGrace: time.Millisecond})
	s.sendFrame(binanceTrade("BTCUSDT", 0))
	s.drained()
	if err := s.schemas.SetCompatibility(t.Context(), framesSubject, "NONE"); err != nil {
		t.Fatal(err)
	}
	subject := must[schemas.Subject](t)(schemas.Get(framesSubject))
	subject.Text = strings.ReplaceAll(subject.Text, "timestamp-micros", "timestamp-millis")
	id, version, err := s.schemas.Register(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	s.send("binance/binance-0", binanceTrade("BTCUSDT", 1).AppendAvro(registry.AppendWireHeader(nil, id)), at)
	s.flush()
	s.awaitReady(p, fmt.Sprintf("schema id %d cannot be read by this build", id))
	if p.count(t, "blocked") != 1 || p.count(t, "blocked_batches_total") == 0 {
		t.Error("no alarm")
	}
	p.stop()
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
	next := must[*Service](t)(New(Config{Group: "parser"}, Deps{
		Kafka: s.kafka, Registry: s.schemas, Contracts: s.contracts, Log: s.log, Metrics: noMetrics(), Producer: "parser@test",
	}))
	want := fmt.Sprintf("raw-frames-value version %d (id %d) cannot be read by this build", version, id)
	if err := next.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "received_at") {
		t.Errorf("it begins with %v, want %s", err, want)
	}
}

func TestARegistryThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id, _, err := s.schemas.Register(t.Context(), schemas.Subject{Name: "raw-frames-value", Path: "test", Text: newerSchema(t)})
	if err != nil {
		t.Fatal(err)
	}
	p := s.start(Config{unknownIDGrace: time.Millisecond})
	s.awaitReady(p, "")
	address := strings.TrimPrefix(s.registry.URL, "http://")
	own := s.value(binanceTrade("BTCUSDT", 0))
	s.stopRegistry()
	s.send("binance/binance-0", own, at)
	s.drained()
	// The newer schema has one field more, null, after the feed.
	f := binanceTrade("BTCUSDT", 1)
	body, rest, _ := strings.Cut(string(f.AppendAvro(nil)), "binance-0")
	s.send("binance/binance-0", []byte(string(registry.AppendWireHeader(nil, id))+body+"binance-0\x00"+rest), at)
	s.flush()
	s.awaitReady(p, "asking the registry")
	s.startRegistry(address)
	s.drained()
	s.awaitReady(p, "")
	p.stop()
	s.checkTrades(2)
}

func TestAFloodOfBadFramesStopsTheParser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const n = 40
	for i := range n {
		f := frame("binance", "{")
		f.Sequence = int64(i)
		s.sendFrame(f)
	}
	s.flush()
	p := s.start(Config{})
	s.awaitReady(p, "40 of the last minute's 40 records are bad")
	p.stop()
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d letters were written by a parser that stopped", len(letters))
	}
	// A person has looked and lifts the limit.
	p = s.start(Config{DeadLetterRate: new(1.0)})
	s.drained()
	p.stop()
	if letters := s.read(deadletters.Topic); len(letters) != n {
		t.Errorf("%d letters of %d", len(letters), n)
	}
}

func TestProvenanceFollowsATopicThatIsCreatedAgain(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	p := s.start(Config{})
	for i := range 10 {
		s.sendFrame(binanceTrade("BTCUSDT", i))
	}
	s.drained()
	old := s.topicID()
	if err := s.admin.Delete(t.Context(), topicFrames); err != nil {
		t.Fatal(err)
	}
	s.apply()
	if s.topicID() == old {
		t.Fatal("the topic has its old id")
	}
	s.openProducer()
	for i := range 5 {
		s.sendFrame(binanceTrade("BTCUSDT", 10+i))
	}
	s.flush()
	s.await("the new topic's trades", func() bool { return len(s.read(topicTrades)) >= 15 })
	p.stop()
	for _, trade := range readAs[records.Trade](s, topicTrades) {
		var id int64
		fmt.Sscan(trade.TradeID, &id)
		want := records.Coordinates{TopicID: old, Partition: trade.Frame.Partition, Offset: id}
		if id >= 10 {
			want.TopicID, want.Offset = s.topicID(), id-10
		}
		if trade.Frame != want {
			t.Errorf("trade %d comes from %v, says %v", id, want, trade.Frame)
		}
	}
	s.checkTrades(15)
	if got := p.count(t, "trades_total"); got != 15 {
		t.Errorf("%v trades counted of 15", got)
	}
}

func TestTwoParsersShareThePartitions(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	sent := 0
	send := func(n int) {
		for range n {
			f := binanceTrade(fmt.Sprintf("S%dUSDT", sent%32), sent)
			f.Feed = fmt.Sprintf("binance-%d", sent%32)
			s.sendFrame(f)
			sent++
		}
		s.flush()
	}
	send(2000)
	a, b := s.start(Config{Ordinal: 0}), s.start(Config{Ordinal: 1})
	s.await("both to have done something", func() bool {
		send(200)
		return a.count(t, "trades_total") > 0 && b.count(t, "trades_total") > 0
	})
	s.drained()
	// One goes, the other takes its partitions over.
	a.stop()
	before := b.count(t, "trades_total")
	send(2000)
	s.drained()
	if did := b.count(t, "trades_total") - before; did < 2000 {
		t.Errorf("the one that is left did %v of 2000", did)
	}
	b.stop()
	s.checkTrades(sent)
	if total := a.count(t, "trades_total") + b.count(t, "trades_total"); total != float64(sent) {
		t.Logf("counted %v of %d: a rebalance repeated a transaction at the other parser", total, sent)
	}
}

// A frame of the largest size that the loader accepts becomes one book event, and one that is garbage one dead letter.
func TestTheLargestFrames(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const size = 16 << 20
	level := `["61837.63000000","1.50000000"],`
	levels := strings.Repeat(level, (size-200)/len(level))
	f := frame("binance", `{"lastUpdateId":1000,"asks":[],"bids":[`+strings.TrimSuffix(levels, ",")+`]}`)
	f.Kind, f.VenueSymbol = records.FrameRESTSnapshot, "BTCUSDT"
	s.sendFrame(f)
	s.sendFrame(frame("binance", strings.Repeat("{", size)))
	p := s.start(Config{})
	s.drained()
	p.stop()
	books := readAs[records.Orderbook](s, topicBooks)
	if len(books) != 1 || len(books[0].Bids) != len(levels)/len(level) {
		t.Errorf("%d books", len(books))
	}
	letters := readAs[records.DeadLetter](s, deadletters.Topic)
	if len(letters) != 1 || letters[0].ErrorClass != deadletters.BadFrame || len(letters[0].Value) < size {
		t.Errorf("%d letters", len(letters))
	}
}
