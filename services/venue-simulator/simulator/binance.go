package simulator

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// maxStreams a connection, by the venue's documentation.
const maxStreams = 1024

// binance is the dialect of the spot and of the futures market.
type binance struct {
	server   *Server
	venue    string
	combined bool
	opened   time.Time
	pinged   time.Time
	ping     time.Duration // interval
	patience time.Duration // for a pong
}

func (s *Server) newBinance(venue string, combined bool) *binance {
	b := &binance{server: s, venue: venue, combined: combined, opened: time.Now(), pinged: time.Now(), ping: 20 * time.Second, patience: time.Minute}
	if venue == "binance-usdm" {
		b.ping, b.patience = 3*time.Minute, 10*time.Minute
	}
	if s.config.PingInterval > 0 {
		b.ping = s.config.PingInterval
	}
	return b
}

// serveBinance serves /stream?streams=a/b and /ws/<stream>.
func (s *Server) serveBinance(venue string, combined bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		names := r.PathValue("stream")
		if combined {
			names = r.URL.Query().Get("streams")
		}
		b := s.newBinance(venue, combined)
		s.serveConn(w, r, venue, func(*session) dialect { return b }, func(session *session) {
			for name := range strings.SplitSeq(names, "/") {
				if name != "" && len(session.topics) < maxStreams {
					b.subscribe(session, name)
				}
			}
		})
	}
}

type binanceRequest struct {
	Method string          `json:"method"`
	Params []any           `json:"params"`
	ID     json.RawMessage `json:"id"`
}

func (b *binance) handle(s *session, message []byte) {
	var request binanceRequest
	if err := json.Unmarshal(message, &request); err != nil {
		b.fail(s, nil, 3, "Invalid JSON: "+err.Error())
		return
	}
	names := make([]string, 0, len(request.Params))
	for _, p := range request.Params {
		if name, ok := p.(string); ok {
			names = append(names, name)
		}
	}
	switch request.Method {
	case "SUBSCRIBE":
		b.subscribeAll(s, request.ID, names)
	case "UNSUBSCRIBE":
		for _, name := range names {
			for t, in := range s.topics {
				if t.name == name {
					in.unlisten(t, s.conn)
					delete(s.topics, t)
				}
			}
		}
		b.succeed(s, request.ID, "null")
	case "LIST_SUBSCRIPTIONS":
		list := []string{}
		for t := range s.topics {
			list = append(list, t.name)
		}
		text, _ := json.Marshal(list)
		b.succeed(s, request.ID, string(text))
	case "SET_PROPERTY", "GET_PROPERTY":
		b.property(s, request)
	default:
		b.fail(s, request.ID, 2, fmt.Sprintf("Invalid request: unknown variant `%s`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`", request.Method))
	}
}

// property reads and sets "combined", which decides whether frames name their stream.
func (b *binance) property(s *session, request binanceRequest) {
	if len(request.Params) == 0 || request.Params[0] != "combined" {
		b.fail(s, request.ID, 0, "Unknown property")
		return
	}
	if request.Method == "GET_PROPERTY" {
		b.succeed(s, request.ID, strconv.FormatBool(b.combined))
		return
	}
	value, ok := request.Params[len(request.Params)-1].(bool)
	if !ok {
		b.fail(s, request.ID, 1, "Invalid value type: expected Boolean")
		return
	}
	var names []string
	for t, in := range s.topics {
		names = append(names, t.name)
		in.unlisten(t, s.conn)
		delete(s.topics, t)
	}
	b.combined = value
	for _, name := range names {
		b.subscribe(s, name)
	}
	b.succeed(s, request.ID, "null")
}

func (b *binance) subscribeAll(s *session, id json.RawMessage, names []string) {
	if len(s.topics)+len(names) > maxStreams {
		b.fail(s, id, 2, "Invalid request: a connection can listen to at most 1024 streams")
		return
	}
	for _, name := range names {
		symbol, _, _ := strings.Cut(name, "@")
		if _, refused := b.server.faults.strikes(FaultRefuse, b.venue, strings.ToUpper(symbol)); refused {
			b.fail(s, id, 2, "Invalid request: stream "+name+" is refused")
			return
		}
	}
	// The answer comes before the first frame of a stream.
	b.succeed(s, id, "null")
	for _, name := range names {
		b.subscribe(s, name)
	}
}

// subscribe listens to a stream. The venue accepts names that it does not know, and sends nothing for them.
func (b *binance) subscribe(s *session, name string) {
	symbol, kind, _ := strings.Cut(name, "@")
	in := b.server.bySymbol[b.venue][strings.ToUpper(symbol)]
	if in == nil || symbol != strings.ToLower(symbol) {
		return
	}
	topics := &in.books
	switch {
	case kind == "trade":
		topics = &in.trades
	case kind != "depth" && !strings.HasPrefix(kind, "depth@"):
		return
	}
	var prefix, suffix []byte
	if b.combined {
		prefix, suffix = []byte(`{"stream":"`+name+`","data":`), []byte("}")
	}
	for _, t := range *topics {
		if t.name == name && (len(t.prefix) > 0) == b.combined {
			if _, listening := s.topics[t]; !listening {
				s.listen(in, t)
			}
			return
		}
	}
	t := &topic{name: name, prefix: prefix, suffix: suffix}
	*topics = append(*topics, t)
	s.listen(in, t)
}

func (b *binance) succeed(s *session, id json.RawMessage, result string) {
	b.server.reply(s.conn, []byte(`{"result":`+result+`,"id":`+textOrNull(id)+`}`), ledger.Entry{})
}

func (b *binance) fail(s *session, id json.RawMessage, code int, text string) {
	quoted, _ := json.Marshal(text)
	payload := `{"error":{"code":` + strconv.Itoa(code) + `,"msg":` + string(quoted) + `}`
	if id != nil {
		payload += `,"id":` + string(id)
	}
	b.server.reply(s.conn, []byte(payload+`}`), ledger.Entry{})
}

func textOrNull(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "null"
	}
	return string(raw)
}

// beat sends pings, and ends connections that do not answer them or are too old.
func (b *binance) beat(s *session, now time.Time) {
	if age := b.server.config.MaxConnectionAge; age > 0 && now.Sub(b.opened) >= age {
		s.conn.closeWith(wire.PolicyViolation, "disconnected: the connection has reached its maximum age")
		return
	}
	if now.Sub(b.pinged) >= b.ping {
		b.pinged = now
		if _, silent := b.server.faults.strikes(FaultSilence, b.venue, ""); !silent {
			s.conn.control(wire.Ping, strconv.AppendInt(nil, now.UnixMilli(), 10))
		}
	}
	if now.UnixNano()-s.conn.lastPong.Load() > int64(b.ping+b.patience) && !s.conn.halfOpen.Load() {
		s.conn.closeWith(wire.PolicyViolation, "Pong timeout")
	}
}

// depthWeights are the costs of a REST book by its limit.
var depthWeights = map[string][]struct{ limit, weight int }{
	"binance":      {{100, 5}, {500, 25}, {1000, 50}, {5000, 250}},
	"binance-usdm": {{50, 2}, {100, 5}, {500, 10}, {1000, 20}},
}

// serveDepth answers a REST book.
func (s *Server) serveDepth(venue string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock() // so that a request is either refused or waited for
		draining := s.draining.Load()
		if !draining {
			s.requests.Add(1)
			defer s.requests.Done()
		}
		s.mutex.Unlock()
		if draining {
			s.answer(w, venue, http.StatusServiceUnavailable, `{"code":-1001,"msg":"Internal error; the simulator is draining."}`)
			return
		}
		symbol, limitText := r.URL.Query().Get("symbol"), r.URL.Query().Get("limit")
		weights := depthWeights[venue]
		most := weights[len(weights)-1]
		limit, err := strconv.Atoi(limitText)
		switch {
		case limitText == "":
			limit = 100
			if venue == "binance-usdm" {
				limit = 500
			}
		case err != nil || limit < 1:
			s.answer(w, venue, http.StatusBadRequest, `{"code":-1100,"msg":"Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'."}`)
			return
		}
		limit = min(limit, most.limit)
		weight := most.weight
		for _, step := range weights {
			if limit <= step.limit {
				weight = step.weight
				break
			}
		}
		if s.overBudget(w, venue, symbol, weight) {
			return
		}
		s.mutex.Lock()
		in := s.bySymbol[venue][symbol]
		s.mutex.Unlock()
		if in == nil {
			s.answer(w, venue, http.StatusBadRequest, `{"code":-1121,"msg":"Invalid symbol."}`)
			return
		}
		s.answerDepth(w, venue, in, limit)
	}
}

// overBudget answers 429 or 418 when the budget, or a fault, says so.
func (s *Server) overBudget(w http.ResponseWriter, venue, symbol string, weight int) bool {
	used, status, retryAfter := s.rest[venue].take(weight, time.Now())
	w.Header().Set("X-MBX-USED-WEIGHT", strconv.Itoa(used))
	w.Header().Set("X-MBX-USED-WEIGHT-1M", strconv.Itoa(used))
	for kind, code := range map[string]int{FaultTooMany: 429, FaultBanned: 418} {
		if f, ok := s.faults.strikes(kind, venue, symbol); ok {
			status, retryAfter = code, f.RetryAfter
			if retryAfter == 0 {
				retryAfter = 2
			}
		}
	}
	if status == 0 {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	s.answer(w, venue, status, `{"code":-1003,"msg":"Too much request weight used; wait for the seconds of Retry-After."}`)
	return true
}

// answerDepth renders the book, waits as the network does, and answers.
func (s *Server) answerDepth(w http.ResponseWriter, venue string, in *instrument, limit int) {
	_, stale := s.faults.strikes(FaultStaleSnapshot, venue, in.Symbol)
	s.mutex.Lock()
	book := bookCopy{in.UpdateID, in.Bids, in.Asks}
	if stale {
		book = in.stale[0]
	}
	body := binanceSnapshot(nil, in.numbers, book, limit, s.market.Now(), venue == "binance-usdm")
	s.mutex.Unlock()
	if s.config.RESTLatency > 0 {
		time.Sleep(time.Duration(rand.Int64N(2 * int64(s.config.RESTLatency))))
	}
	if s.answer(w, venue, http.StatusOK, string(body)) {
		s.ledger.SentREST(ledger.Entry{
			Venue: in.venue, Kind: ledger.RESTSnapshot, Hash: xxhash.Sum64(body), Length: int32(len(body)), Snapshot: true,
		})
	}
}

// answer writes a REST answer, and says whether it was taken.
func (s *Server) answer(w http.ResponseWriter, venue string, status int, body string) bool {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write([]byte(body))
	s.metrics.rest.WithLabelValues(venue, strconv.Itoa(status)).Inc()
	return err == nil
}
