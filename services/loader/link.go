package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	// steadyAfter is how long a connection must have lived before the next one is tried without the backoff grown so far.
	steadyAfter = 10 * time.Second
	notStarted  = "not started"
	// interimAfter is how long an outage lasts before a GAP tells of it although it has not ended.
	interimAfter = 30 * time.Second
)

// link is the part of a feed that fits one connection (nearly always the whole feed), and keeps that connection up: it
// connects, reconnects and rotates. Its state is guarded by mu; the reader of the live connection takes it once a frame.
//
// Lock order: link.mu, then lane.mu, then Buffer.mu.
type link struct {
	feed         *Feed
	subscription venue.Subscription
	lane         *lane
	shared       *venueShared
	numbers      *numbers
	log          *slog.Logger
	metrics      *feedMetrics
	rotation     RotationConfig
	names        []string // venue symbols, as a GAP names them
	kick         chan struct{}

	mu      sync.Mutex
	ctx     context.Context // of Run; ends a replay's wait for room
	symbols map[string]*symbol
	live    *connection
	freshAt int64       // µs: since when the books come from connections that began with fresh ones
	next    *connection // the one that will replace live
	held    []heldFrame // frames of next, until the switch
	heldSum int
	missing missing
	state   string // for /readyz; empty: up
	ended   bool   // a replay that has been played
	goAway  chan struct{}
}

// missing is what has not been received since some moment, and has not been told yet.
type missing struct {
	since  int64 // µs; 0: nothing
	reason market.GapReason
	detail string
	told   time.Time // of the last interim GAP
}

// numbers gives the connections of a feed their numbers.
type numbers struct {
	mu   sync.Mutex
	last int64
}

func (n *numbers) next() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	return n.last
}

// venueShared is what all links of one venue share: the venue's limits are per address, not per feed.
type venueShared struct {
	dialer      *http.Client
	messages    *rate.Limiter
	connections *rate.Limiter
	rest        func(*Feed) *restClient
	rotating    chan struct{} // one token a rotation: their buffers are outside of the bounded one
}

// run keeps the link up until ctx ends or a replay is over.
func (l *link) run(ctx context.Context) {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	minding := make(chan struct{})
	mindCtx, stopMinding := context.WithCancel(ctx)
	go func() { defer close(minding); l.mind(mindCtx) }()
	defer func() { stopMinding(); <-minding }()
	retry := newBackoff()
	complaint := complaint{}
	for ctx.Err() == nil {
		c := l.connect(ctx, retry, &complaint)
		if c == nil {
			break
		}
		if l.hold(ctx, c) {
			return
		}
		// The time that the connection lived decides, not its first frame: a venue that accepts and cuts at once must meet a
		// growing backoff.
		if time.Since(time.UnixMicro(c.openedAt)) >= steadyAfter {
			retry.Reset()
		}
		if !sleep(ctx, retry.NextBackOff()) {
			break
		}
	}
	l.finish()
}

func newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = firstRetry, lastRetry, 2, 0.5
	b.Reset()
	return b
}

// connect dials until it has a connection; nil when ctx ended.
func (l *link) connect(ctx context.Context, retry *backoff.ExponentialBackOff, complaint *complaint) *connection {
	for {
		l.begin()
		if l.shared.connections.Wait(ctx) != nil {
			return nil
		}
		c, err := dial(ctx, l)
		if err == nil {
			complaint.over()
			return c
		}
		if ctx.Err() != nil {
			return nil
		}
		l.metrics.add(l.metrics.dialFailures)
		l.setState(err.Error())
		wait := retry.NextBackOff()
		var peace *peaceError
		if errors.As(err, &peace) {
			wait = max(wait, peace.after+jitter(firstRetry))
		}
		if complaint.due(err) {
			l.log.Warn("cannot connect; trying again", "error", err.Error(), "next_attempt_in", wait.Round(time.Millisecond).String())
		}
		l.tellInterim()
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// hold runs one live connection, and those that replace it by rotation, until the last one ended. true: the link is done
// for good (drained, or a replay played to its end).
func (l *link) hold(ctx context.Context, c *connection) bool {
	l.goLive(c)
	for {
		replacement, err := l.watch(ctx, c)
		if replacement != nil {
			c = replacement
			continue
		}
		switch {
		case ctx.Err() != nil:
			l.close(c, time.Now().UnixMicro(), "the loader stops")
			l.finish()
			return true
		case l.feed.Replay && websocket.CloseStatus(err) == websocket.StatusNormalClosure:
			l.mu.Lock()
			l.ended = true
			l.mu.Unlock()
			l.close(c, time.Now().UnixMicro(), "the replay is over")
			l.log.Info("replay is over")
			return true
		}
		l.lost(c, err)
		return false
	}
}

// goLive makes c the connection whose frames are published.
func (l *link) goLive(c *connection) {
	l.mu.Lock()
	c.number = l.numbers.next()
	l.live, l.state, l.freshAt = c, "", c.openedAt
	for _, s := range l.symbols {
		s.startConnection(l.feed)
	}
	for _, m := range c.plan.Messages {
		c.expect(m)
	}
	l.mu.Unlock()
	l.metrics.add(l.metrics.connection)
	l.metrics.state.WithLabelValues(l.metrics.venue, l.metrics.feed).Set(1)
	l.log.Info("connected", "connection", c.number, "symbols", len(l.names))
	c.start()
}

// close publishes the CLOSE of a connection that was announced. at is the last moment at which the connection was
// known to work: a later loader takes it as the beginning of what it missed.
func (l *link) close(c *connection, at int64, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked(c, at, why)
}

func (l *link) closeLocked(c *connection, at int64, why string) {
	if l.live == c {
		l.live = nil
	}
	if !c.announced {
		return
	}
	l.lane.append(l.ctx, entry{kind: records.FrameClose, connection: c.number, receivedAt: at, payload: reasonPayload(why)})
}

// lost records the end of a connection that nobody asked for. The GAP itself is written with the first frame of the next
// connection, for only then is it known how much is missing.
func (l *link) lost(c *connection, err error) {
	reason, class := classify(err)
	at := c.lastFrame.Load()
	if at == 0 {
		at = c.openedAt
	}
	l.mu.Lock()
	if l.missing.since == 0 {
		l.missing = missing{since: at, reason: reason, detail: err.Error()}
	} else if reason == market.GapFrameTooLarge {
		// What keeps a connection from delivering is worth more to a reader than how the outage began.
		l.missing.reason, l.missing.detail = reason, err.Error()
	}
	for _, s := range l.symbols {
		l.flushHoles(c, s)
	}
	l.state = "reconnecting: " + err.Error()
	l.closeLocked(c, at, err.Error())
	l.mu.Unlock()
	l.metrics.add(l.metrics.reconnects, class)
	l.metrics.state.WithLabelValues(l.metrics.venue, l.metrics.feed).Set(0)
	l.log.Warn("connection lost; reconnecting", "connection", c.number, "error", err.Error())
}

// classify gives a lost connection its reason and a class for the counter.
func classify(err error) (market.GapReason, string) {
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return market.GapFrameTooLarge, "frame_too_large"
	case errors.Is(err, errIdle):
		return market.GapConnectionLost, "idle"
	case websocket.CloseStatus(err) != -1:
		return market.GapConnectionLost, "closed_by_venue"
	default:
		return market.GapConnectionLost, "broken"
	}
}

// announce writes what was missing and OPEN, before the first frame of a connection.
func (l *link) announce(c *connection, now int64) {
	c.announced = true
	l.tellMissing(c.number, now)
	l.lane.append(l.ctx, entry{kind: records.FrameOpen, connection: c.number, receivedAt: now, payload: openPayload(l.names)})
}

// tellMissing writes the GAP of what was missing until now.
func (l *link) tellMissing(connection, now int64) {
	if l.missing.since == 0 {
		return
	}
	l.lane.gap(l.ctx, connection, now, &market.Gap{
		VenueSymbols: append([]string(nil), l.names...), Channel: "all", Reason: l.missing.reason, Detail: l.missing.detail,
		From: moment(l.missing.since), To: moment(now),
	})
	l.missing = missing{}
}

// tellInterim tells of a long outage before it is over; the rest is told later, without overlap.
func (l *link) tellInterim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.missing
	if m.since == 0 || time.Since(time.UnixMicro(m.since)) < interimAfter || time.Since(m.told) < 10*interimAfter {
		return
	}
	now := time.Now().UnixMicro()
	l.tellMissing(0, now)
	l.missing = missing{since: now, reason: m.reason, detail: m.detail, told: time.Now()}
}

// finish tells what is still untold when the link ends.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.symbols {
		l.flushHoles(nil, s)
	}
	l.tellMissing(0, time.Now().UnixMicro())
	l.metrics.state.WithLabelValues(l.metrics.venue, l.metrics.feed).Set(0)
	if !l.ended {
		l.state = "stopped"
	}
}

// begin says that the link is being brought up, unless there is more to say: why it was not up until now.
func (l *link) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == "" || l.state == notStarted {
		l.state = "connecting"
	}
}

func (l *link) setState(state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// ready says why the link is not up; nil: it is, or its replay is over.
func (l *link) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == "" || l.ended {
		return nil
	}
	return fmt.Errorf("%s/%s: %s", l.feed.Venue, l.feed.Name, l.state)
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	// complainAgain is how often a failure that repeats is logged, complainOther how soon after it another one is: a peer
	// that resets connections shows itself in several ways.
	complainAgain = time.Minute
	complainOther = 10 * time.Second
)

// complaint lets a failure that repeats be logged once, then once a minute.
type complaint struct {
	text  string
	since time.Time
}

func (c *complaint) due(err error) bool {
	text := withoutLocalPorts(err.Error())
	if quiet := time.Since(c.since); quiet < complainOther || quiet < complainAgain && c.text == text {
		return false
	}
	c.text, c.since = text, time.Now()
	return true
}

// withoutLocalPorts leaves out "127.0.0.1:50704->" and the like: the port is another at every attempt, the failure is not.
func withoutLocalPorts(text string) string {
	for {
		arrow := strings.Index(text, "->")
		if arrow < 0 {
			return text
		}
		text = text[:strings.LastIndexByte(text[:arrow], ' ')+1] + text[arrow+2:]
	}
}

func (c *complaint) over() { *c = complaint{} }

// jitter returns d ± 20 %, so that many loaders do not act at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func reasonPayload(why string) []byte {
	payload, _ := json.Marshal(struct {
		Reason string `json:"reason"`
	}{why})
	return payload
}

func openPayload(names []string) []byte {
	payload, _ := json.Marshal(struct {
		VenueSymbols []string `json:"venue_symbols"`
	}{names})
	return payload
}
