package main

import (
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestTradesReachTheTableOnceAndADrainedWriterLeavesNothingBehind(t *testing.T) {
	s := newStack(t, false, "raw-trades")
	s.trades(0, 3000)
	s.flush()
	_, stop := s.start(Config{})
	s.awaitRows("raw_trades", 3000)
	s.trades(3000, 500)
	s.flush()
	s.awaitRows("raw_trades", 3500)
	stop()
	_, stop = s.start(Config{})
	s.trades(3500, 500)
	s.flush()
	s.awaitRows("raw_trades", 4000)
	stop()
	s.awaitRows("raw_trades", 4000)
}

func TestAPoisonRowGoesToDeadLettersAndOnlyIt(t *testing.T) {
	s := newStack(t, false)
	s.trades(0, 100)
	id, err := s.schemas.ID(t.Context(), "raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	s.produce("raw-trades", "S001-USDT", registry.AppendWireHeader(nil, id))
	s.produce("raw-trades", "S002-USDT", []byte("no avro at all"))
	s.trades(100, 100)
	s.flush()
	w, _ := s.start(Config{})
	s.awaitRows("raw_trades", 200)
	s.awaitRows("dead_letters", 2)
	for _, p := range w.products {
		s.await("ready", func() bool { return p.ready() == nil })
	}
}

func TestEveryProductIsSunkByOneWriter(t *testing.T) {
	s := newStack(t, false)
	at := records.Coordinates{}
	id := func(subject string) []byte {
		n, err := s.schemas.ID(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		return registry.AppendWireHeader(nil, n)
	}
	micros := time.Now().UnixMicro()
	for i := range 50 {
		f := records.Frame{Kind: records.FrameData, Venue: "kraken", Feed: "kraken-0", Sequence: int64(i), ReceivedAt: micros, Payload: []byte("{}")}
		s.produce("raw-frames", "kraken/kraken-0", f.AppendAvro(id("raw-frames-value")))
		g := records.FeedGap{Venue: "kraken", Symbol: "BTC-USD", Channel: "all", FromTime: market.NoTime, ToTime: market.NoTime, ReceivedAt: micros, Frame: at}
		s.produce("feed-gaps", "kraken/BTC-USD", g.AppendAvro(id("feed-gaps-value")))
		b := market.Book{Kind: 1, Instrument: &market.Instrument{Venue: "kraken", Symbol: "BTC-USD", VenueSymbol: "BTC/USD"}, EventTime: market.NoTime}
		s.produce("raw-orderbooks", "BTC-USD", records.AppendBook(id("raw-orderbooks-value"), &b, micros, at))
	}
	s.trades(0, 50)
	s.flush()
	s.start(Config{})
	for _, table := range []string{"raw_frames", "feed_gaps", "raw_orderbooks", "raw_trades"} {
		s.awaitRows(table, 50)
	}
}
