package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAPlanReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := blockPlan{
			Created: rapid.Int64Range(0, 1<<40).Draw(t, "created"), Horizon: rapid.Int64Range(0, 1<<20).Draw(t, "horizon"),
			Number: rapid.IntRange(0, 1<<20).Draw(t, "number"),
			Rows:   rapid.IntRange(0, 1<<30).Draw(t, "rows"), Hash: rapid.Uint64().Draw(t, "hash"),
		}
		copy(p.TopicID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic"))
		for i := range rapid.IntRange(1, 64).Draw(t, "partitions") {
			r := planRange{Partition: int32(i), From: rapid.Int64Range(0, 1<<50).Draw(t, "from")}
			r.To = r.From + rapid.Int64Range(1, 1<<20).Draw(t, "length")
			r.Cut = rapid.Int64Range(r.From, r.To).Draw(t, "cut")
			offsets := map[int64]bool{}
			for _, offset := range slices.Sorted(slices.Values(rapid.SliceOfN(rapid.Int64Range(r.From, r.To-1), 0, 3).Draw(t, "excluded"))) {
				r.Excluded = exclude(r.Excluded, offset)
				offsets[offset] = true
			}
			for _, offset := range []int64{r.From, r.From + 1, r.To - 1, rapid.Int64Range(r.From, r.To-1).Draw(t, "some")} {
				if r.excludes(offset) != offsets[offset] {
					t.Fatalf("offset %d of %+v: excluded is %v", offset, r, !offsets[offset])
				}
			}
			p.Ranges = append(p.Ranges, r)
		}
		text := p.String()
		back, err := parsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, back); diff != "" {
			t.Fatal(diff)
		}
		if most := planHeadText + len(p.Ranges)*maxRangeText + 3*64*maxExcludedText; len(text) > most {
			t.Fatalf("%d characters, estimated %d at most", len(text), most)
		}
		if p.token("c", "t") != back.token("c", "t") || p.token("c", "t") == p.token("c", "u") || p.token("c", "t") == p.token("d", "t") {
			t.Fatal("a token has to name cluster, table and plan, and nothing else")
		}
		other := p
		other.Number++
		if p.token("c", "t") == other.token("c", "t") {
			t.Fatal("a repair has the token of what it repairs")
		}
		l := lease{rapid.Int64Range(0, 1<<40).Draw(t, "lease"), rapid.Int64Range(0, 1<<20).Draw(t, "for")}
		if leased, rest, err := parseLease(l.text(p)); err != nil || leased != l || rest != text {
			t.Fatalf("the lease %+v reads back as %+v: %v", l, leased, err)
		}
		begin, end := time.Unix(p.Created, 0), time.Unix(p.Created+p.Horizon+1, 0)
		if !p.settled(end) || p.insertable(end) || p.settled(begin) || p.Horizon > 1 && !p.insertable(begin) {
			t.Fatalf("a plan of %d for %d s", p.Created, p.Horizon)
		}
		if prefix := fmt.Sprintf("sf-%d-", p.deadline()); !strings.HasPrefix(p.token("c", "t"), prefix) {
			t.Fatalf("token %s does not begin with %s", p.token("c", "t"), prefix)
		}
	})
}

func TestAPlanThatIsNotUnderstoodIsNotGuessedAt(t *testing.T) {
	for _, text := range []string{
		"", "sf0 00", "sf3 1+1 00 0 1 00", "sf2 1+1 zz 0 1 00", "sf2 1+1 00112233445566778899aabbccddeeff 0 1 00 3:x+1", "sf2 " + strings.Repeat("9", 30),
		"sf2 1+1 00112233445566778899aabbccddeeff 0 1 00 3:0+9!4,2", "sf2 1+1 00112233445566778899aabbccddeeff 0 1 00 3:0+9!2-9", "sf2 1+1 00112233445566778899aabbccddeeff 0 1 00 3:0+9~9",
	} {
		if _, err := parsePlan(text); err == nil {
			t.Errorf("%q was taken for a plan", text)
		}
	}
}

// A text that is taken for a plan is written as a text that reads as the same plan.
func FuzzParsePlan(f *testing.F) {
	plan := blockPlan{Created: 1, Horizon: 500, Rows: 3, Hash: 255, Ranges: []planRange{{Partition: 2, From: 10, Cut: 13, To: 14, Excluded: []offsetRun{{11, 12}, {13, 14}}}, {Partition: 3, From: 0, Cut: 1, To: 1}}}
	f.Add(plan.String())
	f.Add("sf2 1+500 00112233445566778899aabbccddeeff 1 1 00 3:9223372036854775807+1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlan(text)
		if err != nil {
			return
		}
		for _, r := range p.Ranges {
			if r.Partition < 0 || r.From < 0 || r.To < r.From || r.Cut < r.From || r.Cut > r.To {
				t.Fatalf("%q holds the impossible range %+v", text, r)
			}
			last := r.From
			for _, run := range r.Excluded {
				if run.From < last || run.To <= run.From || run.To > r.To {
					t.Fatalf("%q excludes %+v, which is not in order and in %+v", text, run, r)
				}
				last = run.To
			}
		}
		back, err := parsePlan(p.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, back); diff != "" {
			t.Fatal(diff)
		}
	})
}
