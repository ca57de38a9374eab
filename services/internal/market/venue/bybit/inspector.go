package bybit

import (
	"bytes"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// Inspector looks at the frames of one connection.
type Inspector struct {
	sequences venue.Sequences
	scanner   jsonscan.Scanner
	view      view
}

// NewInspector makes an inspector for one connection.
func NewInspector() *Inspector { return &Inspector{} }

// view is what was seen of a frame so far.
type view struct {
	header
	requestID, message []byte
	first, last        market.OptInt
	update             market.OptInt
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
		case "topic":
			v.setTopic(s.Text())
		case "type":
			v.kind = s.Text()
		case "op":
			v.op = s.Text()
		case "success":
			v.hasSuccess = s.Kind() == jsonscan.Bool
			v.success = s.Bool()
		case "ret_msg":
			v.message = s.Text()
		case "req_id":
			v.requestID = s.Text()
		case "data":
			p.data()
		default:
			s.Skip()
		}
	}
	if s.End() == nil {
		p.classify(in)
	}
}

// data reads the ids: the update's of a book, those of the trades where they are numbers (linear has UUIDs).
func (p *Inspector) data() {
	s, v := &p.scanner, &p.view
	switch s.Kind() {
	case jsonscan.Object:
		s.Object()
		for key, more := s.NextKey(); more; key, more = s.NextKey() {
			if string(key) == "u" {
				id, ok := jsonscan.ParseInt(s.Text())
				v.update = market.OptInt{Value: id, Valid: ok}
			} else {
				s.Skip()
			}
		}
	case jsonscan.Array:
		s.Array()
		for s.NextItem() {
			p.trade()
		}
	default:
		s.Skip()
	}
}

func (p *Inspector) trade() {
	s, v := &p.scanner, &p.view
	if s.Kind() != jsonscan.Object {
		s.Skip()
		return
	}
	s.Object()
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		if string(key) != "i" {
			s.Skip()
			continue
		}
		id, ok := jsonscan.ParseInt(s.Text())
		if !ok {
			continue
		}
		if !v.first.Valid {
			v.first, v.last = market.Some(id), market.Some(id)
		}
		v.first.Value, v.last.Value = min(v.first.Value, id), max(v.last.Value, id)
	}
}

func (p *Inspector) classify(in *venue.Inspection) {
	v := &p.view
	if dot := bytes.LastIndexByte(v.topic, '.'); dot >= 0 {
		in.VenueSymbol = v.topic[dot+1:]
	}
	switch {
	case v.books:
		in.Class, in.Channel, in.FirstID, in.LastID = venue.Data, venue.Book, v.update, v.update
		in.Snapshot = string(v.kind) == "snapshot" || v.update == market.Some(1)
	case v.trades:
		in.Class, in.Channel, in.FirstID, in.LastID = venue.Data, venue.Trades, v.first, v.last
	case len(v.topic) > 0:
		in.Class = venue.Data // a topic that nobody asked for
	case string(v.op) == "ping" || string(v.op) == "pong":
		in.Class = venue.Heartbeat
	case v.hasSuccess && v.success:
		in.Class, in.RequestID = venue.Acknowledged, string(v.requestID)
	case v.hasSuccess && string(v.op) == "unsubscribe":
		in.Class, in.RequestID, in.Error = venue.Notice, string(v.requestID), string(v.message)
	case v.hasSuccess:
		in.Class, in.RequestID, in.Error = venue.Refused, string(v.requestID), string(v.message)
		in.VenueSymbol = symbolOf(v.message)
	case len(v.op) > 0:
		in.Class = venue.Notice
	}
}

// symbolOf finds the symbol in a refusal such as "error:handler not found,topic:orderbook.50.FOOUSDT".
func symbolOf(message []byte) []byte {
	_, topic, found := bytes.Cut(message, []byte("topic:"))
	dot := bytes.LastIndexByte(topic, '.')
	if !found || dot < 0 {
		return nil
	}
	symbol := topic[dot+1:]
	if end := bytes.IndexAny(symbol, " ,]\""); end >= 0 {
		symbol = symbol[:end]
	}
	return symbol
}

// Continuity reports the hole before the frame last inspected: the update ids of a book grow by one. Trades have no
// number without holes.
func (p *Inspector) Continuity(in *venue.Inspection) *venue.SequenceGap {
	if in.Class != venue.Data || in.Channel != venue.Book {
		return nil
	}
	return p.sequences.Contiguous(in)
}
