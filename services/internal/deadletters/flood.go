package deadletters

import (
	"fmt"
	"time"
)

// Flood watches the share of bad records over the last minute.
type Flood struct {
	// Limit is the share, for example 0.05, above which Check fails.
	Limit float64
	// Least is how many bad records there must be in the minute before the share means anything.
	Least int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	slots [60]struct {
		second     int64
		seen, dead int64
	}
}

// FloodError says that too large a share of a minute's records is bad.
type FloodError struct {
	Topic      string
	Seen, Dead int64
	Limit      float64
}

func (e *FloodError) Error() string {
	return fmt.Sprintf("topic %s: %d of the last minute's %d records are bad, more than the %.1f %% that its contract allows (deadLetterRate); the partition waits: see the dead letters, mend the cause, restart",
		e.Topic, e.Dead, e.Seen, e.Limit*100)
}

// Add counts records seen and, among them, bad ones.
func (f *Flood) Add(seen, dead int64) {
	second := f.second()
	slot := &f.slots[second%60]
	if slot.second != second {
		slot.second, slot.seen, slot.dead = second, 0, 0
	}
	slot.seen += seen
	slot.dead += dead
}

// Check returns a *FloodError when the last minute is over the limit.
func (f *Flood) Check(topic string) error {
	second := f.second()
	var seen, dead int64
	for i := range f.slots {
		if second-f.slots[i].second < 60 {
			seen += f.slots[i].seen
			dead += f.slots[i].dead
		}
	}
	if dead >= max(f.Least, 1) && float64(dead) > f.Limit*float64(seen) {
		return &FloodError{Topic: topic, Seen: seen, Dead: dead, Limit: f.Limit}
	}
	return nil
}

func (f *Flood) second() int64 {
	if f.Now != nil {
		return f.Now().Unix()
	}
	return time.Now().Unix()
}
