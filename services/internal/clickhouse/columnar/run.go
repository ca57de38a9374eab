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
	// Field is the path of the writer's field.
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
	b.begin()
	at, pc, f := p.run(b, body)
	if f == ok && at != len(body) {
		f = faultLeft
	}
	if f != ok {
		b.rollback()
		return &RowError{Field: p.fields[p.ops[pc].field], Problem: faultText[f], At: min(at, len(body))}
	}
	meta := &p.layout.meta
	s := &b.slots[meta.topicID]
	s.data = appendUUID(s.data, origin.TopicID[:])
	s = &b.slots[meta.partition]
	s.data = binary.LittleEndian.AppendUint32(s.data, uint32(origin.Partition))
	s = &b.slots[meta.offset]
	s.data = binary.LittleEndian.AppendUint64(s.data, uint64(origin.Offset))
	s = &b.slots[meta.schemaID]
	s.data = binary.LittleEndian.AppendUint32(s.data, p.schemaID)
	b.rows++
	return nil
}

// appendUUID turns network order into ClickHouse's: two little-endian words, the high one first.
func appendUUID(dst, id []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(id))
	return binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(id[8:]))
}

// varint reads a zigzag number at i and returns the position behind it, or -1 when the body ends within it, or -2 when
// it has more than 64 bits.
func varint(body []byte, i int) (int64, int) {
	if i+8 <= len(body) {
		word := binary.LittleEndian.Uint64(body[i:])
		if stop := ^word & 0x8080808080808080; stop != 0 {
			// The first byte without the high bit ends the number; the seven-bit groups are pushed together in three steps.
			n := bits.TrailingZeros64(stop)>>3 + 1
			word &= ^uint64(0) >> (64 - 8*n)
			word = word&0x007f007f007f007f | (word&0x7f007f007f007f00)>>1
			word = word&0x00003fff00003fff | (word&0x3fff00003fff0000)>>2
			word = word&0x000000000fffffff | (word&0x0fffffff00000000)>>4
			return int64(word>>1) ^ -int64(word&1), i + n
		}
	}
	return slowVarint(body, i)
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

// run walks the body. It returns the position reached, the step it ended at, and what was wrong.
func (p *Plan) run(b *Block, body []byte) (at, pc int, f fault) {
	i := 0
	slots := b.slots
	ops := p.ops
	for pc < len(ops) {
		o := &ops[pc]
		pc++
		switch o.code {
		case opString, opDict, opSkipBytes:
			v, n := int64(0), i+1
			if i < len(body) && body[i] < 0x80 {
				v = int64(body[i]>>1) ^ -int64(body[i]&1)
			} else if v, n = varint(body, i); n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if v < 0 || v > int64(len(body)-n) {
				return i, pc - 1, faultShort
			}
			i = n + int(v)
			if o.code == opDict {
				slots[o.slot].dict.value(body[n:i])
			} else if o.code == opString {
				s := &slots[o.slot]
				if v < 0x80 {
					s.data = append(s.data, byte(v))
				} else {
					s.data = binary.AppendUvarint(s.data, uint64(v))
				}
				s.data = append(s.data, body[n:i]...)
				if len(s.data) > maxBlockBytes {
					return i, pc - 1, faultTooLarge
				}
			}
		case opDecimal:
			n := i
			v := int64(o.size)
			if v < 0 {
				if v, n = varint(body, i); n < 0 {
					return i, pc - 1, varintFault(n)
				}
			}
			if v < 0 || v > int64(len(body)-n) {
				return i, pc - 1, faultShort
			}
			end := n + int(v)
			if v > 0 && v <= 8 && n+8 <= len(body) && o.width == 16 && v <= o.factor {
				low := int64(binary.BigEndian.Uint64(body[n:])) >> (64 - 8*v)
				s := &slots[o.slot]
				s.data = binary.LittleEndian.AppendUint64(s.data, uint64(low))
				s.data = binary.LittleEndian.AppendUint64(s.data, uint64(low>>63))
			} else if v > 8 && v <= 16 && n+8 <= len(body) && o.width == 16 && v <= o.factor {
				high := int64(binary.BigEndian.Uint64(body[n:])) >> (128 - 8*v)
				s := &slots[o.slot]
				s.data = binary.LittleEndian.AppendUint64(s.data, binary.BigEndian.Uint64(body[end-8:]))
				s.data = binary.LittleEndian.AppendUint64(s.data, uint64(high))
			} else if f := appendDecimal(&slots[o.slot], o, body[n:end]); f != ok {
				return i, pc - 1, f
			}
			i = end
		case opTime:
			v, n := varint(body, i)
			if n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if v < o.low || v > o.high {
				return i, pc - 1, faultTime
			}
			i = n
			s := &slots[o.slot]
			s.data = binary.LittleEndian.AppendUint64(s.data, uint64(v*o.factor))
		case opInt64:
			v, n := varint(body, i)
			if n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if v < o.low || v > o.high {
				return i, pc - 1, faultInt
			}
			i = n
			s := &slots[o.slot]
			s.data = binary.LittleEndian.AppendUint64(s.data, uint64(v))
		case opInt32, opDate:
			v, n := varint(body, i)
			if n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if int64(int32(v)) != v {
				return i, pc - 1, faultInt
			}
			if o.code == opDate && (v < o.low || v > o.high) {
				return i, pc - 1, faultDate
			}
			i = n
			s := &slots[o.slot]
			s.data = binary.LittleEndian.AppendUint32(s.data, uint32(v))
		case opEnum8, opEnum16:
			v, n := varint(body, i)
			if n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if uint64(v) >= uint64(len(o.table)) {
				return i, pc - 1, faultEnum
			}
			i = n
			s := &slots[o.slot]
			s.data = append(s.data, byte(o.table[v]))
			if o.code == opEnum16 {
				s.data = append(s.data, byte(o.table[v]>>8))
			}
		case opUnion:
			v, n := varint(body, i)
			if n < 0 {
				return i, pc - 1, varintFault(n)
			}
			if uint64(v) > 1 {
				return i, pc - 1, faultBranch
			}
			i = n
			if int32(v) == o.size {
				pc = int(o.target)
			}
		case opConst:
			s := &slots[o.slot]
			if len(o.bytes) == 1 {
				s.data = append(s.data, o.bytes[0])
			} else {
				s.data = append(s.data, o.bytes...)
			}
		case opJump:
			pc = int(o.target)
		case opUUID:
			if len(body)-i < 16 {
				return i, pc - 1, faultShort
			}
			s := &slots[o.slot]
			s.data = appendUUID(s.data, body[i:i+16])
			i += 16
		case opBlocks:
			if slot := o.slot; slot >= 0 && i < len(body) && body[i] == 0 {
				// An empty array is the common case of a book's quiet side.
				i++
				s := &slots[slot]
				s.data = binary.LittleEndian.AppendUint64(s.data, s.total)
				pc = int(o.target)
				continue
			}
			if i, f = p.blocks(b, o, body, i); f != ok {
				return i, pc - 1, f
			}
			if b.remaining[o.depth] == 0 {
				pc = int(o.target)
			}
		case opBlocksNext:
			if b.remaining[o.depth]--; b.remaining[o.depth] > 0 {
				pc = int(o.target)
				continue
			}
			if i, f = p.blocks(b, o, body, i); f != ok {
				return i, pc - 1, f
			}
			if b.remaining[o.depth] > 0 {
				pc = int(o.target)
			}
		case opEnd:
			return i, pc - 1, ok
		default:
			if i, f = p.rare(b, o, body, i); f != ok {
				return i, pc - 1, f
			}
		}
	}
	return i, len(ops) - 1, ok
}

// blocks reads the head of an array's next block into b.remaining; at the array's end it notes where the array ends.
func (p *Plan) blocks(b *Block, o *op, body []byte, i int) (int, fault) {
	count, n := varint(body, i)
	if n < 0 {
		return i, varintFault(n)
	}
	i = n
	if count < 0 {
		// A negative count is followed by the block's size in bytes, which is of no use here.
		count = -count
		if _, n = varint(body, i); n < 0 {
			return i, varintFault(n)
		}
		i = n
	}
	if count < 0 || count > int64((len(body)-i)/int(o.size)) {
		return i, faultCount
	}
	b.remaining[o.depth] = count
	if o.slot >= 0 {
		s := &b.slots[o.slot]
		s.total += uint64(count)
		if count == 0 {
			s.data = binary.LittleEndian.AppendUint64(s.data, s.total)
		}
	}
	return i, ok
}

// rare runs the steps that no hot product has.
func (p *Plan) rare(b *Block, o *op, body []byte, i int) (int, fault) {
	switch o.code {
	case opConstDict:
		b.slots[o.slot].dict.null()
		return i, ok
	case opNull:
		return i, faultNull
	case opReplay:
		return i, p.replay(b, o)
	case opFloat32, opWiden:
		return fixed(body, i, 4, func(raw []byte) {
			s := &b.slots[o.slot]
			if o.code == opFloat32 {
				s.data = append(s.data, raw...)
				return
			}
			wide := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
			s.data = binary.LittleEndian.AppendUint64(s.data, math.Float64bits(wide))
		})
	case opFloat64:
		return fixed(body, i, 8, func(raw []byte) { b.slots[o.slot].data = append(b.slots[o.slot].data, raw...) })
	case opFixed:
		return fixed(body, i, int(o.size), func(raw []byte) { b.slots[o.slot].data = append(b.slots[o.slot].data, raw...) })
	case opFixedString:
		return fixed(body, i, int(o.size), func(raw []byte) { appendString(&b.slots[o.slot], raw) })
	case opSkipFixed:
		return fixed(body, i, int(o.size), func([]byte) {})
	case opBool, opSkipBool:
		if i >= len(body) {
			return i, faultShort
		}
		if body[i] > 1 {
			return i, faultBool
		}
		if o.code == opBool {
			b.slots[o.slot].data = append(b.slots[o.slot].data, body[i])
		}
		return i + 1, ok
	case opUUIDText:
		return textUUID(b, o, body, i)
	}
	return number(b, o, body, i)
}

func (p *Plan) replay(b *Block, o *op) fault {
	if len(b.remaining) < o.replay.depth {
		b.remaining = append(b.remaining, make([]int64, o.replay.depth-len(b.remaining))...)
	}
	at, _, f := o.replay.run(b, o.bytes)
	if f == ok && at != len(o.bytes) {
		f = faultLeft
	}
	return f
}

// number runs the rare steps that begin with a number.
func number(b *Block, o *op, body []byte, i int) (int, fault) {
	v, n := varint(body, i)
	if n < 0 {
		return i, varintFault(n)
	}
	switch o.code {
	case opOnly:
		if v != 0 {
			return i, faultBranch
		}
	case opIntFloat:
		s := &b.slots[o.slot]
		s.data = binary.LittleEndian.AppendUint32(s.data, math.Float32bits(float32(v)))
	case opIntDouble:
		s := &b.slots[o.slot]
		s.data = binary.LittleEndian.AppendUint64(s.data, math.Float64bits(float64(v)))
	case opSymbol, opSymbolDict:
		if uint64(v) >= uint64(len(o.names)) {
			return i, faultEnum
		}
		if o.code == opSymbol {
			appendString(&b.slots[o.slot], o.names[v])
		} else {
			b.slots[o.slot].dict.value(o.names[v])
		}
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
	return n, ok
}

func fixed(body []byte, i, size int, take func(raw []byte)) (int, fault) {
	if len(body)-i < size {
		return i, faultShort
	}
	take(body[i : i+size])
	return i + size, ok
}

func textUUID(b *Block, o *op, body []byte, i int) (int, fault) {
	size, n := varint(body, i)
	if n < 0 {
		return i, varintFault(n)
	}
	if size < 0 || size > int64(len(body)-n) {
		return i, faultShort
	}
	if size != 36 {
		return i, faultUUID
	}
	id, err := uuid.ParseBytes(body[n : n+36])
	if err != nil {
		return i, faultUUID
	}
	b.slots[o.slot].data = appendUUID(b.slots[o.slot].data, id[:])
	return n + 36, ok
}

func appendString(s *slot, v []byte) {
	s.data = binary.AppendUvarint(s.data, uint64(len(v)))
	s.data = append(s.data, v...)
}
