package convert

import (
	"context"
	"testing"

	"pgregory.net/rapid"
)

// memoryLog is a partitionLog in memory, with holes: a transaction's control records, whole transactions that were undone.
type memoryLog struct {
	first, end int64
	entries    []entry
}

func (l *memoryLog) span() (first, end int64) { return l.first, l.end }

func (l *memoryLog) read(_ context.Context, from, to int64, take func(entry) bool) error {
	for _, e := range l.entries {
		if e.offset >= max(from, l.first) && e.offset < to && !take(e) {
			return nil
		}
	}
	return nil
}

func (l *memoryLog) add(source int64) int64 {
	l.entries = append(l.entries, entry{l.end, source})
	l.end++
	return l.end - 1
}

// world is one partition of both versions, written by one origin at a time, as often as it likes to switch.
type world struct {
	from, to         memoryLog
	upDone, downDone int64
	// copied maps a record to its copy: by offset in from for those converted up, in to for those converted down.
	up, down map[int64]int64
}

func drawWorld(t *rapid.T) *world {
	w := &world{up: map[int64]int64{}, down: map[int64]int64{}}
	divert := rapid.SampledFrom([]int{0, 0, 10, 100}).Draw(t, "percent without counterpart")
	hole := func(l *memoryLog) {
		l.end += int64(rapid.SampledFrom([]int{0, 0, 1, 3, 700, 5000}).Draw(t, "offsets without a record"))
	}
	// An origin writes, and the other side follows up to where it has come when the phase ends: to the end, but in the last one.
	phase := func(origin, target *memoryLog, copies map[int64]int64, done *int64, last bool) {
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			origin.add(native)
			hole(origin)
		}
		upTo := origin.end
		if last && rapid.Bool().Draw(t, "behind") {
			upTo = rapid.Int64Range(*done, origin.end).Draw(t, "converted up to")
		}
		for _, e := range origin.entries {
			if e.offset < *done || e.offset >= upTo || e.source != native || rapid.IntRange(0, 99).Draw(t, "percent") < divert {
				continue
			}
			copies[e.offset] = target.add(e.offset)
			hole(target)
		}
		*done = upTo
	}
	phases := rapid.IntRange(1, 4).Draw(t, "phases")
	for i := range phases {
		if i%2 == 0 {
			phase(&w.from, &w.to, w.up, &w.upDone, i == phases-1)
		} else {
			phase(&w.to, &w.from, w.down, &w.downDone, i == phases-1)
		}
	}
	return w
}

// TestAGroupGoesOnWithTheFirstRecordThatItHasNotRead is the whole promise of a cut-over: nothing read twice, nothing left out.
func TestAGroupGoesOnWithTheFirstRecordThatItHasNotRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		// A group that is ahead of the converter is refused before it comes to this.
		stopped := rapid.Int64Range(0, w.from.end).Draw(t, "stopped")
		for _, e := range w.from.entries {
			if e.source == native && e.offset >= w.upDone && e.offset < stopped {
				stopped = e.offset
			}
		}
		at, err := place(t.Context(), stopped, &w.from, &w.to, w.downDone)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range w.to.entries {
			read := e.source >= 0 && e.source < stopped
			if e.source == native {
				copy, converted := w.down[e.offset]
				if !converted && e.offset < w.downDone {
					continue // in the dead letters: whether it is offered again does not matter
				}
				read = converted && copy < stopped
			}
			if read != (e.offset < at) {
				t.Fatalf("stopped at %d, goes on at %d: record %+v was read: %v\nfrom %v\nto %v", stopped, at, e, read, w.from.entries, w.to.entries)
			}
		}
	})
}

// TestRetentionLosesAGroupNothing: where retention has taken the beginning of either topic, a group may be given again what it
// has read, but nothing that it has not is left out.
func TestRetentionLosesAGroupNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		stopped := rapid.Int64Range(0, w.from.end).Draw(t, "stopped")
		for _, e := range w.from.entries {
			if e.source == native && e.offset >= w.upDone && e.offset < stopped {
				stopped = e.offset
			}
		}
		w.from.first = rapid.Int64Range(0, w.from.end).Draw(t, "earlier kept from")
		w.to.first = rapid.Int64Range(0, w.to.end).Draw(t, "later kept from")
		stopped = max(stopped, w.from.first)
		at, err := place(t.Context(), stopped, &w.from, &w.to, w.downDone)
		if err != nil {
			t.Fatal(err)
		}
		if at < w.to.first {
			t.Fatalf("goes on at %d, before what is kept from %d", at, w.to.first)
		}
		for _, e := range w.to.entries {
			copy, down := w.down[e.offset]
			unread := e.source >= stopped || e.source == native && (down && copy >= stopped || !down && e.offset >= w.downDone)
			if unread && e.offset >= w.to.first && e.offset < at {
				t.Fatalf("stopped at %d, goes on at %d: record %+v is left out\nfrom %d of %v\nto %d of %v", stopped, at, e, w.from.first, w.from.entries, w.to.first, w.to.entries)
			}
		}
	})
}

// TestPlacesThatAreFarOrUntold: what random logs seldom hold.
func TestPlacesThatAreFarOrUntold(t *testing.T) {
	run := func(first, n int64, source func(offset int64) int64) (entries []entry) {
		for o := first; o < first+n; o++ {
			entries = append(entries, entry{o, source(o)})
		}
		return entries
	}
	own := func(int64) int64 { return native }
	log := func(first, end int64, entries ...entry) *memoryLog { return &memoryLog{first, end, entries} }
	for name, c := range map[string]struct {
		from, to          *memoryLog
		stopped, downDone int64
		want              int64
	}{
		// One of each, converted; then thousands that have no counterpart.
		"behind thousands of dead letters":                           {log(0, 3002, append([]entry{{0, native}, {1, 1}}, run(2, 3000, own)...)...), log(0, 2, entry{0, 0}, entry{1, native}), 3002, 2, 2},
		"far before the switch":                                      {log(0, 10_000, append(run(0, 100, own), run(100, 9900, func(o int64) int64 { return o })...)...), log(0, 10_000, append(run(0, 100, func(o int64) int64 { return o }), run(100, 9900, own)...)...), 50, 10_000, 50},
		"nothing before it is kept, the next one was converted down": {log(10, 12, entry{10, 7}, entry{11, 8}), log(5, 9, run(5, 4, own)...), 10, 9, 7},
		"nothing before it is kept, the next one is its own":         {log(10, 11, entry{10, native}), log(4, 5, entry{4, 10}), 10, -1, 4},
		"nothing is kept of what was converted down":                 {log(10, 10), log(5, 9, run(5, 4, own)...), 10, 8, 8},
		"nothing is kept, nothing was converted down":                {log(10, 10), log(5, 9, run(5, 4, own)...), 10, -1001, 5},
		"both are empty": {log(0, 0), log(0, 0), 0, -1001, 0},
	} {
		got, err := place(t.Context(), c.stopped, c.from, c.to, c.downDone)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}
