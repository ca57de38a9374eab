// Package market holds what is the same at every venue: decimals, instruments, trades, book events and the order book.
// It imports nothing of Kafka or ClickHouse.
package market

import "math"

// NoTime stands for a time that the venue did not send.
const NoTime int64 = math.MinInt64

// OptInt is an integer that a venue may not send.
type OptInt struct {
	Value int64
	Valid bool
}

// Some returns a present OptInt.
func Some(v int64) OptInt { return OptInt{Value: v, Valid: true} }

// Instrument is a symbol at a venue, in the platform's and in the venue's spelling.
type Instrument struct {
	Venue       string // "binance"
	Symbol      string // canonical: "BTC-USDT", "BTC-USDT-PERP", "BTC-USDT-20261225"
	VenueSymbol string // "BTCUSDT"
}

// Side is the side of the order that took liquidity; the values are the Avro enum's positions.
type Side uint8

// Sides in the order of the enum TakerSide.
const (
	SideUnknown Side = iota
	Buy
	Sell
)

// Trade is one trade of a frame. Its slices point into the frame and are valid as long as the frame is.
type Trade struct {
	Instrument *Instrument
	ID         []byte // the venue's id as text
	Price      Decimal
	Quantity   Decimal
	TakerSide  Side
	EventTime  int64 // µs since 1970 UTC, or NoTime
	Item       int32 // position in the frame, from 0
}

// BookKind says what a book event does; the values are the Avro enum's positions.
type BookKind uint8

// Kinds in the order of the enum OrderbookKind.
const (
	BookUnknown BookKind = iota
	BookSnapshot
	BookUpdate
	BookGap
)

// Level is one price level: an absolute quantity, 0 removes it.
type Level struct {
	Price    Decimal
	Quantity Decimal
}

// Book is one book event of a frame. Bids and Asks are valid until the Events that hold them are reset.
type Book struct {
	Kind             BookKind
	Instrument       *Instrument
	FirstUpdateID    OptInt
	LastUpdateID     OptInt
	PreviousUpdateID OptInt
	Checksum         OptInt // unsigned 32 bits
	Depth            OptInt // subscribed depth, on snapshots of venues that cut
	PriceScale       int32  // most digits after the point among the prices of this event
	QuantityScale    int32
	Bids             []Level
	Asks             []Level
	GapReason        string // for BookGap
	EventTime        int64  // µs since 1970 UTC, or NoTime
	Item             int32
}
