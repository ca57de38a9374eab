package columnar

import (
	"encoding/binary"
	"hash/maphash"
)

// dictionary is a LowCardinality column in the making. Its arena is the dictionary as Native sends it (every value with
// its length before it), so encoding copies nothing but the keys.
type dictionary struct {
	arena   []byte
	entries []entry
	keys    []uint32
	// table is an open-addressed index of entries, holding position+1; its size is a power of two.
	table    []uint32
	seed     maphash.Seed
	nullable bool
	last     uint32
	pack     []byte
}

type entry struct {
	at, size uint32 // the value's bytes in the arena, behind the length
	start    uint32 // where its length begins
	hash     uint32
}

func newDictionary(nullable bool) *dictionary {
	d := &dictionary{seed: maphash.MakeSeed(), nullable: nullable, table: make([]uint32, 64)}
	d.reset()
	return d
}

// reset forgets everything. A nullable dictionary keeps its first place for null.
func (d *dictionary) reset() {
	d.arena, d.entries, d.keys = d.arena[:0], d.entries[:0], d.keys[:0]
	clear(d.table)
	d.last = 0
	if d.nullable {
		d.arena = append(d.arena, 0)
		d.entries = append(d.entries, entry{at: 1})
	}
}

func (d *dictionary) footprint() int {
	return cap(d.arena) + 16*cap(d.entries) + 4*cap(d.keys) + 4*cap(d.table) + cap(d.pack)
}

// null appends a null.
func (d *dictionary) null() { d.keys = append(d.keys, 0) }

// value appends a value. Neighbouring rows often hold the same one, which is tried before hashing.
func (d *dictionary) value(v []byte) {
	if int(d.last) < len(d.entries) {
		if e := &d.entries[d.last]; int(e.size) == len(v) && string(d.arena[e.at:e.at+e.size]) == string(v) && !(d.nullable && d.last == 0) {
			d.keys = append(d.keys, d.last)
			return
		}
	}
	d.find(v)
}

func (d *dictionary) find(v []byte) {
	hash := uint32(maphash.Bytes(d.seed, v))
	mask := uint32(len(d.table) - 1)
	i := hash & mask
	for d.table[i] != 0 {
		key := d.table[i] - 1
		if e := &d.entries[key]; e.hash == hash && int(e.size) == len(v) && string(d.arena[e.at:e.at+e.size]) == string(v) {
			d.last = key
			d.keys = append(d.keys, key)
			return
		}
		i = (i + 1) & mask
	}
	d.insert(v, hash, i)
}

func (d *dictionary) insert(v []byte, hash, i uint32) {
	key := uint32(len(d.entries))
	e := entry{start: uint32(len(d.arena)), size: uint32(len(v)), hash: hash}
	d.arena = binary.AppendUvarint(d.arena, uint64(len(v)))
	e.at = uint32(len(d.arena))
	d.arena = append(d.arena, v...)
	d.entries = append(d.entries, e)
	d.table[i] = key + 1
	d.last = key
	d.keys = append(d.keys, key)
	if 2*len(d.entries) > len(d.table) {
		d.rebuild(2 * len(d.table))
	}
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
		if key == 0 && d.nullable {
			continue
		}
		i := d.entries[key].hash & mask
		for d.table[i] != 0 {
			i = (i + 1) & mask
		}
		d.table[i] = uint32(key + 1)
	}
}

// truncate takes back what a bad row added.
func (d *dictionary) truncate(entries, keys int) {
	d.keys = d.keys[:keys]
	if entries < len(d.entries) {
		d.arena = d.arena[:d.entries[entries].start]
		d.entries = d.entries[:entries]
		d.last = 0
		d.rebuild(len(d.table))
	}
}

// packed returns the keys little-endian in 1, 2 or 4 bytes each.
func (d *dictionary) packed(width int) []byte {
	if need := len(d.keys) * width; cap(d.pack) < need {
		d.pack = make([]byte, need)
	}
	d.pack = d.pack[:len(d.keys)*width]
	for i, k := range d.keys {
		switch width {
		case 1:
			d.pack[i] = byte(k)
		case 2:
			binary.LittleEndian.PutUint16(d.pack[2*i:], uint16(k))
		default:
			binary.LittleEndian.PutUint32(d.pack[4*i:], k)
		}
	}
	return d.pack
}
