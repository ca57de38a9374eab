// Package rdkafka is a thin layer over librdkafka's public API, for what the Go client does too slowly or cannot do:
// records in batches, transactions that carry offsets with metadata, deliveries in arrays. Only package kafka uses it.
//
// librdkafka itself comes from the Go client's static archive: this package compiles against a copy of its public
// header (rdkafka.h, two-clause BSD, the licence is at its top) and the final link takes the symbols from there. A test
// compares the two versions.
package rdkafka

/*
#cgo CFLAGS: -O2 -Wall -DLIBRDKAFKA_STATICLIB
#cgo noescape sf_produce
#cgo nocallback sf_produce
#cgo noescape sf_copy
#cgo nocallback sf_copy
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"

	// The final link takes librdkafka's symbols from the archive that this package names.
	_ "github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// Option is one setting of librdkafka.
type Option struct{ Name, Value string }

// Partition with an offset and metadata, as librdkafka's calls take and give them.
type Partition struct {
	Topic     string
	Partition int32
	Offset    int64
	Metadata  string
	Code      Code
}

// Log is a line or an error that librdkafka told in passing.
type Log struct {
	Level int // syslog's: 3 error, 4 warning, 6 info
	Code  Code
	Fatal bool
	Text  string
}

// Handle is one librdkafka client.
type Handle struct {
	c         *C.sf_handle
	self      cgo.Handle
	topics    []string
	records   []C.sf_record
	delivered []C.sf_delivery
	rebalance func(code Code, parts []Partition)
	consumer  bool
}

// Rebalance codes that the callback of OpenConsumer gets.
const (
	AssignPartitions Code = -175
	RevokePartitions Code = -174
)

// OpenConsumer makes a consumer. rebalance runs inside Gather and Close, on the calling goroutine, and must Assign.
func OpenConsumer(options []Option, batch int, rebalance func(code Code, parts []Partition)) (*Handle, error) {
	h := &Handle{consumer: true, rebalance: rebalance, records: make([]C.sf_record, batch)}
	return h, h.open(options, batch, false)
}

// OpenProducer makes a producer; deliveries says whether each record's end is to be told.
func OpenProducer(options []Option, deliveries bool) (*Handle, error) {
	h := &Handle{delivered: make([]C.sf_delivery, 4096)}
	return h, h.open(options, 0, deliveries)
}

func (h *Handle) open(options []Option, batch int, deliveries bool) error {
	names := make([]*C.char, 0, 2*len(options)+1)
	for _, o := range options {
		names = append(names, C.CString(o.Name), C.CString(o.Value))
	}
	defer freeAll(names)
	// One more keeps the pointer below valid without options.
	list := append(names, nil)
	h.self = cgo.NewHandle(h)
	var text [C.SF_TEXT]C.char
	h.c = C.sf_open(flag(h.consumer), &list[0], C.size_t(len(options)), C.uintptr_t(h.self), flag(deliveries), C.size_t(batch), &text[0], C.SF_TEXT)
	if h.c == nil {
		h.self.Delete()
		return &Error{Code: -186, Text: C.GoString(&text[0])}
	}
	return nil
}

// Destroy frees the handle. A hurried consumer does not leave its group.
func (h *Handle) Destroy(hurry bool) {
	C.sf_destroy(h.c, flag(hurry))
	h.self.Delete()
	h.c = nil
}

// Logs takes what librdkafka told since the last call, at most 64 entries, and how many were lost before them.
func (h *Handle) Logs() (logs []Log, lost int) {
	var entries [C.SF_LOGS]C.sf_log
	var missed C.uint64_t
	n := int(C.sf_logs(h.c, &entries[0], C.SF_LOGS, &missed))
	for i := range entries[:n] {
		e := &entries[i]
		logs = append(logs, Log{Level: int(e.level), Code: Code(e.code), Fatal: e.fatal != 0, Text: C.GoString(&e.text[0])})
	}
	return logs, int(missed)
}

// Fatal returns the error that made the handle unusable, or nil.
func (h *Handle) Fatal() error {
	var text [C.SF_TEXT]C.char
	if code := C.sf_fatal(h.c, &text[0], C.SF_TEXT); code != 0 {
		return &Error{Code: Code(code), Text: C.GoString(&text[0]), Fatal: true}
	}
	return nil
}

// Version of the library that was linked, and of the header that this package was compiled with.
func Version() (library, header int) { return int(C.rd_kafka_version()), C.RD_KAFKA_VERSION }

func codeError(code C.int) error {
	if code == 0 {
		return nil
	}
	return NewError(Code(code))
}

// NewError makes an Error of a bare code.
func NewError(code Code) *Error {
	return &Error{Code: code, Text: C.GoString(C.rd_kafka_err2str(C.rd_kafka_resp_err_t(code)))}
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func freeAll(list []*C.char) {
	for _, s := range list {
		C.free(unsafe.Pointer(s))
	}
}

// partitionList is a C array of partitions.
type partitionList struct {
	c *C.sf_partition
	n C.size_t
}

func newPartitionList(parts []Partition) partitionList {
	l := partitionList{c: (*C.sf_partition)(C.calloc(C.size_t(max(1, len(parts))), C.sizeof_sf_partition)), n: C.size_t(len(parts))}
	for i, p := range unsafe.Slice(l.c, len(parts)) {
		p.topic = C.CString(parts[i].Topic)
		p.partition = C.int32_t(parts[i].Partition)
		p.offset = C.int64_t(parts[i].Offset)
		if parts[i].Metadata != "" {
			p.metadata = C.CString(parts[i].Metadata)
		}
		unsafe.Slice(l.c, len(parts))[i] = p
	}
	return l
}

func (l partitionList) free() { C.sf_partitions_free(l.c, l.n) }

// read copies offsets, metadata and codes back.
func (l partitionList) read(parts []Partition) {
	for i, p := range unsafe.Slice(l.c, len(parts)) {
		parts[i].Offset = int64(p.offset)
		parts[i].Code = Code(p.code)
		parts[i].Metadata = ""
		if p.metadata != nil {
			parts[i].Metadata = C.GoString(p.metadata)
		}
	}
}
