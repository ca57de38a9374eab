package coinbase

import (
	"bytes"
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// maxProducts bounds what an inspector remembers.
const maxProducts = 16384

// Inspector looks at the frames of one connection. The channel matches may drop trades, so it compares them with the
// last_trade_id of the heartbeats.
type Inspector struct {
	scanner  jsonscan.Scanner
	view     view
	products map[string]*product
}

// product is how far the trades of a product have come.
type product struct {
	name      string
	last      int64 // the last trade received
	announced int64 // the heartbeat's last_trade_id, to be reached by the next heartbeat
}

// NewInspector makes an inspector for one connection.
func NewInspector() *Inspector { return &Inspector{products: make(map[string]*product)} }

type view struct {
	kind, product, message, reason []byte
	trade, lastTrade               market.OptInt
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
		case "type":
			v.kind = s.Text()
		case "product_id":
			v.product = s.Text()
		case "trade_id":
			v.trade = integer(s.Text())
		case "last_trade_id":
			v.lastTrade = integer(s.Text())
		case "message":
			v.message = s.Text()
		case "reason":
			v.reason = s.Text()
		default:
			s.Skip()
		}
		if v.enough() {
			p.classify(in)
			return
		}
	}
	if s.End() == nil {
		p.classify(in)
	}
}

func integer(text []byte) market.OptInt {
	id, ok := jsonscan.ParseInt(text)
	return market.OptInt{Value: id, Valid: ok}
}

// enough says that nothing that follows can matter: the levels of a book are never read.
func (v *view) enough() bool {
	if len(v.product) == 0 {
		return false
	}
	switch string(v.kind) {
	case "l2update", "snapshot":
		return true
	case "match", "last_match":
		return v.trade.Valid
	}
	return false
}

func (p *Inspector) classify(in *venue.Inspection) {
	v := &p.view
	in.VenueSymbol = v.product
	switch string(v.kind) {
	case "match":
		in.Class, in.Channel, in.FirstID, in.LastID = venue.Data, venue.Trades, v.trade, v.trade
	case "snapshot":
		in.Class, in.Channel, in.Snapshot = venue.Data, venue.Book, true
	case "l2update":
		in.Class, in.Channel = venue.Data, venue.Book
	case "heartbeat":
		in.Class = venue.Heartbeat
	case "subscriptions":
		in.Class = venue.Acknowledged
	case "error":
		in.Class, in.VenueSymbol = venue.Refused, productOf(v.reason)
		in.Error = string(v.message)
		if len(v.reason) > 0 {
			in.Error += ": " + string(v.reason)
		}
	case "status":
		in.Class = venue.Notice
	default:
		if len(v.product) > 0 {
			in.Class = venue.Data // a channel that nobody asked for, or a last_match
		}
	}
}

// productOf finds the product that a refusal names, as in "FOO-USD is not a valid product".
func productOf(reason []byte) []byte {
	for word := range bytes.FieldsSeq(reason) {
		if dash := bytes.IndexByte(word, '-'); dash > 0 && dash < len(word)-1 && bytes.Equal(word, bytes.ToUpper(word)) {
			return bytes.Trim(word, `.,:;"'`)
		}
	}
	return nil
}

// Continuity reports trades that were dropped: ids grow by one a product, and a heartbeat tells the last of them. A
// heartbeat may overtake the trade that it counts, so its id must be reached by the next heartbeat, a second later. Books
// carry no number.
func (p *Inspector) Continuity(in *venue.Inspection) *venue.SequenceGap {
	v := &p.view
	kind := string(v.kind)
	trade := (kind == "match" || kind == "last_match") && v.trade.Valid
	if len(v.product) == 0 || !trade && (kind != "heartbeat" || !v.lastTrade.Valid) {
		return nil
	}
	known := p.products[string(v.product)]
	if known == nil || kind == "last_match" {
		p.begin(known, v)
		return nil
	}
	if kind == "heartbeat" {
		gap := known.reach(known.announced + 1)
		known.announced = v.lastTrade.Value
		return gap
	}
	gap := known.reach(v.trade.Value)
	known.last = max(known.last, v.trade.Value)
	return gap
}

// begin starts a product at its last_match, or at the first frame that has an id.
func (p *Inspector) begin(known *product, v *view) {
	if known == nil {
		if len(p.products) >= maxProducts {
			return
		}
		known = &product{name: string(v.product)}
		p.products[known.name] = known
	}
	known.last = v.trade.Value
	if !v.trade.Valid {
		known.last = v.lastTrade.Value
	}
	known.announced = known.last
}

// reach reports the trades missing before id, and takes them as missing.
func (k *product) reach(id int64) *venue.SequenceGap {
	from := k.last + 1
	if id <= from {
		return nil
	}
	k.last = id - 1
	return &venue.SequenceGap{
		VenueSymbol: k.name,
		Channel:     venue.Trades,
		FromID:      strconv.FormatInt(from, 10),
		ToID:        strconv.FormatInt(id-1, 10),
		Missing:     market.Some(id - from),
		Detail:      "trades after " + strconv.FormatInt(from-1, 10) + " did not come",
	}
}
