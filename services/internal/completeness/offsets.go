package completeness

import (
	"cmp"
	"math/bits"
	"slices"
)

// Run is a run of offsets of a partition, From inclusive, To exclusive.
type Run struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

// rounds cuts runs into pieces and gathers them, so that no round has more than limit offsets, and no partition twice: memory is
// a round's.
func rounds(runs []Run, limit int64) [][]Run {
	var all [][]Run
	var round []Run
	room := limit
	for _, r := range runs {
		if slices.ContainsFunc(round, func(other Run) bool { return other.Partition == r.Partition }) {
			all, round, room = append(all, round), nil, limit
		}
		for r.From < r.To {
			piece := Run{r.Partition, r.From, min(r.To, r.From+room)}
			round, r.From, room = append(round, piece), piece.To, room-(piece.To-piece.From)
			if room == 0 {
				all, round, room = append(all, round), nil, limit
			}
		}
	}
	if len(round) > 0 {
		all = append(all, round)
	}
	return all
}

// offsetSet is a set of offsets of one run, a bit each.
type offsetSet struct {
	from  int64
	words []uint64
}

func newOffsetSet(r Run) offsetSet {
	return offsetSet{r.From, make([]uint64, (r.To-r.From+63)/64)}
}

func (s offsetSet) add(offset int64) { s.words[(offset-s.from)/64] |= 1 << ((offset - s.from) % 64) }

func (s offsetSet) remove(offset int64) {
	s.words[(offset-s.from)/64] &^= 1 << ((offset - s.from) % 64)
}

func (s offsetSet) has(offset int64) bool {
	return s.words[(offset-s.from)/64]>>((offset-s.from)%64)&1 == 1
}

func (s offsetSet) count() (n int64) {
	for _, w := range s.words {
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// each calls f with every offset of the set, in order.
func (s offsetSet) each(f func(offset int64)) {
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			f(s.from + int64(i*64+bits.TrailingZeros64(w)))
		}
	}
}

// minus are the runs of offsets that s has and other, a set of the same run, has not.
func (s offsetSet) minus(other offsetSet, partition int32) (runs []Run) {
	rest := offsetSet{s.from, slices.Clone(s.words)}
	for i := range rest.words {
		rest.words[i] &^= other.words[i]
	}
	rest.each(func(offset int64) { runs = appendOffset(runs, partition, offset) })
	return runs
}

// appendOffset adds an offset that is behind those in runs.
func appendOffset(runs []Run, partition int32, offset int64) []Run {
	if n := len(runs); n > 0 && runs[n-1].Partition == partition && runs[n-1].To == offset {
		runs[n-1].To++
		return runs
	}
	return append(runs, Run{partition, offset, offset + 1})
}

// sum is what tells two sets of offsets apart without listing them: the same on both sides but for one case in 2^64.
type sum struct {
	rows, distinct, hash uint64
}

// hashSalt and the steps behind it are ClickHouse's intHash64.
const hashSalt = 0x4CF2D2BAAE6DA887

func hashOf(offset int64) uint64 {
	x := uint64(offset) ^ hashSalt
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (s offsetSet) sum() sum {
	var all sum
	s.each(func(offset int64) { all.rows, all.hash = all.rows+1, all.hash+hashOf(offset) })
	all.distinct = all.rows
	return all
}

func sortRuns(runs []Run) {
	slices.SortFunc(runs, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.From, b.From))
	})
}
