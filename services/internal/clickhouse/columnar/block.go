package columnar

import (
	"encoding/binary"

	"github.com/ClickHouse/ch-go/proto"
)

// slot is one stream of values in the form in which Native sends it: numbers little-endian side by side, strings each
// with its length before it, a dictionary's keys in 4 bytes. A Nullable has a second slot for its null map, an Array one for
// its ends. Its size is a power of two, which saves a multiplication a field.
type slot struct {
	// data is the slot's memory, of which the first n bytes are written. Room for values of fixed width is made ahead: at the
	// top of the table for many rows, in an array for all items of a block. So they are stored without a look at capacity.
	data []byte
	n    int
	// mark is n when the row under way began, for taking back a row that turns out bad.
	mark int
	// total is how many items an array's slot has counted so far.
	total uint64
	dict  *dictionary
	_     [8]byte
}

func (s *slot) put1(v byte) {
	s.data[s.n] = v
	s.n++
}

func (s *slot) put2(v uint16) {
	binary.LittleEndian.PutUint16(s.data[s.n:], v)
	s.n += 2
}

func (s *slot) put4(v uint32) {
	binary.LittleEndian.PutUint32(s.data[s.n:], v)
	s.n += 4
}

func (s *slot) put8(v uint64) {
	binary.LittleEndian.PutUint64(s.data[s.n:], v)
	s.n += 8
}

// put16 appends two words, the one that is stored first given first.
func (s *slot) put16(first, second uint64) {
	to := s.data[s.n : s.n+16]
	binary.LittleEndian.PutUint64(to, first)
	binary.LittleEndian.PutUint64(to[8:], second)
	s.n += 16
}

// reserve makes room for so many bytes more.
func (s *slot) reserve(size int) {
	if len(s.data)-s.n < size {
		s.grow(s.n + size)
	}
}

// grow makes the memory at least so large, and a quarter larger than it was, so that growing costs little a byte.
func (s *slot) grow(size int) {
	data := make([]byte, max(size, len(s.data)+len(s.data)/4+32))
	copy(data, s.data[:s.n])
	s.data = data
}

// text appends body[at:end] as a string with its length before it; false when the block would become too large.
func (s *slot) text(body []byte, at, end int) bool {
	size := end - at
	if len(s.data)-s.n < size+1+wordsSize {
		if s.n+size > maxBlockBytes {
			return false
		}
		s.grow(s.n + size + 1 + wordsSize)
	}
	if size <= wordsSize && at+wordsSize <= len(body) {
		// Two words are copied whatever the size: what is too much, the next string overwrites.
		to := s.data[s.n : s.n+1+wordsSize]
		to[0] = byte(size)
		binary.LittleEndian.PutUint64(to[1:], binary.LittleEndian.Uint64(body[at:]))
		binary.LittleEndian.PutUint64(to[9:], binary.LittleEndian.Uint64(body[at+8:]))
		s.n += 1 + size
		return true
	}
	s.n += binary.PutUvarint(s.data[s.n:], uint64(size))
	s.n += copy(s.data[s.n:], body[at:end])
	return true
}

// Block collects rows of one table. It is not safe for concurrent use. Reset keeps its memory for the next block.
type Block struct {
	layout *Layout
	slots  []slot
	rows   int
	// room is for how many rows the slots at the top of the table have memory.
	room int
	// remaining counts the items left in the array blocks under way, one a nesting depth.
	remaining []int64
}

// NewBlock makes an empty block of a layout.
func NewBlock(layout *Layout) *Block {
	b := &Block{layout: layout, slots: make([]slot, len(layout.slots))}
	for i, spec := range layout.slots {
		if spec.dict {
			b.slots[i].dict = newDictionary(spec.nullable)
		}
	}
	return b
}

// Layout of the block.
func (b *Block) Layout() *Layout { return b.layout }

// Rows in the block.
func (b *Block) Rows() int { return b.rows }

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	b.rows = 0
	for i := range b.slots {
		s := &b.slots[i]
		s.n = 0
		s.total = 0
		if s.dict != nil {
			s.dict.reset()
		}
	}
}

// Bytes is the size of the rows, in bytes; it costs a look at every column, so ask once a batch, not once a row.
func (b *Block) Bytes() int {
	total := 0
	for i := range b.slots {
		total += b.slots[i].n
		if d := b.slots[i].dict; d != nil {
			total += len(d.arena) + entrySize*len(d.entries)
		}
	}
	return total
}

// Footprint is the memory that the block holds, used or not, in bytes.
func (b *Block) Footprint() int {
	total := 0
	for i := range b.slots {
		total += cap(b.slots[i].data)
		if d := b.slots[i].dict; d != nil {
			total += d.footprint()
		}
	}
	return total
}

// makeRoom lets the slots at the top of the table grow together, as append would each of them.
func (b *Block) makeRoom() {
	b.room += b.room/4 + 64
	for i, spec := range b.layout.slots {
		if s := &b.slots[i]; !spec.marked && len(s.data) < b.room*spec.width {
			s.grow(b.room * spec.width)
		}
	}
}

// begin notes where the row starts. Slots of fixed width at the top of the table need no mark: their length follows from
// the number of rows.
func (b *Block) begin() {
	for _, i := range b.layout.marked {
		s := &b.slots[i]
		s.mark = s.n
	}
}

// rollback takes the row under way back.
func (b *Block) rollback() {
	for i := range b.slots {
		s := &b.slots[i]
		spec := b.layout.slots[i]
		if spec.marked {
			s.n = s.mark
		} else {
			s.n = b.rows * spec.width
		}
		if s.dict != nil {
			s.dict.takeBack(b.rows)
		}
		if spec.ends {
			s.total = 0
			if s.n >= 8 {
				s.total = binary.LittleEndian.Uint64(s.data[s.n-8:])
			}
		}
	}
}

// Native returns the block in ClickHouse's Native format of protocol revision 0, as chunks in order. The chunks alias the
// block: they are good until it is changed. Calling it again gives the same bytes, which a retry has to send.
func (b *Block) Native() [][]byte {
	columns := len(b.layout.columns)
	e := encoder{block: b, chunks: make([][]byte, 0, 4*columns+1)}
	e.head.Buf = make([]byte, 0, 64*columns)
	e.head.PutUVarInt(uint64(columns))
	e.head.PutUVarInt(uint64(b.rows))
	for _, c := range b.layout.columns {
		e.head.PutString(c.name)
		e.head.PutString(c.typeText)
		e.state(c.root)
		e.node(c.root)
	}
	e.cut()
	return e.chunks
}

// encoder lays the chunks out: small things are gathered in head, columns are passed on without a copy.
type encoder struct {
	block  *Block
	head   proto.Buffer
	chunks [][]byte
}

// cut ends the chunk that head holds. The next one goes behind it, in the same memory while there is some.
func (e *encoder) cut() {
	if n := len(e.head.Buf); n > 0 {
		e.chunks = append(e.chunks, e.head.Buf[:n:n])
		e.head.Buf = e.head.Buf[n:]
	}
}

func (e *encoder) raw(data []byte) {
	if len(data) < 512 {
		e.head.Buf = append(e.head.Buf, data...)
		return
	}
	e.cut()
	e.chunks = append(e.chunks, data)
}

func (e *encoder) slot(i int) {
	s := &e.block.slots[i]
	e.raw(s.data[:s.n])
}

// state writes what Native sends before a column: for every dictionary in it the version of its form.
func (e *encoder) state(n *node) {
	if n.kind == nodeDict {
		e.head.PutInt64(1) // Shared dictionaries with additional keys, the only form there is.
	}
	for _, kid := range n.kids {
		e.state(kid)
	}
}

func (e *encoder) node(n *node) {
	if n.nulls >= 0 {
		e.slot(n.nulls)
	}
	switch n.kind {
	case nodeDict:
		e.dictionary(&e.block.slots[n.slot])
	case nodeTuple:
	default:
		e.slot(n.slot)
	}
	for _, kid := range n.kids {
		e.node(kid)
	}
}

// dictionary writes the values once, then the keys in the narrowest width that holds them.
func (e *encoder) dictionary(s *slot) {
	if s.n == 0 {
		return
	}
	const additionalKeys, updateDictionary = 1 << 9, 1 << 10
	d := s.dict
	width, code := 4, int64(proto.KeyUInt32)
	switch {
	case len(d.entries) <= 1<<8:
		width, code = 1, int64(proto.KeyUInt8)
	case len(d.entries) <= 1<<16:
		width, code = 2, int64(proto.KeyUInt16)
	}
	e.head.PutInt64(additionalKeys | updateDictionary | code)
	e.head.PutInt64(int64(len(d.entries)))
	e.raw(d.arena)
	e.head.PutInt64(int64(s.n / keyWidth))
	e.raw(d.packed(s.data[:s.n], width))
}
