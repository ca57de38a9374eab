package columnar

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Order is the order of a table's rows, in terms of a layout.
type Order struct {
	layout *Layout
	keys   []sortKey
}

type sortKey struct {
	slot   int
	kind   nodeKind
	width  int
	signed bool
}

// Order of the rows by some columns. It says false when blocks of the layout cannot be sorted so: a key has to be a plain column of
// whole numbers, times or strings that is never null, and no column may be an array.
func (l *Layout) Order(columns ...string) (*Order, bool) {
	o := &Order{layout: l}
	for i := range l.columns {
		if holdsArray(l.columns[i].root) {
			return nil, false
		}
	}
	for _, name := range columns {
		c, known := l.byName[name]
		if !known || c.root.nullable {
			return nil, false
		}
		key := sortKey{slot: c.root.slot, kind: c.root.kind, width: c.root.width}
		switch c.root.typ.Name {
		case "String":
		case "Int8", "Int16", "Int32", "Int64", "DateTime64", "Date32", "Enum8", "Enum16":
			key.signed = true
		case "UInt8", "UInt16", "UInt32", "UInt64", "Bool":
		default:
			return nil, false
		}
		o.keys = append(o.keys, key)
	}
	return o, len(o.keys) > 0
}

func holdsArray(n *node) bool { return n.kind == nodeArray || slices.ContainsFunc(n.kids, holdsArray) }

// Sorter brings the rows of blocks into a table's order. ClickHouse sorts what is not sorted on the one thread that an insert has, where
// a third of its time goes. A Sorter keeps its memory from block to block, and is not safe for concurrent use.
type Sorter struct {
	perm    []uint32 // the rows in their new order
	groups  []uint32 // of each row, then where the next row of a group goes
	counts  []uint32
	starts  map[int][]uint32 // where the values of a string slot begin, and where the last one ends
	scratch []byte
}

// Footprint is the memory that the sorter holds, in bytes.
func (s *Sorter) Footprint() int {
	total := 4*(cap(s.perm)+cap(s.groups)+cap(s.counts)) + cap(s.scratch)
	for _, starts := range s.starts {
		total += 4 * cap(starts)
	}
	return total
}

// Sort the block's rows. Rows that are equal in the order keep theirs.
func (s *Sorter) Sort(b *Block, o *Order) {
	if b.layout != o.layout || b.rows < 2 {
		return
	}
	if s.starts == nil {
		s.starts = map[int][]uint32{}
	}
	for i, spec := range b.layout.slots {
		if spec.width == 0 {
			s.starts[i] = startsOf(s.starts[i][:0], &b.slots[i], b.rows)
		}
	}
	rest := s.group(b, o.keys)
	compare := s.comparison(b, rest)
	begin := uint32(0)
	for _, end := range s.counts {
		if rows := s.perm[begin:end]; len(rest) > 0 && !slices.IsSortedFunc(rows, compare) {
			slices.SortStableFunc(rows, compare)
		}
		begin = end
	}
	for i, spec := range b.layout.slots {
		slot := &b.slots[i]
		s.scratch = slices.Grow(s.scratch[:0], slot.n)[:slot.n]
		s.permute(slot, spec.width, s.starts[i])
		copy(slot.data, s.scratch)
	}
}

// maxGroups bounds the memory of the counting sort.
const maxGroups = 1 << 18

// group puts the rows into groups by the dictionaries that the order begins with, as a counting sort, and returns the other keys. Afterwards
// counts says where each group ends in perm.
func (s *Sorter) group(b *Block, keys []sortKey) (rest []sortKey) {
	s.groups = slices.Grow(s.groups[:0], b.rows)[:b.rows]
	clear(s.groups)
	groups := 1
	for len(keys) > 0 && keys[0].kind == nodeDict {
		slot := &b.slots[keys[0].slot]
		n := len(slot.dict.entries)
		if groups*n > maxGroups {
			break
		}
		rank := slot.dict.ranks()
		for row := range s.groups {
			s.groups[row] = s.groups[row]*uint32(n) + rank[binary.LittleEndian.Uint32(slot.data[row*keyWidth:])]
		}
		groups *= n
		keys = keys[1:]
	}
	s.counts = slices.Grow(s.counts[:0], groups)[:groups]
	clear(s.counts)
	for _, group := range s.groups {
		s.counts[group]++
	}
	begin := uint32(0)
	for group, n := range s.counts {
		s.counts[group] = begin
		begin += n
	}
	s.perm = slices.Grow(s.perm[:0], b.rows)[:b.rows]
	for row, group := range s.groups {
		s.perm[s.counts[group]] = uint32(row)
		s.counts[group]++
	}
	return keys
}

// ranks of the entries among each other, by key.
func (d *dictionary) ranks() []uint32 {
	order := make([]uint32, len(d.entries))
	for key := range order {
		order[key] = uint32(key)
	}
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(d.value(a), d.value(b)) })
	ranks := make([]uint32, len(order))
	for rank, key := range order {
		ranks[key] = uint32(rank)
	}
	return ranks
}

// value of an entry, in the arena.
func (d *dictionary) value(key uint32) []byte {
	end := d.end(key)
	return d.arena[end-int(d.entries[key].size) : end]
}

// startsOf the values of a string slot.
func startsOf(starts []uint32, s *slot, rows int) []uint32 {
	at := 0
	for range rows {
		starts = append(starts, uint32(at))
		size, n := uint64(s.data[at]), 1
		if size >= 0x80 {
			size, n = binary.Uvarint(s.data[at:s.n])
		}
		at += n + int(size)
	}
	return append(starts, uint32(at))
}

// comparison of two rows by keys.
func (s *Sorter) comparison(b *Block, keys []sortKey) func(x, y uint32) int {
	return func(x, y uint32) int {
		for i := range keys {
			if c := s.compare(b, &keys[i], x, y); c != 0 {
				return c
			}
		}
		return 0
	}
}

func (s *Sorter) compare(b *Block, k *sortKey, x, y uint32) int {
	slot := &b.slots[k.slot]
	switch k.kind {
	case nodeString:
		return bytes.Compare(s.text(slot, s.starts[k.slot], x), s.text(slot, s.starts[k.slot], y))
	case nodeDict:
		key := func(row uint32) uint32 { return binary.LittleEndian.Uint32(slot.data[row*keyWidth:]) }
		return bytes.Compare(slot.dict.value(key(x)), slot.dict.value(key(y)))
	}
	v, w := keyWord(slot.data, x, k.width), keyWord(slot.data, y, k.width)
	if k.signed {
		shift := 64 - 8*k.width
		return cmp.Compare(int64(v<<shift), int64(w<<shift))
	}
	return cmp.Compare(v, w)
}

// text of a row in a string slot, without its length.
func (s *Sorter) text(slot *slot, starts []uint32, row uint32) []byte {
	value := slot.data[starts[row]:starts[row+1]]
	_, n := binary.Uvarint(value)
	return value[n:]
}

// keyWord reads a number of a row.
func keyWord(data []byte, row uint32, width int) uint64 {
	switch width {
	case 1:
		return uint64(data[row])
	case 2:
		return uint64(binary.LittleEndian.Uint16(data[2*row:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(data[4*row:]))
	}
	return binary.LittleEndian.Uint64(data[8*row:])
}

// permute writes the slot's values into scratch, in the new order.
func (s *Sorter) permute(slot *slot, width int, starts []uint32) {
	to, from := s.scratch, slot.data
	switch width {
	case 0:
		at := 0
		for _, row := range s.perm {
			at += copy(to[at:], from[starts[row]:starts[row+1]])
		}
	case 1:
		for i, row := range s.perm {
			to[i] = from[row]
		}
	case 4:
		for i, row := range s.perm {
			binary.LittleEndian.PutUint32(to[4*i:], binary.LittleEndian.Uint32(from[4*int(row):]))
		}
	case 8:
		for i, row := range s.perm {
			binary.LittleEndian.PutUint64(to[8*i:], binary.LittleEndian.Uint64(from[8*int(row):]))
		}
	case 16:
		for i, row := range s.perm {
			in, out := from[16*int(row):16*int(row)+16], to[16*i:16*i+16]
			binary.LittleEndian.PutUint64(out, binary.LittleEndian.Uint64(in))
			binary.LittleEndian.PutUint64(out[8:], binary.LittleEndian.Uint64(in[8:]))
		}
	default:
		for i, row := range s.perm {
			copy(to[width*i:width*(i+1)], from[width*int(row):])
		}
	}
}
