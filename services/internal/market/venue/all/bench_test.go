package all_test

import (
	"testing"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
)

// workload is what a venue sends: the frames of its recording, or, of a venue without one, what its renderer makes.
func workload(b *testing.B, name string) (venue.Adapter, []recorded) {
	b.Helper()
	switch name {
	case "bybit", "bybit-linear":
		return rendered(b, name)
	}
	files := map[string]string{"binance": spotBTC, "binance-usdm": usdmBTC, "kraken": kraken25, "coinbase": coinbase, "okx": okx}
	return load(b, files[name])
}

// rendered makes half trades, three a frame, and half updates of six levels.
func rendered(b *testing.B, name string) (venue.Adapter, []recorded) {
	b.Helper()
	adapter, err := all.Get(name)
	if err != nil {
		b.Fatal(err)
	}
	renderer, err := all.NewRenderer(name)
	if err != nil {
		b.Fatal(err)
	}
	instrument, err := adapter.FromVenue("BTCUSDT")
	if err != nil {
		b.Fatal(err)
	}
	var frames []recorded
	for i := range int64(1000) {
		level := market.Level{Price: market.NewDecimal(6183763+i, 2), Quantity: market.NewDecimal(154698+i, 6)}
		book := market.Book{Kind: market.BookUpdate, Instrument: &instrument, LastUpdateID: market.Some(1000 + i), PriceScale: 2, QuantityScale: 6, EventTime: 1723161255208000}
		book.Bids, book.Asks = []market.Level{level, level, level}, []market.Level{level, level, level}
		payload, _ := renderer.AppendBook(nil, &book)
		frames = append(frames, recorded{frame: venue.Frame{Payload: payload}})
		trade := market.Trade{Instrument: &instrument, ID: []byte("20f43950-d8dd-5b31-9112-a178eb6023af"), Price: level.Price, Quantity: level.Quantity, TakerSide: market.Buy, EventTime: 1723161255208000}
		renderer.AppendTrades([]market.Trade{trade, trade, trade}, 2, 6, func(payload []byte) {
			frames = append(frames, recorded{frame: venue.Frame{Payload: append([]byte(nil), payload...)}})
		})
	}
	return adapter, frames
}

// report turns the time of passing over all frames into frames a second and bytes a second.
func report(b *testing.B, frames []recorded) {
	bytes := 0
	for _, r := range frames {
		bytes += len(r.frame.Payload)
	}
	passes := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(passes*float64(len(frames)), "frames/s")
	b.ReportMetric(passes*float64(bytes)/1e6, "MB/s")
	b.ReportMetric(float64(bytes)/float64(len(frames)), "B/frame")
}

// One operation is one pass over the whole recording.
func BenchmarkDecode(b *testing.B) {
	for _, name := range all.Names() {
		b.Run(name, func(b *testing.B) {
			adapter, frames := workload(b, name)
			decoder := adapter.NewDecoder()
			var ev venue.Events
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range frames {
					ev.Reset()
					if err := decoder.Decode(r.frame, &ev); err != nil {
						b.Fatal(err)
					}
				}
			}
			report(b, frames)
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	for _, name := range all.Names() {
		b.Run(name, func(b *testing.B) {
			adapter, frames := workload(b, name)
			var in venue.Inspection
			b.ReportAllocs()
			for b.Loop() {
				inspector := adapter.NewInspector()
				for _, r := range frames {
					if !r.rest {
						inspector.Inspect(r.frame.Payload, &in)
						inspector.Continuity(&in)
					}
				}
			}
			report(b, frames)
		})
	}
}

// BenchmarkOrderBook is the book's share alone: the events are decoded before.
func BenchmarkOrderBook(b *testing.B) {
	for _, name := range []string{"binance", "binance-usdm", "kraken", "coinbase", "okx"} {
		b.Run(name, func(b *testing.B) {
			adapter, frames := workload(b, name)
			decoder := adapter.NewDecoder()
			var events []market.Book
			for _, r := range frames {
				var ev venue.Events
				if err := decoder.Decode(r.frame, &ev); err != nil {
					b.Fatal(err)
				}
				events = append(events, ev.Books...)
			}
			b.ReportAllocs()
			for b.Loop() {
				held := map[*market.Instrument]*market.OrderBook{}
				for i := range events {
					o := held[events[i].Instrument]
					if o == nil {
						o = market.NewOrderBook(market.RulesOf(name))
						held[events[i].Instrument] = o
					}
					o.Apply(&events[i])
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()*float64(len(events)), "events/s")
		})
	}
}
