package binance

import (
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Renderer writes Binance's JSON dialect.
type Renderer struct {
	// Futures adds what USD-M has: pu, the matching engine's time on books, X on trades.
	Futures bool
	// Bare leaves out the combined-stream wrapper, as on /ws/<stream>.
	Bare bool
	// BookStream is the name after the symbol, "depth@100ms" when empty.
	BookStream string

	buffer []byte
}

// AppendTrades renders one frame a trade.
func (r *Renderer) AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte)) {
	for i := range trades {
		t := &trades[i]
		dst := r.open(r.buffer[:0], t.Instrument.VenueSymbol, "trade")
		ms := t.EventTime / 1000
		dst = append(dst, `{"e":"trade","E":`...)
		dst = strconv.AppendInt(dst, ms, 10)
		if r.Futures {
			dst = append(dst, `,"T":`...)
			dst = strconv.AppendInt(dst, ms, 10)
		}
		dst = append(dst, `,"s":"`...)
		dst = append(dst, t.Instrument.VenueSymbol...)
		dst = append(dst, `","t":`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `,"p":"`...)
		dst = t.Price.AppendText(dst, priceScale)
		dst = append(dst, `","q":"`...)
		dst = t.Quantity.AppendText(dst, quantityScale)
		if r.Futures {
			dst = append(dst, `","X":"MARKET","m":`...)
		} else {
			dst = append(dst, `","T":`...)
			dst = strconv.AppendInt(dst, ms, 10)
			dst = append(dst, `,"m":`...)
		}
		dst = strconv.AppendBool(dst, t.TakerSide == market.Sell)
		if !r.Futures {
			dst = append(dst, `,"M":true`...)
		}
		r.buffer = r.close(append(dst, '}'))
		emit(r.buffer)
	}
}

// open begins a frame: the wrapper of a combined stream, unless Bare.
func (r *Renderer) open(dst []byte, symbol, stream string) []byte {
	if r.Bare {
		return dst
	}
	dst = append(dst, `{"stream":"`...)
	dst = appendLower(dst, symbol)
	dst = append(dst, '@')
	dst = append(dst, stream...)
	return append(dst, `","data":`...)
}

func (r *Renderer) close(dst []byte) []byte {
	if r.Bare {
		return dst
	}
	return append(dst, '}')
}

func appendLower(dst []byte, symbol string) []byte {
	for i := range len(symbol) {
		c := symbol[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendBook renders an update as a frame, and a snapshot as a REST body.
func (r *Renderer) AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool) {
	if b.Kind == market.BookSnapshot {
		return r.appendSnapshot(dst, b), true
	}
	stream := r.BookStream
	if stream == "" {
		stream = "depth@100ms"
	}
	ms := b.EventTime / 1000
	dst = r.open(dst, b.Instrument.VenueSymbol, stream)
	dst = append(dst, `{"e":"depthUpdate","E":`...)
	dst = strconv.AppendInt(dst, ms, 10)
	if r.Futures {
		dst = append(dst, `,"T":`...)
		dst = strconv.AppendInt(dst, ms, 10)
	}
	dst = append(dst, `,"s":"`...)
	dst = append(dst, b.Instrument.VenueSymbol...)
	dst = append(dst, `","U":`...)
	dst = strconv.AppendInt(dst, b.FirstUpdateID.Value, 10)
	dst = append(dst, `,"u":`...)
	dst = strconv.AppendInt(dst, b.LastUpdateID.Value, 10)
	if r.Futures && b.PreviousUpdateID.Valid {
		dst = append(dst, `,"pu":`...)
		dst = strconv.AppendInt(dst, b.PreviousUpdateID.Value, 10)
	}
	dst = appendSide(append(dst, `,"b":`...), b.Bids, b)
	dst = appendSide(append(dst, `,"a":`...), b.Asks, b)
	return r.close(append(dst, '}')), false
}

func (r *Renderer) appendSnapshot(dst []byte, b *market.Book) []byte {
	dst = append(dst, `{"lastUpdateId":`...)
	dst = strconv.AppendInt(dst, b.LastUpdateID.Value, 10)
	if r.Futures && b.EventTime != market.NoTime {
		dst = append(dst, `,"E":`...)
		dst = strconv.AppendInt(dst, b.EventTime/1000, 10)
		dst = append(dst, `,"T":`...)
		dst = strconv.AppendInt(dst, b.EventTime/1000, 10)
	}
	dst = appendSide(append(dst, `,"bids":`...), b.Bids, b)
	dst = appendSide(append(dst, `,"asks":`...), b.Asks, b)
	return append(dst, '}')
}

func appendSide(dst []byte, levels []market.Level, b *market.Book) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `["`...)
		dst = levels[i].Price.AppendText(dst, b.PriceScale)
		dst = append(dst, `","`...)
		dst = levels[i].Quantity.AppendText(dst, b.QuantityScale)
		dst = append(dst, `"]`...)
	}
	return append(dst, ']')
}
