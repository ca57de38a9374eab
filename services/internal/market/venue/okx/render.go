package okx

import (
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Renderer writes OKX's v5 frames.
type Renderer struct{ buffer []byte }

// AppendTrades renders one frame a trade, as the venue does.
func (r *Renderer) AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte)) {
	for i := range trades {
		t := &trades[i]
		dst := appendArg(r.buffer[:0], "trades", t.Instrument.VenueSymbol)
		dst = append(dst, `,"data":[{"instId":"`...)
		dst = append(dst, t.Instrument.VenueSymbol...)
		dst = append(dst, `","tradeId":"`...)
		dst = append(dst, t.ID...)
		dst = append(dst, `","px":"`...)
		dst = t.Price.AppendText(dst, priceScale)
		dst = append(dst, `","sz":"`...)
		dst = t.Quantity.AppendText(dst, quantityScale)
		dst = append(dst, `","side":"`...)
		if t.TakerSide == market.Sell {
			dst = append(dst, `sell`...)
		} else {
			dst = append(dst, `buy`...)
		}
		dst = append(dst, `","ts":"`...)
		dst = strconv.AppendInt(dst, t.EventTime/1000, 10)
		r.buffer = append(dst, `"}]}`...)
		emit(r.buffer)
	}
}

func appendArg(dst []byte, channel, instrument string) []byte {
	dst = append(dst, `{"arg":{"channel":"`...)
	dst = append(dst, channel...)
	dst = append(dst, `","instId":"`...)
	dst = append(dst, instrument...)
	return append(dst, `"}`...)
}

// AppendBook renders one frame; a snapshot too comes on the WebSocket.
func (r *Renderer) AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool) {
	dst = appendArg(dst, "books", b.Instrument.VenueSymbol)
	if b.Kind == market.BookSnapshot {
		dst = append(dst, `,"action":"snapshot","data":[{"asks":`...)
	} else {
		dst = append(dst, `,"action":"update","data":[{"asks":`...)
	}
	dst = appendSide(dst, b.Asks, b)
	dst = appendSide(append(dst, `,"bids":`...), b.Bids, b)
	if b.EventTime != market.NoTime {
		dst = append(dst, `,"ts":"`...)
		dst = strconv.AppendInt(dst, b.EventTime/1000, 10)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"checksum":`...)
	dst = strconv.AppendInt(dst, int64(int32(uint32(b.Checksum.Value))), 10)
	if b.PreviousUpdateID.Valid {
		dst = append(dst, `,"prevSeqId":`...)
		dst = strconv.AppendInt(dst, b.PreviousUpdateID.Value, 10)
	}
	if b.LastUpdateID.Valid {
		dst = append(dst, `,"seqId":`...)
		dst = strconv.AppendInt(dst, b.LastUpdateID.Value, 10)
	}
	return append(dst, `}]}`...), false
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
		if levels[i].Quantity.IsZero() {
			dst = append(dst, `","0","0"]`...)
		} else {
			dst = append(dst, `","0","1"]`...)
		}
	}
	return append(dst, ']')
}
