package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

// fickleProducer delivers or refuses each record at once, as refuse says.
type fickleProducer struct {
	refuse    func(f *records.Frame) (atOnce bool, err error)
	deliver   func(kafka.Delivery)
	delivered []records.Frame
	produced  int
}

func (p *fickleProducer) Produce(m *kafka.Message) error {
	var f records.Frame
	if err := f.DecodeAvro(m.Value[5:]); err != nil {
		return err
	}
	p.produced++
	atOnce, err := p.refuse(&f)
	if err != nil && atOnce {
		return err
	}
	if err == nil {
		f.Payload = slices.Clone(f.Payload)
		p.delivered = append(p.delivered, f)
	}
	p.deliver(kafka.Delivery{Opaque: m.Opaque, Offset: int64(len(p.delivered)), Err: err})
	return nil
}

func (p *fickleProducer) Flush(context.Context) error { return nil }
func (p *fickleProducer) Close()                      {}

// Whatever Kafka refuses, the GAPs about it included, is counted by a GAP that Kafka has in the end, and lies within its
// time.
func TestEveryRefusedRecordIsToldOfOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		buffer, lanes, m := newLanes(t, 36<<20, 1)
		l := lanes[0]
		p := &publisher{topic: framesTopic, buffer: buffer, opaques: l.opaques, metrics: m, log: slog.New(slog.DiscardHandler)}
		producer := &fickleProducer{deliver: p.onDelivery}
		p.producer = producer
		var offered, outage int
		var refused []int64
		refuseEvery := rapid.SampledFrom([]int{1, 2, 7}).Draw(t, "one refused in")
		producer.refuse = func(f *records.Frame) (bool, error) {
			if outage == 0 || producer.produced%refuseEvery != 0 {
				return false, nil
			}
			switch f.Kind {
			case records.FrameData:
				refused = append(refused, f.ReceivedAt)
			case records.FrameGap:
				var gap market.Gap
				if err := json.Unmarshal(f.Payload, &gap); err != nil {
					return false, err
				}
				refused = append(refused, gap.From.UnixMicro())
			}
			return producer.produced%2 == 0, errTest
		}
		publish := func() {
			for next := buffer.next(); next != nil; next = buffer.next() {
				if err := p.publish(t.Context(), next); err != nil {
					t.Fatal(err)
				}
			}
		}
		at := time.Now().Add(-time.Hour).UnixMicro()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at += rapid.Int64Range(1, 1e6).Draw(t, "µs")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				outage = 1 - outage
			case 1:
				l.gap(t.Context(), 1, at, &market.Gap{Reason: market.GapSequence, From: moment(at - 100)})
			case 2:
				publish()
			case 3:
				p.retell(false)
			default:
				l.append(t.Context(), entry{kind: records.FrameData, connection: 1, receivedAt: at, payload: []byte("x")})
				offered++
			}
		}
		publish()
		outage = 0
		p.retell(true)
		publish()

		var frames, told int
		for _, f := range producer.delivered {
			switch f.Kind {
			case records.FrameData:
				frames++
			case records.FrameGap:
				var gap market.Gap
				if err := json.Unmarshal(f.Payload, &gap); err != nil {
					t.Fatal(err)
				}
				told += int(gap.Frames)
				refused = slices.DeleteFunc(refused, func(at int64) bool {
					return gap.To != nil && at >= gap.From.UnixMicro() && at <= gap.To.UnixMicro()
				})
			}
		}
		if frames+told != offered || len(refused) > 0 {
			t.Fatalf("%d frames offered, %d in Kafka, %d told of, %d outside of the GAPs", offered, frames, told, len(refused))
		}
		if left := p.undelivered(); left != 0 {
			t.Fatalf("%d records are neither in Kafka nor told of", left)
		}
	})
}

// Kafka refuses everything for a while, as a broker does whose disk is full: the frames go on, one GAP counts what is
// missing, and the book is fetched anew.
func TestAfterKafkaRefusedEverythingAGapCountsItAndTheBookIsFresh(t *testing.T) {
	t.Parallel()
	r := newRig(t, btc(venue.Trades, venue.Book))
	r.venue.depth = func(string) (int, http.Header, string) { return 200, nil, depthBody(1_000_000) }
	var full atomic.Bool
	var tried, refused atomic.Int64 // GAPs and frames while full
	r.kafka.refuse = func(m kafka.Message) error {
		if !full.Load() {
			return nil
		}
		if strings.Contains(string(m.Value), `"reason":"UNKNOWN"`) {
			tried.Add(1)
		} else if strings.Contains(string(m.Value), "@trade") {
			refused.Add(1)
		}
		return fmt.Errorf("delivering a record: %w", errTest)
	}
	r.start()
	p := r.venue.accept(t)
	p.send(depthUpdate("BTCUSDT", 1, 1))
	r.kafka.await(t, btcKey, "the first book", func(all []published) bool { return count(all, records.FrameRESTSnapshot) == 1 })

	full.Store(true)
	const lost = 50
	for i := range lost {
		p.send(trade("BTCUSDT", i+1))
		waitFor(t, "the refusal", func() bool { return refused.Load() == int64(i+1) })
	}
	if n := tried.Load(); n > lost/2 {
		t.Fatalf("%d GAPs were tried while everything was refused", n)
	}
	full.Store(false)
	p.send(trade("BTCUSDT", lost+1))
	all := r.kafka.await(t, btcKey, "the GAP and the fresh book", func(all []published) bool {
		return len(gaps(t, all, market.GapUnknown)) > 0 && count(all, records.FrameRESTSnapshot) == 2
	})
	r.mustStop()
	var frames int64
	for _, gap := range gaps(t, all, market.GapUnknown) {
		frames += gap.Frames
		if !strings.Contains(gap.Detail, errTest.Error()) || !slices.Equal(gap.VenueSymbols, []string{"BTCUSDT"}) {
			t.Errorf("gap %+v", gap)
		}
	}
	if frames != lost {
		t.Fatalf("the GAPs count %d frames, %d were refused", frames, lost)
	}
}

// What a GAP was to tell is told by the next one when there is no room for it: its beginning, too.
func TestAGapThatFindsNoRoomIsToldByTheNext(t *testing.T) {
	t.Parallel()
	_, lanes, _ := newLanes(t, 36<<20, 1)
	l := lanes[0]
	began := time.Now().Add(-time.Minute)
	for l.append(t.Context(), entry{kind: records.FrameData, receivedAt: time.Now().UnixMicro(), payload: make([]byte, 1<<20)}) {
	}
	l.gap(t.Context(), 1, time.Now().UnixMicro(), &market.Gap{Reason: market.GapConnectionLost, From: moment(began.UnixMicro())})
	if l.lost.from != began.UnixMicro() || l.lost.frames != 1 || l.lost.records != 2 {
		t.Fatalf("lost %+v, expected it to begin at %d", l.lost, began.UnixMicro())
	}
}

// A topic that is deleted and made anew under a running loader: it goes on by itself, and what the old topic took down
// with it, or what Kafka refused meanwhile, stands in a GAP.
func TestATopicMadeAnewIsTakenUpWithAGap(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := newStack(t)
	p := s.start(s.config())
	stop := make(chan struct{})
	last := s.venue.play(stop, time.Millisecond)
	waitFor(t, "frames", func() bool { return len(s.frames(btcKey)) > 500 })
	before := tradeIDs(s.frames(btcKey))

	admin, err := kafka.NewAdmin(s.client())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Delete(t.Context(), framesTopic); err != nil {
		t.Fatal(err)
	}
	s.createFrames(admin)
	waitFor(t, "frames in the new topic", func() bool { return len(tradeIDs(s.frames(btcKey))) > 500 })
	close(stop)
	sent := <-last
	waitFor(t, "the last trade", func() bool {
		ids := tradeIDs(s.frames(btcKey))
		return len(ids) > 0 && ids[len(ids)-1] == sent
	})
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}
	all := s.frames(btcKey)
	told := int64(0)
	for _, gap := range gaps(t, all, market.GapUnknown) {
		told += gap.Frames
	}
	ids := tradeIDs(all)
	missing := int64(sent - ids[0] + 1 - len(ids)) // within the new topic
	if told == 0 || missing > told || told > int64(sent-before[len(before)-1]-len(ids)) {
		t.Fatalf("%d trades before, %d after, from %d to %d; %d frames told of", len(before), len(ids), ids[0], sent, told)
	}
}
