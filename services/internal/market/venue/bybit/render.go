package bybit

import (
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
)

// tradesPerMessage is the most trades that the venue puts into one message.
const tradesPerMessage = 1024

// Renderer writes Bybit's v5 public frames.
type Renderer struct{ buffer []byte }

// AppendTrades renders up to 1,024 trades a frame.
func (r *Renderer) AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte)) {
	for len(trades) > 0 {
		n := min(len(trades), tradesPerMessage)
		r.buffer = appendTrades(r.buffer[:0], trades[:n], priceScale, quantityScale)
		emit(r.buffer)
		trades = trades[n:]
	}
}

func appendTrades(dst []byte, trades []market.Trade, priceScale, quantityScale int32) []byte {
	dst = append(dst, `{"topic":"publicTrade.`...)
	dst = append(dst, trades[0].Instrument.VenueSymbol...)
	dst = append(dst, `","type":"snapshot","ts":`...)
	dst = strconv.AppendInt(dst, trades[len(trades)-1].EventTime/1000, 10)
	dst = append(dst, `,"data":[`...)
	for i := range trades {
		t := &trades[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"T":`...)
		dst = strconv.AppendInt(dst, t.EventTime/1000, 10)
		dst = append(dst, `,"s":"`...)
		dst = append(dst, t.Instrument.VenueSymbol...)
		if t.TakerSide == market.Sell {
			dst = append(dst, `","S":"Sell","v":"`...)
		} else {
			dst = append(dst, `","S":"Buy","v":"`...)
		}
		dst = t.Quantity.AppendText(dst, quantityScale)
		dst = append(dst, `","p":"`...)
		dst = t.Price.AppendText(dst, priceScale)
		dst = append(dst, `","i":"`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `","BT":false}`...)
	}
	return append(dst, `]}`...)
}

// AppendBook renders one frame; a snapshot too comes on the WebSocket.
func (r *Renderer) AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool) {
	depth := int64(defaultDepth)
	if b.Depth.Valid {
		depth = b.Depth.Value
	}
	dst = append(dst, `{"topic":"orderbook.`...)
	dst = strconv.AppendInt(dst, depth, 10)
	dst = append(dst, '.')
	dst = append(dst, b.Instrument.VenueSymbol...)
	if b.Kind == market.BookSnapshot {
		dst = append(dst, `","type":"snapshot"`...)
	} else {
		dst = append(dst, `","type":"delta"`...)
	}
	if b.EventTime != market.NoTime {
		dst = append(dst, `,"ts":`...)
		dst = strconv.AppendInt(dst, b.EventTime/1000, 10)
	}
	dst = append(dst, `,"data":{"s":"`...)
	dst = append(dst, b.Instrument.VenueSymbol...)
	dst = appendSide(append(dst, `","b":`...), b.Bids, b)
	dst = appendSide(append(dst, `,"a":`...), b.Asks, b)
	dst = append(dst, `,"u":`...)
	dst = strconv.AppendInt(dst, b.LastUpdateID.Value, 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, b.LastUpdateID.Value, 10)
	dst = append(dst, '}')
	if b.EventTime != market.NoTime {
		dst = append(dst, `,"cts":`...)
		dst = strconv.AppendInt(dst, b.EventTime/1000, 10)
	}
	return append(dst, '}'), false
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
