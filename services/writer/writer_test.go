package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
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
	onEachStack(t, poisonGoesToDeadLetters)
}

func poisonGoesToDeadLetters(t *testing.T, s *stack) {
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
	s.checkLetters(map[string]string{"S001-USDT": deadletters.BadValue, "S002-USDT": deadletters.NotWireFormat})
	for _, p := range w.products {
		s.await("ready", func() bool { return p.ready() == nil })
	}
}

// checkLetters compares the letters of raw-trades, by the keys of the records that they hold, with the classes wanted, and
// holds what is the same of all: key, timestamp, header producer, coordinates.
func (s *stack) checkLetters(want map[string]string) {
	s.t.Helper()
	times := map[string]int64{}
	got := map[string]string{}
	err := kafka.ReadAll(s.t.Context(), s.kafka, []string{"raw-trades", deadletters.Topic}, func(r kafka.Record) error {
		if r.Topic != deadletters.Topic {
			times[fmt.Sprint(r.Partition, r.Offset)] = r.TimestampMs
			return nil
		}
		_, body, err := registry.ParseWire(r.Value)
		if err != nil {
			return err
		}
		var letter records.DeadLetter
		if err := letter.DecodeAvro(body); err != nil {
			return err
		}
		got[string(letter.Key)] = letter.ErrorClass
		if string(r.Key) != letter.KafkaKey() || !strings.HasPrefix(string(r.Key), "writer.raw-trades/") || letter.Item != records.WholeRecord ||
			len(r.Headers) != 1 || r.Headers[0].Name != "producer" || string(r.Headers[0].Value) != "writer@test" || letter.Producer != "writer@test" ||
			letter.RecordTime != r.TimestampMs*1000 || len(letter.Headers) != 1 || string(letter.Headers[0].Value) != "test@0" {
			s.t.Errorf("the letter under %s, of %d with headers %v, is %+v", r.Key, r.TimestampMs, r.Headers, letter)
		}
		at := fmt.Sprint(letter.Partition, letter.Offset)
		if was, read := times[at]; read && was != r.TimestampMs {
			s.t.Errorf("the letter of a record of %d has timestamp %d", was, r.TimestampMs)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		s.t.Errorf("letters %v, want %v", got, want)
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
