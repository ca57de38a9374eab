package columnar

import (
	"encoding/binary"

	"github.com/ClickHouse/ch-go/proto"
)

// slot is one stream of values in the form in which Native sends it: numbers little-endian side by side, strings each
// with its length before it, dictionary keys. A Nullable has a second slot for its null map, an Array one for its ends.
type slot struct {
	data []byte
	dict *dictionary
	// total is how many items an array's slot has counted so far.
	total uint64
	// mark is the length of data when the row under way began, for taking back a row that turns out bad.
	mark int
	// markEntries and markKeys are the same of a dictionary.
	markEntries, markKeys int
}

// Block collects rows of one table. It is not safe for concurrent use. Reset keeps its memory for the next block.
type Block struct {
	layout *Layout
	slots  []slot
	rows   int
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
		s.data = s.data[:0]
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
		total += len(b.slots[i].data)
		if d := b.slots[i].dict; d != nil {
			total += 4*len(d.keys) + len(d.arena) + 16*len(d.entries)
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

// begin notes where the row starts. Slots of fixed width at the top of the table need no mark: their length follows from
// the number of rows.
func (b *Block) begin() {
	for _, i := range b.layout.marked {
		s := &b.slots[i]
		s.mark = len(s.data)
		if s.dict != nil {
			s.markEntries, s.markKeys = len(s.dict.entries), len(s.dict.keys)
		}
	}
}

// rollback takes the row under way back.
func (b *Block) rollback() {
	for i := range b.slots {
		s := &b.slots[i]
		spec := b.layout.slots[i]
		if !spec.marked {
			s.data = s.data[:min(len(s.data), b.rows*spec.width)]
		} else {
			s.data = s.data[:s.mark]
			if s.dict != nil {
				s.dict.truncate(s.markEntries, s.markKeys)
			}
		}
		if spec.ends {
			s.total = 0
			if n := len(s.data); n >= 8 {
				s.total = binary.LittleEndian.Uint64(s.data[n-8:])
			}
		}
	}
}

// Native returns the block in ClickHouse's Native format of protocol revision 0, as chunks in order. The chunks alias the
// block: they are good until it is changed. Calling it again gives the same bytes, which a retry has to send.
func (b *Block) Native() [][]byte {
	e := encoder{block: b}
	e.head.PutUVarInt(uint64(len(b.layout.columns)))
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

func (e *encoder) cut() {
	if len(e.head.Buf) > 0 {
		e.chunks = append(e.chunks, e.head.Buf)
		e.head.Buf = nil
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
		e.raw(e.block.slots[n.nulls].data)
	}
	switch n.kind {
	case nodeDict:
		e.dictionary(e.block.slots[n.slot].dict)
	case nodeTuple:
	default:
		e.raw(e.block.slots[n.slot].data)
	}
	for _, kid := range n.kids {
		e.node(kid)
	}
}

// dictionary writes the values once, then the keys in the narrowest width that holds them.
func (e *encoder) dictionary(d *dictionary) {
	if len(d.keys) == 0 {
		return
	}
	const additionalKeys, updateDictionary = 1 << 9, 1 << 10
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
	e.head.PutInt64(int64(len(d.keys)))
	e.raw(d.packed(width))
}
