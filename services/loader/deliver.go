package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

var classNames = [...]string{
	venue.Data: "data", venue.Heartbeat: "heartbeat", venue.Acknowledged: "acknowledged",
	venue.Refused: "refused", venue.Notice: "notice", venue.GoingAway: "going_away", venue.Other: "other",
}

// deliver takes one message of a connection, on the connection's reader goroutine. payload is valid during the call.
func (l *link) deliver(c *connection, binary bool, now int64, payload []byte) {
	if binary && l.feed.Replay {
		l.deliverReplayed(c, now, payload)
		return
	}
	in := &c.inspection
	*in = venue.Inspection{}
	c.inspector.Inspect(payload, in)
	var hole *venue.SequenceGap
	if in.Class == venue.Data {
		hole = c.inspector.Continuity(in)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.symbols[string(in.VenueSymbol)]
	switch c {
	case l.live:
		l.publish(c, s, in, hole, now, payload)
	case l.next:
		l.holdBack(c, s, in, hole, now, payload)
	default:
		l.metrics.add(l.metrics.discarded)
	}
}

// deliverReplayed takes a REST snapshot that a replay plays in its place: one line of JSON that says what was asked, then
// the body verbatim.
func (l *link) deliverReplayed(c *connection, now int64, payload []byte) {
	var head struct {
		VenueSymbol string `json:"venue_symbol"`
		Request     string `json:"request"`
	}
	line, body, found := bytes.Cut(payload, []byte("\n"))
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.announced {
		l.announce(c, now)
	}
	if err := json.Unmarshal(line, &head); !found || err != nil {
		l.log.Warn("a binary message of the replay has no header line; published as a frame", "bytes", len(payload))
		l.lane.append(l.ctx, entry{kind: records.FrameData, connection: c.number, receivedAt: now, payload: payload})
		return
	}
	l.lane.append(l.ctx, entry{
		kind: records.FrameRESTSnapshot, connection: c.number, receivedAt: now,
		symbol: head.VenueSymbol, request: head.Request, payload: body,
	})
	l.metrics.add(l.metrics.snapshots, "replayed")
}

// publish puts a frame into the feed's order and draws the consequences. With link.mu held.
func (l *link) publish(c *connection, s *symbol, in *venue.Inspection, hole *venue.SequenceGap, now int64, payload []byte) {
	if !c.announced {
		l.announce(c, now)
	}
	var st *stream
	if s != nil && in.Class == venue.Data {
		st = s.stream(in.Channel)
	}
	if st != nil && st.covered(in, now) {
		l.metrics.add(l.metrics.skipped)
		return
	}
	if hole != nil && st != nil {
		l.tellHole(c, s, st, in, hole, now)
	}
	e := entry{kind: records.FrameData, connection: c.number, receivedAt: now, request: in.Request, payload: payload}
	// A replay's reader may wait for room with the lock held, and room comes from deliveries: they must not wait for it.
	if s != nil && in.Snapshot && !l.feed.Replay {
		e.delivered = l.snapshotDelivered(s)
		s.snapshot.pending++
	}
	if !l.lane.append(l.ctx, e) && e.delivered != nil {
		s.snapshot.pending--
	}
	if st != nil {
		if in.LastID.Valid {
			st.last = in.LastID
		}
		st.lastAt = now
		if in.Channel == venue.Book {
			l.bookFrame(s, in)
		}
		return
	}
	if in.Class != venue.Data {
		l.control(c, in, now)
	}
}

// covered says whether the frame's ids were published from the connection before a rotation.
func (st *stream) covered(in *venue.Inspection, now int64) bool {
	if !st.skip.Valid {
		return false
	}
	if now > st.skipEnd || !in.LastID.Valid || in.LastID.Value > st.skip.Value {
		st.skip = market.OptInt{}
		return false
	}
	return true
}

// control handles what is not market data.
func (l *link) control(c *connection, in *venue.Inspection, now int64) {
	l.metrics.add(l.metrics.classes, classNames[in.Class])
	switch in.Class {
	case venue.Refused:
		if alreadySubscribed(in.Error) {
			l.accepted(c, in)
		} else {
			l.subscriptionRefused(c, in, now)
		}
	case venue.Acknowledged:
		l.accepted(c, in)
	case venue.GoingAway:
		select {
		case l.goAway <- struct{}{}:
		default:
		}
	}
}

// expect remembers whom a refusal of m concerns.
func (c *connection) expect(m venue.Message) {
	if m.RequestID != "" {
		c.requests[m.RequestID] = m.VenueSymbols
	}
}

// blamed finds the symbols that an answer is about: the one it names, else those of its request.
func (l *link) blamed(c *connection, in *venue.Inspection) []*symbol {
	if s := l.symbols[string(in.VenueSymbol)]; s != nil {
		return []*symbol{s}
	}
	var all []*symbol
	for _, name := range c.requests[in.RequestID] {
		if s := l.symbols[name]; s != nil {
			all = append(all, s)
		}
	}
	return all
}

// accepted counts down the answers to a retry; an answer for another channel of a refused symbol proves nothing.
func (l *link) accepted(c *connection, in *venue.Inspection) {
	for _, s := range l.blamed(c, in) {
		if s.refusal.awaited--; s.refusal.awaited <= 0 && s.refusal.retried {
			s.refusal = refusal{}
		}
	}
}

// alreadySubscribed recognises the refusal of a retry that named a channel which was accepted the first time.
func alreadySubscribed(text string) bool {
	return strings.Contains(strings.ToLower(text), "already subscribed")
}

// subscriptionRefused tells of the symbols concerned and plans to ask again, slowly and one by one: one bad symbol must
// not keep the others of its message out.
func (l *link) subscriptionRefused(c *connection, in *venue.Inspection, now int64) {
	symbols := l.blamed(c, in)
	l.metrics.add(l.metrics.refused)
	if len(symbols) == 0 {
		// A GAP of nobody tells a reader nothing; the venue's answer is published and this line names it.
		l.log.Warn("the venue refuses something that none of the feed's symbols can be blamed for", "error", in.Error, "request_id", in.RequestID)
		return
	}
	gap := market.Gap{Channel: "all", Reason: market.GapSubscriptionRefused, Detail: "the venue refused a subscription: " + in.Error, From: moment(now)}
	if in.Channel != "" {
		gap.Channel = string(in.Channel)
	}
	for _, s := range symbols {
		gap.VenueSymbols = append(gap.VenueSymbols, s.instrument.VenueSymbol)
		s.refused(now)
	}
	l.lane.gap(l.ctx, c.number, now, &gap)
	l.log.Warn("subscription refused", "error", in.Error, "venue_symbols", fmt.Sprint(gap.VenueSymbols), "request_id", in.RequestID)
}

func (s *symbol) refused(now int64) {
	if s.refusal.since == 0 {
		s.refusal.since = now
	}
	// The first try alone comes soon, in case only a neighbour in the same message was bad.
	wait := 5 * time.Second
	for range min(s.refusal.attempts, 8) {
		wait *= 3
	}
	s.refusal.retryAt = time.Now().Add(jitter(min(wait, 15*time.Minute)))
	s.refusal.attempts++
	s.refusal.retried, s.refusal.awaited = false, 0
	s.snapshot.wanted, s.snapshot.inFlight = false, false
}

// tellHole writes the GAP of a hole in the venue's ids, and asks for a new book.
func (l *link) tellHole(c *connection, s *symbol, st *stream, in *venue.Inspection, hole *venue.SequenceGap, now int64) {
	if in.Channel == venue.Book {
		s.snapshot.atLeast = in.FirstID
		l.want(s, "sequence_gap")
	}
	h := &st.holes
	if now-h.windowFrom > holesWindow.Microseconds() {
		l.flushHoles(c, s)
		h.windowFrom, h.written = now, 0
	}
	if h.written >= holesBurst {
		if h.suppressed == 0 {
			h.from, h.fromID = st.lastAt, hole.FromID
		}
		h.suppressed++
		h.missing += hole.Missing.Value
		h.toID = hole.ToID
		return
	}
	h.written++
	gap := market.Gap{
		VenueSymbols: []string{s.instrument.VenueSymbol}, Channel: string(in.Channel), Reason: market.GapSequence,
		Detail: hole.Detail, FromID: hole.FromID, ToID: hole.ToID, To: moment(now),
	}
	if hole.Missing.Valid {
		gap.Missing = &hole.Missing.Value
	}
	if st.lastAt != 0 {
		gap.From = moment(st.lastAt)
	}
	l.lane.gap(l.ctx, c.number, now, &gap)
}

// flushHoles writes one GAP for the holes that were too many to be told one by one.
func (l *link) flushHoles(c *connection, s *symbol) {
	for _, channel := range []venue.Channel{venue.Trades, venue.Book} {
		h := &s.stream(channel).holes
		if h.suppressed == 0 {
			continue
		}
		now := time.Now().UnixMicro()
		var number int64
		if c != nil {
			number = c.number
		}
		missing := h.missing
		l.lane.gap(l.ctx, number, now, &market.Gap{
			VenueSymbols: []string{s.instrument.VenueSymbol}, Channel: string(channel), Reason: market.GapSequence,
			Detail: fmt.Sprintf("%d holes within a second, told as one", h.suppressed), Missing: &missing,
			FromID: h.fromID, ToID: h.toID, From: moment(h.from), To: moment(now),
		})
		*h = holes{windowFrom: h.windowFrom, written: h.written}
	}
}
