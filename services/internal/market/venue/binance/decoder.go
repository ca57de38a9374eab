package binance

import (
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// ignored are the kinds of events that hold nothing for a product: the field "e", or the stream's name where the event
// has no such field.
var ignored = map[string]string{
	"bookTicker": "bookTicker", "aggTrade": "aggTrade", "kline": "kline", "24hrTicker": "24hrTicker", "24hrMiniTicker": "24hrMiniTicker",
	"avgPrice": "avgPrice", "markPriceUpdate": "markPriceUpdate", "forceOrder": "forceOrder", "serverShutdown": "serverShutdown",
}

// Decoder reads the frames of Binance's JSON dialect, combined ({"stream":…,"data":…}) or bare.
type Decoder struct {
	instruments *venue.Instruments
	scanner     jsonscan.Scanner
	event       event
	symbol      []byte // of the envelope
}

// NewDecoder makes a decoder; fromVenue finds an instrument by the venue's spelling.
func NewDecoder(fromVenue func(string) (market.Instrument, error)) *Decoder {
	return &Decoder{instruments: venue.NewInstruments(fromVenue)}
}

// event gathers the fields of a frame; what they mean is known only when all of it is read, since the order is free.
type event struct {
	stream, kind, symbol []byte
	id, price, quantity  []byte
	execution            []byte // USD-M: "MARKET", or what else made the trade
	sent, matched        int64  // E and T in ms, or -1
	taker                market.Side
	book                 market.Book // only ids and scales
	bids, asks           venue.LevelRange
	hasBids, hasAsks     bool
	levels               error // the first fault of the levels
	isAck, isError       bool
	isTicker             bool // B and A, the sizes of a bookTicker
}

// Decode appends what the frame holds to ev.
func (d *Decoder) Decode(frame venue.Frame, ev *venue.Events) error {
	mark := len(ev.Levels)
	d.event = event{sent: -1, matched: -1}
	s, e := &d.scanner, &d.event
	s.Reset(frame.Payload)
	if s.Object() {
		d.fields(ev, true)
	}
	fault := s.TakeFault()
	err := s.End()
	switch {
	case err == nil && frame.Kind == venue.RESTSnapshot:
		err = d.snapshot(frame, ev, fault)
	case err == nil:
		err = d.dispatch(ev, fault)
	case string(e.kind) == "depthUpdate":
		// Cut short or damaged, but it says which book it was to change.
		err = venue.NewBookError(e.symbol, err)
	}
	if err != nil || !e.hasBids && !e.hasAsks {
		ev.Levels = ev.Levels[:mark]
	}
	return err
}

// fields reads an object's fields: those of the frame (top), or of its data.
func (d *Decoder) fields(ev *venue.Events, top bool) {
	s, e := &d.scanner, &d.event
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "stream":
			e.stream = s.String()
		case "data":
			if top && s.Kind() == jsonscan.Object {
				s.Object()
				d.fields(ev, false)
			} else {
				s.Skip()
			}
		case "e":
			e.kind = s.String()
		case "s":
			e.symbol = s.Text()
		case "E":
			e.sent = s.Int()
		case "T":
			e.matched = s.Int()
		case "t":
			e.id = s.Text()
		case "p":
			e.price = s.Text()
		case "q":
			e.quantity = s.Text()
		case "X":
			e.execution = s.Text()
		case "m":
			if e.taker = market.Buy; s.Bool() {
				e.taker = market.Sell // the buyer was the maker
			}
		case "b", "bids":
			d.side(ev, &e.bids, &e.hasBids)
		case "a", "asks":
			d.side(ev, &e.asks, &e.hasAsks)
		default:
			d.rareField(key)
		}
	}
}

// rareField reads what is not in every trade.
func (d *Decoder) rareField(key []byte) {
	s, e := &d.scanner, &d.event
	switch string(key) {
	case "U":
		e.book.FirstUpdateID = market.Some(s.Int())
	case "u", "lastUpdateId":
		e.book.LastUpdateID = market.Some(s.Int())
	case "pu":
		e.book.PreviousUpdateID = market.Some(s.Int())
	case "B", "A":
		e.isTicker = true
		s.Skip()
	case "result":
		e.isAck = true
		s.Skip()
	case "error", "code":
		e.isError = true
		s.Skip()
	default:
		s.Skip()
	}
}

// side reads levels; in a bookTicker the same keys hold a price.
func (d *Decoder) side(ev *venue.Events, r *venue.LevelRange, has *bool) {
	if d.scanner.Kind() != jsonscan.Array {
		d.scanner.Skip()
		return
	}
	levels, err := venue.Side(&d.scanner, ev, &d.event.book)
	*r, *has = levels, true
	if err != nil && d.event.levels == nil {
		d.event.levels = err
	}
}

func (d *Decoder) dispatch(ev *venue.Events, fault error) error {
	e := &d.event
	switch kind := string(e.kind); kind {
	case "trade":
		return d.trade(ev, fault)
	case "depthUpdate":
		return d.update(ev, fault)
	case "":
		e.hasBids, e.hasAsks = false, false
		switch {
		case e.isTicker && len(e.symbol) > 0:
			ev.Ignored = "bookTicker"
		case e.isError:
			ev.Ignored = "error"
		case e.isAck:
			ev.Ignored = "ack"
		default:
			ev.Unknown = venue.KindName(streamKind(e.stream))
		}
	default:
		e.hasBids, e.hasAsks = false, false
		if name, ok := ignored[kind]; ok {
			ev.Ignored = name
		} else {
			ev.Unknown = venue.KindName(e.kind)
		}
	}
	return nil
}

// streamKind cuts the symbol off a stream's name: "btcusdt@depth20@100ms" is of kind "depth20@100ms".
func streamKind(stream []byte) []byte {
	for i, c := range stream {
		if c == '@' {
			return stream[i+1:]
		}
	}
	return stream
}

func (d *Decoder) trade(ev *venue.Events, fault error) error {
	e := &d.event
	e.hasBids, e.hasAsks = false, false
	if fault != nil {
		return fmt.Errorf("reading trade: %w", fault)
	}
	if len(e.execution) > 0 && string(e.execution) != "MARKET" {
		// Takeovers by the insurance fund and auto-deleveraging did not happen in the order book.
		ev.Ignored = venue.KindName(append([]byte("trade."), e.execution...))
		return nil
	}
	instrument, err := d.instruments.Get(e.symbol)
	if err != nil {
		return fmt.Errorf("reading trade: %w", err)
	}
	if len(e.id) == 0 || e.taker == market.SideUnknown {
		return errIncompleteTrade
	}
	trade := market.Trade{Instrument: instrument, ID: e.id, TakerSide: e.taker}
	var scale int32
	if trade.Price, err = venue.ParseAmount(e.price, &scale); err != nil {
		return fmt.Errorf("reading trade %s: price: %w", e.id, err)
	}
	if trade.Quantity, err = venue.ParseAmount(e.quantity, &scale); err != nil {
		return fmt.Errorf("reading trade %s: quantity: %w", e.id, err)
	}
	at := e.matched
	if at < 0 {
		at = e.sent
	}
	if trade.EventTime, err = venue.FromMillis(at); err != nil {
		return fmt.Errorf("reading trade %s: %w", e.id, err)
	}
	ev.Trades = append(ev.Trades, trade)
	return nil
}

var (
	errIncompleteTrade  = errors.New("reading trade: t (id) or m (maker side) is missing")
	errIncompleteUpdate = errors.New("one of U, u, b and a is missing")
	errIncompleteDepth  = errors.New("reading depth snapshot: lastUpdateId, bids or asks is missing")
	errNoSymbol         = errors.New("reading depth snapshot: the body names no symbol, and the envelope has none")
)

func (d *Decoder) update(ev *venue.Events, fault error) error {
	e := &d.event
	if fault == nil {
		fault = e.levels
	}
	if fault == nil && (!e.hasBids || !e.hasAsks || !e.book.FirstUpdateID.Valid || !e.book.LastUpdateID.Valid) {
		fault = errIncompleteUpdate
	}
	if fault != nil {
		return venue.NewBookError(e.symbol, fault)
	}
	return d.book(ev, market.BookUpdate, e.symbol)
}

// snapshot reads the body of GET …/depth.
func (d *Decoder) snapshot(frame venue.Frame, ev *venue.Events, fault error) error {
	e := &d.event
	if fault == nil {
		fault = e.levels
	}
	if fault != nil {
		return fmt.Errorf("reading depth snapshot: %w", fault)
	}
	if !e.hasBids || !e.hasAsks || !e.book.LastUpdateID.Valid {
		return errIncompleteDepth
	}
	if frame.VenueSymbol == "" {
		return errNoSymbol
	}
	d.symbol = append(d.symbol[:0], frame.VenueSymbol...)
	return d.book(ev, market.BookSnapshot, d.symbol)
}

func (d *Decoder) book(ev *venue.Events, kind market.BookKind, symbol []byte) error {
	e := &d.event
	instrument, err := d.instruments.Get(symbol)
	if err != nil {
		return fmt.Errorf("reading order book: %w", err)
	}
	book := e.book
	book.Kind, book.Instrument, book.EventTime = kind, instrument, market.NoTime
	book.Bids, book.Asks = e.bids.Of(ev), e.asks.Of(ev)
	// The matching engine's time, where the venue says it; spot sends only when the event was made.
	at := e.matched
	if at < 0 {
		at = e.sent
	}
	if at >= 0 {
		if book.EventTime, err = venue.FromMillis(at); err != nil {
			return venue.NewBookError(symbol, err)
		}
	}
	ev.Books = append(ev.Books, book)
	return nil
}
