package records

import (
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Orderbook is a value of raw-orderbooks, read back. Book.Instrument is filled in.
type Orderbook struct {
	market.Book
	ReceivedAt int64 // µs since 1970 UTC
	Frame      Coordinates

	instrument market.Instrument
}

// AppendBook writes the body of a raw-orderbooks record. c.Item is taken from the event.
func AppendBook(dst []byte, b *market.Book, receivedAt int64, c Coordinates) []byte {
	dst = appendLong(dst, int64(b.Kind))
	dst = appendString(dst, b.Instrument.Venue)
	dst = appendString(dst, b.Instrument.Symbol)
	dst = appendString(dst, b.Instrument.VenueSymbol)
	dst = appendOptInt(dst, b.FirstUpdateID)
	dst = appendOptInt(dst, b.LastUpdateID)
	dst = appendOptInt(dst, b.PreviousUpdateID)
	dst = appendOptInt(dst, b.Checksum)
	dst = appendOptInt(dst, b.Depth)
	dst = appendLong(dst, int64(b.PriceScale))
	dst = appendLong(dst, int64(b.QuantityScale))
	dst = appendLevels(dst, b.Bids)
	dst = appendLevels(dst, b.Asks)
	dst = appendOptString(dst, b.GapReason)
	dst = appendOptTime(dst, b.EventTime)
	dst = appendLong(dst, receivedAt)
	c.Item = b.Item
	return c.AppendAvro(dst)
}

// appendLevels writes an Avro array as one block.
func appendLevels(dst []byte, levels []market.Level) []byte {
	if len(levels) > 0 {
		dst = appendLong(dst, int64(len(levels)))
		for i := range levels {
			dst = levels[i].Price.AppendAvro(dst)
			dst = levels[i].Quantity.AppendAvro(dst)
		}
	}
	return append(dst, 0)
}

// DecodeAvro reads a body. Bids and Asks reuse their memory.
func (o *Orderbook) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	o.Kind = market.BookKind(r.enum("kind", 4))
	keep(&o.instrument.Venue, r.bytes("venue"))
	keep(&o.instrument.Symbol, r.bytes("symbol"))
	keep(&o.instrument.VenueSymbol, r.bytes("venue_symbol"))
	o.Instrument = &o.instrument
	o.FirstUpdateID = r.optInt("first_update_id")
	o.LastUpdateID = r.optInt("last_update_id")
	o.PreviousUpdateID = r.optInt("previous_update_id")
	o.Checksum = r.optInt("checksum")
	o.Depth = r.optInt("depth")
	o.PriceScale = r.int32("price_scale")
	o.QuantityScale = r.int32("quantity_scale")
	o.Bids = r.levels("bids", o.Bids[:0])
	o.Asks = r.levels("asks", o.Asks[:0])
	keepOptional(&o.GapReason, &r, "gap_reason")
	o.EventTime = r.optTime("event_time")
	o.ReceivedAt = r.long("received_at")
	o.Frame = r.coordinates("frame")
	o.Item = o.Frame.Item
	return r.end("raw-orderbooks record")
}

// levels reads the blocks of an Avro array. A level takes at least two bytes, so the body's size bounds the count.
func (r *reader) levels(field string, levels []market.Level) []market.Level {
	for r.err == nil {
		count := r.long(field)
		if count == 0 {
			break
		}
		if count < 0 {
			// A negative count is followed by the block's size in bytes, which is of no use here.
			count = -count
			r.long(field)
		}
		if count < 0 || count > int64(len(r.rest)/2) {
			r.fail(fmt.Errorf("an array block of %d levels in %d bytes", count, len(r.rest)))
			break
		}
		for range count {
			levels = append(levels, market.Level{Price: r.decimal(field), Quantity: r.decimal(field)})
		}
	}
	return levels
}
