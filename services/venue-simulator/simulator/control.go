package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// handler is the whole HTTP surface.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	venue := func(name, pattern string, h http.HandlerFunc) {
		if slices.Contains(s.venues, name) && s.market != nil {
			mux.HandleFunc(pattern, s.unlessDraining(h))
		}
	}
	for _, prefix := range []string{"binance", "binance-usdm"} {
		venue(prefix, "GET /"+prefix+"/stream", s.serveBinance(prefix, true))
		venue(prefix, "GET /"+prefix+"/ws/{stream...}", s.serveBinance(prefix, false))
		venue(prefix, "GET /"+prefix+"/ws", s.serveBinance(prefix, false))
	}
	venue("binance", "GET /binance/api/v3/depth", s.serveDepth("binance"))
	venue("binance-usdm", "GET /binance-usdm/fapi/v1/depth", s.serveDepth("binance-usdm"))
	venue("kraken", "GET /kraken/v2", s.serveKraken)
	mux.HandleFunc("GET /replay", s.unlessDraining(s.serveReplay))
	mux.HandleFunc("GET /control/symbols", s.controlSymbols)
	mux.HandleFunc("GET /control/ledger", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, s.ledger.Report(s.finished())) })
	mux.HandleFunc("POST /control/drain", s.controlDrain)
	mux.HandleFunc("GET /control/fault", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, s.faults.list()) })
	mux.HandleFunc("POST /control/fault", s.controlFault)
	mux.HandleFunc("DELETE /control/fault", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.clear()
		s.writeJSON(w, s.faults.list())
	})
	return mux
}

func (s *Server) unlessDraining(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			http.Error(w, "the simulator is draining", http.StatusServiceUnavailable)
			return
		}
		h(w, r)
	}
}

func (s *Server) writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("a control answer was not taken", "error", err.Error())
	}
}

// controlSymbols lists what can be subscribed, the busiest first.
func (s *Server) controlSymbols(w http.ResponseWriter, _ *http.Request) {
	symbols := map[string][]string{}
	if s.replay != nil {
		symbols[s.venues[0]] = s.replay.recording.Symbols
	}
	for _, in := range s.instruments {
		symbols[in.Venue] = append(symbols[in.Venue], in.Symbol)
	}
	s.writeJSON(w, symbols)
}

func (s *Server) controlDrain(w http.ResponseWriter, _ *http.Request) {
	s.drain()
	if err := s.ledger.Flush(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.writeJSON(w, s.ledger.Report(true))
}

// controlFault adds a fault; those of connections strike at once, unless they wait for an age.
func (s *Server) controlFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	decoder := json.NewDecoder(io.LimitReader(r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&fault)
	if err == nil {
		err = fault.validate()
	}
	if err == nil {
		if fault.strikesConnections() && fault.After == 0 {
			fault.Hits = s.strikeConnections(fault)
		} else {
			err = s.faults.add(fault)
		}
	}
	if err != nil {
		http.Error(w, "adding a fault: "+err.Error(), http.StatusBadRequest)
		return
	}
	s.writeJSON(w, fault)
}

// strikeConnections applies a fault to the connections of a venue, at most fault.Count of them, oldest first.
func (s *Server) strikeConnections(fault Fault) int64 {
	s.mutex.Lock()
	var struck []*conn
	for c, session := range s.connections {
		if fault.Venue != "" && s.venues[c.venue] != fault.Venue || fault.Symbol != "" && !session.hears(fault.Symbol) {
			continue
		}
		struck = append(struck, c)
	}
	s.mutex.Unlock()
	slices.SortFunc(struck, func(a, b *conn) int { return int(a.id - b.id) })
	if fault.Count > 0 && int64(len(struck)) > fault.Count {
		struck = struck[:fault.Count]
	}
	for _, c := range struck {
		s.metrics.faults.WithLabelValues(fault.Kind).Inc()
		s.strike(c, fault)
	}
	return int64(len(struck))
}

// strike applies a fault to one connection.
func (s *Server) strike(c *conn, fault Fault) {
	switch {
	case fault.Kind == FaultHalfOpen:
		c.halfOpen.Store(true)
	case fault.Kind == FaultShutdown:
		s.announceShutdown(c, time.Duration(fault.Duration))
	case fault.Kind == FaultGiant:
		s.sendGiant(c, fault.Bytes)
	case fault.Abrupt:
		c.reset()
	default:
		c.finish()
	}
}

// strikeOfAge applies to every connection the faults that it has become old enough for.
func (s *Server) strikeOfAge(now time.Time) {
	type struck struct {
		conn  *conn
		fault Fault
	}
	var all []struck
	s.mutex.Lock()
	for c, session := range s.connections {
		for _, fault := range s.faults.comeOfAge(s.venues[c.venue], session.hears, now.Sub(session.openedAt), session.aged) {
			all = append(all, struck{c, fault})
		}
	}
	s.mutex.Unlock()
	for _, one := range all {
		s.strike(one.conn, one.fault)
	}
}

// announceShutdown sends Binance's serverShutdown event, and lets the connection end after a while. How the event looks
// in a combined stream is not documented; it is sent as it is.
func (s *Server) announceShutdown(c *conn, after time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	session := s.connections[c]
	if session == nil {
		return
	}
	now := time.Now()
	session.endAt = now.Add(after)
	if s.venues[c.venue] != "kraken" {
		s.reply(c, fmt.Appendf(nil, `{"e":"serverShutdown","E":%d}`, now.UnixMilli()), ledger.Entry{})
		s.wakeTouched()
	}
}

func (s *session) hears(symbol string) bool {
	for _, in := range s.topics {
		if in.Symbol == symbol {
			return true
		}
	}
	return false
}

// sendGiant enqueues one frame that no client should accept.
func (s *Server) sendGiant(c *conn, size int) {
	if size == 0 {
		size = 100_000_000
	}
	const head, tail = `{"stream":"giant","data":"`, `"}`
	size = max(size, len(head)+len(tail))
	frame := wire.AppendHeader(make([]byte, 0, size+wire.MaxHeaderBytes), wire.Text, size)
	start := len(frame)
	frame = append(frame, head...)
	frame = append(frame, bytes.Repeat([]byte("x"), size-len(head)-len(tail))...)
	frame = append(frame, tail...)
	entry := ledger.Entry{Venue: c.venue, Kind: ledger.Frame, Length: int32(size), Hash: xxhash.Sum64(frame[start:])}
	c.force(frame, entry)
}
