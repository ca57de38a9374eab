// Package records writes and reads the Avro bodies of the platform's products by hand, field by field in the order of
// this build's schemas: no reflection and no allocation a record. The tests hold every function against two independent
// Avro libraries and the schema files themselves. A body written with another version of a schema is first projected
// (package avro) onto this build's.
package records

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// ErrShort says that a body ended in the middle of a field.
var ErrShort = errors.New("avro body ends in the middle of a field")

// Coordinates say where in raw-frames the bytes of a derived record stand.
type Coordinates struct {
	TopicID   [16]byte
	Partition int32
	Offset    int64
	Item      int32
}

func appendLong(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

func appendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(appendLong(dst, int64(len(s))), s...)
}

// appendOptString writes ["null","string"]; the empty string stands for null.
func appendOptString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, 0)
	}
	return appendString(append(dst, 2), s)
}

// appendOptBytes writes ["null","bytes"]; nil stands for null.
func appendOptBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	return appendString(append(dst, 2), b)
}

func appendOptInt(dst []byte, v market.OptInt) []byte {
	if !v.Valid {
		return append(dst, 0)
	}
	return appendLong(append(dst, 2), v.Value)
}

// appendOptTime writes a nullable timestamp-micros; market.NoTime stands for null.
func appendOptTime(dst []byte, micros int64) []byte {
	if micros == market.NoTime {
		return append(dst, 0)
	}
	return appendLong(append(dst, 2), micros)
}

// AppendAvro writes the FrameCoordinates.
func (c *Coordinates) AppendAvro(dst []byte) []byte {
	dst = append(dst, c.TopicID[:]...)
	dst = appendLong(dst, int64(c.Partition))
	dst = appendLong(dst, c.Offset)
	return appendLong(dst, int64(c.Item))
}

// reader walks an Avro body. After the first fault every read returns zero values and err says what was wrong.
type reader struct {
	rest  []byte
	field string
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("field %s: %w", r.field, err)
	}
	r.rest = nil
}

func (r *reader) long(field string) int64 {
	r.field = field
	u, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(ErrShort)
		return 0
	}
	r.rest = r.rest[n:]
	return int64(u>>1) ^ -int64(u&1)
}

// int32 reads an Avro int; a value beyond 32 bits is a fault, never cut.
func (r *reader) int32(field string) int32 {
	v := r.long(field)
	if int64(int32(v)) != v {
		r.fail(fmt.Errorf("%d does not fit an Avro int", v))
		return 0
	}
	return int32(v)
}

func (r *reader) fixed(field string, n int) []byte {
	r.field = field
	if len(r.rest) < n {
		r.fail(ErrShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// bytes reads a length and that many bytes, aliasing the body.
func (r *reader) bytes(field string) []byte {
	n := r.long(field)
	if n < 0 || n > int64(len(r.rest)) {
		r.fail(ErrShort)
		return nil
	}
	return r.fixed(field, int(n))
}

func (r *reader) string(field string) string { return string(r.bytes(field)) }

// optional reads the branch of a ["null", X] union and says whether X follows.
func (r *reader) optional(field string) bool {
	branch := r.long(field)
	if branch != 0 && branch != 1 {
		r.fail(fmt.Errorf("union branch %d of 2", branch))
	}
	return branch == 1 && r.err == nil
}

func (r *reader) optString(field string) string {
	if !r.optional(field) {
		return ""
	}
	return r.string(field)
}

func (r *reader) optBytes(field string) []byte {
	if !r.optional(field) {
		return nil
	}
	b := r.bytes(field)
	if b == nil && r.err == nil {
		b = []byte{}
	}
	return b
}

func (r *reader) optInt(field string) market.OptInt {
	if !r.optional(field) {
		return market.OptInt{}
	}
	return market.Some(r.long(field))
}

func (r *reader) optTime(field string) int64 {
	if !r.optional(field) {
		return market.NoTime
	}
	return r.long(field)
}

// enum reads a symbol's position; one beyond the schema's symbols is a fault.
func (r *reader) enum(field string, symbols int) int {
	v := r.long(field)
	if v < 0 || v >= int64(symbols) {
		r.fail(fmt.Errorf("enum position %d of %d", v, symbols))
		return 0
	}
	return int(v)
}

func (r *reader) decimal(field string) market.Decimal {
	b := r.bytes(field)
	if r.err != nil {
		return market.Decimal{}
	}
	d, err := market.DecimalFromAvro(b)
	if err != nil {
		r.fail(err)
	}
	return d
}

func (r *reader) coordinates(field string) Coordinates {
	var c Coordinates
	copy(c.TopicID[:], r.fixed(field, 16))
	c.Partition = r.int32(field)
	c.Offset = r.long(field)
	c.Item = r.int32(field)
	return c
}

// end checks that nothing is left, and names the record in the fault.
func (r *reader) end(record string) error {
	if r.err == nil && len(r.rest) != 0 {
		r.field = "(end)"
		r.fail(fmt.Errorf("%d bytes left over", len(r.rest)))
	}
	if r.err != nil {
		return fmt.Errorf("reading %s: %w", record, r.err)
	}
	return nil
}
