package kraken

import (
	"errors"
	"fmt"
	"math"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

var (
	errIncompleteTrade = errors.New("symbol, side, trade_id or timestamp is missing")
	errIncompleteBook  = errors.New("symbol, bids or asks is missing")
	errNoType          = errors.New("the type is neither snapshot nor update")
	errNoData          = errors.New("reading frame: the channel's data is missing or not an array")
	errRESTSnapshot    = errors.New("reading frame: Kraken's snapshots come on the WebSocket, this build reads no REST body")
)

// ignored are the channels that hold nothing for a product.
var ignored = map[string]string{"heartbeat": "heartbeat", "status": "status", "ticker": "ticker", "ohlc": "ohlc", "instrument": "instrument"}

// Decoder reads Kraken's WebSocket v2 frames.
type Decoder struct {
	instruments *venue.Instruments
	scanner     jsonscan.Scanner
	second      jsonscan.Scanner // for data that stands before its channel
	depth       int64            // of the envelope's request, or 0
}

// NewDecoder makes a decoder.
func NewDecoder() *Decoder { return &Decoder{instruments: venue.NewInstruments(fromVenue)} }

// header is what a frame says beside its data.
type header struct {
	channel, kind, method []byte
	failed                bool
}

// Decode appends what the frame holds to ev.
func (d *Decoder) Decode(frame venue.Frame, ev *venue.Events) error {
	if frame.Kind == venue.RESTSnapshot {
		return errRESTSnapshot
	}
	mark := venue.MarkOf(ev)
	d.depth = requestedDepth(frame.Request)
	err := d.decode(frame.Payload, ev)
	if err != nil {
		mark.Restore(ev)
	}
	return err
}

func (d *Decoder) decode(payload []byte, ev *venue.Events) error {
	s := &d.scanner
	s.Reset(payload)
	var h header
	var early []byte
	done := false
	if s.Object() {
		for key, more := s.NextKey(); more; key, more = s.NextKey() {
			switch string(key) {
			case "channel":
				h.channel = s.String()
			case "type":
				h.kind = s.String()
			case "method":
				h.method = s.String()
			case "error":
				h.failed = true
				s.Skip()
			case "data":
				if len(h.channel) > 0 && len(h.kind) > 0 && !done {
					done = d.data(s, &h, ev)
				} else {
					early = s.Raw()
				}
			default:
				s.Skip()
			}
		}
	}
	if err := s.End(); err != nil {
		return err
	}
	if fault := s.TakeFault(); fault != nil {
		return fmt.Errorf("reading frame: %w", fault)
	}
	if !done && early != nil {
		d.second.Reset(early)
		done = d.data(&d.second, &h, ev)
	}
	return h.dispatch(done, ev)
}

// dispatch names what holds nothing for a product.
func (h *header) dispatch(done bool, ev *venue.Events) error {
	switch channel := string(h.channel); channel {
	case "book", "trade":
		if !done {
			return errNoData
		}
		if channel == "trade" && string(h.kind) == "snapshot" {
			// The trades before the subscription are repeated at every reconnect: not trades of this stream.
			ev.Ignored = "trade_snapshot"
		}
	case "":
		switch method := string(h.method); {
		case method == "pong":
			ev.Ignored = "pong"
		case method == "subscribe" || method == "unsubscribe" || method == "ping":
			ev.Ignored = "ack"
		case method == "" && h.failed:
			ev.Ignored = "error"
		default:
			ev.Unknown = venue.KindName(h.method)
		}
	default:
		if name, ok := ignored[channel]; ok {
			ev.Ignored = name
		} else {
			ev.Unknown = venue.KindName(h.channel)
		}
	}
	return nil
}

// data reads the array of a channel of ours; false means that there was none.
func (d *Decoder) data(s *jsonscan.Scanner, h *header, ev *venue.Events) bool {
	book := string(h.channel) == "book"
	if !book && (string(h.channel) != "trade" || string(h.kind) == "snapshot") || s.Kind() != jsonscan.Array {
		there := s.Kind() == jsonscan.Array
		s.Skip()
		return there
	}
	s.Array()
	item := int32(0)
	for ; s.NextItem(); item++ {
		var err error
		if book {
			err = d.book(s, h, ev, item)
		} else {
			err = d.trade(s, ev, item)
			if kind := string(h.kind); err == nil && kind != "update" {
				ev.Trades = ev.Trades[:len(ev.Trades)-1]
				err = errNoType
			}
		}
		if err != nil {
			ev.Bad = append(ev.Bad, venue.BadItem{Item: item, Err: err})
		}
	}
	if item == 0 {
		ev.Ignored = "empty"
	}
	return true
}

func (d *Decoder) trade(s *jsonscan.Scanner, ev *venue.Events, item int32) error {
	t := venue.TradeItem{Trade: market.Trade{Item: item, EventTime: market.NoTime}}
	if !s.Object() {
		return fmt.Errorf("reading trade: %w", s.TakeFault())
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "symbol":
			t.Symbol = s.String()
		case "side":
			t.TakerSide = venue.TakerSide(s.String(), "buy", "sell")
		case "price":
			t.Price, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "qty":
			t.Quantity, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "trade_id":
			t.ID = s.Text()
		case "timestamp":
			t.EventTime, err = venue.Timestamp(s.String())
		default:
			s.Skip()
		}
		t.Keep(s.TakeFault())
		t.Keep(err)
	}
	if err := t.AppendTo(ev, d.instruments, errIncompleteTrade); err != nil {
		return fmt.Errorf("reading trade %.32q: %w", t.ID, err)
	}
	return nil
}

func (d *Decoder) book(s *jsonscan.Scanner, h *header, ev *venue.Events, item int32) error {
	b := venue.BeginBook(ev, item)
	if !s.Object() {
		return fmt.Errorf("reading order book: %w", s.TakeFault())
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "symbol":
			b.Symbol = s.String()
		case "bids":
			b.BidRange, err = side(s, ev, &b.Book)
			b.HasBids = true
		case "asks":
			b.AskRange, err = side(s, ev, &b.Book)
			b.HasAsks = true
		case "checksum":
			b.Checksum, err = checksum(s)
		case "timestamp":
			b.EventTime, err = venue.Timestamp(s.String())
		default:
			s.Skip()
		}
		b.Keep(s.TakeFault())
		b.Keep(err)
	}
	if len(b.Symbol) == 0 || !b.HasBids || !b.HasAsks {
		b.Keep(errIncompleteBook)
	}
	switch string(h.kind) {
	case "snapshot":
		b.Kind = market.BookSnapshot
		b.Depth = market.Some(d.snapshotDepth(max(b.BidRange.Len(), b.AskRange.Len())))
	case "update":
		b.Kind = market.BookUpdate
	default:
		b.Keep(errNoType)
	}
	return b.AppendTo(ev, d.instruments)
}

// snapshotDepth is the subscribed depth, to which the book must be cut after every update. The frame does not say it:
// where the envelope does not either, it is the smallest depth that Kraken offers and the snapshot fits.
func (d *Decoder) snapshotDepth(levels int) int64 {
	if d.depth > 0 {
		return d.depth
	}
	for _, depth := range depths {
		if levels <= depth {
			return int64(depth)
		}
	}
	return int64(levels)
}

func checksum(s *jsonscan.Scanner) (market.OptInt, error) {
	v := s.Int()
	if v < 0 || v > math.MaxUint32 {
		return market.OptInt{}, fmt.Errorf("checksum %d is not of 32 bits", v)
	}
	return market.Some(v), nil
}

// side reads [{"price":…,"qty":…},…]; the numbers are bare tokens whose digits count.
func side(s *jsonscan.Scanner, ev *venue.Events, b *market.Book) (r venue.LevelRange, err error) {
	r.From = len(ev.Levels)
	if r.To = r.From; !s.Array() {
		return r, s.TakeFault()
	}
	for s.NextItem() {
		var level market.Level
		fault := readLevel(s, b, &level)
		if fault != nil && err == nil {
			err = fmt.Errorf("level %d: %w", len(ev.Levels)-r.From, fault)
		}
		ev.Levels = append(ev.Levels, level)
	}
	r.To = len(ev.Levels)
	return r, err
}

var errShortLevel = errors.New("a level needs a price and a qty")

func readLevel(s *jsonscan.Scanner, b *market.Book, level *market.Level) (err error) {
	if !s.Object() {
		return s.TakeFault()
	}
	hasPrice, hasQuantity := false, false
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var fault error
		switch string(key) {
		case "price":
			level.Price, fault = venue.ParseAmount(s.Text(), &b.PriceScale)
			hasPrice = true
		case "qty":
			level.Quantity, fault = venue.ParseAmount(s.Text(), &b.QuantityScale)
			hasQuantity = true
		default:
			s.Skip()
		}
		if fault != nil && err == nil {
			err = fault
		}
	}
	if fault := s.TakeFault(); fault != nil {
		return fault
	}
	if err == nil && !(hasPrice && hasQuantity) {
		err = errShortLevel
	}
	return err
}
