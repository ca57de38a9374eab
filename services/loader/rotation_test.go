package main

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

// tradeIDs are the ids of the trades published, in order.
func tradeIDs(all []published) []int {
	var ids []int
	for _, text := range payloads(all) {
		if _, rest, ok := strings.Cut(text, `"t":`); ok && strings.Contains(text, `"e":"trade"`) {
			id, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.Atoi(id)
			ids = append(ids, n)
		}
	}
	return ids
}

// unhurried is how long a rotation waits for what the test does on its second connection: not long where it has to pass, and
// long where a busy machine keeps the test waiting.
const unhurried = 5 * time.Second

func TestARotationPublishesEachIDOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc())
	r.feeds[0].MaxConnectionAge = 500 * time.Millisecond
	r.venue.answer(func(string) (int, http.Header, string) { return 200, nil, depthBody(100000) })
	r.start()
	old := r.venue.accept(t)
	stop, done := make(chan struct{}), make(chan struct{})
	next := make(chan *peer, 1)
	// The venue sends the same trades and updates on every open connection, the second a little later than the first.
	go func() {
		defer close(done)
		peers := []*peer{old}
		for id := 1; ; id++ {
			select {
			case p := <-next:
				peers = append(peers, p)
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			for i, p := range peers {
				late := id - 20*i // each connection is 20 trades behind the one before it
				select {
				case <-p.done:
					continue
				default:
				}
				if late > 0 {
					p.ws.Write(t.Context(), websocket.MessageText, []byte(trade("BTCUSDT", late)))
					p.ws.Write(t.Context(), websocket.MessageText, []byte(depthUpdate("BTCUSDT", 3*late, 3*late+2)))
				}
			}
		}
	}()
	for range 2 {
		next <- r.venue.accept(t)
		before := r.metric("rotations_total")
		waitFor(t, "a rotation", func() bool { return r.metric("rotations_total") > before })
	}
	close(stop)
	<-done
	r.mustStop()
	all := r.kafka.frames(t, btcKey)
	checkOrder(t, all)
	if got := r.metric("rotations_total", "result=clean"); got < 2 {
		t.Fatalf("%v clean rotations", got)
	}
	if g := gaps(t, all, market.GapRotation); len(g) != 0 {
		t.Fatalf("gaps %+v", g)
	}
	ids := tradeIDs(all)
	for i, id := range ids {
		if id != i+1 {
			t.Fatalf("trade %d follows %d", id, ids[max(0, i-1)])
		}
	}
	if count(all, records.FrameOpen) < 3 {
		t.Fatalf("%d connections", count(all, records.FrameOpen))
	}
}

func TestARotationWithoutIDsLeavesAGapAndAFreshBook(t *testing.T) {
	t.Parallel()
	r := newRig(t, FeedConfig{
		Name: "k", Venue: "kraken", Symbols: []string{"BTC-USD"}, Channels: []venue.Channel{venue.Book}, Depth: 25,
		MaxConnectionAge: 300 * time.Millisecond,
	})
	r.config.Rotation.Settle = unhurried
	r.start()
	old := r.venue.accept(t)
	old.send(krakenBook("snapshot"))
	old.send(krakenBook("update"))
	next := r.venue.accept(t)
	old.send(krakenBook("update"))
	next.send(krakenBook("snapshot"))
	next.send(krakenBook("update"))
	all := r.kafka.await(t, "kraken/k", "the rotation", func(all []published) bool { return count(all, records.FrameOpen) == 2 && len(payloads(all)) == 5 })
	r.mustStop()
	checkOrder(t, all)
	g := gaps(t, all, market.GapRotation)
	if len(g) != 1 || !slices.Equal(g[0].VenueSymbols, []string{"BTC/USD"}) || g[0].Channel != "book" {
		t.Fatalf("gaps %+v", g)
	}
	if got := payloads(all); got[3] != krakenBook("snapshot") {
		t.Fatalf("after the gap comes %s", got[3])
	}
}

func TestAConnectionThatDiesInARotationIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.feeds[0].MaxConnectionAge = 300 * time.Millisecond
	r.config.Rotation = RotationConfig{Settle: time.Hour, Overlap: time.Hour}
	r.start()
	old := r.venue.accept(t)
	for id := range 10 {
		old.send(trade("BTCUSDT", id+1))
	}
	next := r.venue.accept(t)
	old.send(trade("BTCUSDT", 11))
	for id := 9; id <= 20; id++ {
		next.send(trade("BTCUSDT", id))
	}
	k := r.loader.links[0]
	waitFor(t, "the frames held back", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.held) == 12 })
	if n := len(tradeIDs(r.kafka.frames(t, btcKey))); n > 11 {
		t.Fatalf("%d trades: the second connection's were published before the switch", n)
	}
	r.kafka.await(t, btcKey, "eleven trades", func(all []published) bool { return len(tradeIDs(all)) == 11 })
	old.ws.CloseNow()
	all := r.kafka.await(t, btcKey, "twenty trades", func(all []published) bool { return len(tradeIDs(all)) == 20 })
	r.mustStop()
	checkOrder(t, all)
	for i, id := range tradeIDs(all) {
		if id != i+1 {
			t.Fatalf("ids %v", tradeIDs(all))
		}
	}
	if n := count(all, records.FrameGap); n != 0 {
		t.Fatalf("%d gaps", n)
	}
}

func TestARotationThatFindsNoCommonIDTellsOfTheHole(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.feeds[0].MaxConnectionAge = 200 * time.Millisecond
	r.config.Rotation = RotationConfig{Settle: unhurried, Overlap: unhurried + time.Second}
	r.start()
	old := r.venue.accept(t)
	old.send(trade("BTCUSDT", 5))
	next := r.venue.accept(t)
	next.send(trade("BTCUSDT", 9))
	all := r.kafka.await(t, btcKey, "the switch", func(all []published) bool { return len(tradeIDs(all)) == 2 })
	r.mustStop()
	checkOrder(t, all)
	if g := gaps(t, all, market.GapRotation); len(g) != 1 || *g[0].Missing != 3 {
		t.Fatalf("gaps %+v", g)
	}
}
