package binance

import (
	"bytes"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// Inspector looks at frames of Binance's JSON dialect. It stops reading as soon as it knows what it needs, which is
// before the levels in the order that Binance sends.
type Inspector struct {
	futures   bool
	sequences venue.Sequences
	scanner   jsonscan.Scanner
	view      view
}

// NewInspector makes an inspector for one connection. On futures every update names the one before it (pu); on spot ids
// are contiguous.
func NewInspector(futures bool) *Inspector { return &Inspector{futures: futures} }

// view is what was seen of a frame so far.
type view struct {
	stream, kind, symbol, message []byte
	requestID, code               []byte
	first, last, previous, trade  market.OptInt
	result                        jsonscan.Kind
	snapshot, failed              bool
}

// Inspect fills in for the frame.
func (p *Inspector) Inspect(frame []byte, in *venue.Inspection) {
	*in = venue.Inspection{Class: venue.Other}
	p.view = view{}
	p.scanner.Reset(frame)
	if p.scanner.Kind() != jsonscan.Object || !p.scanner.Object() {
		return
	}
	if !p.fields(true) && p.scanner.End() != nil {
		return
	}
	p.classify(in)
}

// fields reads until it knows enough (true) or the object ends.
func (p *Inspector) fields(top bool) bool {
	s, v := &p.scanner, &p.view
	for key, more := s.NextKey(); more; key, more = s.NextKey() {
		switch string(key) {
		case "stream":
			v.stream = s.String()
		case "data":
			if !top || s.Kind() != jsonscan.Object {
				s.Skip()
			} else if s.Object(); p.fields(false) {
				return true
			}
		case "e":
			v.kind = s.String()
		case "s":
			v.symbol = s.Text()
		case "U":
			v.first = p.integer()
		case "u":
			v.last = p.integer()
		case "pu":
			v.previous = p.integer()
		case "t":
			v.trade = p.integer()
		default:
			p.rareField(key)
		}
		if p.enough() {
			return true
		}
	}
	return false
}

func (p *Inspector) rareField(key []byte) {
	s, v := &p.scanner, &p.view
	switch string(key) {
	case "lastUpdateId":
		v.last, v.snapshot = p.integer(), true
	case "result":
		v.result = s.Kind()
		s.Skip()
	case "error":
		if v.failed = true; s.Kind() == jsonscan.Object {
			s.Object()
			p.fields(false)
		} else {
			v.message = s.Text()
		}
	case "code":
		v.failed = true
		v.code = s.Text()
	case "msg":
		v.message = s.Text()
	case "id":
		v.requestID = s.Text()
	default:
		s.Skip()
	}
}

// integer reads an id; what is none counts as absent.
func (p *Inspector) integer() market.OptInt {
	if p.scanner.Kind() != jsonscan.Number {
		p.scanner.Skip()
		return market.OptInt{}
	}
	id, ok := jsonscan.ParseInt(p.scanner.Number())
	return market.OptInt{Value: id, Valid: ok}
}

// enough says that nothing that follows can matter.
func (p *Inspector) enough() bool {
	v := &p.view
	if len(v.symbol) == 0 {
		return false
	}
	switch string(v.kind) {
	case "depthUpdate":
		return v.first.Valid && v.last.Valid && (v.previous.Valid || !p.futures)
	case "trade":
		return v.trade.Valid
	case "":
		return bytes.HasSuffix(v.stream, []byte("@bookTicker"))
	}
	return true
}

func (p *Inspector) classify(in *venue.Inspection) {
	v := &p.view
	in.VenueSymbol = v.symbol
	switch {
	case string(v.kind) == "trade" && len(v.symbol) > 0:
		in.Class, in.Channel, in.FirstID, in.LastID = venue.Data, venue.Trades, v.trade, v.trade
	case string(v.kind) == "depthUpdate" && len(v.symbol) > 0:
		in.Class, in.Channel, in.FirstID, in.LastID, in.PreviousID = venue.Data, venue.Book, v.first, v.last, v.previous
	case string(v.kind) == "serverShutdown":
		in.Class = venue.GoingAway
	case len(v.symbol) > 0:
		in.Class = venue.Data // a stream that nobody asked for
	case v.snapshot && v.last.Valid:
		in.Class, in.Channel, in.Snapshot, in.LastID = venue.Data, venue.Book, true, v.last
	case v.failed:
		in.Class, in.RequestID, in.Error = venue.Refused, string(v.requestID), refusal(v)
	case v.result == jsonscan.Array:
		in.Class, in.RequestID = venue.Heartbeat, string(v.requestID) // the answer to LIST_SUBSCRIPTIONS
	case v.result != jsonscan.None:
		in.Class, in.RequestID = venue.Acknowledged, string(v.requestID)
	case len(v.kind) > 0:
		in.Class = venue.Notice
	}
}

func refusal(v *view) string {
	if len(v.code) == 0 {
		return string(v.message)
	}
	return string(v.message) + " (code " + string(v.code) + ")"
}

// Continuity reports the hole before the frame last inspected: trade ids are contiguous per symbol, book updates follow
// by U = last u + 1 (spot) or pu = last u (futures). A REST snapshot stands beside the stream and says nothing of it.
func (p *Inspector) Continuity(in *venue.Inspection) *venue.SequenceGap {
	switch {
	case in.Class != venue.Data || in.Snapshot:
		return nil
	case in.Channel == venue.Book && p.futures:
		return p.sequences.Linked(in)
	case in.Channel == venue.Book || in.Channel == venue.Trades:
		return p.sequences.Contiguous(in)
	}
	return nil
}
