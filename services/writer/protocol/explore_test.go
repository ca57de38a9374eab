package protocol

import (
	"os"
	"testing"
)

// histories are the faults that are explored together. The wide ones take minutes and some gigabytes: PROTOCOL_WIDE=1.
var histories = []struct {
	faults Faults
	wide   bool
}{
	{Faults{}, false},
	{Faults{Bad: []int{row(0, 1)}, Crashes: 1}, false},
	{Faults{ServerCrashes: 1, LostAnswers: 1, Horizons: 1}, false},
	{Faults{Crashes: 1, Horizons: 1}, false},
	{Faults{Expiries: 1, Horizons: 1}, false},
	{Faults{Crashes: 1, ServerCrashes: 1, LostAnswers: 1}, true},
	{Faults{Crashes: 1, Recreations: 1}, true},
	{Faults{Flips: 1, Crashes: 1, Horizons: 1}, true},
	{Faults{Expiries: 1, ServerCrashes: 1, Horizons: 1}, true},
	{Faults{Crashes: 1, Expiries: 1, Horizons: 1}, true},
	{Faults{Crashes: 1, Horizons: 2}, true},
	{Faults{Crashes: 2, Horizons: 1}, true},
}

func TestEveryRowIsInTheTableOnceWhateverTheHistory(t *testing.T) {
	for _, h := range histories {
		t.Run(h.faults.String(), func(t *testing.T) {
			if h.wide && os.Getenv("PROTOCOL_WIDE") == "" {
				t.Skip("PROTOCOL_WIDE is not set")
			}
			m := Model{Faults: h.faults, MostStates: 40_000_000}
			r := m.Explore()
			t.Logf("%d states, %d of them at rest, histories of up to %d steps, complete: %v", r.States, r.Quiescent, r.Depth, r.Complete)
			if r.Anomaly != "" {
				t.Error(r.Anomaly)
			}
			if r.Quiescent == 0 {
				t.Error("no history ends")
			}
			if !r.Complete && !h.wide {
				t.Error("not every history was followed")
			}
		})
	}
}

func TestATableWithoutViewsNeedsNoLease(t *testing.T) {
	for _, faults := range []Faults{{Crashes: 1, Horizons: 1}, {Expiries: 1, Horizons: 1}, {ServerCrashes: 1, LostAnswers: 1, Horizons: 1}} {
		t.Run(faults.String(), func(t *testing.T) {
			m := Model{Faults: faults, WithoutViews: true}
			r := m.Explore()
			t.Logf("%d states, %d of them at rest", r.States, r.Quiescent)
			if r.Anomaly != "" {
				t.Error(r.Anomaly)
			}
			if r.Quiescent == 0 || !r.Complete {
				t.Error("not every history was followed to its end")
			}
		})
	}
	broken := Model{Faults: Faults{Crashes: 1, Horizons: 1}, WithoutViews: true, Mutation: NoDeadline}
	if r := broken.Explore(); r.Anomaly == "" {
		t.Errorf("%d states: inserts without a deadline were not found", r.States)
	}
}

func TestABrokenProtocolIsCaught(t *testing.T) {
	for mutation, faults := range map[Mutation]Faults{
		PlanAfterInsert:    {Crashes: 1},
		TokenWithoutRange:  {},
		CommitBeforeInsert: {Crashes: 1},
		PlanOnOnePartition: {Crashes: 1},
		TrustTheTable:      {ServerCrashes: 1, Crashes: 1},
		TrustTheToken:      {ServerCrashes: 1},
		NoDeadline:         {Horizons: 1},
		UnboundedExecution: {Crashes: 1, Horizons: 1},
		ReadUncommitted:    {Expiries: 1},
		StaleWorker:        {Expiries: 1},
		RepairAtOnce:       {Expiries: 1, Horizons: 1},
		RepairWithoutLease: {Expiries: 1, Horizons: 1},
		OffsetWithoutTopic: {Crashes: 1, Recreations: 1},
	} {
		t.Run(string(mutation), func(t *testing.T) {
			m := Model{Faults: faults, Mutation: mutation}
			r := m.Explore()
			if r.Anomaly == "" {
				t.Fatalf("%d states with %s: nothing was found", r.States, faults)
			}
			t.Logf("found in %d states: %s", r.States, r.Anomaly)
		})
	}
}
