package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// workloads are the recordings that stand for a venue; binance-mix is all three Binance recordings, one frame each in turn.
func workload(b *testing.B, name string) []*records.Frame {
	b.Helper()
	switch name {
	case "binance":
		return recording(b, spotBTC)
	case "binance-usdm":
		return recording(b, usdmBTC)
	case "kraken":
		return recording(b, kraken25)
	case "coinbase":
		return recording(b, coinbase)
	case "okx":
		return recording(b, okx)
	case "bybit", "bybit-linear":
		return rendered(b, name)
	}
	feeds := [][]*records.Frame{recording(b, spotBTC), recording(b, spotETH), recording(b, usdmBTC)}
	var mixed []*records.Frame
	for i := range len(feeds[2]) {
		for _, feed := range feeds {
			if i < len(feed) {
				mixed = append(mixed, feed[i])
			}
		}
	}
	return mixed
}

// rendered stands for a venue without a recording: half trades, three a frame, and half updates of six levels.
func rendered(b *testing.B, name string) []*records.Frame {
	b.Helper()
	renderer := must[venue.Renderer](b)(all.NewRenderer(name))
	instrument := must[market.Instrument](b)(must[venue.Adapter](b)(all.Get(name)).FromVenue("BTCUSDT"))
	var frames []*records.Frame
	add := func(payload []byte) { frames = append(frames, frame(name, string(payload))) }
	for i := range int64(1000) {
		level := market.Level{Price: market.NewDecimal(6183763+i, 2), Quantity: market.NewDecimal(154698+i, 6)}
		book := market.Book{Kind: market.BookUpdate, Instrument: &instrument, LastUpdateID: market.Some(1000 + i), PriceScale: 2, QuantityScale: 6, EventTime: 1723161255208000}
		book.Bids, book.Asks = []market.Level{level, level, level}, []market.Level{level, level, level}
		payload, _ := renderer.AppendBook(nil, &book)
		add(payload)
		trade := market.Trade{Instrument: &instrument, ID: []byte("20f43950-d8dd-5b31-9112-a178eb6023af"), Price: level.Price, Quantity: level.Quantity, TakerSide: market.Buy, EventTime: 1723161255208000}
		renderer.AppendTrades([]market.Trade{trade, trade, trade}, 2, 6, add)
	}
	return frames
}

var workloadNames = []string{"binance-mix", "binance", "binance-usdm", "kraken", "coinbase", "okx", "bybit", "bybit-linear"}

// cpuTime is what this process has used, in seconds of one core: unlike the clock it holds on a machine that does other
// things as well.
func cpuTime(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// report turns passes into frames and bytes a second of a core.
func report(b *testing.B, frames []*records.Frame, used float64) {
	b.Helper()
	bytes := 0
	for _, f := range frames {
		bytes += len(f.Payload)
	}
	passes := float64(b.N) / used
	b.ReportMetric(passes*float64(len(frames)), "frames/s/core")
	b.ReportMetric(passes*float64(bytes)/1e6, "MB/s/core")
}

// One operation is one pass over a recording: each frame decoded and each of its events written as Avro.
func BenchmarkDecodeEncode(b *testing.B) {
	for _, name := range workloadNames[1:] {
		b.Run(name, func(b *testing.B) {
			frames := workload(b, name)
			decoder := must[venue.Adapter](b)(all.Get(frames[0].Venue)).NewDecoder()
			var ev venue.Events
			var buffer []byte
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				for _, f := range frames {
					ev.Reset()
					kind := venue.WebSocketFrame
					if f.Kind == records.FrameRESTSnapshot {
						kind = venue.RESTSnapshot
					}
					if err := decoder.Decode(venue.Frame{Kind: kind, VenueSymbol: f.VenueSymbol, Request: f.Request, Payload: f.Payload}, &ev); err != nil {
						b.Fatal(err)
					}
					for i := range ev.Trades {
						buffer = records.AppendTrade(registry.AppendWireHeader(buffer[:0], 1), &ev.Trades[i], f.ReceivedAt, records.Coordinates{})
					}
					for i := range ev.Books {
						buffer = records.AppendBook(registry.AppendWireHeader(buffer[:0], 1), &ev.Books[i], f.ReceivedAt, records.Coordinates{})
					}
				}
			}
			report(b, frames, cpuTime(b)-began)
		})
	}
}

// nowhere is an Output that takes everything.
type nowhere struct{ records int }

func (n *nowhere) Produce(string, []byte, []byte, int64, []kafka.Header) error {
	n.records++
	return nil
}

func (n *nowhere) ProduceTo(string, int32, []byte, []byte, int64, []kafka.Header) error {
	n.records++
	return nil
}

// One operation is one pass over a recording through the whole handler, in batches, without Kafka.
func BenchmarkHandler(b *testing.B) {
	for _, name := range workloadNames {
		b.Run(name, func(b *testing.B) {
			frames := workload(b, name)
			p := bench(b)
			all := batchOf(frames...)
			const size = 4096
			out := &nowhere{}
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				for batch := range chunks(all, size) {
					if err := p.Handle(b.Context(), batch, out); err != nil {
						b.Fatal(err)
					}
				}
				for i := range all {
					all[i].Offset += int64(len(all))
				}
			}
			used := cpuTime(b) - began
			report(b, frames, used)
			b.ReportMetric(float64(out.records)/used, "records/s/core")
		})
	}
}

func chunks(all []kafka.Record, size int) func(func([]kafka.Record) bool) {
	return func(yield func([]kafka.Record) bool) {
		for at := 0; at < len(all); at += size {
			if !yield(all[at:min(at+size, len(all))]) {
				return
			}
		}
	}
}

// A steady state allocates nothing: what is left is what a new symbol or a larger frame costs once.
func TestTheHandlerAllocatesNothing(t *testing.T) {
	for _, name := range []string{spotBTC, usdmBTC, kraken25, coinbase, okx} {
		frames := recording(t, name)
		for i, f := range frames {
			// Feeds that share a partition take turns.
			f.Feed = [...]string{"a-0", "b-1", "c-2"}[i%3]
		}
		p, out := bench(t), &nowhere{}
		all := batchOf(frames...)
		pass := func() {
			if err := p.Handle(t.Context(), all, out); err != nil {
				t.Fatal(err)
			}
			for i := range all {
				all[i].Offset += int64(len(all))
			}
		}
		pass()
		// What else the process does meanwhile counts as well: once in a while more than the handler may, but not every time.
		most, allocations := float64(len(frames))/1000, 0.0
		for range 3 {
			if allocations = testing.AllocsPerRun(1, pass); allocations <= most {
				break
			}
		}
		if allocations > most {
			t.Errorf("%s: %.0f allocations for %d frames", name, allocations, len(frames))
		}
	}
}
