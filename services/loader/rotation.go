package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// RotationConfig says when and how a connection is replaced before the venue cuts it.
type RotationConfig struct {
	Settle  time.Duration `name:"rotation-settle" env:"ROTATION_SETTLE" default:"2s" help:"How long the second connection of a rotation runs beside the first at least."`
	Overlap time.Duration `name:"rotation-overlap" env:"ROTATION_OVERLAP" default:"30s" help:"How long a rotation waits at most for a common id of every symbol; after it the switch is made with a GAP."`
}

const (
	rotationCheck = 50 * time.Millisecond
	rotationRetry = time.Minute
	// heldEnough forces the switch, heldMost ends the second connection: the frames held back are outside of the buffer.
	heldEnough = 24 << 20
	heldMost   = 48 << 20
	// concurrentRotations bounds that memory over all feeds of a venue.
	concurrentRotations = 2
	// skipFor is how long after a switch the ids of the first connection are remembered.
	skipFor = time.Minute
)

var errHeldTooMuch = errors.New("the second connection of a rotation held back more than its bound")

// heldFrame is a frame of the second connection, waiting for the switch.
type heldFrame struct {
	symbol  *symbol
	in      venue.Inspection
	hole    *venue.SequenceGap
	at      int64
	payload []byte
}

// rotator replaces one live connection. It lives on the goroutine of watch.
type rotator struct {
	link   *link
	timer  *time.Timer
	ticker *time.Ticker
	dialed chan dialed
	began  time.Time
}

type dialed struct {
	connection *connection
	err        error
}

// watch waits for the end of c, or for a connection that replaces it: exactly one of the results is set.
func (l *link) watch(ctx context.Context, c *connection) (*connection, error) {
	r := &rotator{link: l, timer: time.NewTimer(l.rotateIn(c)), ticker: time.NewTicker(rotationCheck), dialed: make(chan dialed, 1)}
	defer r.timer.Stop()
	defer r.ticker.Stop()
	r.ticker.Stop()
	dialing := false
	defer func() {
		if dialing {
			go r.abandon()
		}
	}()
	for {
		var nextDone chan struct{}
		if next := l.next; next != nil { // next is only written on this goroutine
			nextDone = next.done
		}
		select {
		case <-ctx.Done():
			c.end(errDrained)
			l.dropNext(errDrained)
			<-c.done
			return nil, errDrained
		case <-c.done:
			if next := l.next; next != nil {
				l.log.Warn("connection lost in a rotation; switching at once", "error", c.err.Error())
				return r.switchOver(c), nil
			}
			return nil, c.err
		case <-l.goAway:
			if !dialing && l.next == nil {
				dialing = r.begin(ctx)
			}
		case <-r.timer.C:
			if !dialing && l.next == nil {
				dialing = r.begin(ctx)
			}
		case d := <-r.dialed:
			dialing = false
			r.started(d)
		case <-nextDone:
			l.log.Warn("the second connection of a rotation ended; trying again later", "error", l.next.err.Error())
			r.failed()
		case <-r.ticker.C:
			if l.next != nil && r.due() {
				c.end(errRotated)
				<-c.done
				return r.switchOver(c), nil
			}
		}
	}
}

// rotateIn says when to begin: well before the venue's cut, and not at the same moment as other feeds.
func (l *link) rotateIn(c *connection) time.Duration {
	age := l.feed.MaxConnectionAge
	if age == 0 {
		age = l.feed.Adapter.Limits().MaxConnectionAge
	}
	if age <= 0 || l.feed.Replay {
		return time.Duration(1<<63 - 1)
	}
	at := time.Duration(float64(age) * (0.92 + 0.05*rand.Float64()))
	return max(0, at-time.Since(time.UnixMicro(c.openedAt)))
}

// begin dials the second connection; false: not now.
func (r *rotator) begin(ctx context.Context) bool {
	select {
	case r.link.shared.rotating <- struct{}{}:
	default:
		r.timer.Reset(jitter(5 * time.Second))
		return false
	}
	go func() {
		err := r.link.shared.connections.Wait(ctx)
		var c *connection
		if err == nil {
			c, err = dial(ctx, r.link)
		}
		r.dialed <- dialed{c, err}
	}()
	return true
}

// abandon takes care of a dial whose rotation is no longer wanted.
func (r *rotator) abandon() {
	if d := <-r.dialed; d.connection != nil {
		d.connection.ws.CloseNow()
	}
	<-r.link.shared.rotating
}

func (r *rotator) started(d dialed) {
	l := r.link
	if d.err != nil {
		l.log.Warn("cannot open the second connection of a rotation; trying again later", "error", d.err.Error())
		r.failed()
		return
	}
	l.mu.Lock()
	d.connection.number = l.numbers.next()
	l.next, l.held, l.heldSum = d.connection, nil, 0
	for _, m := range d.connection.plan.Messages {
		d.connection.expect(m)
	}
	l.mu.Unlock()
	r.began = time.Now()
	r.ticker.Reset(rotationCheck)
	l.metrics.add(l.metrics.connection)
	d.connection.start()
}

// failed gives this attempt up; the live connection goes on.
func (r *rotator) failed() {
	r.link.dropNext(errRotated)
	<-r.link.shared.rotating
	r.link.metrics.add(r.link.metrics.rotations, "failed")
	r.ticker.Stop()
	r.timer.Reset(jitter(rotationRetry))
}

// dropNext ends the second connection, if any, and discards what it held: the live one delivers the same.
func (l *link) dropNext(why error) {
	l.mu.Lock()
	next := l.next
	if next != nil {
		l.metrics.discarded.WithLabelValues(l.metrics.venue, l.metrics.feed).Add(float64(len(l.held)))
	}
	l.next, l.held, l.heldSum = nil, nil, 0
	l.mu.Unlock()
	if next != nil {
		next.end(why)
		<-next.done
	}
	if next != nil && errors.Is(why, errDrained) {
		<-l.shared.rotating
	}
}

// holdBack keeps a frame of the second connection until the switch. With link.mu held.
func (l *link) holdBack(c *connection, s *symbol, in *venue.Inspection, hole *venue.SequenceGap, now int64, payload []byte) {
	if l.heldSum+len(payload) > heldMost {
		c.end(errHeldTooMuch)
		l.metrics.add(l.metrics.discarded)
		return
	}
	h := heldFrame{symbol: s, in: *in, hole: hole, at: now, payload: append([]byte(nil), payload...)}
	h.in.VenueSymbol = append([]byte(nil), in.VenueSymbol...)
	l.held = append(l.held, h)
	l.heldSum += len(payload) + 256
}

// overlap is what the two connections have in common of one stream.
type overlap struct {
	seen      bool // the second connection has delivered it
	covered   bool // … with ids that the first has published
	uncovered bool // … and with later ones
	follows   bool // the first of the later ones follows what the first connection published last
	withoutID bool
	snapshot  bool
	gap       int64 // ids between the two, when there is a hole
}

type streamKey struct {
	symbol  *symbol
	channel venue.Channel
}

// overlaps compares the frames held back with what was published. With link.mu held.
func (l *link) overlaps() map[streamKey]*overlap {
	all := make(map[streamKey]*overlap, 2*len(l.symbols))
	for i := range l.held {
		h := &l.held[i]
		if h.symbol == nil || h.in.Class != venue.Data || h.symbol.stream(h.in.Channel) == nil {
			continue
		}
		key := streamKey{h.symbol, h.in.Channel}
		o := all[key]
		if o == nil {
			o = &overlap{}
			all[key] = o
		}
		o.add(h, h.symbol.stream(h.in.Channel))
	}
	return all
}

func (o *overlap) add(h *heldFrame, st *stream) {
	o.seen = true
	o.snapshot = o.snapshot || h.in.Snapshot
	switch {
	case !h.in.LastID.Valid:
		o.withoutID = true
	case o.uncovered:
	case !st.last.Valid:
		// Nothing was published of it on the first connection: there is nothing to follow.
		o.uncovered, o.follows = true, true
	case h.in.LastID.Value <= st.last.Value:
		o.covered = true
	default:
		o.uncovered = true
		if h.in.PreviousID.Valid {
			o.follows = h.in.PreviousID.Value == st.last.Value
		} else {
			o.follows = h.in.FirstID.Value == st.last.Value+1
		}
		o.gap = h.in.FirstID.Value - st.last.Value - 1
	}
}

// clean says whether the switch of this stream loses and doubles nothing. quietSince: µs when the overlap began.
func (o *overlap) clean(st *stream, channel venue.Channel, quietSince int64) bool {
	switch {
	case o == nil || !o.seen:
		return st.lastAt < quietSince // silent on both connections
	case o.withoutID:
		return channel == venue.Trades || o.snapshot
	default:
		return !o.uncovered || o.follows
	}
}

// due says whether to switch now.
func (r *rotator) due() bool {
	l := r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heldSum > heldEnough || time.Since(r.began) > l.rotation.Overlap {
		return true
	}
	if time.Since(r.began) < l.rotation.Settle {
		return false
	}
	all := l.overlaps()
	for _, s := range l.symbols {
		for _, channel := range l.subscription.Channels {
			// What came before the second connection could be subscribed does not count as missed by it.
			quietSince := r.began.Add(l.rotation.Settle / 2).UnixMicro()
			if s.refusal.since == 0 && !all[streamKey{s, channel}].clean(s.stream(channel), channel, quietSince) {
				return false
			}
		}
	}
	return true
}

// switchOver makes the second connection the live one, after the reader of the first has ended.
func (r *rotator) switchOver(old *connection) *connection {
	l := r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	next, held := l.next, l.held
	now := time.Now().UnixMicro()
	l.closeLocked(old, now, "rotation")
	l.live, l.next, l.held, l.heldSum = next, nil, nil, 0
	l.announce(next, now)
	result := "clean"
	if l.tellRotation(next, r.began, now, held) {
		result = "gap"
	}
	for _, s := range l.symbols {
		for _, st := range []*stream{&s.trades, &s.book} {
			st.skip, st.skipEnd = st.last, now+skipFor.Microseconds()
		}
	}
	for i := range held {
		h := &held[i]
		l.publish(next, h.symbol, &h.in, h.hole, h.at, h.payload)
	}
	<-l.shared.rotating
	l.metrics.add(l.metrics.rotations, result)
	l.log.Info("connection rotated", "connection", next.number, "result", result, "frames_held", len(held))
	return next
}

// tellRotation writes a GAP for the streams whose ids do not join, and for those without ids. true: there was one.
func (l *link) tellRotation(next *connection, began time.Time, now int64, held []heldFrame) bool {
	l.held = held
	all := l.overlaps()
	l.held = nil
	told := false
	for _, channel := range l.subscription.Channels {
		gap := market.Gap{Channel: string(channel), Reason: market.GapRotation, From: moment(began.UnixMicro()), To: moment(now)}
		var missing int64
		for _, s := range l.symbols {
			o := all[streamKey{s, channel}]
			idless := o != nil && o.withoutID
			if s.refusal.since != 0 || o.clean(s.stream(channel), channel, began.UnixMicro()) && !idless {
				continue
			}
			gap.VenueSymbols = append(gap.VenueSymbols, s.instrument.VenueSymbol)
			if o != nil && !idless {
				missing += max(0, o.gap)
			}
			if channel == venue.Book && !(idless && o.snapshot) {
				l.want(s, "rotation")
			}
		}
		if len(gap.VenueSymbols) == 0 {
			continue
		}
		told = true
		gap.Missing = &missing
		gap.Detail = fmt.Sprintf("the connection was replaced and no common id was found for %d symbols", len(gap.VenueSymbols))
		l.lane.gap(l.ctx, next.number, now, &gap)
	}
	return told
}
