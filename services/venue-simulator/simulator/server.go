// Package simulator is a venue to test against. It speaks the WebSocket and REST dialects of Binance spot, Binance USD-M
// futures and Kraken v2 over a synthetic market, or replays a recording, with the venues' own limits and, on request,
// with faults; and it keeps an independent ledger of what it sent.
//
// Locks: Server.mutex guards the market and all subscriptions; it is held while the market advances and taken before
// conn.mutex, never after. Nothing waits for the network while holding it.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/synthetic"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// Config of a simulator.
type Config struct {
	Listen string // host:port; port 0 picks a free one
	// Replay is a recording to serve instead of a synthetic market; empty: none.
	Replay string
	// Speed of a replay: 1 is as recorded; 0 is as fast as the client reads.
	Speed  float64
	Market synthetic.Config
	Ledger string // file; empty: none
	Faults []Fault
	// MaxConnectionAge is when a venue cuts a connection; 0: never.
	MaxConnectionAge time.Duration
	// PingInterval replaces the venues' own (20 s on spot, 3 min on futures); 0 keeps them.
	PingInterval time.Duration
	// ConnectionBufferBytes bounds what waits for one client; a client that lets it fill up is cut.
	ConnectionBufferBytes int
	// RESTLatency is the mean delay of a REST answer. A snapshot is taken before the delay, so that the update that
	// bridges to it may overtake it, as it does on the real venues.
	RESTLatency time.Duration
	// RESTWeightPerMinute replaces the venues' own budgets; 0 keeps them.
	RESTWeightPerMinute int
	// ConnectionsPerFiveMinutes that one address may open; 0: the venue's 300.
	ConnectionsPerFiveMinutes int
	// DrainTimeout bounds how long a drain waits for clients to read what was sent to them.
	DrainTimeout time.Duration
}

// DefaultConfig is a synthetic venue on a free port.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:0", Speed: 1, Market: synthetic.DefaultConfig(), MaxConnectionAge: 24 * time.Hour,
		ConnectionBufferBytes: 32 << 20, RESTLatency: 50 * time.Millisecond, DrainTimeout: 25 * time.Second,
	}
}

const (
	// tick is how often the market is moved on.
	tick = 4 * time.Millisecond
	// eventsAtOnce bounds how long a client that subscribes waits for the market's lock.
	eventsAtOnce = 2000
	// maxLag is how far the market may fall behind the clock before its times are shifted.
	maxLag = 500 * time.Millisecond
)

// Server is the simulator.
type Server struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	listener net.Listener
	http     *http.Server
	ledger   *ledger.Ledger
	faults   *faults
	replay   *replay
	venues   []string
	limits   connectionLimits
	rest     map[string]*weightBudget

	mutex       sync.Mutex
	market      *synthetic.Market
	bySymbol    map[string]map[string]*instrument // venue, symbol in the venue's spelling
	instruments []*instrument
	connections map[*conn]*session
	touched     []*conn // have new frames that their writers were not told of
	body        []byte  // scratch of the frame under way
	frame       []byte
	checksum    []byte
	clock       krakenTime
	drained     bool

	lastID     atomic.Int64
	draining   atomic.Bool
	stop       chan struct{} // closed when nothing more is to be generated
	stopOnce   sync.Once
	generator  sync.WaitGroup
	sessions   sync.WaitGroup
	drainOnce  sync.Once
	requests   sync.WaitGroup // REST requests that are being answered
	drainEnded chan struct{}
}

// instrument is a market with those who listen to it.
type instrument struct {
	*synthetic.Instrument
	venue   int32
	numbers numbers
	trades  []*topic
	books   []*topic
	recent  []krakenTrade // newest last; what a trade snapshot shows
	stale   [2]bookCopy   // two older books: the first is 5 to 10 s old
	staleAt int64
}

// topic is a stream of frames that are the same for all who listen.
type topic struct {
	name   string
	prefix []byte // of the payload: the combined streams' wrapper
	suffix []byte
	depth  int // of a Kraken book
	// bids and asks are what listeners of this depth have.
	bids, asks []synthetic.Level
	listeners  []*conn
}

// session is what the server knows of a client.
type session struct {
	conn    *conn
	dialect dialect
	topics  map[*topic]*instrument
	endAt   time.Time // when an announced end comes; zero: none was announced

	openedAt time.Time
	aged     map[*Fault]bool // faults of connections that this one was old enough for
}

// dialect is how a venue talks with a client.
type dialect interface {
	// handle answers a message; the server's mutex is held.
	handle(s *session, message []byte)
	// beat is called every second; the server's mutex is held.
	beat(s *session, now time.Time)
}

// New opens the port, the ledger and the recording. Nothing is served before Run.
func New(config Config, log *slog.Logger, registerer prometheus.Registerer) (*Server, error) {
	s := &Server{
		config: config, log: log, connections: map[*conn]*session{}, stop: make(chan struct{}), drainEnded: make(chan struct{}),
		bySymbol: map[string]map[string]*instrument{}, rest: map[string]*weightBudget{},
	}
	s.metrics = newMetrics(registerer)
	s.faults = newFaults(config.Market.Seed, func(kind string) { s.metrics.faults.WithLabelValues(kind).Inc() })
	for _, f := range config.Faults {
		if f.strikesConnections() && f.After == 0 {
			return nil, fmt.Errorf("fault %s strikes the connections there are, and at the start there are none; add after=10s, the age of a connection at which it strikes, or POST it to /control/fault", f.Kind)
		}
		if err := s.faults.add(f); err != nil {
			return nil, err
		}
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w; choose another --listen", config.Listen, err)
	}
	s.listener = listener
	if s.ledger, err = ledger.New(s.venues, config.Ledger); err != nil {
		listener.Close()
		return nil, err
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return s, nil
}

// open makes the source.
func (s *Server) open() error {
	if s.config.Replay != "" {
		recording, err := capture.Open(s.config.Replay)
		if err != nil {
			return err
		}
		if recording.Cut != "" {
			s.log.Warn("the recording is not whole; what stands before is served", "recording", s.config.Replay, "cut", recording.Cut)
		}
		s.replay = newReplay(recording, s.config.Speed)
		s.venues = []string{recording.Venue}
		return nil
	}
	if s.config.Market.Start.IsZero() {
		s.config.Market.Start = time.Now()
	}
	market, err := synthetic.New(s.config.Market)
	if err != nil {
		return err
	}
	s.market, s.venues = market, s.config.Market.Venues
	for _, in := range market.Instruments {
		i := &instrument{Instrument: in, venue: int32(slices.Index(s.venues, in.Venue)), numbers: numbersOf(in)}
		i.keepStale(0)
		s.instruments = append(s.instruments, i)
		if s.bySymbol[in.Venue] == nil {
			s.bySymbol[in.Venue] = map[string]*instrument{}
		}
		s.bySymbol[in.Venue][in.Symbol] = i
	}
	for _, v := range s.venues {
		s.rest[v] = newWeightBudget(v, s.config.RESTWeightPerMinute)
	}
	return nil
}

// Address is host:port as chosen.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Ready says whether clients may connect.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return errors.New("drained: it serves nobody any more; start it again")
	}
	return nil
}

// Run serves until ctx ends, then drains.
func (s *Server) Run(ctx context.Context) error {
	// A drain may be asked for as soon as requests are served, so what it waits for is counted before.
	if s.market != nil {
		s.generator.Add(1)
		go s.generate()
	}
	s.generator.Add(1)
	go s.heartbeats()
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serving on %s: %w", s.Address(), err)
	}
	s.drain()
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(closing) != nil {
		s.http.Close()
	}
	return errors.Join(err, s.ledger.Close())
}

// generate moves the market on with the clock.
func (s *Server) generate() {
	defer s.generator.Done()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var warned time.Time
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		now := time.Now()
		for !s.advance(now) {
			select {
			case <-s.stop:
				return
			default:
			}
			if lag := time.Since(now); lag > maxLag {
				// The host is too slow for this rate. Catching up would only make it slower; the times move instead.
				s.mutex.Lock()
				s.market.Shift(lag)
				s.mutex.Unlock()
				s.metrics.slipped.Add(lag.Seconds())
				if now.Sub(warned) > 10*time.Second {
					warned = now
					s.log.Warn("the host cannot keep up with the rate; the market's times are shifted", "lag", lag, "rate", s.config.Market.Rate)
				}
				break
			}
		}
	}
}

// advance lets happen what is due, at most eventsAtOnce, and wakes the writers. True: nothing more is due.
func (s *Server) advance(until time.Time) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	done := s.market.Advance(until, eventsAtOnce, s)
	s.wakeTouched()
	return done
}

func (s *Server) wakeTouched() {
	for _, c := range s.touched {
		c.dirty = false
		c.notify()
	}
	s.touched = s.touched[:0]
}

// Trades renders trades and sends them to those who listen. It implements synthetic.Sink.
func (s *Server) Trades(in *synthetic.Instrument, trades []synthetic.Trade) {
	i := s.instruments[in.Index]
	now := s.market.Now()
	if in.Style == synthetic.Immediate {
		start := len(i.recent)
		for _, t := range trades {
			i.recent = append(i.recent, krakenTrade{t, now})
		}
		if len(i.trades) > 0 {
			s.body = krakenTrades(s.body[:0], in, i.numbers, "update", i.recent[start:], &s.clock)
			s.publish(i, i.trades[0], ledger.Entry{Trades: int32(len(trades))})
		}
		if len(i.recent) > 500 {
			i.recent = append(i.recent[:0], i.recent[len(i.recent)-krakenSnapshotTrades:]...)
		}
		return
	}
	if len(i.trades) == 0 {
		return
	}
	s.body = binanceTrade(s.body[:0], in, i.numbers, &trades[0], now, in.Venue == "binance-usdm")
	for _, t := range i.trades {
		s.publish(i, t, ledger.Entry{Trades: 1})
	}
}

// Book renders book changes and sends them to those who listen. It implements synthetic.Sink.
func (s *Server) Book(in *synthetic.Instrument, first int64, changes []synthetic.Change) {
	i := s.instruments[in.Index]
	now := s.market.Now()
	i.keepStale(now)
	if len(i.books) == 0 {
		return
	}
	if in.Style == synthetic.Immediate {
		s.publishKrakenBooks(i, now)
		return
	}
	s.body = binanceDepth(s.body[:0], in, i.numbers, first, changes, now, in.Venue == "binance-usdm")
	for _, t := range i.books {
		s.publish(i, t, ledger.Entry{Updates: 1})
	}
}

// keepStale copies the book every five seconds.
func (i *instrument) keepStale(now int64) {
	if i.Style == synthetic.Immediate || i.stale[1].bids != nil && now-i.staleAt < 5e9 {
		return
	}
	old := i.stale[0]
	i.stale[0] = i.stale[1]
	i.stale[1] = bookCopy{i.UpdateID, append(old.bids[:0], i.Bids...), append(old.asks[:0], i.Asks...)}
	if i.stale[0].bids == nil {
		i.stale[0] = bookCopy{i.UpdateID, slices.Clone(i.Bids), slices.Clone(i.Asks)}
	}
	i.staleAt = now
}

// publish sends s.body to all listeners of a topic.
func (s *Server) publish(i *instrument, t *topic, entry ledger.Entry) {
	if len(t.listeners) == 0 {
		return
	}
	length := len(t.prefix) + len(s.body) + len(t.suffix)
	s.frame = wire.AppendHeader(s.frame[:0], wire.Text, length)
	header := len(s.frame)
	s.frame = append(s.frame, t.prefix...)
	s.frame = append(s.frame, s.body...)
	s.frame = append(s.frame, t.suffix...)
	entry.Venue, entry.Kind = i.venue, ledger.Frame
	entry.Length, entry.Hash = int32(length), xxhash.Sum64(s.frame[header:])
	for _, c := range t.listeners {
		s.deliver(c, i.Instrument.Venue, i.Symbol, s.frame, entry)
	}
}

// reply sends a frame to one client: an acknowledgement, a status, a snapshot.
func (s *Server) reply(c *conn, payload []byte, entry ledger.Entry) {
	entry.Venue, entry.Kind = c.venue, ledger.Frame
	entry.Length, entry.Hash = int32(len(payload)), xxhash.Sum64(payload)
	s.deliver(c, s.venues[c.venue], "", wire.AppendFrame(nil, wire.Text, payload), entry)
}

// deliver enqueues a frame, faults permitting.
func (s *Server) deliver(c *conn, venue, symbol string, frame []byte, entry ledger.Entry) {
	if s.faults.any.Load() && s.tampered(c, venue, symbol, frame, entry) {
		return
	}
	if !c.enqueue(frame, entry) {
		s.drop(entry.Venue, "connection", 1)
		return
	}
	s.touch(c)
}

func (s *Server) touch(c *conn) {
	if !c.dirty {
		c.dirty = true
		s.touched = append(s.touched, c)
	}
}

// tampered applies the faults to a frame; true: nothing is left to do. Frames without a symbol (acknowledgements,
// heartbeats) are silenced, and otherwise left alone.
func (s *Server) tampered(c *conn, venue, symbol string, frame []byte, entry ledger.Entry) bool {
	if _, ok := s.faults.strikes(FaultSilence, venue, symbol); ok {
		s.drop(entry.Venue, FaultSilence, 1)
		return true
	}
	if symbol == "" {
		return false
	}
	if _, ok := s.faults.strikes(FaultDrop, venue, symbol); ok {
		s.drop(entry.Venue, FaultDrop, 1)
		return true
	}
	if _, ok := s.faults.strikes(FaultGarbage, venue, symbol); ok {
		garbage := []byte("}{ \x01 this is not JSON ]")
		if c.enqueue(wire.AppendFrame(nil, wire.Text, garbage), ledger.Entry{Venue: entry.Venue, Kind: ledger.Frame, Length: int32(len(garbage)), Hash: xxhash.Sum64(garbage)}) {
			s.touch(c)
		}
	}
	if _, ok := s.faults.strikes(FaultReorder, venue, symbol); ok && c.hold(frame, entry) {
		return true
	}
	if _, ok := s.faults.strikes(FaultDuplicate, venue, symbol); ok && c.enqueue(frame, entry) {
		s.ledger.Duplicated(entry.Venue, 1)
	}
	return false
}

func (s *Server) drop(venue int32, reason string, frames int64) {
	s.ledger.Dropped(venue, frames)
	s.metrics.dropped.WithLabelValues(s.venues[venue], reason).Add(float64(frames))
}

// sent implements connSink.
func (s *Server) sent(c *conn, firstIndex int64, entries []ledger.Entry) {
	s.ledger.Sent(c.id, firstIndex, entries)
	s.metrics.sent.WithLabelValues(s.venues[c.venue]).Add(float64(len(entries)))
}

// unsent implements connSink.
func (s *Server) unsent(c *conn, frames int) {
	if frames > 0 {
		s.drop(c.venue, "connection", int64(frames))
	}
}

// cutOff implements connSink.
func (s *Server) cutOff(c *conn, reason string) {
	s.metrics.cut.WithLabelValues(s.venues[c.venue], reason).Inc()
	s.log.Debug("connection ended", "connection", c.id, "venue", s.venues[c.venue], "reason", reason)
}

// serveConn runs a connection of a dialect until it ends. False: it never began.
func (s *Server) serveConn(w http.ResponseWriter, r *http.Request, venue string, d func(*session) dialect, opened func(*session)) bool {
	if !s.limits.allow(r.RemoteAddr, s.config.ConnectionsPerFiveMinutes) {
		w.Header().Set("Retry-After", "300")
		http.Error(w, "too many connections from this address within five minutes", http.StatusTooManyRequests)
		return false
	}
	n, source, err := wire.Upgrade(w, r)
	if err != nil {
		s.log.Debug("refused a handshake", "error", err.Error())
		return false
	}
	c := newConn(s.lastID.Add(1), int32(slices.Index(s.venues, venue)), n, source, s.config.ConnectionBufferBytes, s)
	session := &session{conn: c, topics: map[*topic]*instrument{}, openedAt: time.Now(), aged: map[*Fault]bool{}}
	session.dialect = d(session)
	s.mutex.Lock()
	if s.draining.Load() {
		s.mutex.Unlock()
		n.Close()
		return false
	}
	s.sessions.Add(1)
	s.connections[c] = session
	s.metrics.connections.WithLabelValues(venue).Inc()
	opened(session)
	s.wakeTouched()
	s.mutex.Unlock()
	s.serveSession(session, venue)
	return true
}

func (s *Server) serveSession(session *session, venue string) {
	c := session.conn
	var writer sync.WaitGroup
	writer.Add(1)
	go func() { defer writer.Done(); c.write() }()
	counter := newMessageLimit(venue)
	c.receive(func(message []byte) {
		s.mutex.Lock()
		session.dialect.handle(session, message)
		s.wakeTouched()
		s.mutex.Unlock()
	}, func() {
		if counter.exceeded(time.Now()) {
			c.closeWith(wire.PolicyViolation, "Too many requests")
		}
	})
	writer.Wait()
	s.mutex.Lock()
	for t, in := range session.topics {
		in.unlisten(t, c)
	}
	delete(s.connections, c)
	s.mutex.Unlock()
	s.metrics.connections.WithLabelValues(venue).Dec()
	s.sessions.Done()
}

// heartbeats calls every dialect's beat once a second, and lets faults strike connections of an age.
func (s *Server) heartbeats() {
	defer s.generator.Done()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			s.mutex.Lock()
			for _, session := range s.connections {
				if !session.endAt.IsZero() && now.After(session.endAt) {
					session.conn.closeWith(wire.GoingAway, "the announced end of this connection")
					continue
				}
				session.dialect.beat(session, now)
			}
			s.wakeTouched()
			s.mutex.Unlock()
			s.strikeOfAge(now)
		}
	}
}

// drain stops generating, lets every client have what was sent to it, closes the connections and flushes the ledger.
func (s *Server) drain() {
	s.drainOnce.Do(func() {
		defer close(s.drainEnded)
		s.mutex.Lock() // so that a connection is either refused or waited for
		s.draining.Store(true)
		s.mutex.Unlock()
		// Clients still have their connections while the answers that they wait for go out.
		s.requests.Wait()
		s.stopOnce.Do(func() { close(s.stop) })
		s.generator.Wait()
		s.mutex.Lock()
		if s.market != nil {
			s.market.Flush(s)
			s.wakeTouched()
		}
		open := make([]*conn, 0, len(s.connections))
		for c := range s.connections {
			open = append(open, c)
		}
		s.mutex.Unlock()
		for _, c := range open {
			if c.halfOpen.Load() {
				c.cut("drain")
				continue
			}
			c.closeWith(wire.GoingAway, "the simulator is draining")
		}
		ended := make(chan struct{})
		go func() { s.sessions.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(s.config.DrainTimeout):
			for _, c := range open {
				c.cut("drain")
			}
			<-ended
		}
		if err := s.ledger.Flush(); err != nil {
			s.log.Error("the ledger is incomplete", "error", err.Error())
		}
		s.mutex.Lock()
		s.drained = true
		s.mutex.Unlock()
	})
	<-s.drainEnded
}

func (s *Server) finished() bool {
	if s.replay != nil && s.replay.finished.Load() {
		return true
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.drained
}

// listen adds a client to a topic.
func (s *session) listen(in *instrument, t *topic) {
	s.topics[t] = in
	t.listeners = append(t.listeners, s.conn)
}

// unlisten takes a client off a topic; a topic without listeners is forgotten.
func (i *instrument) unlisten(t *topic, c *conn) {
	t.listeners = slices.DeleteFunc(t.listeners, func(other *conn) bool { return other == c })
	if len(t.listeners) > 0 {
		return
	}
	i.trades = slices.DeleteFunc(i.trades, func(other *topic) bool { return other == t })
	i.books = slices.DeleteFunc(i.books, func(other *topic) bool { return other == t })
}
