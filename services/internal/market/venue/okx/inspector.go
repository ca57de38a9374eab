package okx

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
	requestID, code, message []byte
	first, last, previous    market.OptInt
}

// Inspect fills in for the frame.
func (p *Inspector) Inspect(frame []byte, in *venue.Inspection) {
	*in = venue.Inspection{Class: venue.Other}
	if bytes.Equal(frame, pong) {
		in.Class = venue.Heartbeat
		return
	}
	p.view = view{}
	s, v := &p.scanner, &p.view
	s.Reset(frame)
	if s.Kind() != jsonscan.Object || !s.Object() {
		return
	}
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "arg":
			v.arg(s)
		case "action":
			v.action = s.Text()
		case "event":
			v.event = s.Text()
		case "id":
			v.requestID = s.Text()
		case "code":
			v.code = s.Text()
		case "msg":
			v.message = s.Text()
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

// data reads the ids of the items. They stand behind the levels, which have to be passed over.
func (p *Inspector) data() {
	s, v := &p.scanner, &p.view
	if s.Kind() != jsonscan.Array {
		s.Skip()
		return
	}
	s.Array()
	for s.NextItem() {
		if s.Kind() != jsonscan.Object {
			s.Skip()
			continue
		}
		s.Object()
		for key, more := s.NextKey(); more; key, more = s.NextKey() {
			switch string(key) {
			case "seqId", "tradeId":
				v.id(s.Text(), string(key) == "tradeId")
			case "prevSeqId":
				if id, ok := jsonscan.ParseInt(s.Text()); ok && !v.previous.Valid {
					v.previous = market.Some(id)
				}
			default:
				s.Skip()
			}
		}
	}
}

// id widens the frame's range. Trades carry a seqId of the book beside their own id; it is not theirs.
func (v *view) id(text []byte, trade bool) {
	if trade != isTrades(v.channel) {
		return
	}
	id, ok := jsonscan.ParseInt(text)
	if !ok {
		return
	}
	if !v.first.Valid {
		v.first, v.last = market.Some(id), market.Some(id)
	}
	v.first.Value = min(v.first.Value, id)
	if v.last.Value = max(v.last.Value, id); !trade {
		v.last.Value = id // the last state of the book, even where the venue began its numbers anew
	}
}

func (p *Inspector) classify(in *venue.Inspection) {
	v := &p.view
	in.VenueSymbol = v.instrument
	switch string(v.event) {
	case "":
	case "subscribe", "unsubscribe":
		in.Class, in.RequestID = venue.Acknowledged, string(v.requestID)
		return
	case "error":
		in.Class, in.RequestID, in.Error = venue.Refused, string(v.requestID), string(v.message)
		if len(v.code) > 0 {
			in.Error += " (code " + string(v.code) + ")"
		}
		if len(in.VenueSymbol) == 0 {
			in.VenueSymbol = instrumentOf(v.message)
		}
		return
	case "notice":
		if in.Class = venue.Notice; string(v.code) == "64008" {
			in.Class = venue.GoingAway // announced 30 s before a service upgrade
		}
		return
	default:
		in.Class = venue.Notice
		return
	}
	switch {
	case isBooks(v.channel):
		in.Class, in.Channel, in.Snapshot = venue.Data, venue.Book, string(v.action) == "snapshot"
		in.FirstID, in.LastID = v.first, v.last
		if !in.Snapshot {
			in.PreviousID = v.previous
		}
	case isTrades(v.channel):
		in.Class, in.Channel, in.FirstID, in.LastID = venue.Data, venue.Trades, v.first, v.last
	case len(v.channel) > 0:
		in.Class = venue.Data // a channel that nobody asked for
	}
}

// instrumentOf finds the instrument in a refusal such as "Wrong URL or channel:books,instId:FOO-USDT doesn't exist."
func instrumentOf(message []byte) []byte {
	_, rest, found := bytes.Cut(message, []byte("instId:"))
	if !found {
		return nil
	}
	if end := bytes.IndexAny(rest, " ,.\"}"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// Continuity reports the hole before the frame last inspected: an update of a book names the one before it. The ids of
// trades have holes of their own, because the channel joins the trades of one taker at one price.
func (p *Inspector) Continuity(in *venue.Inspection) *venue.SequenceGap {
	if in.Class != venue.Data || in.Channel != venue.Book {
		return nil
	}
	return p.sequences.Linked(in)
}
