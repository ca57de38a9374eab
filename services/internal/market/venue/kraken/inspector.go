package kraken

import (
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// maxRemembered bounds the depths that an inspector remembers.
const maxRemembered = 16384

// Inspector looks at the frames of one connection. It remembers the depth that each subscription was acknowledged with,
// because the snapshot that follows does not say it.
type Inspector struct {
	scanner jsonscan.Scanner
	view    view
	depths  map[string]int
}

// NewInspector makes an inspector for one connection.
func NewInspector() *Inspector { return &Inspector{depths: make(map[string]int)} }

// view is what was seen of a frame so far.
type view struct {
	channel, kind, method, symbol, failure, requestID []byte
	first, last                                       market.OptInt
	success, hasSuccess, mixed                        bool
	depth                                             int64
}

// Inspect fills in for the frame.
func (p *Inspector) Inspect(frame []byte, in *venue.Inspection) {
	*in = venue.Inspection{Class: venue.Other}
	p.view = view{}
	s, v := &p.scanner, &p.view
	s.Reset(frame)
	if s.Kind() != jsonscan.Object || !s.Object() {
		return
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "channel":
			v.channel = s.String()
		case "type":
			v.kind = s.String()
		case "method":
			v.method = s.String()
		case "data":
			if p.data() {
				p.classify(in)
				return
			}
		case "result":
			p.result()
		case "symbol":
			v.symbol = s.Text()
		case "success":
			v.success, v.hasSuccess = s.Bool(), true
		case "error":
			v.failure = s.Text()
		case "req_id":
			v.requestID = s.Text()
		default:
			s.Skip()
		}
	}
	if s.End() == nil {
		p.classify(in)
	}
}

// data reads the symbol, and of trades the ids. True means that nothing that follows can matter: the frame is of a book
// and its kind is known.
func (p *Inspector) data() bool {
	s, v := &p.scanner, &p.view
	if s.Kind() != jsonscan.Array {
		s.Skip()
		return false
	}
	early := string(v.channel) == "book" && len(v.kind) > 0
	s.Array()
	for s.NextItem() {
		if s.Kind() != jsonscan.Object {
			s.Skip()
			continue
		}
		s.Object()
		for key, more := s.NextKey(); more; key, more = s.NextKey() {
			switch string(key) {
			case "symbol":
				symbol := s.Text()
				v.mixed = v.mixed || len(v.symbol) > 0 && string(symbol) != string(v.symbol)
				if len(v.symbol) == 0 {
					v.symbol = symbol
				}
				if early && len(symbol) > 0 {
					return true
				}
			case "trade_id":
				v.id(s.Text())
			default:
				s.Skip()
			}
		}
	}
	return false
}

func (v *view) id(text []byte) {
	id, ok := jsonscan.ParseInt(text)
	if !ok {
		return
	}
	if !v.first.Valid {
		v.first, v.last = market.Some(id), market.Some(id)
	}
	v.first.Value, v.last.Value = min(v.first.Value, id), max(v.last.Value, id)
}

// result reads the body of an acknowledgement.
func (p *Inspector) result() {
	s, v := &p.scanner, &p.view
	if s.Kind() != jsonscan.Object {
		s.Skip()
		return
	}
	s.Object()
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "symbol":
			v.symbol = s.Text()
		case "depth":
			v.depth = s.Int()
		default:
			s.Skip()
		}
	}
}

func (p *Inspector) classify(in *venue.Inspection) {
	v := &p.view
	in.VenueSymbol = v.symbol
	switch string(v.channel) {
	case "book":
		in.Class, in.Channel, in.Snapshot = venue.Data, venue.Book, string(v.kind) == "snapshot"
		if in.Snapshot {
			in.Request = requests[p.depths[string(v.symbol)]]
		}
	case "trade":
		in.Class = venue.Data
		if string(v.kind) != "snapshot" {
			in.Channel = venue.Trades
			if !v.mixed {
				in.FirstID, in.LastID = v.first, v.last
			}
		}
	case "heartbeat":
		in.Class = venue.Heartbeat
	case "":
		p.answer(in)
	case "status":
		in.Class = venue.Notice
	default:
		in.Class = venue.Data // a channel that nobody asked for
	}
}

// answer classifies what has no channel: answers to messages.
func (p *Inspector) answer(in *venue.Inspection) {
	v := &p.view
	in.RequestID = string(v.requestID)
	switch method := string(v.method); {
	case method == "pong":
		in.Class = venue.Heartbeat
	case method == "subscribe" && v.success:
		in.Class = venue.Acknowledged
		if len(p.depths) < maxRemembered && v.depth > 0 {
			p.depths[string(v.symbol)] = int(v.depth)
		}
	case method == "unsubscribe" && v.success:
		in.Class = venue.Acknowledged
	case method == "unsubscribe":
		// Nothing was subscribed: the subscription that follows brings what is wanted.
		in.Class, in.Error = venue.Notice, string(v.failure)
	case method == "subscribe" || method == "" && len(v.failure) > 0:
		in.Class, in.Error = venue.Refused, string(v.failure)
	case method != "":
		in.Class = venue.Notice
	}
}

// Continuity is always nil: book updates carry no number (their checksum is the order book's to verify), and the venue
// does not promise that trade ids are without holes.
func (p *Inspector) Continuity(*venue.Inspection) *venue.SequenceGap { return nil }
