package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestEveryMessageIsPublishedVerbatimAndInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	p := r.venue.accept(t)
	if m := p.subscribed(); !strings.Contains(m, "btcusdt@trade") {
		t.Fatalf("subscription %s", m)
	}
	sent := []string{`{"result":null,"id":1}`}
	for i := range 500 {
		sent = append(sent, trade("BTCUSDT", i+1))
	}
	sent = append(sent, "", " \x00 not JSON at all \xff", `{"e":"somethingNew"}`, strings.Repeat("x", 300_000))
	for _, s := range sent {
		p.send(s)
	}
	if err := p.ws.Write(context.Background(), websocket.MessageBinary, []byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	sent = append(sent, "\x00\x01\x02")
	r.kafka.await(t, btcKey, "all frames", func(all []published) bool { return len(payloads(all)) == len(sent) })
	r.mustStop()
	all := r.kafka.frames(t, btcKey)
	if got := payloads(all); !slices.Equal(got, sent) {
		t.Fatalf("published differs from sent: %d and %d frames", len(got), len(sent))
	}
	checkOrder(t, all)
	if all[0].Kind != records.FrameOpen || all[len(all)-1].Kind != records.FrameClose {
		t.Fatalf("first %s, last %s", all[0].Kind, all[len(all)-1].Kind)
	}
	if n := count(all, records.FrameGap); n != 0 {
		t.Fatalf("%d gaps although nothing is missing: %s", n, summary(all))
	}
	if got := r.metric("records_total", "kind=FRAME"); got != float64(len(sent)) {
		t.Fatalf("metric says %v frames of %d", got, len(sent))
	}
}

func TestALostConnectionLeavesAGapFromItsLastFrameToTheNextFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the first frame", func(all []published) bool { return len(payloads(all)) == 1 })
	p.ws.CloseNow()
	p = r.venue.accept(t)
	p.send(trade("BTCUSDT", 5))
	r.kafka.await(t, btcKey, "the second frame", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	all := r.kafka.frames(t, btcKey)
	checkOrder(t, all)
	lost := gaps(t, all, market.GapConnectionLost)
	if len(lost) != 1 || !slices.Equal(lost[0].VenueSymbols, []string{"BTCUSDT"}) {
		t.Fatalf("gaps %+v", lost)
	}
	var data []published
	for _, f := range all {
		if f.Kind == records.FrameData {
			data = append(data, f)
		}
	}
	if lost[0].From.UnixMicro() != data[0].ReceivedAt || lost[0].To.UnixMicro() != data[1].ReceivedAt {
		t.Fatalf("gap from %s to %s, frames at %s and %s", lost[0].From, lost[0].To, moment(data[0].ReceivedAt), moment(data[1].ReceivedAt))
	}
	if got := r.metric("gaps_total", "reason=CONNECTION_LOST"); got != 1 {
		t.Fatalf("metric says %v gaps", got)
	}
}

func TestARestartTakesUpAfterTheTailWithAGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the first frame", func(all []published) bool { return len(payloads(all)) == 1 })
	r.mustStop()
	before := r.kafka.frames(t, btcKey)

	// Other feeds fill the partition, so that the tail is not the last record of the partition.
	filler := records.Frame{Kind: records.FrameData, Venue: "binance", Feed: "other"}
	value := filler.AppendAvro(registry.AppendWireHeader(nil, 7))
	other := otherKeyOf(partitionOf(btcKey, 32))
	for range 20_000 {
		r.kafka.add(framesTopic, []byte(other), value, 0)
	}

	r.start()
	p = r.venue.accept(t)
	p.send(trade("BTCUSDT", 9))
	all := r.kafka.await(t, btcKey, "the frame after the restart", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	checkOrder(t, all)
	restart := gaps(t, all, market.GapLoaderRestart)
	if len(restart) != 1 {
		t.Fatalf("gaps %+v", restart)
	}
	if last := before[len(before)-1]; restart[0].From.UnixMicro() != last.ReceivedAt {
		t.Fatalf("gap from %s, last record at %s", restart[0].From, moment(last.ReceivedAt))
	}
}

// Something that is no frame stands last under the feed's key: the start goes on from its time.
func TestATailThatCannotBeReadIsNoReasonNotToStart(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{
		"no wire format": []byte("hello"), "unknown schema": registry.AppendWireHeader(nil, 99), "no frame": registry.AppendWireHeader(nil, 7),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, btc(venue.Trades))
			at := time.Now().Add(-time.Hour).UnixMilli()
			r.kafka.add(framesTopic, []byte(btcKey), value, at)
			r.start()
			r.venue.accept(t).send(trade("BTCUSDT", 1))
			value := r.kafka.awaitKind(t, records.FrameGap)
			r.mustStop()
			var gap market.Gap
			if err := json.Unmarshal(value.Payload, &gap); err != nil || gap.Reason != market.GapLoaderRestart || gap.From.UnixMilli() != at {
				t.Fatalf("gap %+v, %v", gap, err)
			}
		})
	}
}

// otherKeyOf finds a key of the same partition.
func otherKeyOf(partition int32) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("binance/other-%d", i); partitionOf(key, 32) == partition {
			return key
		}
	}
}

func TestAFrameThatIsTooLargeEndsOnlyItsConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades), FeedConfig{Name: "f1", Venue: "binance", Symbols: []string{"ETH-USDT"}, Channels: []venue.Channel{venue.Trades}})
	r.start()
	first, second := r.venue.accept(t), r.venue.accept(t)
	if strings.Contains(first.subscribed(), "ethusdt") {
		first, second = second, first
	}
	largest := strings.Repeat("a", MaxFrameBytes)
	first.send(largest)
	r.kafka.await(t, btcKey, "the largest frame", func(all []published) bool { return len(payloads(all)) == 1 })
	first.ws.Write(context.Background(), websocket.MessageText, []byte(largest+"b"))
	first = r.venue.accept(t)
	first.send(trade("BTCUSDT", 2))
	second.send(trade("ETHUSDT", 1))
	all := r.kafka.await(t, btcKey, "the next frame", func(all []published) bool { return len(payloads(all)) == 2 })
	eth := r.kafka.await(t, "binance/f1", "the other feed", func(all []published) bool { return len(payloads(all)) == 1 })
	r.mustStop()
	checkOrder(t, all)
	if payloads(all)[0] != largest {
		t.Fatal("the largest frame is not verbatim")
	}
	if g := gaps(t, all, market.GapFrameTooLarge); len(g) != 1 || g[0].Detail == "" {
		t.Fatalf("gaps %+v", g)
	}
	if n := count(eth, records.FrameGap); n != 0 {
		t.Fatalf("the other feed has %d gaps", n)
	}
}

func TestWhileKafkaIsAwayNothingIsLostWithinTheBuffer(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the first frame", func(all []published) bool { return len(payloads(all)) == 1 })
	r.kafka.setDown(true)
	for i := range 20_000 {
		p.send(trade("BTCUSDT", i+2))
	}
	r.kafka.setDown(false)
	all := r.kafka.await(t, btcKey, "all frames", func(all []published) bool { return len(all) > 20_000 })
	r.mustStop()
	checkOrder(t, all)
	if n := count(all, records.FrameGap); n != 0 || len(payloads(all)) != 20_001 {
		t.Fatalf("%d frames, %d gaps", len(payloads(all)), n)
	}
}

func TestAFullBufferDropsTheNewestAndTellsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.config.BufferBytes, r.config.QueueBytes = 40<<20, 1<<20
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the first frame", func(all []published) bool { return len(payloads(all)) == 1 })
	r.kafka.setDown(true)
	const sent = 100
	for i := range sent {
		p.send(fmt.Sprintf("%06d", i) + strings.Repeat("z", 1<<20))
	}
	waitFor(t, "drops", func() bool { return r.metric("dropped_frames_total")+r.metric("records_total", "kind=FRAME") == sent+1 })
	dropped := int64(r.metric("dropped_frames_total"))
	if dropped == 0 || r.loader.buffer.Bytes() > r.config.BufferBytes {
		t.Fatalf("dropped %d, buffer %d", dropped, r.loader.buffer.Bytes())
	}
	r.kafka.setDown(false)
	r.kafka.await(t, btcKey, "the gap", func(all []published) bool { return len(gaps(t, all, market.GapBufferFull)) > 0 })
	p.send("after")
	all := r.kafka.await(t, btcKey, "a frame after the gap", func(all []published) bool {
		texts := payloads(all)
		return texts[len(texts)-1] == "after"
	})
	r.mustStop()
	checkOrder(t, all)
	full := gaps(t, all, market.GapBufferFull)
	if len(full) != 1 || full[0].Frames != dropped || full[0].Bytes != dropped*(6+1<<20) || !slices.Equal(full[0].VenueSymbols, []string{"BTCUSDT"}) {
		t.Fatalf("gaps %+v, dropped %d", full, dropped)
	}
	// The newest were dropped: what is there is a run from the first on.
	for i, text := range payloads(all)[1 : len(payloads(all))-1] {
		if !strings.HasPrefix(text, fmt.Sprintf("%06d", i)) {
			t.Fatalf("frame %d begins %s", i, text[:6])
		}
	}
}

func TestADrainWithoutKafkaSaysHowMuchIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.config.DrainTimeout = 2 * time.Second
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the first frame", func(all []published) bool { return len(payloads(all)) == 1 })
	r.kafka.setDown(true)
	for i := range 10 {
		p.send(trade("BTCUSDT", i+2))
	}
	waitFor(t, "the frames", func() bool { return r.metric("records_total", "kind=FRAME") == 11 })
	err := r.stop()
	// Ten frames and the CLOSE.
	if err == nil || !strings.Contains(err.Error(), "11 records are not in Kafka") {
		t.Fatalf("drain said %v", err)
	}
	r.kafka.setDown(false)
	r.start()
	p = r.venue.accept(t)
	p.send(trade("BTCUSDT", 50))
	all := r.kafka.await(t, btcKey, "the frame after", func(all []published) bool { return len(payloads(all)) == 2 })
	r.mustStop()
	if g := gaps(t, all, market.GapLoaderRestart); len(g) != 1 || g[0].From.UnixMicro() != all[1].ReceivedAt {
		t.Fatalf("gaps %+v", g)
	}
}

func TestARecordThatKafkaRefusesIsToldOf(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.kafka.refuse = func(m kafka.Message) error {
		if strings.Contains(string(m.Value), "poison") {
			return fmt.Errorf("%w: %w", kafka.ErrTooLarge, errTest)
		}
		return nil
	}
	r.start()
	p := r.venue.accept(t)
	p.send(trade("BTCUSDT", 1))
	p.send("poison")
	p.send(trade("BTCUSDT", 2))
	all := r.kafka.await(t, btcKey, "the gap", func(all []published) bool { return len(gaps(t, all, market.GapUnknown)) == 1 })
	r.mustStop()
	if g := gaps(t, all, market.GapUnknown)[0]; g.Frames != 1 || !strings.Contains(g.Detail, "refused by the test") {
		t.Fatalf("gap %+v", g)
	}
}

func TestTheLoaderRefusesToStartWithoutItsSchema(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.registry.set(fmt.Errorf("looking up: %w: run `make register-schemas`", registry.ErrNotRegistered))
	r.start()
	select {
	case err := <-r.ended:
		if !errors.Is(err, registry.ErrNotRegistered) {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("still running")
	}
}

func TestTheLoaderWaitsForRegistryAndBroker(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades))
	r.registry.set(fmt.Errorf("looking up: %w", registry.ErrUnavailable))
	r.kafka.setDown(true)
	r.start()
	waitFor(t, "the wait for the registry", func() bool { err := r.loader.Ready(); return err != nil && strings.Contains(err.Error(), "registry") })
	r.registry.set(nil)
	waitFor(t, "the wait for the broker", func() bool { err := r.loader.Ready(); return err != nil && strings.Contains(err.Error(), "broker") })
	r.kafka.setDown(false)
	p := r.venue.accept(t)
	waitFor(t, "readiness", func() bool { return r.loader.Ready() == nil })
	p.send(trade("BTCUSDT", 1))
	r.kafka.await(t, btcKey, "the frame", func(all []published) bool { return len(payloads(all)) == 1 })
	r.mustStop()
}

func TestAReplayEndsWithANormalCloseAndSnapshotsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc())
	r.feeds[0].Replay = true
	r.feeds[0].WebSocket = r.venue.ws() + "/replay"
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 90, 100))
	p.ws.Write(context.Background(), websocket.MessageBinary, []byte(`{"venue_symbol":"BTCUSDT","request":"/api/v3/depth?symbol=BTCUSDT&limit=1000"}`+"\n"+depthBody(95)))
	p.send(depthUpdate("BTCUSDT", 105, 110)) // a hole
	p.ws.Close(websocket.StatusNormalClosure, "")
	all := r.kafka.await(t, btcKey, "the CLOSE", func(all []published) bool { return count(all, records.FrameClose) == 1 })
	waitFor(t, "readiness", func() bool { return r.loader.Ready() == nil })
	r.mustStop()
	checkOrder(t, all)
	kinds := []records.FrameKind{records.FrameOpen, records.FrameData, records.FrameRESTSnapshot, records.FrameGap, records.FrameData, records.FrameClose}
	for i, kind := range kinds {
		if all[i].Kind != kind {
			t.Fatalf("record %d is %s, expected %s%s", i, all[i].Kind, kind, summary(all))
		}
	}
	if s := all[2]; string(s.Payload) != depthBody(95) || s.VenueSymbol != "BTCUSDT" || !strings.HasPrefix(s.Request, "/api/v3/depth") {
		t.Fatalf("snapshot %+v", s)
	}
	if r.venue.timesAsked() != 0 {
		t.Fatal("a replay asked for a snapshot by REST")
	}
}

func TestAReplayWaitsForRoomInsteadOfDropping(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc())
	r.feeds[0].Replay = true
	r.config.BufferBytes, r.config.QueueBytes = 40<<20, 1<<20
	r.start()
	p := r.venue.accept(t)
	r.kafka.setDown(true)
	const sent = 100
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range sent {
			p.send(fmt.Sprintf("%06d", i) + strings.Repeat("z", 1<<20))
		}
	}()
	waitFor(t, "a full buffer", func() bool { return r.loader.buffer.Bytes() > 30<<20 })
	r.kafka.setDown(false)
	<-written
	all := r.kafka.await(t, btcKey, "all frames", func(all []published) bool { return len(payloads(all)) == sent })
	r.mustStop()
	checkOrder(t, all)
	if count(all, records.FrameGap) != 0 {
		t.Fatal("a replay dropped")
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}
