package deadletters

import (
	"fmt"
	"time"
)

// Flood watches the share of bad records over the last minute. The zero Limit allows none at all, 1 any number.
type Flood struct {
	// Limit is the share, for example 0.05, above which records are no longer admitted.
	Limit float64
	// Least is how many bad records a minute may hold whatever their share: one bad record among the first three of a day
	// is no flood. 0 means DefaultLeast.
	Least int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	slots [60]struct {
		second     int64
		seen, dead int64
	}
}

// DefaultLeast is Flood's Least where none is given.
const DefaultLeast = 20

// FloodError says that too large a share of a minute's records is bad.
type FloodError struct {
	Topic      string
	Seen, Dead int64
	Limit      float64
}

func (e *FloodError) Error() string {
	return fmt.Sprintf("topic %s: %d of the last minute's %d records are bad, more than the %.1f %% that its contract allows (deadLetterRate); the partition waits: see the dead letters and mend the cause",
		e.Topic, e.Dead, e.Seen, e.Limit*100)
}

// Admit counts records, bad ones among them, or returns a *FloodError when with them the last minute would be over the
// limit. What is not admitted is not counted, so it may be tried again: it is admitted when the minute has passed and
// it is not a flood by itself.
func (f *Flood) Admit(topic string, seen, dead int64) error {
	if err := f.Check(topic, seen, dead); err != nil {
		return err
	}
	f.Add(seen, dead)
	return nil
}

// Check is Admit without counting.
func (f *Flood) Check(topic string, seen, dead int64) error {
	if dead <= 0 {
		return nil
	}
	before, bad := f.Minute()
	seen, dead = before+seen, bad+dead
	if f.Limit <= 0 || dead > f.least() && float64(dead) > f.Limit*float64(seen) {
		return &FloodError{Topic: topic, Seen: seen, Dead: dead, Limit: f.Limit}
	}
	return nil
}

// Add counts; negative numbers take back what was admitted and then not done.
func (f *Flood) Add(seen, dead int64) {
	second := f.second()
	slot := &f.slots[second%60]
	if slot.second != second {
		slot.second, slot.seen, slot.dead = second, 0, 0
	}
	slot.seen += seen
	slot.dead += dead
}

// Minute returns the last minute's counts.
func (f *Flood) Minute() (seen, dead int64) {
	second := f.second()
	for i := range f.slots {
		if second-f.slots[i].second < 60 {
			seen += f.slots[i].seen
			dead += f.slots[i].dead
		}
	}
	return seen, dead
}

func (f *Flood) least() int64 {
	if f.Least > 0 {
		return f.Least
	}
	return DefaultLeast
}

func (f *Flood) second() int64 {
	if f.Now != nil {
		return f.Now().Unix()
	}
	return time.Now().Unix()
}
