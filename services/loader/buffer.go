package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// slabBytes is the unit in which the buffer's memory is handed out: accounting happens once a slab, not once a frame.
const slabBytes = 64 << 10

// minSharedBytes is what must be left to all after the guaranteed parts: one frame of the greatest size.
const minSharedBytes = MaxFrameBytes + 1<<20

// Buffer is the bounded memory between the readers and Kafka. Half of it is divided among the lanes (each has a
// guaranteed part, so that one busy or stuck feed cannot starve the others), half is for whoever needs it.
//
// Lock order: lane.mu, then Buffer.mu.
type Buffer struct {
	capacity   int64
	guaranteed int64

	mu      sync.Mutex
	used    int64 // bytes of all slabs handed out
	beyond  int64 // bytes in use beyond the guaranteed parts, never more than the shared part
	lanes   []*lane
	ready   []*lane // lanes with something to publish, in the order in which they became so
	free    [][]byte
	room    chan struct{} // closed and replaced when room appears; for replays, which wait
	blocked int           // lanes that drop

	wake  chan struct{}
	total atomic.Int64 // = used, for the gauge
}

// NewBuffer makes a buffer of capacity bytes for n lanes.
func NewBuffer(capacity int64, n int) (*Buffer, error) {
	b := &Buffer{capacity: capacity, room: make(chan struct{}), wake: make(chan struct{}, 1)}
	b.guaranteed = capacity / 2 / int64(max(n, 1)) / slabBytes * slabBytes
	if b.guaranteed < slabBytes || b.shared(n) < minSharedBytes {
		return nil, fmt.Errorf("buffer of %d bytes is too small for %d feeds: at least %d are needed; raise --buffer-bytes",
			capacity, n, max(int64(2*n*slabBytes), 2*minSharedBytes))
	}
	return b, nil
}

func (b *Buffer) shared(lanes int) int64 { return b.capacity - b.guaranteed*int64(lanes) }

// add makes l one of the lanes; all are added before the first is used.
func (b *Buffer) add(l *lane) {
	l.buffer = b
	l.index = len(b.lanes)
	b.lanes = append(b.lanes, l)
}

// reserve hands out a slab with room for n bytes, or nil when the lane's part and the shared part are used up. A lane that
// was refused is marked in the same step as dropping, so that release cannot miss it.
func (b *Buffer) reserve(l *lane, n int, drop bool) []byte {
	size := int64(max(n, slabBytes))
	b.mu.Lock()
	defer b.mu.Unlock()
	beyond := max(0, l.used+size-b.guaranteed) - max(0, l.used-b.guaranteed)
	if b.beyond+beyond > b.shared(len(b.lanes)) {
		if drop && !l.dropping.Swap(true) {
			b.blocked++
		}
		return nil
	}
	b.beyond += beyond
	b.used += size
	b.total.Store(b.used)
	l.used += size
	if size == slabBytes && len(b.free) > 0 {
		slab := b.free[len(b.free)-1]
		b.free = b.free[:len(b.free)-1]
		return slab
	}
	return make([]byte, 0, size)
}

// release takes a slab back, and returns the lanes that were dropping and have room again.
func (b *Buffer) release(l *lane, slab []byte) []*lane {
	size := int64(cap(slab))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beyond -= max(0, l.used-b.guaranteed) - max(0, l.used-size-b.guaranteed)
	b.used -= size
	b.total.Store(b.used)
	l.used -= size
	// Keeping more free slabs than the guaranteed halves would hold memory that a quiet loader never needs again.
	if size == slabBytes && int64(len(b.free))*slabBytes < b.capacity/4 {
		b.free = append(b.free, slab[:0])
	}
	close(b.room)
	b.room = make(chan struct{})
	if b.blocked == 0 {
		return nil
	}
	var reopened []*lane
	for _, other := range b.lanes {
		if other.dropping.Load() && b.hasRoom(other) {
			other.dropping.Store(false)
			b.blocked--
			reopened = append(reopened, other)
		}
	}
	return reopened
}

// hasRoom asks for a good part of the memory, not for one slab: a lane that took up again at the first free slab would
// drop again at once, and write a GAP each time.
func (b *Buffer) hasRoom(l *lane) bool {
	return l.used <= b.guaranteed/2 || b.beyond <= b.shared(len(b.lanes))*3/4 && l.used+slabBytes <= b.guaranteed+b.shared(len(b.lanes))-b.beyond
}

// waitRoom returns when a slab was released after the call of roomSignal that gave signal.
func (b *Buffer) waitRoom(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Buffer) roomSignal() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

// announce puts l in line for the publisher.
func (b *Buffer) announce(l *lane) {
	b.mu.Lock()
	b.ready = append(b.ready, l)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next takes the first lane in line; nil when none is.
func (b *Buffer) next() *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil
	}
	l := b.ready[0]
	b.ready = slices.Delete(b.ready, 0, 1)
	return l
}

// Bytes in use.
func (b *Buffer) Bytes() int64 { return b.total.Load() }
