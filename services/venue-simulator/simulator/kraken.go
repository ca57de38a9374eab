package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/synthetic"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// krakenSnapshotTrades is how many trades a trade snapshot shows.
const krakenSnapshotTrades = 50

var krakenDepths = []int{10, 25, 100, 500, 1000}

// kraken is the dialect of Kraken's WebSocket v2.
type kraken struct {
	server     *Server
	opened     time.Time
	subscribed bool // once; heartbeats begin then
}

func (s *Server) serveKraken(w http.ResponseWriter, r *http.Request) {
	k := &kraken{server: s, opened: time.Now()}
	s.serveConn(w, r, "kraken", func(*session) dialect { return k }, func(session *session) {
		s.reply(session.conn, []byte(`{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":`+
			strconv.FormatInt(1_000_000_000_000+session.conn.id, 10)+`}]}`), ledger.Entry{})
	})
}

type krakenRequest struct {
	Method string `json:"method"`
	Params struct {
		Channel  string   `json:"channel"`
		Symbol   []string `json:"symbol"`
		Depth    *int     `json:"depth"`
		Snapshot *bool    `json:"snapshot"`
	} `json:"params"`
	RequestID *int64 `json:"req_id"`
}

// krakenAnswer has its fields in the order in which the venue writes them.
type krakenAnswer struct {
	Error     string        `json:"error,omitempty"`
	Method    string        `json:"method,omitempty"`
	RequestID *int64        `json:"req_id,omitempty"`
	Result    *krakenResult `json:"result,omitempty"`
	Success   *bool         `json:"success,omitempty"`
	Symbol    string        `json:"symbol,omitempty"`
	TimeIn    string        `json:"time_in"`
	TimeOut   string        `json:"time_out"`
}

type krakenResult struct {
	Channel  string `json:"channel"`
	Depth    int    `json:"depth,omitempty"`
	Snapshot *bool  `json:"snapshot,omitempty"`
	Symbol   string `json:"symbol"`
}

func (k *kraken) handle(s *session, message []byte) {
	received := time.Now()
	var request krakenRequest
	if err := json.Unmarshal(message, &request); err != nil {
		k.answer(s, krakenAnswer{Error: "Malformed request", Success: new(bool)}, received)
		return
	}
	answer := krakenAnswer{Method: request.Method, RequestID: request.RequestID}
	switch request.Method {
	case "ping":
		answer.Method = "pong"
		k.answer(s, answer, received)
	case "subscribe", "unsubscribe":
		if request.Params.Channel != "book" && request.Params.Channel != "trade" {
			answer.Error, answer.Success = "Channel field must be one of: book, trade", new(bool)
			k.answer(s, answer, received)
			return
		}
		for _, symbol := range request.Params.Symbol {
			k.change(s, &request, symbol, answer, received)
		}
	default:
		answer.Error, answer.Success = "Unsupported method", new(bool)
		k.answer(s, answer, received)
	}
}

// change subscribes or unsubscribes one symbol; each has an answer of its own.
func (k *kraken) change(s *session, request *krakenRequest, symbol string, answer krakenAnswer, received time.Time) {
	depth := 0
	if request.Params.Channel == "book" {
		depth = 10
		if request.Params.Depth != nil {
			depth = *request.Params.Depth
		}
	}
	in := k.server.bySymbol["kraken"][symbol]
	_, refused := k.server.faults.strikes(FaultRefuse, "kraken", symbol)
	t, listening := s.listening(in, request.Params.Channel, depth)
	subscribe := request.Method == "subscribe"
	switch {
	case in == nil || refused && subscribe:
		answer.Error = "Currency pair not supported " + symbol
	case depth != 0 && !slices.Contains(krakenDepths, depth):
		answer.Error = "Subscription depth not supported"
	case subscribe && listening:
		answer.Error = "Already subscribed"
	case !subscribe && !listening:
		answer.Error = "Subscription Not Found"
	}
	succeeded := answer.Error == ""
	answer.Success = &succeeded
	if !succeeded {
		answer.Symbol = symbol
		k.answer(s, answer, received)
		return
	}
	answer.Result = &krakenResult{Channel: request.Params.Channel, Depth: depth, Symbol: symbol}
	if !subscribe {
		in.unlisten(t, s.conn)
		delete(s.topics, t)
		k.answer(s, answer, received)
		return
	}
	snapshot := request.Params.Snapshot == nil || *request.Params.Snapshot
	answer.Result.Snapshot = &snapshot
	k.answer(s, answer, received)
	k.subscribed = true
	k.subscribe(s, in, request.Params.Channel, depth, snapshot)
}

// listening finds the topic of a channel, and says whether this client listens to it.
func (s *session) listening(in *instrument, channel string, depth int) (*topic, bool) {
	for t, other := range s.topics {
		if other == in && t.name == channel && (channel == "trade" || depth == 0 || t.depth == depth) {
			return t, true
		}
	}
	return nil, false
}

func (k *kraken) subscribe(s *session, in *instrument, channel string, depth int, snapshot bool) {
	topics := &in.books
	if channel == "trade" {
		topics = &in.trades
	}
	var t *topic
	for _, other := range *topics {
		if other.depth == depth {
			t = other
		}
	}
	if t == nil {
		t = &topic{name: channel, depth: depth}
		t.keep(in)
		*topics = append(*topics, t)
	}
	if snapshot {
		k.snapshot(s, in, t)
	}
	s.listen(in, t)
}

// snapshot sends what a new listener begins with. The book has not changed since the other listeners' last frame, because
// every change is published at once.
func (k *kraken) snapshot(s *session, in *instrument, t *topic) {
	server := k.server
	now := server.market.Now()
	if t.depth == 0 {
		recent := in.recent[max(0, len(in.recent)-krakenSnapshotTrades):]
		if len(recent) > 0 {
			server.reply(s.conn, krakenTrades(nil, in.Instrument, in.numbers, "snapshot", recent, &server.clock), ledger.Entry{})
		}
		return
	}
	var sum uint32
	sum, server.checksum = krakenChecksum(server.checksum, in.Instrument)
	server.reply(s.conn, krakenBook(nil, in.Instrument, in.numbers, "snapshot", t.bids, t.asks, sum, &server.clock, now), ledger.Entry{Snapshot: true})
}

// keep remembers what the listeners have: the best levels down to the topic's depth.
func (t *topic) keep(in *instrument) {
	if t.depth == 0 {
		return
	}
	t.bids = append(t.bids[:0], in.Bids[:min(t.depth, len(in.Bids))]...)
	t.asks = append(t.asks[:0], in.Asks[:min(t.depth, len(in.Asks))]...)
}

// publishKrakenBooks sends every depth what is new within it.
func (s *Server) publishKrakenBooks(in *instrument, now int64) {
	var right uint32
	right, s.checksum = krakenChecksum(s.checksum, in.Instrument)
	for _, t := range in.books {
		var bids, asks [2 * 72]synthetic.Level
		b := difference(bids[:0], t.bids, in.Bids, t.depth, synthetic.Bid)
		a := difference(asks[:0], t.asks, in.Asks, t.depth, synthetic.Ask)
		if len(b)+len(a) == 0 {
			continue // the change was below this depth
		}
		t.keep(in)
		sum := right
		// The fault strikes a frame that is sent, so that one with a count is not spent on a change that nobody hears of.
		if len(t.listeners) > 0 {
			if _, wrong := s.faults.strikes(FaultChecksum, "kraken", in.Symbol); wrong {
				sum ^= 0x5a5a5a5a
			}
		}
		s.body = krakenBook(s.body[:0], in.Instrument, in.numbers, "update", b, a, sum, &s.clock, now)
		s.publish(in, t, ledger.Entry{Updates: 1})
	}
}

// difference appends what turns the levels that a client of this depth has into those of the book: changed and new ones
// within the depth, and the removed ones with quantity 0. A level that was only pushed out below the depth is not
// mentioned: the client cuts it off itself, and one that comes up again is sent again.
func difference(dst, old, book []synthetic.Level, depth int, side synthetic.Side) []synthetic.Level {
	better := func(a, b int64) bool { return (a > b) == (side == synthetic.Bid) && a != b }
	i, j := 0, 0
	for i < len(old) || j < len(book) && j < depth {
		switch {
		case i < len(old) && j < len(book) && old[i].Price == book[j].Price:
			if j < depth && old[i].Quantity != book[j].Quantity {
				dst = append(dst, book[j])
			}
			i++
			j++
		case j >= len(book) || i < len(old) && better(old[i].Price, book[j].Price):
			dst = append(dst, synthetic.Level{Price: old[i].Price})
			i++
		case j < depth:
			dst = append(dst, book[j])
			j++
		default:
			j++ // in the book, below the depth: only passed by to find the old ones
		}
	}
	return dst
}

func (k *kraken) answer(s *session, answer krakenAnswer, received time.Time) {
	const layout = "2006-01-02T15:04:05.000000Z"
	answer.TimeIn, answer.TimeOut = received.UTC().Format(layout), time.Now().UTC().Format(layout)
	payload, err := json.Marshal(answer)
	if err != nil {
		panic("BUG: an answer cannot be written: " + err.Error())
	}
	k.server.reply(s.conn, payload, ledger.Entry{})
}

// beat sends the heartbeat, once something is subscribed.
func (k *kraken) beat(s *session, now time.Time) {
	if age := k.server.config.MaxConnectionAge; age > 0 && now.Sub(k.opened) >= age {
		s.conn.closeWith(wire.GoingAway, "the connection has reached its maximum age")
		return
	}
	if k.subscribed {
		k.server.reply(s.conn, []byte(`{"channel":"heartbeat"}`), ledger.Entry{})
	}
}
