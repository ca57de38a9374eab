package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A clock that is set while a session goes on changes nothing in it; a session does not begin by a wrong one, and one whose own time
// has gone wrong ends.
func TestAWrongClock(t *testing.T) {
	t.Parallel()
	var jump atomic.Int64
	s := &stack{t: t, now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }}
	s.fill(false, "raw-trades")
	total := 0
	write := func() {
		t.Helper()
		s.trades(total, 100)
		total += 100
		s.flush()
	}
	w, stop := s.start(Config{FlushInterval: 50 * time.Millisecond})
	p := w.products[0]
	refused := func() bool {
		err := p.ready()
		return err != nil && strings.Contains(err.Error(), "the clocks of ClickHouse")
	}
	write()
	s.awaitRows("raw_trades", total)
	// The session looks at the clocks before each insert from now on.
	p.decoders.mutex.Lock()
	p.decoders.lookEvery = 0
	p.decoders.mutex.Unlock()
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		jump.Store(int64(d))
		write()
		s.awaitRows("raw_trades", total)
		if off := time.Until(p.now()).Abs(); off > 10*time.Minute || refused() {
			t.Errorf("the machine's clock was set by %s, and the session's is off by %s: %v", d, off, p.ready())
		}
	}

	a := p.clock.start.Load()
	p.clock.start.Store(&anchor{wall: a.wall.Add(-time.Hour), monotonic: a.monotonic})
	write()
	s.await("the session ends, and no other begins", refused)
	jump.Store(0)
	s.awaitRows("raw_trades", total)
	stop()

	jump.Store(int64(time.Hour))
	w, _ = s.start(Config{FlushInterval: 50 * time.Millisecond})
	p = w.products[0]
	write()
	s.await("no session begins", refused)
	jump.Store(0)
	s.awaitRows("raw_trades", total)
}
