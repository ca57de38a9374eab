package rdkafka

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"runtime/cgo"
	"time"
	"unsafe"
)

//export sfRebalance
func sfRebalance(handle C.uintptr_t) { cgo.Handle(handle).Value().(*Handle).serveRebalance() }

// serveRebalance carries out the rebalance that librdkafka told of, if there is one. What was gathered of a partition
// that is no longer this consumer's is forgotten: its new owner reads it again.
func (h *Handle) serveRebalance() bool {
	var parts *C.sf_partition
	var count C.size_t
	code := Code(C.sf_rebalance(h.c, &parts, &count))
	if code == 0 {
		return false
	}
	defer C.sf_partitions_free(parts, count)
	list := make([]Partition, int(count))
	for i, p := range unsafe.Slice(parts, int(count)) {
		list[i] = Partition{Topic: C.GoString(p.topic), Partition: int32(p.partition), Offset: int64(p.offset)}
		if code != AssignPartitions {
			C.sf_drop(h.c, p.topic, p.partition)
		}
	}
	h.rebalance(code, list)
	return true
}

// Subscribe joins the group for these topics.
func (h *Handle) Subscribe(topics []string) error {
	names := make([]*C.char, len(topics))
	for i, t := range topics {
		names[i] = C.CString(t)
	}
	defer freeAll(names)
	return codeError(C.sf_subscribe(h.c, &names[0], C.size_t(len(names))))
}

// Assign replaces the assignment.
func (h *Handle) Assign(parts []Partition) error { return h.assign(parts, 0) }

// IncrementalAssign adds to the assignment.
func (h *Handle) IncrementalAssign(parts []Partition) error { return h.assign(parts, 1) }

// IncrementalUnassign takes from the assignment.
func (h *Handle) IncrementalUnassign(parts []Partition) error { return h.assign(parts, -1) }

func (h *Handle) assign(parts []Partition, how C.int) error {
	l := newPartitionList(parts)
	defer l.free()
	return codeError(C.sf_assign(h.c, l.c, l.n, how))
}

// Lost says, inside a revocation, that somebody else may own the partitions already.
func (h *Handle) Lost() bool { return C.sf_lost(h.c) != 0 }

// Cooperative says whether rebalances are incremental.
func (h *Handle) Cooperative() bool { return C.sf_cooperative(h.c) != 0 }

// Headers says what is done with records' headers. To parse and copy them costs more than the rest of a small record.
type Headers int

const (
	HeadersNone  Headers = C.SF_HEADERS_NONE
	HeadersCopy  Headers = C.SF_HEADERS_COPY  // into the arena, behind the value
	HeadersLater Headers = C.SF_HEADERS_LATER // asked for with HeadersOf
)

// HeadersOf returns the headers of a record that the last Copy brought, for NextHeader.
func (h *Handle) HeadersOf(message int32) []byte {
	size := C.sf_headers(h.c, C.int32_t(message), nil, 0)
	if size == 0 {
		return nil
	}
	all := make([]byte, int(size))
	C.sf_headers(h.c, C.int32_t(message), (*C.char)(unsafe.Pointer(unsafe.SliceData(all))), size)
	return all
}

// Gather waits for records: until the batch is full, at most for timeout. It returns how many there are and how many
// bytes the arena needs to take them all.
func (h *Handle) Gather(timeout time.Duration, headers Headers) (records int, bytes uint64, err error) {
	var size C.uint64_t
	n := C.sf_gather(h.c, C.int(timeout.Milliseconds()), C.int(headers), &size)
	if n < 0 {
		return 0, 0, NewError(Code(-n))
	}
	if h.serveRebalance() {
		n = C.sf_gathered(h.c, &size)
	}
	return int(n), uint64(size), nil
}

// Raw is a record where Copy put it: lengths of -1 mean that there is no key or no value.
type Raw struct {
	Topic                              string
	Partition                          int32
	Code                               Code
	Offset, TimestampMs                int64
	Position                           uint64
	KeyLength, ValueLength, HeadersLen int32
	Message                            int32 // for HeadersOf
}

// Copy moves as many of the gathered records as fit into the arena and calls each for every one, in order.
func (h *Handle) Copy(arena []byte, headers Headers, each func(*Raw)) int {
	n := int(C.sf_copy(h.c, C.int(headers), (*C.char)(unsafe.Pointer(unsafe.SliceData(arena))), C.uint64_t(len(arena)), &h.records[0], C.int64_t(len(h.records))))
	var raw Raw
	for i := range h.records[:n] {
		r := &h.records[i]
		raw = Raw{
			Partition: int32(r.partition), Code: Code(r.code), Offset: int64(r.offset), TimestampMs: int64(r.timestamp),
			Position: uint64(r.position), KeyLength: int32(r.key_len), ValueLength: int32(r.value_len), HeadersLen: int32(r.headers_len),
			Message: int32(r.message),
		}
		if r.topic >= 0 {
			raw.Topic = h.topic(int(r.topic))
		}
		each(&raw)
	}
	return n
}

func (h *Handle) topic(number int) string {
	for len(h.topics) <= number {
		h.topics = append(h.topics, C.GoString(C.sf_topic(h.c, C.int32_t(len(h.topics)))))
	}
	return h.topics[number]
}

// Close leaves the group; the rebalance callback runs.
func (h *Handle) Close() error { return codeError(C.sf_close(h.c)) }

// Commit writes the group's positions, and waits. Each partition's Code is set.
func (h *Handle) Commit(parts []Partition) error {
	l := newPartitionList(parts)
	defer l.free()
	code := C.sf_commit(h.c, l.c, l.n)
	for i, p := range unsafe.Slice(l.c, len(parts)) {
		parts[i].Code = Code(p.code)
	}
	return codeError(code)
}

// Committed fills in the group's positions.
func (h *Handle) Committed(parts []Partition, timeout time.Duration) error {
	l := newPartitionList(parts)
	defer l.free()
	code := C.sf_committed(h.c, l.c, l.n, C.int(timeout.Milliseconds()))
	if code == 0 {
		l.read(parts)
	}
	return codeError(code)
}

// Pause stops, or with resume goes on with, fetching partitions.
func (h *Handle) Pause(parts []Partition, resume bool) error {
	l := newPartitionList(parts)
	defer l.free()
	return codeError(C.sf_pause(h.c, l.c, l.n, flag(resume)))
}

// Seek sets the next offset of assigned partitions and forgets what was gathered of them.
func (h *Handle) Seek(parts []Partition, timeout time.Duration) error {
	l := newPartitionList(parts)
	defer l.free()
	code := C.sf_seek(h.c, l.c, l.n, C.int(timeout.Milliseconds()))
	if code == 0 {
		l.read(parts)
	}
	return codeError(code)
}

// Watermarks asks the broker for a partition's first offset and the one after its last (for a read_committed
// consumer, after the last stable one).
func (h *Handle) Watermarks(topic string, partition int32, timeout time.Duration) (low, high int64, err error) {
	name := C.CString(topic)
	defer C.free(unsafe.Pointer(name))
	var l, u C.int64_t
	code := C.sf_watermarks(h.c, name, C.int32_t(partition), &l, &u, C.int(timeout.Milliseconds()))
	return int64(l), int64(u), codeError(code)
}
