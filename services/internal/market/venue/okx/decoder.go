package okx

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// ignored are the channels that hold nothing for a product. Those of five levels and of the best send whole books that no
// update follows: they are not the book's stream.
var ignored = map[string]string{
	"tickers": "tickers", "books5": "books5", "bbo-tbt": "bbo-tbt", "trades-all": "trades-all", "status": "status", "instruments": "instruments",
	"mark-price": "mark-price", "funding-rate": "funding-rate", "open-interest": "open-interest", "index-tickers": "index-tickers",
}

func isBooks(channel []byte) bool {
	switch string(channel) {
	case "books", "books-l2-tbt", "books50-l2-tbt":
		return true
	}
	return false
}

func isTrades(channel []byte) bool { return string(channel) == "trades" }

var (
	errIncompleteTrade = errors.New("instId, tradeId, side or ts is missing")
	errIncompleteBook  = errors.New("bids or asks is missing")
	errNoAction        = errors.New("the action is neither snapshot nor update")
	errNoData          = errors.New("reading frame: the channel's data is missing or not an array")
	errRESTSnapshot    = errors.New("reading frame: OKX's snapshots come on the WebSocket, this build reads no REST body")
	pong               = []byte("pong")
)

// Decoder reads OKX's v5 frames.
type Decoder struct {
	instruments *venue.Instruments
	scanner     jsonscan.Scanner
	second      jsonscan.Scanner // for data that stands before its channel
}

// NewDecoder makes a decoder.
func NewDecoder() *Decoder { return &Decoder{instruments: venue.NewInstruments(fromVenue)} }

// header is what a frame says beside its data.
type header struct {
	channel, instrument, action, event []byte
	hasArg                             bool
}

// Decode appends what the frame holds to ev.
func (d *Decoder) Decode(frame venue.Frame, ev *venue.Events) error {
	if frame.Kind == venue.RESTSnapshot {
		return errRESTSnapshot
	}
	if bytes.Equal(frame.Payload, pong) {
		ev.Ignored = "pong" // the one answer that is not JSON
		return nil
	}
	mark := venue.MarkOf(ev)
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
			case "arg":
				h.arg(s)
			case "action":
				h.action = s.String()
			case "event":
				h.event = s.String()
			case "data":
				if h.ready() && !done {
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

// arg reads the channel and the instrument that a frame is of.
func (h *header) arg(s *jsonscan.Scanner) {
	if h.hasArg = s.Object(); !h.hasArg {
		return
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "channel":
			h.channel = s.String()
		case "instId":
			h.instrument = s.String()
		default:
			s.Skip()
		}
	}
}

// ready says that the data can be read in passing.
func (h *header) ready() bool { return isTrades(h.channel) || isBooks(h.channel) && len(h.action) > 0 }

// dispatch names what holds nothing for a product.
func (h *header) dispatch(done bool, ev *venue.Events) error {
	switch string(h.event) {
	case "":
	case "subscribe", "unsubscribe", "channel-conn-count":
		ev.Ignored = "ack"
		return nil
	case "error":
		ev.Ignored = "error"
		return nil
	case "notice":
		ev.Ignored = "notice"
		return nil
	default:
		ev.Unknown = venue.KindName(h.event)
		return nil
	}
	if isBooks(h.channel) || isTrades(h.channel) {
		if !done {
			return errNoData
		}
		return nil
	}
	if name, ok := ignored[string(h.channel)]; ok {
		ev.Ignored = name
	} else {
		ev.Unknown = venue.KindName(h.channel)
	}
	return nil
}

// data reads the array of a channel of ours; false means that there was none.
func (d *Decoder) data(s *jsonscan.Scanner, h *header, ev *venue.Events) bool {
	if len(h.event) > 0 || !isBooks(h.channel) && !isTrades(h.channel) || s.Kind() != jsonscan.Array {
		s.Skip()
		return false
	}
	s.Array()
	item := int32(0)
	for ; s.NextItem(); item++ {
		var err error
		if isTrades(h.channel) {
			err = d.trade(s, h, ev, item)
		} else {
			err = d.book(s, h, ev, item)
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

func (d *Decoder) trade(s *jsonscan.Scanner, h *header, ev *venue.Events, item int32) error {
	t := venue.TradeItem{Trade: market.Trade{Item: item, EventTime: market.NoTime}, Symbol: h.instrument}
	if !s.Object() {
		return fmt.Errorf("reading trade: %w", s.TakeFault())
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "instId":
			t.Symbol = s.String()
		case "tradeId":
			t.ID = s.Text()
		case "px":
			t.Price, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "sz":
			t.Quantity, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "side":
			t.TakerSide = venue.TakerSide(s.String(), "buy", "sell")
		case "ts":
			t.EventTime, err = venue.FromMillis(s.Int())
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
	b.Symbol = h.instrument
	if !s.Object() {
		return fmt.Errorf("reading order book: %w", s.TakeFault())
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "bids":
			b.BidRange, err = venue.Side(s, ev, &b.Book)
			b.HasBids = true
		case "asks":
			b.AskRange, err = venue.Side(s, ev, &b.Book)
			b.HasAsks = true
		case "ts":
			b.EventTime, err = venue.FromMillis(s.Int())
		case "checksum":
			b.Checksum, err = checksum(s)
		case "seqId":
			b.LastUpdateID = market.Some(s.Int())
		case "prevSeqId":
			b.PreviousUpdateID = market.Some(s.Int())
		default:
			s.Skip()
		}
		b.Keep(s.TakeFault())
		b.Keep(err)
	}
	b.Kind = bookKind(h.action)
	switch {
	case b.Kind == market.BookUnknown:
		b.Keep(errNoAction)
	case !b.HasBids || !b.HasAsks:
		b.Keep(errIncompleteBook)
	}
	return b.AppendTo(ev, d.instruments)
}

func bookKind(action []byte) market.BookKind {
	switch string(action) {
	case "snapshot":
		return market.BookSnapshot
	case "update":
		return market.BookUpdate
	}
	return market.BookUnknown
}

// checksum reads a signed number of 32 bits. The venue has retired it and sends 0, which is none.
func checksum(s *jsonscan.Scanner) (market.OptInt, error) {
	v := s.Int()
	switch {
	case v < math.MinInt32 || v > math.MaxInt32:
		return market.OptInt{}, fmt.Errorf("checksum %d is not of 32 bits", v)
	case v == 0:
		return market.OptInt{}, nil
	}
	return market.Some(int64(uint32(int32(v)))), nil
}
