package deadletters

import (
	"errors"
	"testing"
	"time"
)

func TestAFloodIsAShareOfTheLastMinute(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := &Flood{Limit: 0.05, Least: 10, Now: func() time.Time { return now }}
	f.Add(1000, 50)
	if err := f.Check("raw-frames"); err != nil {
		t.Fatalf("5 %% is not over 5 %%: %v", err)
	}
	f.Add(0, 1)
	var flood *FloodError
	if err := f.Check("raw-frames"); !errors.As(err, &flood) || flood.Dead != 51 || flood.Seen != 1000 {
		t.Fatalf("error %v", err)
	}
	now = now.Add(60 * time.Second)
	if err := f.Check("raw-frames"); err != nil {
		t.Fatalf("a minute later: %v", err)
	}
}

func TestAFewBadRecordsOfFewAreNoFlood(t *testing.T) {
	f := &Flood{Limit: 0.05, Least: 10}
	f.Add(9, 9)
	if err := f.Check("raw-frames"); err != nil {
		t.Fatal(err)
	}
}
