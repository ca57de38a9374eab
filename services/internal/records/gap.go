package records

import (
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// FeedGap is a value of feed-gaps.
type FeedGap struct {
	Venue, Symbol, VenueSymbol string
	Feed                       string
	Channel                    string // "trades", "book" or "all"
	FromTime, ToTime           int64  // µs since 1970 UTC, or market.NoTime
	FromID, ToID               string // empty: null
	Missing                    market.OptInt
	Reason                     market.GapReason
	Detail                     string
	ReceivedAt                 int64 // µs since 1970 UTC
	Frame                      Coordinates
}

// AppendAvro writes the record's body. A reason that the schema does not name is written as UNKNOWN.
func (g *FeedGap) AppendAvro(dst []byte) []byte {
	dst = appendString(dst, g.Venue)
	dst = appendString(dst, g.Symbol)
	dst = appendString(dst, g.VenueSymbol)
	dst = appendString(dst, g.Feed)
	dst = appendString(dst, g.Channel)
	dst = appendOptTime(dst, g.FromTime)
	dst = appendOptTime(dst, g.ToTime)
	dst = appendOptString(dst, g.FromID)
	dst = appendOptString(dst, g.ToID)
	dst = appendOptInt(dst, g.Missing)
	dst = appendLong(dst, reasonPosition(g.Reason))
	dst = appendString(dst, g.Detail)
	dst = appendLong(dst, g.ReceivedAt)
	return g.Frame.AppendAvro(dst)
}

func reasonPosition(reason market.GapReason) int64 {
	for i, known := range market.GapReasons {
		if known == reason {
			return int64(i)
		}
	}
	return 0
}

// DecodeAvro reads a body.
func (g *FeedGap) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	g.Venue = r.string("venue")
	g.Symbol = r.string("symbol")
	g.VenueSymbol = r.string("venue_symbol")
	g.Feed = r.string("feed")
	g.Channel = r.string("channel")
	g.FromTime = r.optTime("from_time")
	g.ToTime = r.optTime("to_time")
	g.FromID = r.optString("from_id")
	g.ToID = r.optString("to_id")
	g.Missing = r.optInt("missing")
	g.Reason = market.GapReasons[r.enum("reason", len(market.GapReasons))]
	g.Detail = r.string("detail")
	g.ReceivedAt = r.long("received_at")
	g.Frame = r.coordinates("frame")
	return r.end("feed-gaps record")
}

// OrderbookResync is a value of orderbook-resyncs.
type OrderbookResync struct {
	Venue, Symbol, VenueSymbol string
	BrokenSince                Coordinates
	Reason                     string
	RequestedAt                int64 // µs since 1970 UTC
}

// AppendAvro writes the record's body.
func (o *OrderbookResync) AppendAvro(dst []byte) []byte {
	dst = appendString(dst, o.Venue)
	dst = appendString(dst, o.Symbol)
	dst = appendString(dst, o.VenueSymbol)
	dst = o.BrokenSince.AppendAvro(dst)
	dst = appendString(dst, o.Reason)
	return appendLong(dst, o.RequestedAt)
}

// DecodeAvro reads a body.
func (o *OrderbookResync) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	o.Venue = r.string("venue")
	o.Symbol = r.string("symbol")
	o.VenueSymbol = r.string("venue_symbol")
	o.BrokenSince = r.coordinates("broken_since")
	o.Reason = r.string("reason")
	o.RequestedAt = r.long("requested_at")
	return r.end("orderbook-resyncs record")
}

// SymbolKey is the Kafka key of feed-gaps and orderbook-resyncs.
func SymbolKey(venue, symbol string) string { return fmt.Sprintf("%s/%s", venue, symbol) }
