package coinbase

import (
	"github.com/streamforge/streamforge/services/internal/market"
)

// Renderer writes Coinbase Exchange's frames.
type Renderer struct{ buffer []byte }

// AppendTrades renders one match a trade.
func (r *Renderer) AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte)) {
	for i := range trades {
		t := &trades[i]
		dst := append(r.buffer[:0], `{"type":"match","trade_id":`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `,"maker_order_id":"27fff20b-af29-4f45-8744-56dd1ef57dc0","taker_order_id":"1da6ce16-c8da-4732-9f71-6049f4c6aaf8","side":"`...)
		if t.TakerSide == market.Sell {
			dst = append(dst, `buy`...) // the maker's side
		} else {
			dst = append(dst, `sell`...)
		}
		dst = append(dst, `","size":"`...)
		dst = t.Quantity.AppendText(dst, quantityScale)
		dst = append(dst, `","price":"`...)
		dst = t.Price.AppendText(dst, priceScale)
		dst = append(dst, `","product_id":"`...)
		dst = append(dst, t.Instrument.VenueSymbol...)
		dst = append(dst, `","sequence":`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `,"time":"`...)
		dst = market.AppendTimestamp(dst, t.EventTime)
		r.buffer = append(dst, `"}`...)
		emit(r.buffer)
	}
}

// AppendBook renders one frame; a snapshot too comes on the WebSocket.
func (r *Renderer) AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool) {
	if b.Kind == market.BookSnapshot {
		dst = append(dst, `{"type":"snapshot","product_id":"`...)
		dst = append(dst, b.Instrument.VenueSymbol...)
		dst = appendLevels(append(dst, `","asks":[`...), b.Asks, b, "")
		dst = appendLevels(append(dst, `],"bids":[`...), b.Bids, b, "")
	} else {
		dst = append(dst, `{"type":"l2update","product_id":"`...)
		dst = append(dst, b.Instrument.VenueSymbol...)
		dst = appendLevels(append(dst, `","changes":[`...), b.Bids, b, "buy")
		if len(b.Bids) > 0 && len(b.Asks) > 0 {
			dst = append(dst, ',')
		}
		dst = appendLevels(dst, b.Asks, b, "sell")
	}
	dst = append(dst, ']')
	if b.EventTime != market.NoTime {
		dst = append(dst, `,"time":"`...)
		dst = market.AppendTimestamp(dst, b.EventTime)
		dst = append(dst, '"')
	}
	return append(dst, '}'), false
}

func appendLevels(dst []byte, levels []market.Level, b *market.Book, side string) []byte {
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		if side != "" {
			dst = append(append(append(dst, '"'), side...), `",`...)
		}
		dst = append(dst, '"')
		dst = levels[i].Price.AppendText(dst, b.PriceScale)
		dst = append(dst, `","`...)
		dst = levels[i].Quantity.AppendText(dst, b.QuantityScale)
		dst = append(dst, `"]`...)
	}
	return dst
}
