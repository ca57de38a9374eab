package deadletters

import (
	"errors"
	"testing"
	"time"
)

func TestAFloodIsAShareOfTheLastMinute(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := &Flood{Limit: 0.05, Least: 10, Now: func() time.Time { return now }}
	if err := f.Admit("raw-frames", 1000, 50); err != nil {
		t.Fatalf("5 %% is not over 5 %%: %v", err)
	}
	var flood *FloodError
	for range 3 {
		// What is refused is not counted: trying again changes nothing.
		if err := f.Admit("raw-frames", 1, 1); !errors.As(err, &flood) || flood.Dead != 51 || flood.Seen != 1001 {
			t.Fatalf("error %v", err)
		}
	}
	now = now.Add(60 * time.Second)
	if err := f.Admit("raw-frames", 1, 1); err != nil {
		t.Fatalf("a minute later: %v", err)
	}
	if seen, dead := f.Minute(); seen != 1 || dead != 1 {
		t.Fatalf("the minute holds %d, %d bad", seen, dead)
	}
}

func TestAFewBadRecordsOfFewAreNoFlood(t *testing.T) {
	f := &Flood{Limit: 0.05}
	if err := f.Admit("raw-frames", DefaultLeast, DefaultLeast); err != nil {
		t.Fatal(err)
	}
	if err := f.Admit("raw-frames", 1, 1); err == nil {
		t.Fatal("no flood")
	}
	if err := f.Admit("raw-frames", 1, 0); err != nil {
		t.Fatalf("a good record is refused: %v", err)
	}
	// What was admitted and then not done is taken back.
	f.Add(-1, -1)
	if err := f.Admit("raw-frames", 1, 1); err != nil {
		t.Fatal(err)
	}
}

func TestLimitsThatAllowNoneAndAll(t *testing.T) {
	none, all := &Flood{}, &Flood{Limit: 1}
	if none.Admit("t", 1000, 1) == nil {
		t.Error("a limit of 0 admits a bad record")
	}
	if none.Admit("t", 1000, 0) != nil || all.Admit("t", 1000, 1000) != nil {
		t.Error("a good record, or a limit of 1, is refused")
	}
}

func TestWhatIsTakenBackDoesNotCountAndHalfAMinuteForgetsNothing(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := &Flood{Limit: 0.1, Now: func() time.Time { return now }}
	admitted := func(n int) (count int) {
		for range n {
			if f.Admit("raw-trades", 1, 1) == nil {
				count++
			}
		}
		return count
	}
	f.Add(1000, 0)
	if n := admitted(200); n != 111 {
		t.Errorf("%d bad records beside 1000 good ones are admitted, want 111: 10 %% of all", n)
	}
	if f.Add(-1, -1); admitted(2) != 1 {
		t.Error("what was taken back counts")
	}
	if now = now.Add(30 * time.Second); admitted(1) != 0 {
		t.Error("half a minute has forgotten the flood")
	}
	if now = now.Add(30 * time.Second); admitted(200) != DefaultLeast {
		t.Errorf("a minute later the flood is not forgotten")
	}
}
