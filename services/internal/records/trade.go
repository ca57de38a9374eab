package records

import "github.com/streamforge/streamforge/services/internal/market"

// Trade is a value of raw-trades, read back.
type Trade struct {
	Venue, Symbol, VenueSymbol string
	TradeID                    string
	Price, Quantity            market.Decimal
	TakerSide                  market.Side
	EventTime                  int64 // µs since 1970 UTC, or market.NoTime
	ReceivedAt                 int64 // µs since 1970 UTC
	Frame                      Coordinates
}

// AppendTrade writes the body of a raw-trades record. c.Item is taken from the trade.
func AppendTrade(dst []byte, t *market.Trade, receivedAt int64, c Coordinates) []byte {
	dst = appendString(dst, t.Instrument.Venue)
	dst = appendString(dst, t.Instrument.Symbol)
	dst = appendString(dst, t.Instrument.VenueSymbol)
	dst = appendString(dst, t.ID)
	dst = t.Price.AppendAvro(dst)
	dst = t.Quantity.AppendAvro(dst)
	dst = appendLong(dst, int64(t.TakerSide))
	dst = appendOptTime(dst, t.EventTime)
	dst = appendLong(dst, receivedAt)
	c.Item = t.Item
	return c.AppendAvro(dst)
}

// DecodeAvro reads a body.
func (t *Trade) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	keep(&t.Venue, r.bytes("venue"))
	keep(&t.Symbol, r.bytes("symbol"))
	keep(&t.VenueSymbol, r.bytes("venue_symbol"))
	t.TradeID = r.string("trade_id")
	t.Price = r.decimal("price")
	t.Quantity = r.decimal("quantity")
	t.TakerSide = market.Side(r.enum("taker_side", 3))
	t.EventTime = r.optTime("event_time")
	t.ReceivedAt = r.long("received_at")
	t.Frame = r.coordinates("frame")
	return r.end("raw-trades record")
}
