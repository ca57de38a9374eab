package main

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

// impatient is a venue whose heartbeat is fast, so that a test need not wait for the real one's.
type impatient struct {
	venue.Adapter
	liveness venue.Liveness
}

func (i impatient) Liveness() venue.Liveness { return i.liveness }

func (r *rig) startWith(adapter func(venue.Adapter) venue.Adapter) {
	r.t.Helper()
	r.wrap = adapter
	r.start()
}

func TestAHalfOpenConnectionIsReplacedAndAQuietOneIsNot(t *testing.T) {
	t.Parallel()
	const idle = 6 * time.Second // so much longer than the pauses between pings that a busy machine makes none of that length
	r := newRig(t, btc(venue.Trades))
	r.startWith(func(a venue.Adapter) venue.Adapter {
		return impatient{a, venue.Liveness{IdleTimeout: idle}}
	})
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	// Quiet, but the venue pings: healthy.
	for began := time.Now(); time.Since(began) < idle+time.Second; {
		time.Sleep(200 * time.Millisecond) // the passing of time is what is tested
		if err := p.ws.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.metric("connections_total"); got != 1 {
		t.Fatalf("%v connections although the venue was alive", got)
	}
	// Silent: dead.
	next := r.venue.accept(t)
	next.send(trade("BTCUSDT", 2))
	all := r.kafka.await(t, btcKey, "the second trade", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	checkOrder(t, all)
	lost := gaps(t, all, market.GapConnectionLost)
	if len(lost) != 1 || !strings.Contains(lost[0].Detail, "silence") {
		t.Fatalf("gaps %+v", lost)
	}
	if got := r.metric("connections_lost_total", "class=idle"); got != 1 {
		t.Fatalf("metric says %v idle connections", got)
	}
}

func TestASilentConnectionIsPinged(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.startWith(func(a venue.Adapter) venue.Adapter {
		return impatient{a, venue.Liveness{IdleTimeout: patience, Ping: []byte("are you there"), PingAfter: 50 * time.Millisecond}}
	})
	p := r.venue.accept(t)
	p.subscribed()
	for range 3 {
		if m := p.subscribed(); m != "are you there" {
			t.Fatalf("received %s", m)
		}
		p.send(`{"result":null,"id":0}`)
	}
	r.mustStop()
}

func TestAVenueThatRefusesConnectionsIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	var attempts atomic.Int64
	r.venue.refuse = func() int {
		if attempts.Add(1) < 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	lines := &logLines{}
	r.logTo(lines)
	began := time.Now()
	r.start()
	waitFor(t, "readiness to name the feed", func() bool { err := r.loader.Ready(); return err != nil && strings.Contains(err.Error(), "binance/f0") })
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the trade", func(all []published) bool { return len(payloads(all)) == 1 })
	r.mustStop()
	if n := lines.count("cannot connect"); n != 1 && time.Since(began) < complainOther {
		t.Fatalf("%d lines for one kind of failure", n)
	}
	if got := r.metric("dial_failures_total"); got != 2 {
		t.Fatalf("metric says %v failures", got)
	}
}

func TestAVenueThatLimitsConnectionsIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	var first atomic.Int64
	r.venue.retry = "3"
	r.venue.refuse = func() int {
		if first.CompareAndSwap(0, time.Now().UnixMilli()) {
			return http.StatusTooManyRequests
		}
		return 0
	}
	r.start()
	r.venue.accept(t)
	if waited := time.Now().UnixMilli() - first.Load(); waited < 3000 {
		t.Fatalf("connected again after %d ms", waited)
	}
	r.mustStop()
}

// A venue that cannot be reached: one line that names the address, the cause and what to look at, however often it is tried
// and whatever port it is tried from; /readyz says the same; and the pauses grow.
func TestAVenueThatCannotBeReachedIsOneClearLine(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.(*net.TCPConn).SetLinger(0) // RST: the error names both ends of the connection
			conn.Close()
		}
	}()
	for address, cause := range map[string]string{
		"ws://" + listener.Addr().String(): "reset by peer|broken pipe|EOF",
		"ws://127.0.0.1:1":                 "connection refused",
		"ws://nowhere.invalid":             "no such host|server misbehaving|i/o timeout", // as the machine's own resolver says it
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			feed := btc(venue.Trades)
			feed.WebSocket = address
			r := newRig(t, feed)
			lines := &logLines{}
			r.logTo(lines)
			began := time.Now()
			r.start()
			waitFor(t, "three attempts", func() bool { return r.metric("dial_failures_total") >= 3 })
			if err := r.loader.Ready(); err == nil || !regexp.MustCompile(cause).MatchString(err.Error()) || !strings.Contains(err.Error(), address) {
				t.Errorf("/readyz says %v", err)
			}
			r.mustStop()
			// On a machine so slow that three attempts take longer, there may be a line more about another kind of reset.
			most := 1 + int(time.Since(began)/complainOther)
			n := lines.count("level=WARN")
			if n < 1 || n > most || lines.count("check this machine's network") != n || lines.count("next_attempt_in") != n || lines.count(address) != n {
				t.Errorf("expected one line with %q:\n%s", cause, strings.Join(lines.lines, ""))
			}
		})
	}
}

func TestThePausesBetweenAttemptsGrowAreCappedAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 20 {
		retry := newBackoff()
		for i := range 30 {
			pause := retry.NextBackOff()
			middle := min(firstRetry<<min(i, 20), lastRetry)
			if pause < middle/2 || pause > middle*3/2 {
				t.Fatalf("pause %d is %s, expected %s within a half", i, pause, middle)
			}
			seen[pause] = true
		}
	}
	if len(seen) < 300 {
		t.Errorf("only %d different pauses of 600", len(seen))
	}
}

func TestAVenueThatAnnouncesItsEndIsLeftInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	old := r.venue.accept(t)
	old.send(trade("BTCUSDT", 1))
	old.send(`{"e":"serverShutdown","E":1770123456789}`)
	next := r.venue.accept(t)
	// A slow test may come too late for it.
	_ = old.ws.Write(t.Context(), websocket.MessageText, []byte(trade("BTCUSDT", 2)))
	next.send(trade("BTCUSDT", 2))
	next.send(trade("BTCUSDT", 3))
	all := r.kafka.await(t, btcKey, "three trades", func(all []published) bool { return len(tradeIDs(all)) == 3 })
	r.mustStop()
	checkOrder(t, all)
	if n := count(all, records.FrameGap); n != 0 {
		t.Fatalf("%d gaps", n)
	}
}

type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logLines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
