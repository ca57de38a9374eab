package kraken

import (
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Renderer writes Kraken's WebSocket v2 frames.
type Renderer struct{ buffer []byte }

// AppendTrades renders one frame with all the trades.
func (r *Renderer) AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte)) {
	if len(trades) == 0 {
		return
	}
	dst := append(r.buffer[:0], `{"channel":"trade","type":"update","data":[`...)
	for i := range trades {
		t := &trades[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"symbol":"`...)
		dst = append(dst, t.Instrument.VenueSymbol...)
		dst = append(dst, `","side":"`...)
		if t.TakerSide == market.Sell {
			dst = append(dst, `sell`...)
		} else {
			dst = append(dst, `buy`...)
		}
		dst = append(dst, `","price":`...)
		dst = t.Price.AppendText(dst, priceScale)
		dst = append(dst, `,"qty":`...)
		dst = t.Quantity.AppendText(dst, quantityScale)
		dst = append(dst, `,"ord_type":"market","trade_id":`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `,"timestamp":"`...)
		dst = market.AppendTimestamp(dst, t.EventTime)
		dst = append(dst, `"}`...)
	}
	r.buffer = append(dst, `]}`...)
	emit(r.buffer)
}

// AppendBook renders one frame; a snapshot too comes on the WebSocket.
func (r *Renderer) AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool) {
	dst = append(dst, `{"channel":"book","type":"`...)
	if b.Kind == market.BookSnapshot {
		dst = append(dst, `snapshot`...)
	} else {
		dst = append(dst, `update`...)
	}
	dst = append(dst, `","data":[{"symbol":"`...)
	dst = append(dst, b.Instrument.VenueSymbol...)
	dst = appendSide(append(dst, `","bids":`...), b.Bids, b)
	dst = appendSide(append(dst, `,"asks":`...), b.Asks, b)
	if b.Checksum.Valid {
		dst = append(dst, `,"checksum":`...)
		dst = strconv.AppendInt(dst, b.Checksum.Value, 10)
	}
	if b.EventTime != market.NoTime {
		dst = append(dst, `,"timestamp":"`...)
		dst = market.AppendTimestamp(dst, b.EventTime)
		dst = append(dst, '"')
	}
	return append(dst, `}]}`...), false
}

func appendSide(dst []byte, levels []market.Level, b *market.Book) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"price":`...)
		dst = levels[i].Price.AppendText(dst, b.PriceScale)
		dst = append(dst, `,"qty":`...)
		dst = levels[i].Quantity.AppendText(dst, b.QuantityScale)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
