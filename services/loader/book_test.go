package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func (v *testVenue) answer(depth func(symbol string) (int, http.Header, string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.depth = depth
}

func restBodies(all []published) []string {
	var bodies []string
	for i := range all {
		if all[i].Kind == records.FrameRESTSnapshot {
			bodies = append(bodies, string(all[i].Payload))
		}
	}
	return bodies
}

func TestASnapshotIsFetchedUntilItReachesTheFirstUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Book))
	var asked atomic.Int64
	r.venue.answer(func(string) (int, http.Header, string) {
		return 200, nil, depthBody(98 + int(asked.Add(1))) // 99 is too old for a first U of 100
	})
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 100, 105))
	r.kafka.await(t, btcKey, "two snapshots", func(all []published) bool { return len(restBodies(all)) == 2 })
	p.send(depthUpdate("BTCUSDT", 106, 107))
	all := r.kafka.await(t, btcKey, "the second update", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	checkOrder(t, all)
	if got := restBodies(all); !slices.Equal(got, []string{depthBody(99), depthBody(100)}) {
		t.Fatalf("snapshots %q", got)
	}
	for _, f := range all {
		if f.Kind == records.FrameRESTSnapshot && (f.VenueSymbol != "BTCUSDT" || !strings.HasPrefix(f.Request, "/api/v3/depth?symbol=BTCUSDT")) {
			t.Fatalf("snapshot's envelope %+v", f.Frame)
		}
	}
	if n := r.venue.timesAsked(); n != 2 {
		t.Fatalf("asked %d times", n)
	}
}

func TestAVenueThatWantsToBeLeftAloneIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Book))
	var first atomic.Int64
	r.venue.answer(func(string) (int, http.Header, string) {
		if first.CompareAndSwap(0, time.Now().UnixMilli()) {
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"2"}}, "slow down"
		}
		return 200, nil, depthBody(200)
	})
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 100, 105))
	all := r.kafka.await(t, btcKey, "a snapshot", func(all []published) bool { return len(restBodies(all)) == 1 })
	if waited := time.Now().UnixMilli() - first.Load(); waited < 2000 {
		t.Fatalf("asked again after %d ms", waited)
	}
	r.mustStop()
	if got := restBodies(all); got[0] != depthBody(200) {
		t.Fatalf("published %q: an error's body is no snapshot", got)
	}
}

func TestTheWeightBudgetIsKept(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	r := &restClient{budget: 100, now: func() time.Time { return now }}
	for range 2 {
		if w := r.wait(50); w != 0 {
			t.Fatalf("waits %s within the budget", w)
		}
		r.used += 50
	}
	if w := r.wait(50); w < 50*time.Second || w > 51*time.Second {
		t.Fatalf("waits %s although the minute has 50 s left", w)
	}
	r.used, r.window = 0, time.Time{}
	if w := r.wait(500); w != 0 {
		t.Fatalf("a request of more than the whole budget would wait for ever: %s", w)
	}
	r.pausedUntil = now.Add(7 * time.Second)
	if w := r.wait(1); w != 7*time.Second {
		t.Fatalf("waits %s of a pause of 7 s", w)
	}
}

func TestAHoleInTheIdsIsAGapAndAFreshSnapshot(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc())
	r.venue.answer(func(string) (int, http.Header, string) { return 200, nil, depthBody(1000) })
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 100, 105))
	r.kafka.await(t, btcKey, "the first snapshot", func(all []published) bool { return len(restBodies(all)) == 1 })
	p.send(trade("BTCUSDT", 10))
	p.send(trade("BTCUSDT", 13)) // a hole of two trades: only a GAP
	p.send(depthUpdate("BTCUSDT", 106, 110))
	p.send(depthUpdate("BTCUSDT", 121, 130)) // a hole of ten updates
	p.send(depthUpdate("BTCUSDT", 141, 150)) // and another one before the new snapshot
	all := r.kafka.await(t, btcKey, "the second snapshot", func(all []published) bool { return len(restBodies(all)) == 2 })
	r.mustStop()
	checkOrder(t, all)
	holes := gaps(t, all, market.GapSequence)
	if len(holes) != 3 || holes[0].Channel != "trades" || *holes[0].Missing != 2 || holes[1].Channel != "book" || *holes[1].Missing != 10 {
		t.Fatalf("gaps %+v", holes)
	}
	if n := r.venue.timesAsked(); n != 2 {
		t.Fatalf("asked %d times for two reasons: updates before the new snapshot must not ask again", n)
	}
	// The GAP stands before the frame that showed it.
	for i := range all {
		if strings.Contains(string(all[i].Payload), `"t":13`) && all[i-1].Kind != records.FrameGap {
			t.Fatalf("no gap before trade 13%s", summary(all))
		}
	}
}

func TestVeryManyHolesAreToldTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	p := r.venue.accept(t)
	for i := range 500 {
		p.send(trade("BTCUSDT", 1+2*i))
	}
	r.kafka.await(t, btcKey, "all frames", func(all []published) bool { return len(payloads(all)) == 500 })
	r.mustStop()
	all := r.kafka.frames(t, btcKey)
	checkOrder(t, all)
	holes := gaps(t, all, market.GapSequence)
	var missing int64
	for _, h := range holes {
		missing += *h.Missing
	}
	if missing != 499 || len(holes) > 40 {
		t.Fatalf("%d gaps tell of %d missing trades, expected few of 499", len(holes), missing)
	}
}

func TestARefusedSubscriptionHarmsNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, FeedConfig{Name: "k", Venue: "kraken", Symbols: []string{"BTC-USD", "BAD-USD"}, Channels: []venue.Channel{venue.Book}, Depth: 25})
	r.start()
	p := r.venue.accept(t)
	p.subscribed()
	p.send(`{"error":"Currency pair not supported BAD/USD","method":"subscribe","req_id":1,"success":false,"symbol":"BAD/USD","time_in":"2024-01-01T00:00:00.000000Z","time_out":"2024-01-01T00:00:00.000000Z"}`)
	p.send(`{"method":"subscribe","req_id":1,"result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"2024-01-01T00:00:00.000000Z","time_out":"2024-01-01T00:00:00.000000Z"}`)
	p.send(krakenBook("snapshot"))
	all := r.kafka.await(t, "kraken/k", "the book", func(all []published) bool { return len(payloads(all)) == 3 })
	refused := gaps(t, all, market.GapSubscriptionRefused)
	if len(refused) != 1 || !slices.Equal(refused[0].VenueSymbols, []string{"BAD/USD"}) || !strings.Contains(refused[0].Detail, "not supported") {
		t.Fatalf("gaps %+v", refused)
	}
	if again := p.subscribed(); !strings.Contains(again, "BAD/USD") || strings.Contains(again, "BTC/USD") {
		t.Fatalf("asked again with %s", again)
	}
	r.mustStop()
	checkOrder(t, all)
}

// An error that is about none of the feed's symbols is no GAP: such a GAP would tell nobody anything.
func TestARefusalThatNobodyCanBeBlamedForIsNoGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	lines := &logLines{}
	r.logTo(lines)
	r.start()
	p := r.venue.accept(t)
	p.send(`{"error":{"code":3,"msg":"Invalid JSON: expected value"}}`)
	p.send(trade("BTCUSDT", 1))
	all := r.kafka.await(t, btcKey, "both frames", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	if n := count(all, records.FrameGap); n != 0 || r.metric("subscriptions_refused_total") != 1 || lines.count("Invalid JSON") != 1 {
		t.Fatalf("%d gaps, metric %v%s", n, r.metric("subscriptions_refused_total"), summary(all))
	}
}

func krakenBook(kind string) string {
	return fmt.Sprintf(`{"channel":"book","type":"%s","data":[{"symbol":"BTC/USD","bids":[{"price":57000.1,"qty":1.00000000}],"asks":[{"price":57000.2,"qty":1.00000000}],"checksum":1,"timestamp":"2024-01-01T00:00:00.000000Z"}]}`, kind)
}

// resyncRequest publishes a request for a book that is broken since a record of a feed.
func (r *rig) resyncRequest(v, symbol, venueSymbol string, since published, requestedAt time.Time) {
	topic := r.kafka.topics[framesTopic]
	request := records.OrderbookResync{
		Venue: v, Symbol: symbol, VenueSymbol: venueSymbol, Reason: "test", RequestedAt: requestedAt.UnixMicro(),
		BrokenSince: records.Coordinates{TopicID: topic.ID, Partition: since.Partition, Offset: since.Offset},
	}
	value := request.AppendAvro(registry.AppendWireHeader(nil, 8))
	r.kafka.add(resyncTopic, []byte(v+"/"+symbol), value, 0)
}

func TestAResyncIsAnsweredOnceByREST(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Book))
	r.venue.answer(func(string) (int, http.Header, string) { return 200, nil, depthBody(1000) })
	before := time.Now()
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 100, 105))
	r.kafka.await(t, btcKey, "the first snapshot", func(all []published) bool { return len(restBodies(all)) == 1 })
	p.send(depthUpdate("BTCUSDT", 106, 107))
	all := r.kafka.await(t, btcKey, "an update", func(all []published) bool { return len(payloads(all)) == 2 })
	broken := all[len(all)-1]
	waitFor(t, "the reader of requests", func() bool { return r.loader.Ready() == nil })

	r.resyncRequest("binance", "BTC-USDT", "BTCUSDT", broken, before)     // from before the connection
	r.resyncRequest("binance", "BTC-USDT", "BTCUSDT", all[0], time.Now()) // a snapshot was published since
	r.resyncRequest("kraken", "BTC-USD", "BTC/USD", broken, time.Now())   // of another loader
	for range 3 {
		r.resyncRequest("binance", "BTC-USDT", "BTCUSDT", broken, time.Now())
	}
	r.kafka.await(t, btcKey, "the second snapshot", func(all []published) bool { return len(restBodies(all)) == 2 })
	waitFor(t, "all requests", func() bool { return r.metric("resync_records_total") == 6 })
	// Once the snapshot is there, the same complaint is answered already.
	r.resyncRequest("binance", "BTC-USDT", "BTCUSDT", broken, time.Now())
	waitFor(t, "the last request", func() bool { return r.metric("resync_records_total") == 7 })
	r.mustStop()
	if n := r.venue.timesAsked(); n != 2 {
		t.Fatalf("asked %d times", n)
	}
	for answer, want := range map[string]float64{"answered": 1, "before_connection": 1} {
		if got := r.metric("resyncs_total", "answer="+answer); got != want {
			t.Errorf("%v requests %s, expected %v", got, answer, want)
		}
	}
	if got := r.metric("resyncs_total", "answer=published_since"); got < 2 {
		t.Errorf("%v requests found a snapshot published since", got)
	}
}

func TestAResyncIsAnsweredBySubscribingAnewWhereTheVenueSendsSnapshotsSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, FeedConfig{Name: "k", Venue: "kraken", Symbols: []string{"BTC-USD"}, Channels: []venue.Channel{venue.Book}, Depth: 25})
	r.start()
	p := r.venue.accept(t)
	p.subscribed()
	p.send(krakenBook("snapshot"))
	p.send(krakenBook("update"))
	all := r.kafka.await(t, "kraken/k", "the book", func(all []published) bool { return len(payloads(all)) == 2 })
	waitFor(t, "the reader of requests", func() bool { return r.loader.Ready() == nil })
	for range 5 {
		r.resyncRequest("kraken", "BTC-USD", "BTC/USD", all[2], time.Now())
	}
	if m := p.subscribed(); !strings.Contains(m, "unsubscribe") {
		t.Fatalf("sent %s", m)
	}
	if m := p.subscribed(); !strings.Contains(m, `"subscribe"`) || !strings.Contains(m, `"depth":25`) {
		t.Fatalf("sent %s", m)
	}
	waitFor(t, "all requests", func() bool { return r.metric("resync_records_total") == 5 })
	p.send(krakenBook("update")) // queued before the new snapshot
	p.send(krakenBook("snapshot"))
	all = r.kafka.await(t, "kraken/k", "the new book", func(all []published) bool { return len(payloads(all)) == 4 })
	r.mustStop()
	checkOrder(t, all)
	if g := gaps(t, all, market.GapResync); len(g) != 1 {
		t.Fatalf("gaps %+v", g)
	}
	for len(p.received) > 0 {
		if m := <-p.received; m != `{"method":"ping"}` {
			t.Fatalf("also sent %s", m)
		}
	}
}
