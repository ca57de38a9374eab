package columnar

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"unsafe"
)

// dictionary is a LowCardinality column in the making. Its arena is the dictionary as Native sends it (every value with
// its length before it), so encoding copies nothing but the keys, which are in the column's slot.
type dictionary struct {
	arena   []byte
	entries []entry
	// table is an open-addressed index of entries, holding position+1; its size is a power of two.
	table    []uint32
	last     uint32
	nullable bool
	seed     maphash.Seed
	secrets  [2]uint64
	pack     []byte
}

// keyWidth is the size of a key in the column's slot, in bytes.
const keyWidth = 4

// entry is a value. One of up to 16 bytes, as nearly all are, is in low and high themselves, so that it is compared and hashed
// without a call; of a longer one low holds a hash.
type entry struct {
	low, high uint64
	start     uint32 // where its length begins in the arena
	size      uint32 // of the value, in bytes
	row       uint32 // the row that brought it
}

const (
	entrySize = int(unsafe.Sizeof(entry{}))
	wordsSize = 16
	nullSize  = math.MaxUint32 // of the null's entry, which equals no value
)

func newDictionary(nullable bool) *dictionary {
	d := &dictionary{seed: maphash.MakeSeed(), nullable: nullable, table: make([]uint32, 64)}
	// Which values collide is unknown to whoever sends them.
	d.secrets = [2]uint64{maphash.Bytes(d.seed, []byte{0}), maphash.Bytes(d.seed, []byte{1})}
	d.reset()
	return d
}

// reset forgets everything. A nullable dictionary keeps its first place for null.
func (d *dictionary) reset() {
	d.arena, d.entries = d.arena[:0], d.entries[:0]
	clear(d.table)
	d.last = 0
	if d.nullable {
		d.arena = append(d.arena, 0)
		d.entries = append(d.entries, entry{size: nullSize})
	}
}

func (d *dictionary) footprint() int {
	return cap(d.arena) + entrySize*cap(d.entries) + 4*cap(d.table) + cap(d.pack)
}

// key returns the key of body[at:end], a value of the row. Neighbouring rows often hold the same one, which is tried before hashing.
func (d *dictionary) key(body []byte, at, end, row int) uint32 {
	size := end - at
	if size > wordsSize {
		return d.longKey(body[at:end], row)
	}
	var low, high uint64
	if at+wordsSize <= len(body) {
		low, high = binary.LittleEndian.Uint64(body[at:]), binary.LittleEndian.Uint64(body[at+8:])
		if size <= 8 {
			low, high = low&(^uint64(0)>>uint(64-8*size)), 0
		} else {
			high &= ^uint64(0) >> uint(128-8*size)
		}
	} else {
		var words [wordsSize]byte
		copy(words[:], body[at:end])
		low, high = binary.LittleEndian.Uint64(words[:]), binary.LittleEndian.Uint64(words[8:])
	}
	if int(d.last) < len(d.entries) {
		if e := &d.entries[d.last]; e.low == low && e.high == high && e.size == uint32(size) {
			return d.last
		}
	}
	mask := uint32(len(d.table) - 1)
	i := d.hash(low, high, uint32(size)) & mask
	for d.table[i] != 0 {
		key := d.table[i] - 1
		if e := &d.entries[key]; e.low == low && e.high == high && e.size == uint32(size) {
			d.last = key
			return key
		}
		i = (i + 1) & mask
	}
	return d.insert(body[at:end], entry{low: low, high: high, row: uint32(row)}, i)
}

// hash folds the product of two words, each mixed with a secret.
func (d *dictionary) hash(low, high uint64, size uint32) uint32 {
	a, b := bits.Mul64(low^d.secrets[0], high^d.secrets[1]^uint64(size))
	return uint32(a ^ b ^ (a^b)>>32)
}

func (d *dictionary) longKey(v []byte, row int) uint32 {
	low := maphash.Bytes(d.seed, v)
	mask := uint32(len(d.table) - 1)
	i := d.hash(low, 0, uint32(len(v))) & mask
	for d.table[i] != 0 {
		key := d.table[i] - 1
		if e := &d.entries[key]; e.low == low && int(e.size) == len(v) && string(d.arena[d.end(key)-len(v):d.end(key)]) == string(v) {
			d.last = key
			return key
		}
		i = (i + 1) & mask
	}
	return d.insert(v, entry{low: low, row: uint32(row)}, i)
}

// end is where an entry ends in the arena: where the next one begins.
func (d *dictionary) end(key uint32) int {
	if int(key)+1 < len(d.entries) {
		return int(d.entries[key+1].start)
	}
	return len(d.arena)
}

func (d *dictionary) insert(v []byte, e entry, i uint32) uint32 {
	key := uint32(len(d.entries))
	e.start, e.size = uint32(len(d.arena)), uint32(len(v))
	d.arena = binary.AppendUvarint(d.arena, uint64(len(v)))
	d.arena = append(d.arena, v...)
	d.entries = append(d.entries, e)
	d.table[i] = key + 1
	d.last = key
	if 4*len(d.entries) > len(d.table) {
		d.rebuild(2 * len(d.table))
	}
	return key
}

// rebuild fills a table of the size from the entries.
func (d *dictionary) rebuild(size int) {
	if size == len(d.table) {
		clear(d.table)
	} else {
		d.table = make([]uint32, size)
	}
	mask := uint32(size - 1)
	for key := range d.entries {
		e := &d.entries[key]
		if e.size == nullSize {
			continue
		}
		i := d.hash(e.low, e.high, e.size) & mask
		for d.table[i] != 0 {
			i = (i + 1) & mask
		}
		d.table[i] = uint32(key + 1)
	}
}

// takeBack forgets the values that a bad row brought. Its number is that of the next row, so no good row has it.
func (d *dictionary) takeBack(row int) {
	n := len(d.entries)
	for n > 0 && d.entries[n-1].row == uint32(row) && d.entries[n-1].size != nullSize {
		n--
	}
	if n < len(d.entries) {
		d.arena = d.arena[:d.entries[n].start]
		d.entries = d.entries[:n]
		d.last = 0
		d.rebuild(len(d.table))
	}
}

// packed returns the keys little-endian in 1, 2 or 4 bytes each.
func (d *dictionary) packed(keys []byte, width int) []byte {
	if width == keyWidth {
		return keys
	}
	n := len(keys) / keyWidth
	if cap(d.pack) < n*width {
		d.pack = make([]byte, n*width)
	}
	d.pack = d.pack[:n*width]
	for i := range n {
		if width == 1 {
			d.pack[i] = keys[keyWidth*i]
		} else {
			copy(d.pack[2*i:2*i+2], keys[keyWidth*i:])
		}
	}
	return d.pack
}
