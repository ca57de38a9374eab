package columnar

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/google/uuid"
)

// Origin says where in Kafka a record stands.
type Origin struct {
	TopicID   [16]byte
	Partition int32
	Offset    int64
}

// RowError says why one record made no row. The block is as it was before the record.
type RowError struct {
	// Field is the field's path, in the words of the table's schema where that has the field.
	Field string
	// Problem in words.
	Problem string
	// At is the position in the body, in bytes.
	At int
}

// Error names field and position.
func (e *RowError) Error() string {
	return fmt.Sprintf("field %s, byte %d of the body: %s", e.Field, e.At, e.Problem)
}

// fault is a reason why a body cannot be read.
type fault uint8

const (
	ok fault = iota
	faultShort
	faultVarint
	faultInt
	faultBool
	faultBranch
	faultNull
	faultEnum
	faultTime
	faultDate
	faultDecimalEmpty
	faultDecimalRange
	faultUUID
	faultCount
	faultLeft
	faultTooLarge
)

var faultText = [...]string{
	faultShort:        "the body ends in the middle of the value",
	faultVarint:       "a number of more than 64 bits",
	faultInt:          "a number that does not fit 32 bits",
	faultBool:         "a boolean that is neither 0 nor 1",
	faultBranch:       "a union branch that does not exist",
	faultNull:         "null, and the column cannot hold one",
	faultEnum:         "an enum position that does not exist",
	faultTime:         "a time outside of 1900 to 2299, which the column cannot hold",
	faultDate:         "a date outside of 1900 to 2299, which the column cannot hold",
	faultDecimalEmpty: "a decimal of no bytes",
	faultDecimalRange: "a decimal of more digits than the column holds",
	faultUUID:         "a string that is no UUID",
	faultCount:        "an array or map of more items than the body has bytes for",
	faultLeft:         "bytes are left over behind the record",
	faultTooLarge:     "the block would exceed 2 GiB",
}

// maxBlockBytes keeps positions within 32 bits; a writer closes its blocks long before.
const maxBlockBytes = 1 << 31

// Append reads one Avro body into the block as one row. A body that cannot be read leaves the block unchanged and gives
// a *RowError. b has to be of the plan's layout. Nothing is allocated for a good record once the block's memory has
// grown to its size, and never more than the body's size justifies.
func (p *Plan) Append(b *Block, origin *Origin, body []byte) error {
	if b.layout != p.layout {
		return fmt.Errorf("BUG: a block of another layout")
	}
	if len(b.remaining) < p.depth {
		b.remaining = make([]int64, p.depth)
	}
	if b.rows == b.room {
		b.makeRoom()
	}
	b.begin()
	at, o, f := p.run(b, body)
	if f == ok && at != len(body) {
		f = faultLeft
	}
	if f != ok {
		b.rollback()
		return &RowError{Field: p.fields[o.field], Problem: faultText[f], At: min(at, len(body))}
	}
	meta := &p.layout.meta
	b.slots[meta.topicID].uuid(origin.TopicID[:])
	b.slots[meta.partition].put4(uint32(origin.Partition))
	b.slots[meta.offset].put8(uint64(origin.Offset))
	b.slots[meta.schemaID].put4(p.schemaID)
	b.rows++
	return nil
}

// uuid turns network order into ClickHouse's: two little-endian words, the high one first.
func (s *slot) uuid(id []byte) {
	s.put16(binary.BigEndian.Uint64(id), binary.BigEndian.Uint64(id[8:]))
}

// varint reads a zigzag number at i and returns the position behind it, or -1 when the body ends within it, or -2 when
// it has more than 64 bits.
func varint(body []byte, i int) (int64, int) {
	if i+8 <= len(body) {
		word := binary.LittleEndian.Uint64(body[i:])
		if n := bits.TrailingZeros64(^word & 0x8080808080808080); n < 64 {
			return groups(word, n), i + n>>3 + 1
		}
	}
	return slowVarint(body, i)
}

// groups makes a zigzag number of up to 8 bytes out of a word, in which the first high bit that is not set, at last, ends it: the
// seven-bit groups are pushed together in three steps.
func groups(word uint64, last int) int64 {
	word &= ^uint64(0) >> uint(63-last)
	word = word&0x007f007f007f007f | (word&0x7f007f007f007f00)>>1
	word = word&0x00003fff00003fff | (word&0x3fff00003fff0000)>>2
	word = word&0x000000000fffffff | (word&0x0fffffff00000000)>>4
	return int64(word>>1) ^ -int64(word&1)
}

func slowVarint(body []byte, i int) (int64, int) {
	u, n := binary.Uvarint(body[i:])
	switch {
	case n == 0:
		return 0, -1
	case n < 0:
		return 0, -2
	}
	return int64(u>>1) ^ -int64(u&1), i + n
}

func varintFault(i int) fault {
	if i == -2 {
		return faultVarint
	}
	return faultShort
}

// run walks the body. It returns the position reached, the step it ended at, and what was wrong. The steps of hot products
// stand here, the others in number and rare.
func (p *Plan) run(b *Block, body []byte) (at int, o *op, f fault) {
	i := 0
	slots := b.slots
	o = &p.ops[0]
	for {
		at = i
		var v int64
		if o.code <= opSkipBytes {
			if o.code > opTime && i < len(body) && body[i] < 0x80 {
				v = int64(body[i]>>1) ^ -int64(body[i]&1)
				i++
			} else {
				last := 64
				var word uint64
				if i+8 <= len(body) {
					word = binary.LittleEndian.Uint64(body[i:])
					last = bits.TrailingZeros64(^word & 0x8080808080808080)
				}
				if last < 64 {
					v = groups(word, last)
					i += last>>3 + 1
				} else if v, i = slowVarint(body, i); i < 0 {
					return at, o, varintFault(i)
				}
			}
		}
		switch o.code {
		case opString:
			if uint64(v) > uint64(len(body)-i) {
				return at, o, faultShort
			}
			if !slots[o.slot].text(body, i, i+int(v)) {
				return at, o, faultTooLarge
			}
			i += int(v)
		case opDict:
			if uint64(v) > uint64(len(body)-i) {
				return at, o, faultShort
			}
			s := &slots[o.slot]
			s.put4(s.dict.key(body, i, i+int(v), b.rows))
			i += int(v)
		case opDecimal:
			if uint64(v) > uint64(len(body)-i) {
				return at, o, faultShort
			}
			raw := body[i : i+int(v)]
			s := &slots[o.slot]
			// Of bytes too few to reach the limit, 8 or 16 are taken at once and shifted; the sign comes along.
			switch {
			case v > 0 && v <= 8 && i+8 <= len(body) && v <= o.factor:
				low := int64(binary.BigEndian.Uint64(body[i:])) >> uint(64-8*v)
				s.put16(uint64(low), uint64(low>>63))
			case v > 8 && v <= 16 && v <= o.factor:
				high := int64(binary.BigEndian.Uint64(raw)) >> uint(128-8*v)
				s.put16(binary.BigEndian.Uint64(raw[v-8:]), uint64(high))
			default:
				if f = appendDecimal(s, o, raw); f != ok {
					return at, o, f
				}
			}
			i += int(v)
		case opTime:
			if v < o.low || v > o.high {
				return at, o, faultTime
			}
			slots[o.slot].put8(uint64(v * o.factor))
		case opInt64:
			if v < o.low || v > o.high {
				return at, o, faultInt
			}
			slots[o.slot].put8(uint64(v))
		case opInt32:
			if int64(int32(v)) != v {
				return at, o, faultInt
			}
			slots[o.slot].put4(uint32(v))
		case opEnum8:
			table := o.rest.table
			if uint64(v) >= uint64(len(table)) {
				return at, o, faultEnum
			}
			slots[o.slot].put1(byte(table[v]))
		case opUnion:
			if uint64(v) > 1 {
				return at, o, faultBranch
			}
			null := int32(v) == o.size
			if o.slot >= 0 {
				var note byte
				if null {
					note = 1
				}
				slots[o.slot].put1(note)
			}
			if null {
				o = o.target
				continue
			}
		case opConst:
			slots[o.slot].raw(o.rest.bytes)
		case opUUID:
			if len(body)-i < 16 {
				return at, o, faultShort
			}
			slots[o.slot].uuid(body[i : i+16])
			i += 16
		case opFloat64:
			if len(body)-i < 8 {
				return at, o, faultShort
			}
			slots[o.slot].put8(binary.LittleEndian.Uint64(body[i:]))
			i += 8
		case opFixed:
			if len(body)-i < int(o.size) {
				return at, o, faultShort
			}
			slots[o.slot].raw(body[i : i+int(o.size)])
			i += int(o.size)
		case opBlocks:
			if v == 0 && o.slot >= 0 {
				// A book's quiet side is empty more often than not.
				s := &slots[o.slot]
				s.put8(s.total)
				o = o.target
				continue
			}
			if i, f = p.blocks(b, o, body, v, i); f != ok {
				return at, o, f
			}
			if b.remaining[o.rest.depth] == 0 {
				o = o.target
				continue
			}
		case opBlocksNext:
			if b.remaining[o.rest.depth]--; b.remaining[o.rest.depth] == 0 {
				if v, i = varint(body, i); i < 0 {
					return at, o, varintFault(i)
				}
				if i, f = p.blocks(b, o, body, v, i); f != ok {
					return at, o, f
				}
			}
			if b.remaining[o.rest.depth] > 0 {
				o = o.target
				continue
			}
		case opEnd:
			return i, o, ok
		default:
			if o.code <= opSkipBytes {
				i, f = number(b, o, body, v, i)
			} else {
				i, f = rare(b, o, body, i)
			}
			if f != ok {
				return at, o, f
			}
		}
		o = o.next
	}
}

// raw appends bytes as they are.
func (s *slot) raw(v []byte) {
	s.reserve(len(v))
	s.n += copy(s.data[s.n:], v)
}

// blocks takes the head of an array's next block, whose count was read, into b.remaining and makes room for its items; at the
// array's end it notes where the array ends.
func (p *Plan) blocks(b *Block, o *op, body []byte, count int64, i int) (int, fault) {
	if count < 0 {
		// A negative count is followed by the block's size in bytes, which is of no use here.
		count = -count
		if _, i = varint(body, i); i < 0 {
			return i, varintFault(i)
		}
	}
	if count < 0 || count > int64((len(body)-i)/int(o.size)) {
		return i, faultCount
	}
	b.remaining[o.rest.depth] = count
	if o.slot < 0 {
		return i, ok
	}
	s := &b.slots[o.slot]
	s.total += uint64(count)
	if count == 0 {
		s.put8(s.total)
		return i, ok
	}
	for _, r := range o.rest.items {
		b.slots[r.slot].reserve(int(count) * int(r.width))
	}
	return i, ok
}

// number runs the rare steps that begin with a number, which was read.
func number(b *Block, o *op, body []byte, v int64, i int) (int, fault) {
	switch o.code {
	case opDate:
		if int64(int32(v)) != v {
			return i, faultInt
		}
		if v < o.low || v > o.high {
			return i, faultDate
		}
		b.slots[o.slot].put4(uint32(v))
	case opDecimalAny:
		if uint64(v) > uint64(len(body)-i) {
			return i, faultShort
		}
		return i + int(v), appendDecimal(&b.slots[o.slot], o, body[i:i+int(v)])
	case opEnum16:
		if uint64(v) >= uint64(len(o.rest.table)) {
			return i, faultEnum
		}
		b.slots[o.slot].put2(uint16(o.rest.table[v]))
	case opOnly:
		if v != 0 {
			return i, faultBranch
		}
	case opIntFloat:
		b.slots[o.slot].put4(math.Float32bits(float32(v)))
	case opIntDouble:
		b.slots[o.slot].put8(math.Float64bits(float64(v)))
	case opSymbol, opSymbolDict:
		return i, symbol(b, o, v)
	case opUUIDText:
		return textUUID(b, o, body, v, i)
	case opSkipBytes:
		if uint64(v) > uint64(len(body)-i) {
			return i, faultShort
		}
		i += int(v)
	case opSkipEnum:
		if uint64(v) >= uint64(o.size) {
			return i, faultEnum
		}
	case opSkipInt:
		if int64(int32(v)) != v {
			return i, faultInt
		}
	case opSkipVar:
	default:
		panic(fmt.Sprintf("BUG: step %d has no meaning", o.code))
	}
	return i, ok
}

func symbol(b *Block, o *op, v int64) fault {
	if uint64(v) >= uint64(len(o.rest.names)) {
		return faultEnum
	}
	s, name := &b.slots[o.slot], o.rest.names[v]
	if s.dict != nil {
		s.put4(s.dict.key(name, 0, len(name), b.rows))
	} else if !s.text(name, 0, len(name)) {
		return faultTooLarge
	}
	return ok
}

func textUUID(b *Block, o *op, body []byte, size int64, i int) (int, fault) {
	if uint64(size) > uint64(len(body)-i) {
		return i, faultShort
	}
	if size != 36 {
		return i, faultUUID
	}
	id, err := uuid.ParseBytes(body[i : i+36])
	if err != nil {
		return i, faultUUID
	}
	b.slots[o.slot].uuid(id[:])
	return i + 36, ok
}

// rare runs the other steps that no hot product has.
func rare(b *Block, o *op, body []byte, i int) (int, fault) {
	switch o.code {
	case opConstDict:
		b.slots[o.slot].put4(0)
		return i, ok
	case opNull:
		return i, faultNull
	case opReplay:
		return i, replay(b, o)
	case opBool, opSkipBool:
		if i >= len(body) {
			return i, faultShort
		}
		if body[i] > 1 {
			return i, faultBool
		}
		if o.code == opBool {
			b.slots[o.slot].put1(body[i])
		}
		return i + 1, ok
	}
	size := int(o.size)
	if len(body)-i < size {
		return i, faultShort
	}
	raw, s := body[i:i+size], (*slot)(nil)
	if o.slot >= 0 {
		s = &b.slots[o.slot]
	}
	f := ok
	switch o.code {
	case opWiden:
		s.put8(math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))))
	case opDecimalFixed:
		f = appendDecimal(s, o, raw)
	case opFixedString:
		if !s.text(raw, 0, size) {
			f = faultTooLarge
		}
	case opSkipFixed:
	default:
		panic(fmt.Sprintf("BUG: step %d has no meaning", o.code))
	}
	return i + size, f
}

func replay(b *Block, o *op) fault {
	if n := o.rest.replay.depth; len(b.remaining) < n {
		b.remaining = append(b.remaining, make([]int64, n-len(b.remaining))...)
	}
	at, _, f := o.rest.replay.run(b, o.rest.bytes)
	if f == ok && at != len(o.rest.bytes) {
		f = faultLeft
	}
	return f
}
