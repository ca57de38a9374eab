package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// newLanes makes a buffer with lanes, without a loader around it.
func newLanes(t interface{ Fatal(...any) }, capacity int64, n int) (*Buffer, []*lane, *metrics) {
	buffer, err := NewBuffer(capacity, n)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(prometheus.NewRegistry(), func() float64 { return 0 })
	opaques := newOpaques()
	var lanes []*lane
	for i := range n {
		l := &lane{
			venue: "v", feed: fmt.Sprint("f", i), key: fmt.Append(nil, "v/f", i), symbols: []string{"S"}, wire: make([]byte, 5),
			metrics: m.of("v", fmt.Sprint("f", i)), opaques: opaques, epoch: 1,
		}
		buffer.add(l)
		lanes = append(lanes, l)
	}
	return buffer, lanes, m
}

// What is appended comes out of the buffer in the lane's order with contiguous sequence numbers, or is counted by exactly one
// GAP in its place; the memory stays within the bound; no lane can take another's guaranteed part.
func TestBufferHoldsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "lanes")
		buffer, lanes, _ := newLanes(t, 36<<20, n)
		appended := make([]int64, n) // data records offered
		accounted := make([]int64, n)
		sequences := make([]int64, n)
		drain := func() bool {
			l := buffer.next()
			if l == nil {
				return false
			}
			slab := l.take()
			if slab == nil {
				return true
			}
			var records_ int64
			for rest := slab; len(rest) > 0; records_++ {
				size := binary.LittleEndian.Uint32(rest)
				var f records.Frame
				if err := f.DecodeAvro(rest[entryHeaderBytes+5 : entryHeaderBytes+size]); err != nil {
					t.Fatal(err)
				}
				if f.Sequence != sequences[l.index] {
					t.Fatalf("lane %d: sequence %d, expected %d", l.index, f.Sequence, sequences[l.index])
				}
				sequences[l.index]++
				if f.Kind == records.FrameGap {
					var gap market.Gap
					if err := json.Unmarshal(f.Payload, &gap); err != nil {
						t.Fatal(err)
					}
					accounted[l.index] += gap.Frames
				} else {
					if got := int64(binary.LittleEndian.Uint64(f.Payload)); got != accounted[l.index] {
						t.Fatalf("lane %d: frame %d comes, %d are accounted for", l.index, got, accounted[l.index])
					}
					accounted[l.index]++
				}
				rest = rest[entryHeaderBytes+size:]
			}
			l.published(records_)
			for _, reopened := range buffer.release(l, slab) {
				reopened.reopen(true)
			}
			buffer.announce(l)
			return true
		}
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for range steps {
			i := rapid.IntRange(0, n-1).Draw(t, "lane")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				for range rapid.IntRange(1, 40).Draw(t, "slabs") {
					drain()
				}
			default:
				payload := make([]byte, 8+rapid.SampledFrom([]int{0, 300, 70_000, 1 << 20, 5 << 20}).Draw(t, "size"))
				binary.LittleEndian.PutUint64(payload, uint64(appended[i]))
				within := lanes[i].used+int64(len(payload))+slabBytes <= buffer.guaranteed && !lanes[i].dropping.Load() && lanes[i].lost.records == 0
				ok := lanes[i].append(context.Background(), entry{kind: records.FrameData, receivedAt: time.Now().UnixMicro(), payload: payload})
				if within && !ok {
					t.Fatalf("lane %d was refused within its guaranteed part: %d of %d", i, lanes[i].used, buffer.guaranteed)
				}
				appended[i]++
			}
			if buffer.used > buffer.capacity || buffer.beyond < 0 {
				t.Fatalf("%d bytes used of %d, %d beyond", buffer.used, buffer.capacity, buffer.beyond)
			}
		}
		for drain() {
		}
		for i := range lanes {
			if accounted[i] != appended[i] || lanes[i].lost.records != 0 || lanes[i].records != 0 {
				t.Fatalf("lane %d: %d of %d accounted for, %d untold, %d buffered", i, accounted[i], appended[i], lanes[i].lost.records, lanes[i].records)
			}
		}
		if buffer.used != 0 || buffer.beyond != 0 || buffer.blocked != 0 {
			t.Fatalf("empty, yet %d used, %d beyond, %d blocked", buffer.used, buffer.beyond, buffer.blocked)
		}
	})
}

func TestABufferTooSmallForItsFeedsIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := NewBuffer(1<<20, 1); err == nil {
		t.Fatal("1 MiB was accepted")
	}
	if _, err := NewBuffer(64<<20, 2000); err == nil {
		t.Fatal("64 MiB for 2,000 feeds was accepted")
	}
}

func TestOpaquesComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := newOpaques()
		now := time.Now().UnixMicro()
		e := entry{receivedAt: now - rapid.Int64Range(0, 1<<40).Draw(t, "age")}
		e.kind = records.FrameKind(rapid.IntRange(0, int(records.FrameClose)).Draw(t, "kind"))
		l := &lane{index: rapid.IntRange(0, maxFeeds-1).Draw(t, "lane")}
		called := false
		if rapid.Bool().Draw(t, "callback") {
			e.delivered = func(int32, int64, error) { called = true }
		}
		c := o.open(o.make(l, e), now)
		if c.lane != l.index || c.receivedAt != e.receivedAt || c.frame != e.isFrame() || (c.delivered == nil) != (e.delivered == nil) {
			t.Fatalf("%+v of %+v", c, e)
		}
		if c.delivered != nil {
			c.delivered(0, 0, nil)
		}
		if called != (e.delivered != nil) || len(o.callbacks) != 0 {
			t.Fatalf("called %v, %d callbacks left", called, len(o.callbacks))
		}
	})
}

// Vectors of the Java client's own tests.
func TestMurmur2IsJavas(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2(key)); got != want {
			t.Errorf("murmur2(%q) = %d, expected %d", key, got, want)
		}
	}
}

// nullProducer takes everything and delivers at once.
type nullProducer struct{ onDelivery func(kafka.Delivery) }

func (p nullProducer) Produce(m *kafka.Message) error {
	p.onDelivery(kafka.Delivery{Opaque: m.Opaque})
	return nil
}
func (nullProducer) Flush(context.Context) error { return nil }
func (nullProducer) Close()                      {}

// BenchmarkLane is a frame of 300 B through lane, buffer and publisher, without socket and Kafka client.
func BenchmarkLane(b *testing.B) {
	buffer, lanes, m := newLanes(b, 256<<20, 1)
	lanes[0].blocks = true
	p := &publisher{topic: framesTopic, buffer: buffer, opaques: lanes[0].opaques, metrics: m, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	p.producer = nullProducer{p.onDelivery}
	stop, done := make(chan struct{}), make(chan error)
	go func() { done <- p.run(stop, context.Background()) }()
	payload := make([]byte, 300)
	b.SetBytes(300)
	b.ReportAllocs()
	for b.Loop() {
		lanes[0].append(context.Background(), entry{kind: records.FrameData, connection: 1, receivedAt: 1_700_000_000_000_000, payload: payload})
	}
	close(stop)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if p.undelivered() != 0 {
		b.Fatal(errors.New("records are left"))
	}
}
