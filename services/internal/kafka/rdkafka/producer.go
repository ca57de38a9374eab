package rdkafka

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"encoding/binary"
	"time"
	"unsafe"
)

// Topic is a producer's handle of one topic. It lives as long as its Handle.
type Topic struct{ c *C.rd_kafka_topic_t }

// TopicHandle makes a handle of a topic; the caller keeps it for all its records.
func (h *Handle) TopicHandle(name string) (Topic, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	t := C.sf_topic_handle(h.c, text)
	if t == nil {
		return Topic{}, codeError(C.int(C.rd_kafka_last_error()))
	}
	return Topic{t}, nil
}

// Release gives a topic's handle back, before Destroy.
func (t Topic) Release() { C.rd_kafka_topic_destroy(t.c) }

// Produce queues a copy of a record. A nil key or value stays NULL; a partition of -1 is chosen by the key. headers are
// in the form of AppendHeader. Safe for concurrent use. The code is 0 when the record was taken.
func (h *Handle) Produce(t Topic, partition int32, key, value []byte, timestampMs int64, headers []byte, opaque uint64) Code {
	return Code(C.sf_produce(h.c, t.c, C.int32_t(partition), data(key), length(key), data(value), length(value),
		C.int64_t(timestampMs), data(headers), C.int64_t(len(headers)), C.uint64_t(opaque)))
}

func data(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func length(b []byte) C.int64_t {
	if b == nil {
		return -1
	}
	return C.int64_t(len(b))
}

// AppendHeader appends a header in the form that passes the C boundary; a nil value stays NULL.
func AppendHeader(dst []byte, name string, value []byte) []byte {
	dst = binary.NativeEndian.AppendUint32(dst, uint32(len(name)))
	dst = append(dst, name...)
	n := int32(len(value))
	if value == nil {
		n = -1
	}
	dst = binary.NativeEndian.AppendUint32(dst, uint32(n))
	return append(dst, value...)
}

// NextHeader takes one header off b; rest is empty after the last. The slices alias b.
func NextHeader(b []byte) (name, value, rest []byte) {
	n := binary.NativeEndian.Uint32(b)
	name, b = b[4:4+n:4+n], b[4+n:]
	v := int32(binary.NativeEndian.Uint32(b))
	b = b[4:]
	if v < 0 {
		return name, nil, b
	}
	return name, b[:v:v], b[v:]
}

// Delivery is the end of one record.
type Delivery struct {
	Opaque    uint64
	Partition int32
	Offset    int64
	Code      Code
}

// Deliveries waits for at most timeout and calls each for every record that ended. One goroutine at a time.
func (h *Handle) Deliveries(timeout time.Duration, each func(Delivery)) int {
	n := int(C.sf_deliveries(h.c, C.int(timeout.Milliseconds()), &h.delivered[0], C.int(len(h.delivered))))
	for i := range h.delivered[:n] {
		d := &h.delivered[i]
		each(Delivery{Opaque: uint64(d.opaque), Partition: int32(d.partition), Offset: int64(d.offset), Code: Code(d.code)})
	}
	return n
}

// Flush sends without lingering and waits, for at most timeout, until nothing is queued.
func (h *Handle) Flush(timeout time.Duration) bool {
	return C.sf_flush(h.c, C.int(timeout.Milliseconds())) == 0
}

// Queued counts records and events that have not ended.
func (h *Handle) Queued() int { return int(C.sf_queued(h.c)) }

// Purge gives up everything that is queued or in flight; the deliveries tell.
func (h *Handle) Purge() { C.sf_purge(h.c) }

// Serve runs the error callback; for producers without deliveries.
func (h *Handle) Serve() { C.sf_serve(h.c, 0) }

// AwaitBroker waits until a broker has answered. A false says that none did within timeout.
func (h *Handle) AwaitBroker(timeout time.Duration) bool {
	return C.sf_metadata(h.c, C.int(timeout.Milliseconds())) == C.RD_KAFKA_RESP_ERR_NO_ERROR
}

// Init registers the transactional id, fences others with the same, and ends what they left open.
func (h *Handle) Init(timeout time.Duration) error {
	var e C.sf_error
	C.sf_txn_init(h.c, C.int(timeout.Milliseconds()), &e)
	return transactionError(&e)
}

// Begin a transaction.
func (h *Handle) Begin() error {
	var e C.sf_error
	C.sf_txn_begin(h.c, &e)
	return transactionError(&e)
}

// SendOffsets puts positions, with metadata, of consumer's group into the transaction.
func (h *Handle) SendOffsets(consumer *Handle, parts []Partition, timeout time.Duration) error {
	l := newPartitionList(parts)
	defer l.free()
	var e C.sf_error
	C.sf_txn_offsets(h.c, consumer.c, l.c, l.n, C.int(timeout.Milliseconds()), &e)
	return transactionError(&e)
}

// Commit the transaction. A retriable error means that it goes on in the background: call again.
func (h *Handle) CommitTransaction(timeout time.Duration) error {
	var e C.sf_error
	C.sf_txn_commit(h.c, C.int(timeout.Milliseconds()), &e)
	return transactionError(&e)
}

// AbortTransaction undoes the transaction. A retriable error means that it goes on in the background: call again.
func (h *Handle) AbortTransaction(timeout time.Duration) error {
	var e C.sf_error
	C.sf_txn_abort(h.c, C.int(timeout.Milliseconds()), &e)
	return transactionError(&e)
}

func transactionError(e *C.sf_error) error {
	if e.code == 0 {
		return nil
	}
	return &Error{Code: Code(e.code), Text: C.GoString(&e.text[0]), Fatal: e.fatal != 0, Retriable: e.retriable != 0, Abortable: e.abortable != 0}
}
