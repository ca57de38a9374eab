package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// MaxFrameBytes is the greatest frame or REST body that is taken.
const MaxFrameBytes = 16 << 20

// An entry in a slab: length of the value, Kafka timestamp in ms, opaque value, then the value.
const entryHeaderBytes = 4 + 8 + 8

// entry is one record of a feed before it has a sequence number.
type entry struct {
	kind       records.FrameKind
	connection int64
	receivedAt int64 // µs
	symbol     string
	request    string
	payload    []byte
	// delivered is called once Kafka has the record, or has refused it for good; nil for nearly all.
	delivered func(partition int32, offset int64, err error)
}

// lane is the order of one feed: whatever the feed publishes goes through append, which numbers it and puts it into the
// buffer. When there is no room it counts, and says so in one GAP as soon as there is.
type lane struct {
	venue, feed string
	key         []byte
	symbols     []string // venue's spelling, sorted: what a GAP of the whole feed names
	blocks      bool     // a replay waits for room instead of dropping
	wire        []byte   // the Confluent header of every value
	metrics     *feedMetrics
	opaques     *opaques
	partitions  int // of raw-frames
	// onReopened is called, on a goroutine of the publisher's, after a GAP BUFFER_FULL was written.
	onReopened func()

	buffer   *Buffer
	index    int
	used     int64       // guarded by buffer.mu
	dropping atomic.Bool // written under buffer.mu

	mu        sync.Mutex
	epoch     int64
	sequence  int64
	full      [][]byte
	tail      []byte
	announced bool
	lost      lost
	scratch   records.Frame
	records   int64 // in full and tail
}

// lost is what a lane could not take since its last record.
type lost struct {
	frames, bytes, records int64
	from, to               int64 // µs
	reason                 market.GapReason
	detail                 string
}

// append puts e into the buffer under the next sequence number; false: there was no room and it is counted as lost.
func (l *lane) append(ctx context.Context, e entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	need := len(l.wire) + len(l.venue) + len(l.feed) + len(e.symbol) + len(e.request) + len(e.payload) + 96
	for {
		signal := l.signal()
		if !l.dropping.Load() && (l.lost.records == 0 || l.writeLost()) && l.makeRoom(need) {
			l.write(e)
			return true
		}
		if !l.blocks {
			l.lose(e)
			return false
		}
		l.mu.Unlock()
		err := l.buffer.waitRoom(ctx, signal)
		l.mu.Lock()
		if err != nil {
			l.lose(e)
			return false
		}
	}
}

func (l *lane) signal() <-chan struct{} {
	if !l.blocks {
		return nil
	}
	return l.buffer.roomSignal()
}

// makeRoom sees to it that the tail has room for n bytes and an entry's header.
func (l *lane) makeRoom(n int) bool {
	n += entryHeaderBytes
	if l.tail != nil && cap(l.tail)-len(l.tail) >= n {
		return true
	}
	slab := l.buffer.reserve(l, n, !l.blocks)
	if slab == nil {
		return false
	}
	if l.tail != nil {
		l.full = append(l.full, l.tail)
	}
	l.tail = slab
	return true
}

// write encodes e at the end of the tail, which has room.
func (l *lane) write(e entry) {
	f := &l.scratch
	f.Kind, f.Venue, f.Feed, f.LoaderEpoch = e.kind, l.venue, l.feed, l.epoch
	f.Connection, f.Sequence = e.connection, l.sequence
	f.VenueSymbol, f.Request, f.ReceivedAt, f.Payload = e.symbol, e.request, e.receivedAt, e.payload
	start := len(l.tail)
	dst := l.tail[:start+entryHeaderBytes]
	dst = f.AppendAvro(append(dst, l.wire...))
	f.Payload = nil
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-entryHeaderBytes))
	binary.LittleEndian.PutUint64(dst[start+4:], uint64(e.receivedAt/1000))
	binary.LittleEndian.PutUint64(dst[start+12:], l.opaques.make(l, e))
	l.tail = dst
	l.sequence++
	l.records++
	l.metrics.count(e)
	if !l.announced {
		l.announced = true
		l.buffer.announce(l)
	}
}

// lose counts e as lost.
func (l *lane) lose(e entry) {
	if l.lost.records == 0 {
		l.lost = lost{from: e.receivedAt, reason: market.GapBufferFull, detail: "no room in the loader's buffer: Kafka takes records slower than they come"}
	}
	l.lost.records++
	l.lost.from = min(l.lost.from, e.receivedAt)
	l.lost.to = max(l.lost.to, e.receivedAt)
	if e.kind == records.FrameData || e.kind == records.FrameRESTSnapshot {
		l.lost.frames++
		l.lost.bytes += int64(len(e.payload))
	}
	l.metrics.drop(e)
}

// refused counts a record that Kafka refused for good.
func (l *lane) refused(at int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost.records == 0 {
		l.lost = lost{from: at, reason: market.GapUnknown, detail: "Kafka refused a record for good: " + err.Error()}
	}
	l.lost.records++
	l.lost.frames++
	l.lost.from, l.lost.to = min(l.lost.from, at), max(l.lost.to, at)
}

// writeLost writes the one GAP that tells of everything lost since the last record; false: still no room.
func (l *lane) writeLost() bool {
	to := time.Now().UnixMicro()
	gap := market.Gap{
		VenueSymbols: l.symbols, Channel: "all", Reason: l.lost.reason, Frames: l.lost.frames, Bytes: l.lost.bytes,
		From: moment(l.lost.from), To: moment(max(to, l.lost.to)),
		Detail: fmt.Sprintf("%s (%d records lost)", l.lost.detail, l.lost.records),
	}
	payload := gapPayload(&gap)
	if !l.makeRoom(len(l.wire) + len(l.venue) + len(l.feed) + len(payload) + 96) {
		return false
	}
	l.lost = lost{}
	l.write(entry{kind: records.FrameGap, receivedAt: to, payload: payload})
	l.metrics.gap(gap.Reason)
	return true
}

// reopen is called when a lane that dropped has room again: the GAP must not wait for the next frame, for a quiet feed
// may not have one.
func (l *lane) reopen() {
	l.mu.Lock()
	written := l.lost.records > 0 && !l.dropping.Load() && l.writeLost()
	l.mu.Unlock()
	if written && l.onReopened != nil {
		go l.onReopened()
	}
}

// gap publishes a GAP record.
func (l *lane) gap(ctx context.Context, connection int64, at int64, gap *market.Gap) {
	slices.Sort(gap.VenueSymbols)
	if l.append(ctx, entry{kind: records.FrameGap, connection: connection, receivedAt: at, payload: gapPayload(gap)}) {
		l.metrics.gap(gap.Reason)
	}
}

// take hands one slab to the publisher, which gives it back to the buffer; nil: nothing is left and the lane announces
// itself again with its next record.
func (l *lane) take() (slab []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.full) > 0:
		slab = l.full[0]
		l.full = slices.Delete(l.full, 0, 1)
	case len(l.tail) > 0:
		slab, l.tail = l.tail, nil
	default:
		l.announced = false
		return nil
	}
	return slab
}

// published says that n records of the lane have left the buffer for the Kafka client.
func (l *lane) published(n int64) {
	l.mu.Lock()
	l.records -= n
	l.mu.Unlock()
}

// pending counts the records still in the buffer and those lost and not yet told of.
func (l *lane) pending() (buffered, untold int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records, l.lost.records
}

func gapPayload(gap *market.Gap) []byte {
	payload, err := json.Marshal(gap)
	if err != nil {
		panic("BUG: a gap is plain data: " + err.Error())
	}
	return payload
}

// moment makes a time of µs since 1970.
func moment(micros int64) *time.Time {
	t := time.UnixMicro(micros).UTC()
	return &t
}
