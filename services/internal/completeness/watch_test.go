package completeness

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is committed, taken by retention, given away and found wrong: no round judges more than its bound or an offset twice, what
// is fresh is judged without a hole, and what was wrong is judged again.
func TestRoundsLeaveNothingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := watched{WatchConfig: WatchConfig{Fresh: rapid.Int64Range(20, 40_000).Draw(t, "fresh")}, next: map[int32]int64{}, again: map[int32]int64{}}
		judged := []Run{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			for i := range judged {
				judged[i].To += rapid.Int64Range(0, 30_000).Draw(t, "committed")
				judged[i].From = min(judged[i].To, judged[i].From+rapid.Int64Range(0, 3000).Draw(t, "expired"))
			}
			before := p
			c := p.choose(judged)
			size, behind := int64(0), int64(0)
			perPartition := map[int32][]Run{}
			for _, r := range c.runs {
				size += max(0, r.To-r.From)
				if r.From < r.To {
					perPartition[r.Partition] = append(perPartition[r.Partition], r)
				}
			}
			if most := p.Fresh + p.Fresh/againShare + 3 + maxFaulty*faultyWindow; size > most {
				t.Fatalf("%d offsets in a round, the bound is %d", size, most)
			}
			for i, all := range perPartition {
				slices.SortFunc(all, func(a, b Run) int { return int(a.From - b.From) })
				for k, r := range all {
					if r.From < judged[i].From || r.To > judged[i].To || k > 0 && all[k-1].To > r.From {
						t.Fatalf("runs %v of %v", all, judged[i])
					}
				}
			}
			has := func(partition int32, offset int64) bool {
				return slices.ContainsFunc(c.runs, func(r Run) bool { return r.Partition == partition && r.From <= offset && offset < r.To })
			}
			for _, r := range judged {
				behind += r.To - c.next[r.Partition]
				if next, seen := before.next[r.Partition]; seen {
					for offset := max(next, r.From); offset < c.next[r.Partition]; offset += 97 {
						if !has(r.Partition, offset) {
							t.Fatalf("offset %d of partition %d is left out: %v", offset, r.Partition, c.runs)
						}
					}
				}
			}
			if behind != c.behind {
				t.Fatalf("%d offsets are behind, and %d are told", behind, c.behind)
			}
			for _, f := range before.faulty {
				for offset := max(f.From, judged[f.Partition].From); offset < min(f.To, judged[f.Partition].To); offset++ {
					if !has(f.Partition, offset) {
						t.Fatalf("offset %d of partition %d was wrong, and is not looked at again: %v", offset, f.Partition, c.runs)
					}
				}
			}
			var report Report
			for range rapid.IntRange(0, 3).Draw(t, "faults") {
				if len(c.runs) == 0 {
					break
				}
				if r := c.runs[rapid.IntRange(0, len(c.runs)-1).Draw(t, "run")]; r.From < r.To {
					at := rapid.Int64Range(r.From, r.To-1).Draw(t, "fault")
					report.Faults = append(report.Faults, Fault{Kind: Lost, Run: Run{r.Partition, at, at + 1}})
				}
			}
			p.remember(c, &report)
		}
	})
}

// More faults than can be remembered keep the watch where it is, so that none is forgotten.
func TestTooManyFaultsAreLookedAtAgainAtTheSamePlace(t *testing.T) {
	p := watched{WatchConfig: WatchConfig{Fresh: 1_000_000}, next: map[int32]int64{}, again: map[int32]int64{}}
	judged := []Run{{0, 0, 900_000}}
	var report Report
	for offset := int64(0); offset < 900_000; offset += faultyWindow {
		report.fault(Lost, Run{0, offset, offset + 1}, "")
	}
	first := p.choose(judged)
	p.remember(first, &report)
	if second := p.choose(judged); !slices.Equal(second.runs, first.runs) {
		t.Errorf("%v after %v", second.runs, first.runs)
	}
	p.remember(first, &Report{LeftOut: 1})
	if second := p.choose(judged); !slices.Equal(second.runs, first.runs) {
		t.Errorf("%v after %v, with faults that were not listed", second.runs, first.runs)
	}
	p.remember(first, &Report{})
	if second := p.choose(judged); slices.ContainsFunc(second.runs, func(r Run) bool { return r.To-r.From > 1_000_000/againShare }) {
		t.Errorf("%v after all was found to be right", second.runs)
	}
}
