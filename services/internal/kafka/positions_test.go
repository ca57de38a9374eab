package kafka

import (
	"slices"
	"testing"
	"time"
)

func TestRecordsThatComeTwiceAroundARebalanceAreHandedOutOnce(t *testing.T) {
	p := newPositions()
	batch := func(offsets ...int64) (taken []int64) {
		p.beginBatch()
		for _, o := range offsets {
			if p.take("t", 3, o) {
				taken = append(taken, o)
			}
		}
		return taken
	}
	check := func(got []int64, want ...int64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("%v were taken, not %v", got, want)
		}
	}
	check(batch(7, 8, 9), 7, 8, 9)
	// Without a rebalance the broker is believed: an offset that goes back is a log that was truncated or made anew.
	check(batch(8, 9, 10), 8, 9, 10)
	check(batch(11, 12), 11, 12)
	p.guard()
	// The last batches come again, in pieces and with what is new between them; nothing older is held back.
	check(batch(11, 12, 13), 13)
	check(batch(13, 14, 12, 15), 14, 15)
	check(batch(2, 3), 2, 3)
	p.set(TopicPartition{"t", 3}, 2)
	check(batch(2, 3, 4), 2, 3, 4)
	p.guard()
	p.of[TopicPartition{"t", 3}].guarded = time.Now().Add(-time.Second)
	check(batch(3, 4), 3, 4)
	p.advance(TopicPartition{"t", 3}, 9)
	p.advance(TopicPartition{"t", 4}, 5)
	if a, b := p.of[TopicPartition{"t", 3}].next, p.of[TopicPartition{"t", 4}].next; a != 9 || b != 5 {
		t.Fatalf("the positions are %d and %d", a, b)
	}
}
