package main

import "sync"

// opaques makes the 64-bit value that travels with a record through the Kafka client and comes back with its delivery.
// Nearly always it is the lane, the time of receipt and whether it is a frame (bit 62), which costs nothing; a record with
// a callback has bit 63 set and an index instead.
type opaques struct {
	mu        sync.Mutex
	last      uint64
	callbacks map[uint64]callback
}

type callback struct {
	lane       int
	receivedAt int64
	frame      bool // not one of the loader's own records
	delivered  func(partition int32, offset int64, err error)
}

const (
	callbackBit = 1 << 63
	frameBit    = 1 << 62
	microsBits  = 48
	microsMask  = 1<<microsBits - 1
)

func newOpaques() *opaques { return &opaques{callbacks: map[uint64]callback{}} }

func (o *opaques) make(l *lane, e entry) uint64 {
	if e.delivered == nil {
		opaque := uint64(l.index)<<microsBits | uint64(e.receivedAt)&microsMask
		if e.isFrame() {
			opaque |= frameBit
		}
		return opaque
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	o.callbacks[o.last] = callback{lane: l.index, receivedAt: e.receivedAt, frame: e.isFrame(), delivered: e.delivered}
	return callbackBit | o.last
}

// open reads an opaque value back; a callback is handed out once. near is the time now, which gives the bits that do not fit.
func (o *opaques) open(opaque uint64, near int64) (c callback) {
	if opaque&callbackBit == 0 {
		at := near&^microsMask | int64(opaque&microsMask)
		if at > near+1<<(microsBits-1) {
			at -= 1 << microsBits
		}
		return callback{lane: int(opaque &^ frameBit >> microsBits), receivedAt: at, frame: opaque&frameBit != 0}
	}
	id := opaque &^ callbackBit
	o.mu.Lock()
	defer o.mu.Unlock()
	c = o.callbacks[id]
	delete(o.callbacks, id)
	return c
}
