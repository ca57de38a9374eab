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
	// tells is what a GAP tells; when it cannot be published, the next one tells it. nil for all else.
	tells *lost
}

// isFrame says that the venue sent it: what a GAP counts.
func (e *entry) isFrame() bool {
	return e.kind == records.FrameData || e.kind == records.FrameRESTSnapshot
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
	// onReopened is called, on a goroutine of its own, when Kafka has the GAP of what was lost here: only then is a fresh
	// book worth asking for.
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
	tellAfter int64 // µs: no GAP about refused records before
	scratch   records.Frame
	records   int64 // in full and tail
}

// lost is what of a lane is not in Kafka and has not been told of: what there was no room for, and what Kafka refused.
type lost struct {
	frames, bytes, records int64
	from, to               int64 // µs
	reason                 market.GapReason
	detail                 string
	// dropped says that there was no room for some of it, so that the GAP must stand before the next record. What Kafka
	// refused is noticed only after later records were published.
	dropped bool
}

// add counts another loss; the reason of the first one is kept.
func (s *lost) add(other lost) {
	if s.records == 0 {
		*s = other
		return
	}
	s.frames, s.bytes, s.records = s.frames+other.frames, s.bytes+other.bytes, s.records+other.records
	s.from, s.to = min(s.from, other.from), max(s.to, other.to)
	s.dropped = s.dropped || other.dropped
}

// append puts e into the buffer under the next sequence number; false: there was no room and it is counted as lost.
func (l *lane) append(ctx context.Context, e entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	need := len(l.wire) + len(l.venue) + len(l.feed) + len(e.symbol) + len(e.request) + len(e.payload) + 96
	for {
		signal := l.signal()
		if !l.dropping.Load() && l.tellLost(false) && l.makeRoom(need) {
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
	s := lost{records: 1, from: e.receivedAt, to: e.receivedAt}
	if e.tells != nil {
		s = *e.tells
	}
	if e.isFrame() {
		s.frames, s.bytes = 1, int64(len(e.payload))
	}
	s.reason, s.dropped = market.GapBufferFull, true
	s.detail = "no room in the loader's buffer: Kafka takes records slower than they come"
	l.lost.add(s)
	l.metrics.drop(e)
}

// refused counts a record that Kafka refused for good.
func (l *lane) refused(at int64, frame bool, err error) {
	s := lost{records: 1, from: at, to: at, reason: market.GapUnknown, detail: refusedDetail(err)}
	if frame {
		s.frames = 1
	}
	l.mu.Lock()
	l.lost.add(s)
	l.mu.Unlock()
}

func refusedDetail(err error) string { return "Kafka refused a record for good: " + err.Error() }

// tellLost writes the GAP of what was lost, unless nothing was, or it can wait: while Kafka refuses everything, a GAP about
// each refused record would only be refused as well. now says that it cannot wait. False: it must be told and there is no
// room.
func (l *lane) tellLost(now bool) bool {
	if l.lost.records == 0 {
		return true
	}
	if !now && !l.lost.dropped && time.Now().UnixMicro() < l.tellAfter {
		return true
	}
	return l.writeLost()
}

// writeLost writes the one GAP that tells of everything lost since the last one; false: still no room.
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
	told := l.lost
	l.lost, l.tellAfter = lost{}, to+retellEvery.Microseconds()
	l.write(entry{kind: records.FrameGap, receivedAt: to, payload: payload, delivered: func(_ int32, _ int64, err error) {
		if err != nil {
			l.untold(told)
		} else if l.onReopened != nil {
			go l.onReopened()
		}
	}})
	l.metrics.gap(gap.Reason)
	return true
}

// untold takes back what a GAP was to tell that Kafka refused; the next one tells it.
func (l *lane) untold(s lost) {
	s.dropped = false // its place in the order is lost anyway
	l.mu.Lock()
	l.lost.add(s)
	l.mu.Unlock()
}

// reopen is called when a lane that dropped has room again, and now and then: the GAP must not wait for the next frame,
// for a quiet feed may not have one. now says that it cannot wait for the next time either.
func (l *lane) reopen(now bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dropping.Load() {
		l.tellLost(now)
	}
}

// gap publishes a GAP record.
func (l *lane) gap(ctx context.Context, connection int64, at int64, gap *market.Gap) {
	slices.Sort(gap.VenueSymbols)
	tells := lost{records: 1, from: at, to: at, reason: gap.Reason, detail: gap.Detail}
	if gap.From != nil {
		tells.from = gap.From.UnixMicro()
	}
	e := entry{kind: records.FrameGap, connection: connection, receivedAt: at, payload: gapPayload(gap), tells: &tells}
	e.delivered = func(_ int32, _ int64, err error) {
		if err != nil {
			l.untold(tells)
		}
	}
	if l.append(ctx, e) {
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
