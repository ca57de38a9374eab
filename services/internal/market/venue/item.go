package venue

import (
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Faults keeps the first fault of an item: it is reported, while the rest of the item is read all the same, so that the
// scanner comes to stand before the item's siblings. Its zero value is ready.
type Faults struct{ first error }

// Keep remembers err unless there was a fault before it; nil is none.
func (f *Faults) Keep(err error) {
	if err != nil && f.first == nil {
		f.first = err
	}
}

// TradeItem is a trade of an array of them while its fields are read, in whatever order they come.
type TradeItem struct {
	Faults
	market.Trade
	Symbol []byte
	Scale  int32 // the most digits after the point; a trade has no use for it, but ParseAmount counts them
}

// AppendTo finds the instrument and appends the trade to ev. Otherwise it returns the first fault, bare: incomplete, which
// names the venue's fields, where one that a trade cannot do without is missing.
func (t *TradeItem) AppendTo(ev *Events, instruments *Instruments, incomplete error) error {
	if t.first == nil && (len(t.Symbol) == 0 || len(t.ID) == 0 || t.TakerSide == market.SideUnknown || t.EventTime == market.NoTime) {
		t.first = incomplete
	}
	if t.first == nil {
		t.Instrument, t.first = instruments.Get(t.Symbol)
	}
	if t.first != nil {
		return t.first
	}
	ev.Trades = append(ev.Trades, t.Trade)
	return nil
}

// TakerSide finds the taker's side by the venue's names of the two.
func TakerSide(side []byte, buy, sell string) market.Side {
	switch string(side) {
	case buy:
		return market.Buy
	case sell:
		return market.Sell
	}
	return market.SideUnknown
}

// BookItem is an event of an order book while its fields are read, in whatever order they come.
type BookItem struct {
	Faults
	market.Book
	Symbol             []byte
	BidRange, AskRange LevelRange // Bids and Asks once the arena grows no more
	HasBids, HasAsks   bool       // that the side was there, be it empty
	mark               int        // where the event's levels begin in the arena
}

// BeginBook makes the event that item is, without a time. Its levels go into the arena of ev.
func BeginBook(ev *Events, item int32) BookItem {
	return BookItem{Book: market.Book{Item: item, EventTime: market.NoTime}, mark: len(ev.Levels)}
}

// BookError is a fault in an event of an order book whose symbol could be read. Without the event the book is broken from
// there on, which has to be told to those who keep it.
type BookError struct {
	VenueSymbol string // empty when it could not be read
	Err         error
}

// NewBookError says that an event of the symbol's book could not be read; nil where there was no fault.
func NewBookError(symbol []byte, err error) error {
	if err == nil {
		return nil
	}
	return &BookError{VenueSymbol: string(symbol), Err: err}
}

// Error names the symbol.
func (e *BookError) Error() string {
	return fmt.Sprintf("reading order book of %.32q: %s", e.VenueSymbol, e.Err)
}

// Unwrap gives the fault itself.
func (e *BookError) Unwrap() error { return e.Err }

// AppendTo finds the instrument and appends the event to ev. With a fault it leaves no level behind and returns a
// *BookError.
func (b *BookItem) AppendTo(ev *Events, instruments *Instruments) error {
	if b.first == nil {
		b.Instrument, b.first = instruments.Get(b.Symbol)
	}
	if b.first != nil {
		ev.Levels = ev.Levels[:b.mark]
		return NewBookError(b.Symbol, b.first)
	}
	b.Bids, b.Asks = b.BidRange.Of(ev), b.AskRange.Of(ev)
	ev.Books = append(ev.Books, b.Book)
	return nil
}
