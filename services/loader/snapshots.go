package main

import (
	"context"
	"errors"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

const (
	// snapshotApart is the least time between two snapshots of one book.
	snapshotApart = 2 * time.Second
	// snapshotWait is how long an answer to a resubscription may take.
	snapshotWait = 15 * time.Second
	// quietBook is how long a book may be silent after connecting before its snapshot is fetched without a first update.
	quietBook = 5 * time.Second
	mindEvery = time.Second
)

// startConnection forgets what belonged to the connection before. With link.mu held.
func (s *symbol) startConnection(feed *Feed) {
	s.trades = stream{}
	s.book = stream{}
	s.refusal = refusal{}
	old := s.snapshot
	s.snapshot = snapshotState{pending: old.pending, partition: old.partition, offset: -1, inFlight: s.rest && old.inFlight, sentAt: old.sentAt}
	if !s.rest && !feed.Replay {
		// The venue sends one by itself on subscribing; asking for another would only begin a storm.
		s.snapshot.inFlight, s.snapshot.sentAt = true, time.Now()
	}
}

// want asks for a fresh book of s, unless one is under way. With link.mu held.
func (l *link) want(s *symbol, why string) {
	if l.feed.Replay || !l.hasBook() || s.refusal.since != 0 {
		return
	}
	if s.snapshot.inFlight || s.snapshot.wanted {
		l.metrics.add(l.metrics.snapshots, "already_under_way")
		return
	}
	s.snapshot.wanted = true
	l.log.Debug("book wanted", "venue_symbol", s.instrument.VenueSymbol, "why", why)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *link) hasBook() bool {
	for _, c := range l.subscription.Channels {
		if c == venue.Book {
			return true
		}
	}
	return false
}

// bookFrame follows the book frames of s: the first of a connection says which update the snapshot must reach, and a
// snapshot on the WebSocket answers what was asked. With link.mu held.
func (l *link) bookFrame(s *symbol, in *venue.Inspection) {
	n := &s.snapshot
	if in.Snapshot {
		l.answered(s, in.LastID)
		n.seen = true
		return
	}
	if !s.rest {
		return
	}
	if !n.seen {
		n.seen, n.atLeast = true, in.FirstID
		if n.lastID.Valid && in.FirstID.Valid && n.lastID.Value >= in.FirstID.Value {
			return
		}
		l.want(s, "first_update")
	}
}

// answered records a snapshot that was published. With link.mu held.
func (l *link) answered(s *symbol, id market.OptInt) {
	n := &s.snapshot
	n.wanted, n.inFlight, n.failures, n.lastID = false, false, 0, id
	n.notBefore = time.Now().Add(snapshotApart)
	l.metrics.add(l.metrics.snapshots, "published")
}

// snapshotDelivered notes where in Kafka the snapshot stands, so that a resync request can be compared with it.
func (l *link) snapshotDelivered(s *symbol) func(int32, int64, error) {
	return func(partition int32, offset int64, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.snapshot.pending = max(0, s.snapshot.pending-1)
		if err == nil {
			s.snapshot.partition, s.snapshot.offset = partition, offset
		}
	}
}

// wantAll asks for a fresh book of every symbol, after frames were dropped.
func (l *link) wantAll(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.symbols {
		if s.rest {
			s.snapshot.atLeast = market.OptInt{}
			s.snapshot.seen = false
			s.snapshot.lastID = market.OptInt{}
		}
		l.want(s, why)
	}
}

// mind sends what is wanted, watches what does not come, and asks again for refused subscriptions.
func (l *link) mind(ctx context.Context) {
	ticker := time.NewTicker(mindEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
			l.mindOnce(ctx, time.Now(), false)
		case <-ticker.C:
			l.mindOnce(ctx, time.Now(), true)
		}
	}
}

func (l *link) mindOnce(ctx context.Context, now time.Time, tick bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.live
	if c == nil {
		return
	}
	quiet := now.Sub(time.UnixMicro(c.openedAt)) > quietBook && !l.feed.Replay && l.hasBook()
	for _, s := range l.symbols {
		if tick {
			l.flushHoles(c, s)
			l.retryRefused(c, s, now)
		}
		n := &s.snapshot
		if quiet && s.rest && !n.seen && !n.lastID.Valid && !n.inFlight && s.refusal.since == 0 {
			n.wanted = true
		}
		if n.inFlight && !s.rest && l.hasBook() && now.Sub(n.sentAt) > snapshotWait && s.refusal.since == 0 {
			n.inFlight, n.wanted = false, true
			l.postpone(s, now)
			l.metrics.add(l.metrics.snapshots, "unanswered")
		}
		if n.wanted && !n.inFlight && !now.Before(n.notBefore) {
			l.ask(ctx, c, s, now)
		}
	}
}

// postpone lets the next attempt wait longer, up to a minute.
func (l *link) postpone(s *symbol, now time.Time) {
	wait := time.Second
	for range min(s.snapshot.failures, 6) {
		wait *= 2
	}
	s.snapshot.failures++
	s.snapshot.notBefore = now.Add(jitter(min(wait, time.Minute)))
}

// ask sends the request for a book, by the venue's way. With link.mu held.
func (l *link) ask(ctx context.Context, c *connection, s *symbol, now time.Time) {
	n := &s.snapshot
	if s.rest {
		request, _ := l.feed.Adapter.Snapshot(s.instrument, l.subscription)
		if l.shared.rest(l.feed).submit(restJob{ctx: ctx, link: l, symbol: s, request: request}) {
			n.inFlight, n.wanted, n.sentAt = true, false, now
		} else {
			l.postpone(s, now)
		}
		return
	}
	messages := l.feed.Adapter.Resubscribe(s.instrument, l.subscription)
	if len(messages) == 0 {
		n.wanted = false
		l.metrics.add(l.metrics.snapshots, "no_way")
		return
	}
	if !l.send(c, messages) {
		l.postpone(s, now)
		return
	}
	n.inFlight, n.wanted, n.sentAt = true, false, now
	at := now.UnixMicro()
	l.lane.gap(l.ctx, c.number, at, &market.Gap{
		VenueSymbols: []string{s.instrument.VenueSymbol}, Channel: string(venue.Book), Reason: market.GapResync,
		Detail: "subscribing anew for a fresh book; updates until it comes are missing", From: moment(at),
	})
}

// send queues messages for c; false: there is no room for all of them now. With link.mu held.
func (l *link) send(c *connection, messages []venue.Message) bool {
	if cap(c.outbox)-len(c.outbox) < len(messages) {
		return false
	}
	for _, m := range messages {
		c.expect(m)
		c.outbox <- m // has room: only this goroutine's lock holder sends
	}
	return true
}

// retryRefused asks again for a subscription that the venue refused, alone.
func (l *link) retryRefused(c *connection, s *symbol, now time.Time) {
	if s.refusal.since == 0 || now.Before(s.refusal.retryAt) || l.feed.Replay {
		return
	}
	single := l.subscription
	single.Instruments = []market.Instrument{s.instrument}
	plan, err := l.feed.Adapter.Connect(single)
	if err != nil || len(plan.Messages) == 0 || !l.send(c, plan.Messages) {
		s.refused(now.UnixMicro())
		return
	}
	s.refusal.retryAt = now.Add(jitter(15 * time.Minute)) // an answer sets it anew
	s.refusal.retried, s.refusal.awaited = true, len(plan.Messages)
	if !s.rest && l.hasBook() {
		s.snapshot.inFlight, s.snapshot.sentAt = true, now
	}
}

// restAnswer takes the body of a REST snapshot. It is published whatever it says, for it was received; when it does not
// reach the first update that was seen, another is asked for.
func (l *link) restAnswer(s *symbol, request venue.SnapshotRequest, id market.OptInt, now int64, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var number int64
	if l.live != nil {
		number = l.live.number
		if !l.live.announced {
			l.announce(l.live, now)
		}
	}
	s.snapshot.pending++
	published := l.lane.append(l.ctx, entry{
		kind: records.FrameRESTSnapshot, connection: number, receivedAt: now, symbol: s.instrument.VenueSymbol,
		request: request.Path, payload: body, delivered: l.snapshotDelivered(s),
	})
	n := &s.snapshot
	n.inFlight = false
	switch {
	case !published:
		n.pending--
		n.wanted = true
		l.postpone(s, time.Now())
	case n.atLeast.Valid && id.Valid && id.Value < n.atLeast.Value:
		n.wanted = true
		l.postpone(s, time.Now())
		l.metrics.add(l.metrics.snapshots, "stale")
	default:
		l.answered(s, id)
	}
}

// restFailed plans another attempt after a request that brought no body.
func (l *link) restFailed(s *symbol, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.snapshot.inFlight, s.snapshot.wanted = false, true
	l.postpone(s, time.Now())
	l.metrics.add(l.metrics.snapshots, "failed")
	if errors.Is(err, errRESTTooLarge) {
		now := time.Now().UnixMicro()
		l.lane.gap(l.ctx, 0, now, &market.Gap{
			VenueSymbols: []string{s.instrument.VenueSymbol}, Channel: string(venue.Book), Reason: market.GapFrameTooLarge,
			Detail: err.Error(), To: moment(now),
		})
	}
	l.log.Warn("snapshot request failed; trying again", "venue_symbol", s.instrument.VenueSymbol, "error", err.Error(), "failures", s.snapshot.failures)
}
