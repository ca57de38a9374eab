package coinbase

import (
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// ignored are the types that hold nothing for a product. A last_match repeats the last trade before the subscription, at
// every reconnect: it is not a trade of this stream.
var ignored = map[string]string{
	"last_match": "last_match", "heartbeat": "heartbeat", "ticker": "ticker", "subscriptions": "subscriptions", "status": "status", "error": "error",
	"received": "received", "open": "open", "done": "done", "change": "change", "activate": "activate",
}

var (
	errIncompleteMatch = errors.New("product_id, trade_id, side or time is missing")
	errIncompleteBook  = errors.New("product_id, bids or asks is missing")
	errNoChanges       = errors.New("product_id or changes is missing")
	errShortChange     = errors.New("a change needs a side, a price and a size")
	errRESTSnapshot    = errors.New("reading frame: Coinbase's snapshots come on the WebSocket, this build reads no REST body")
)

// Decoder reads Coinbase Exchange's frames.
type Decoder struct {
	instruments *venue.Instruments
	scanner     jsonscan.Scanner
	frame       fields
	asks        []market.Level // of changes, which hold both sides in one list
}

// NewDecoder makes a decoder.
func NewDecoder() *Decoder { return &Decoder{instruments: venue.NewInstruments(fromVenue)} }

// fields gathers what a frame holds; what it means is known only when its type is.
type fields struct {
	kind, product, side, price, size, tradeID, time []byte
	book                                            market.Book // only scales
	bids, asks                                      venue.LevelRange
	hasBids, hasAsks, hasChanges                    bool
	levels                                          error
}

// Decode appends what the frame holds to ev.
func (d *Decoder) Decode(frame venue.Frame, ev *venue.Events) error {
	if frame.Kind == venue.RESTSnapshot {
		return errRESTSnapshot
	}
	mark := venue.MarkOf(ev)
	d.frame = fields{}
	s := &d.scanner
	s.Reset(frame.Payload)
	if s.Object() {
		d.read(ev)
	}
	fault := s.TakeFault()
	err := s.End()
	if err == nil {
		err = d.dispatch(ev, fault)
	} else if d.frame.ofBook() {
		// Cut short or damaged, but it says which book it was to change.
		err = venue.NewBookError(d.frame.product, err)
	}
	if err != nil || ev.Ignored != "" || ev.Unknown != "" {
		kind, unknown := ev.Ignored, ev.Unknown
		mark.Restore(ev)
		ev.Ignored, ev.Unknown = kind, unknown
	}
	return err
}

func (d *Decoder) read(ev *venue.Events) {
	s, f := &d.scanner, &d.frame
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "type":
			f.kind = s.String()
		case "product_id":
			f.product = s.String()
		case "side":
			f.side = s.Text()
		case "price":
			f.price = s.Text()
		case "size":
			f.size = s.Text()
		case "trade_id":
			f.tradeID = s.Text()
		case "time":
			f.time = s.Text()
		case "bids":
			f.bids, f.hasBids = d.side(ev), true
		case "asks":
			f.asks, f.hasAsks = d.side(ev), true
		case "changes":
			d.changes(ev)
		default:
			s.Skip()
		}
	}
}

func (d *Decoder) side(ev *venue.Events) venue.LevelRange {
	levels, err := venue.Side(&d.scanner, ev, &d.frame.book)
	d.keep(err)
	return levels
}

// keep remembers the first fault of the levels.
func (d *Decoder) keep(err error) {
	if err != nil && d.frame.levels == nil {
		d.frame.levels = err
	}
}

// changes reads [["buy","price","size"],…]: bids go into the arena at once, asks after them.
func (d *Decoder) changes(ev *venue.Events) {
	s, f := &d.scanner, &d.frame
	f.hasChanges = true
	d.asks = d.asks[:0]
	f.bids.From = len(ev.Levels)
	for open := s.Array(); open && s.NextItem(); {
		level, bid, err := d.change()
		d.keep(err)
		if bid {
			ev.Levels = append(ev.Levels, level)
		} else {
			d.asks = append(d.asks, level)
		}
	}
	f.bids.To = len(ev.Levels)
	ev.Levels = append(ev.Levels, d.asks...)
	f.asks = venue.LevelRange{From: f.bids.To, To: len(ev.Levels)}
}

func (d *Decoder) change() (level market.Level, bid bool, err error) {
	s, b := &d.scanner, &d.frame.book
	if !s.Array() {
		return level, bid, s.TakeFault()
	}
	keep := func(fault error) {
		if err == nil {
			err = fault
		}
	}
	n := 0
	for ; s.NextItem(); n++ {
		var fault error
		switch n {
		case 0:
			side := s.String()
			if bid = string(side) == "buy"; !bid && string(side) != "sell" {
				fault = fmt.Errorf("side %.20q is neither buy nor sell", side)
			}
		case 1:
			level.Price, fault = venue.ParseAmount(s.Text(), &b.PriceScale)
		case 2:
			level.Quantity, fault = venue.ParseAmount(s.Text(), &b.QuantityScale)
		default:
			s.Skip()
		}
		keep(s.TakeFault())
		keep(fault)
	}
	if n < 3 {
		keep(errShortChange)
	}
	return level, bid, err
}

func (d *Decoder) dispatch(ev *venue.Events, fault error) error {
	f := &d.frame
	var err error
	switch kind := string(f.kind); kind {
	case "match":
		err = d.match(ev, fault)
	case "snapshot":
		if err = fault; err == nil && !(f.hasBids && f.hasAsks) {
			err = errIncompleteBook
		}
		if err == nil {
			err = d.book(ev, market.BookSnapshot)
		}
	case "l2update":
		if err = fault; err == nil && !f.hasChanges {
			err = errNoChanges
		}
		if err == nil {
			err = d.book(ev, market.BookUpdate)
		}
	default:
		if name, ok := ignored[kind]; ok {
			ev.Ignored = name
		} else {
			ev.Unknown = venue.KindName(f.kind)
		}
	}
	switch {
	case err == nil:
		return nil
	case f.ofBook():
		return venue.NewBookError(f.product, fmt.Errorf("%s: %w", f.kind, err))
	}
	return fmt.Errorf("reading %s of %.32q: %w", f.kind, f.product, err)
}

// ofBook says that the frame was to change an order book.
func (f *fields) ofBook() bool { return string(f.kind) == "snapshot" || string(f.kind) == "l2update" }

func (d *Decoder) match(ev *venue.Events, err error) error {
	f := &d.frame
	if err != nil {
		return err
	}
	t := market.Trade{ID: f.tradeID}
	// The side is the maker's: a maker that sold was lifted by a taker that bought.
	switch string(f.side) {
	case "sell":
		t.TakerSide = market.Buy
	case "buy":
		t.TakerSide = market.Sell
	}
	if len(f.product) == 0 || len(t.ID) == 0 || t.TakerSide == market.SideUnknown || len(f.time) == 0 {
		return errIncompleteMatch
	}
	var scale int32
	if t.Price, err = venue.ParseAmount(f.price, &scale); err != nil {
		return err
	}
	if t.Quantity, err = venue.ParseAmount(f.size, &scale); err != nil {
		return err
	}
	if t.EventTime, err = venue.Timestamp(f.time); err != nil {
		return err
	}
	if t.Instrument, err = d.instruments.Get(f.product); err != nil {
		return err
	}
	ev.Trades = append(ev.Trades, t)
	return nil
}

func (d *Decoder) book(ev *venue.Events, kind market.BookKind) error {
	f := &d.frame
	if f.levels != nil {
		return f.levels
	}
	instrument, err := d.instruments.Get(f.product)
	if err != nil {
		return err
	}
	b := f.book
	b.Kind, b.Instrument, b.EventTime = kind, instrument, market.NoTime
	b.Bids, b.Asks = f.bids.Of(ev), f.asks.Of(ev)
	if len(f.time) > 0 {
		if b.EventTime, err = venue.Timestamp(f.time); err != nil {
			return err
		}
	}
	ev.Books = append(ev.Books, b)
	return nil
}
