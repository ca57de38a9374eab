// Package venuetest holds what every venue's adapter must pass: reading back what its renderer writes, whatever the order
// of the fields; refusing what is not JSON; agreeing with its own inspector; and not allocating.
package venuetest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Venue is what the tests must know of an adapter.
type Venue struct {
	Adapter  venue.Adapter
	Renderer func() venue.Renderer
	// Symbols are canonical symbols that the venue trades.
	Symbols []string
	// Clock is the venue's resolution of time in µs.
	Clock int64
	// TradesPerFrame is the most trades in one frame; 0: all.
	TradesPerFrame int
	// Shape fills in what the venue's books carry beside levels, and clears what they do not.
	Shape func(r *rapid.T, b *market.Book)
	// Request is the envelope's request of a snapshot.
	Request func(b *market.Book) string
}

func (v Venue) instrument(r *rapid.T) *market.Instrument {
	instrument, err := v.Adapter.Instrument(rapid.SampledFrom(v.Symbols).Draw(r, "symbol"))
	if err != nil {
		r.Fatal(err)
	}
	return &instrument
}

// number draws an amount with scale digits after the point.
func number(r *rapid.T, scale int32, label string) market.Decimal {
	return market.NewDecimal(rapid.Int64Range(0, 1e17).Draw(r, label), scale)
}

func (v Venue) time(r *rapid.T) int64 {
	return rapid.Int64Range(0, 4e15/v.Clock).Draw(r, "time") * v.Clock
}

// Trades draws trades of one instrument.
func (v Venue) Trades(r *rapid.T) (trades []market.Trade, priceScale, quantityScale int32) {
	instrument := v.instrument(r)
	priceScale, quantityScale = rapid.Int32Range(0, 18).Draw(r, "price scale"), rapid.Int32Range(0, 18).Draw(r, "quantity scale")
	id := rapid.Int64Range(1, 1e15).Draw(r, "id")
	n := rapid.IntRange(1, 5).Draw(r, "trades")
	for i := range n {
		t := market.Trade{
			Instrument: instrument,
			ID:         strconv.AppendInt(nil, id+int64(i), 10),
			Price:      number(r, priceScale, "price"),
			Quantity:   number(r, quantityScale, "quantity"),
			TakerSide:  rapid.SampledFrom([]market.Side{market.Buy, market.Sell}).Draw(r, "side"),
			EventTime:  v.time(r),
			Item:       int32(i),
		}
		if v.TradesPerFrame > 0 {
			t.Item = int32(i % v.TradesPerFrame)
		}
		trades = append(trades, t)
	}
	return trades, priceScale, quantityScale
}

// Book draws a book event of one instrument.
func (v Venue) Book(r *rapid.T) *market.Book {
	b := &market.Book{
		Kind:             rapid.SampledFrom([]market.BookKind{market.BookSnapshot, market.BookUpdate}).Draw(r, "kind"),
		Instrument:       v.instrument(r),
		FirstUpdateID:    market.Some(rapid.Int64Range(2, 1e15).Draw(r, "first")),
		PriceScale:       rapid.Int32Range(0, 18).Draw(r, "price scale"),
		QuantityScale:    rapid.Int32Range(0, 18).Draw(r, "quantity scale"),
		PreviousUpdateID: market.Some(rapid.Int64Range(-1, 1e15).Draw(r, "previous")),
		EventTime:        v.time(r),
	}
	b.LastUpdateID = market.Some(b.FirstUpdateID.Value + rapid.Int64Range(0, 99).Draw(r, "span"))
	for range rapid.IntRange(0, 6).Draw(r, "bids") {
		b.Bids = append(b.Bids, market.Level{Price: number(r, b.PriceScale, "price"), Quantity: number(r, b.QuantityScale, "quantity")})
	}
	for range rapid.IntRange(0, 6).Draw(r, "asks") {
		b.Asks = append(b.Asks, market.Level{Price: number(r, b.PriceScale, "price"), Quantity: number(r, b.QuantityScale, "quantity")})
	}
	if len(b.Bids)+len(b.Asks) == 0 {
		b.PriceScale, b.QuantityScale = 0, 0 // no digits are sent
	}
	v.Shape(r, b)
	return b
}

// Rendered is a frame with what it must read back as.
type Rendered struct {
	Frame  venue.Frame
	Trades []market.Trade
	Books  []market.Book
}

// RenderTrades renders trades and says which frame must hold which.
func (v Venue) RenderTrades(trades []market.Trade, priceScale, quantityScale int32) []Rendered {
	var frames []Rendered
	v.Renderer().AppendTrades(trades, priceScale, quantityScale, func(payload []byte) {
		n := len(trades)
		if v.TradesPerFrame > 0 {
			n = min(n, v.TradesPerFrame)
		}
		frames = append(frames, Rendered{Frame: venue.Frame{Payload: append([]byte(nil), payload...)}, Trades: trades[:n]})
		trades = trades[n:]
	})
	return frames
}

// RenderBook renders a book event.
func (v Venue) RenderBook(b *market.Book) Rendered {
	payload, rest := v.Renderer().AppendBook(nil, b)
	frame := venue.Frame{Payload: payload}
	if rest {
		frame.Kind, frame.VenueSymbol = venue.RESTSnapshot, b.Instrument.VenueSymbol
	}
	if v.Request != nil {
		frame.Request = v.Request(b)
	}
	return Rendered{Frame: frame, Books: []market.Book{*b}}
}

// Draw draws any frame that the venue can send.
func (v Venue) Draw(r *rapid.T) []Rendered {
	if rapid.Bool().Draw(r, "book") {
		return []Rendered{v.RenderBook(v.Book(r))}
	}
	return v.RenderTrades(v.Trades(r))
}

// compare says how ev differs from what a frame must read back as.
func compare(want Rendered, ev *venue.Events) string {
	options := cmp.Options{cmpopts.EquateEmpty()}
	if len(ev.Bad) > 0 || ev.Ignored != "" || ev.Unknown != "" {
		return fmt.Sprintf("bad %v, ignored %q, unknown %q", ev.Bad, ev.Ignored, ev.Unknown)
	}
	return cmp.Diff(want.Trades, ev.Trades, options) + cmp.Diff(want.Books, ev.Books, options)
}

// Run runs all of it.
func Run(t *testing.T, v Venue) {
	t.Run("what is rendered reads back the same", func(t *testing.T) {
		decoder := v.Adapter.NewDecoder()
		rapid.Check(t, func(r *rapid.T) {
			var ev venue.Events
			for _, want := range v.Draw(r) {
				ev.Reset()
				if err := decoder.Decode(want.Frame, &ev); err != nil {
					r.Fatalf("%v: %s", err, want.Frame.Payload)
				}
				if diff := compare(want, &ev); diff != "" {
					r.Fatalf("%s: %s", want.Frame.Payload, diff)
				}
			}
		})
	})
	t.Run("the order of fields, unknown fields, spaces and escapes do not matter", func(t *testing.T) { disorder(t, v) })
	t.Run("every prefix of a frame is refused and leaves nothing", func(t *testing.T) { prefixes(t, v) })
	t.Run("a flipped byte never panics, and what is not JSON is refused", func(t *testing.T) { flips(t, v) })
	t.Run("the inspector agrees with the decoder", func(t *testing.T) { inspect(t, v) })
	t.Run("decoding and inspecting do not allocate", func(t *testing.T) { allocations(t, v) })
	t.Run("symbols lead there and back", func(t *testing.T) { symbols(t, v) })
}
