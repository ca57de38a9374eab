package bybit

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// ignored are the topics that hold nothing for a product, by what stands before the first point.
var ignored = map[string]string{
	"tickers": "tickers", "kline": "kline", "liquidation": "liquidation", "allLiquidation": "allLiquidation", "price-limit": "price-limit",
	"insurance": "insurance", "rpi-orderbook": "rpi-orderbook", "adl": "adl",
}

var (
	errIncompleteTrade = errors.New("s, i, S or T is missing")
	errIncompleteBook  = errors.New("s, b, a or u is missing")
	errNoType          = errors.New("the type is neither snapshot nor delta")
	errNoData          = errors.New("reading frame: the topic's data is missing or of another kind")
	errRESTSnapshot    = errors.New("reading frame: Bybit's snapshots come on the WebSocket, this build reads no REST body")
)

// Decoder reads Bybit's v5 public frames.
type Decoder struct {
	instruments *venue.Instruments
	scanner     jsonscan.Scanner
	second      jsonscan.Scanner // for data that stands before its topic
}

// NewDecoder makes a decoder; fromVenue is that of the market, which no frame names.
func NewDecoder(fromVenue func(string) (market.Instrument, error)) *Decoder {
	return &Decoder{instruments: venue.NewInstruments(fromVenue)}
}

// header is what a frame says beside its data.
type header struct {
	topic, kind, op      []byte
	sent, matched        int64 // ts and cts in ms, or -1
	success, hasSuccess  bool
	books, trades, found bool // of the topic; what was read
}

// Decode appends what the frame holds to ev.
func (d *Decoder) Decode(frame venue.Frame, ev *venue.Events) error {
	if frame.Kind == venue.RESTSnapshot {
		return errRESTSnapshot
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
	h := header{sent: -1, matched: -1}
	first := len(ev.Books)
	var early []byte
	if s.Object() {
		for key, more := s.NextKey(); more; key, more = s.NextKey() {
			switch string(key) {
			case "topic":
				h.setTopic(s.String())
			case "type":
				h.kind = s.String()
			case "ts":
				h.sent = s.Int()
			case "cts":
				h.matched = s.Int()
			case "data":
				if h.ready() && !h.found {
					d.data(s, &h, ev)
				} else {
					early = s.Raw()
				}
			case "op":
				h.op = s.Text()
			case "success":
				h.success, h.hasSuccess = s.Bool(), true
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
	if !h.found && early != nil {
		d.second.Reset(early)
		d.data(&d.second, &h, ev)
	}
	return h.dispatch(ev, first)
}

// setTopic takes the topic apart: "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT".
func (h *header) setTopic(topic []byte) {
	h.topic = topic
	h.books, h.trades = bytes.HasPrefix(topic, []byte("orderbook.")), bytes.HasPrefix(topic, []byte("publicTrade."))
}

// ready says that the data can be read in passing.
func (h *header) ready() bool { return h.trades || h.books && len(h.kind) > 0 }

// dispatch names what holds nothing for a product, and gives a book its time, which stands behind its data.
func (h *header) dispatch(ev *venue.Events, first int) error {
	switch {
	case h.books || h.trades:
		if !h.found {
			return errNoData
		}
	case len(h.topic) > 0:
		name, _, _ := bytes.Cut(h.topic, []byte("."))
		if known, ok := ignored[string(name)]; ok {
			ev.Ignored = known
		} else {
			ev.Unknown = venue.KindName(name)
		}
	case string(h.op) == "ping" || string(h.op) == "pong":
		ev.Ignored = "pong"
	case h.hasSuccess && !h.success:
		ev.Ignored = "error"
	case h.hasSuccess || string(h.op) == "subscribe" || string(h.op) == "unsubscribe":
		ev.Ignored = "ack"
	default:
		ev.Unknown = venue.KindName(h.op)
	}
	return h.setTimes(ev.Books[first:])
}

// setTimes gives books the matching engine's time, or where it is missing that of the message.
func (h *header) setTimes(books []market.Book) error {
	at := h.matched
	if at < 0 {
		at = h.sent
	}
	if len(books) == 0 || at < 0 {
		return nil
	}
	micros, err := venue.FromMillis(at)
	if err != nil {
		return fmt.Errorf("reading order book: %w", err)
	}
	for i := range books {
		books[i].EventTime = micros
	}
	return nil
}

// data reads what the topic holds: an object of a book, an array of trades.
func (d *Decoder) data(s *jsonscan.Scanner, h *header, ev *venue.Events) {
	switch kind := s.Kind(); {
	case h.books && kind == jsonscan.Object:
		h.found = true
		if err := d.book(s, h, ev); err != nil {
			ev.Bad = append(ev.Bad, venue.BadItem{Err: err})
		}
	case h.trades && kind == jsonscan.Array:
		h.found = true
		s.Array()
		item := int32(0)
		for ; s.NextItem(); item++ {
			if err := d.trade(s, ev, item); err != nil {
				ev.Bad = append(ev.Bad, venue.BadItem{Item: item, Err: err})
			}
		}
		if item == 0 {
			ev.Ignored = "empty"
		}
	default:
		s.Skip()
	}
}

func (d *Decoder) trade(s *jsonscan.Scanner, ev *venue.Events, item int32) error {
	t := venue.TradeItem{Trade: market.Trade{Item: item, EventTime: market.NoTime}}
	if !s.Object() {
		return fmt.Errorf("reading trade: %w", s.TakeFault())
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "s":
			t.Symbol = s.String()
		case "i":
			t.ID = s.Text()
		case "p":
			t.Price, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "v":
			t.Quantity, err = venue.ParseAmount(s.Text(), &t.Scale)
		case "S":
			t.TakerSide = venue.TakerSide(s.String(), "Buy", "Sell")
		case "T":
			t.EventTime, err = venue.FromMillis(s.Int())
		default:
			s.Skip()
		}
		t.Keep(s.TakeFault())
		t.Keep(err)
	}
	if err := t.AppendTo(ev, d.instruments, errIncompleteTrade); err != nil {
		return fmt.Errorf("reading trade %.40q: %w", t.ID, err)
	}
	return nil
}

func (d *Decoder) book(s *jsonscan.Scanner, h *header, ev *venue.Events) error {
	b := venue.BeginBook(ev, 0)
	s.Object()
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		var err error
		switch string(key) {
		case "s":
			b.Symbol = s.String()
		case "b":
			b.BidRange, err = venue.Side(s, ev, &b.Book)
			b.HasBids = true
		case "a":
			b.AskRange, err = venue.Side(s, ev, &b.Book)
			b.HasAsks = true
		case "u":
			b.LastUpdateID = market.Some(s.Int())
		default:
			s.Skip()
		}
		b.Keep(s.TakeFault())
		b.Keep(err)
	}
	if !b.HasBids || !b.HasAsks || !b.LastUpdateID.Valid || len(b.Symbol) == 0 {
		b.Keep(errIncompleteBook)
	}
	b.Keep(h.shape(&b.Book))
	return b.AppendTo(ev, d.instruments)
}

// shape finds the kind and the depth of a book event. The update id 1 says that the service started anew and that the
// event is a whole book, whatever its type.
func (h *header) shape(b *market.Book) error {
	switch kind := string(h.kind); {
	case kind == "snapshot" || kind == "delta" && b.LastUpdateID.Value == 1:
		b.Kind = market.BookSnapshot
		b.Depth = depthOf(h.topic)
	case kind == "delta":
		b.Kind = market.BookUpdate
	default:
		return errNoType
	}
	return nil
}

// depthOf reads the 50 of "orderbook.50.BTCUSDT".
func depthOf(topic []byte) market.OptInt {
	rest := bytes.TrimPrefix(topic, []byte("orderbook."))
	depth, _, _ := bytes.Cut(rest, []byte("."))
	n, ok := jsonscan.ParseInt(depth)
	return market.OptInt{Value: n, Valid: ok && n > 0 && n <= maxDepth}
}
