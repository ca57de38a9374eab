package main

import (
	"testing"
	"time"
)

func TestTheRateIsOfTheLastMinute(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := rate{limit: 0.1}
	allowed := func(n int) (count int) {
		for range n {
			if r.allows(now) {
				count++
			}
		}
		return count
	}
	r.tick(now)
	r.good += 1000
	if n := allowed(200); n != 111 {
		t.Errorf("%d bad rows beside 1000 good ones are allowed, want 111: 10 %% of all", n)
	}
	// One that could not be written down is not counted.
	if r.bad--; allowed(2) != 1 {
		t.Error("what was taken back counts")
	}
	now = now.Add(30 * time.Second)
	if allowed(1) != 0 {
		t.Error("half a minute has forgotten the flood")
	}
	now = now.Add(30 * time.Second)
	if n := allowed(200); n != 20 {
		t.Errorf("%d bad rows of none are allowed, want 20", n)
	}
	if r.limit = 0; allowed(1) != 0 {
		t.Error("a limit of 0 allows one")
	}
}
