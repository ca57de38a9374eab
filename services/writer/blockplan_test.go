package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAPlanReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := blockPlan{Created: rapid.Int64Range(0, 1<<40).Draw(t, "created"), Rows: rapid.IntRange(0, 1<<30).Draw(t, "rows"), Hash: rapid.Uint64().Draw(t, "hash")}
		copy(p.TopicID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic"))
		for i := range rapid.IntRange(1, 64).Draw(t, "partitions") {
			r := planRange{Partition: int32(i), From: rapid.Int64Range(0, 1<<50).Draw(t, "from")}
			r.To = r.From + rapid.Int64Range(1, 1<<20).Draw(t, "length")
			for range rapid.IntRange(0, 3).Draw(t, "excluded") {
				r.Excluded = append(r.Excluded, rapid.Int64Range(r.From, r.To-1).Draw(t, "offset"))
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
		later := p
		later.Created++
		if p.token("c", "t") != later.token("c", "t") || p.token("c", "t") == p.token("c", "u") || p.token("c", "t") == p.token("d", "t") {
			t.Fatal("a token has to name cluster, table and rows, and nothing else")
		}
	})
}

func TestAPlanThatIsNotUnderstoodIsNotGuessedAt(t *testing.T) {
	for _, text := range []string{"", "sf0 00", "sf2 1 00 1 00", "sf1 1 zz 1 00", "sf1 1 00112233445566778899aabbccddeeff 1 00 3:x+1", "sf1 " + strings.Repeat("9", 30)} {
		if _, err := parsePlan(text); err == nil {
			t.Errorf("%q was taken for a plan", text)
		}
	}
}

// A text that is taken for a plan is written as a text that reads as the same plan.
func FuzzParsePlan(f *testing.F) {
	plan := blockPlan{Created: 1, Rows: 3, Hash: 255, Ranges: []planRange{{Partition: 2, From: 10, To: 14, Excluded: []int64{11, 13}}, {Partition: 3, From: 0, To: 1}}}
	f.Add(plan.String())
	f.Add("sf1 1 00112233445566778899aabbccddeeff 1 00 3:9223372036854775807+1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlan(text)
		if err != nil {
			return
		}
		for _, r := range p.Ranges {
			if r.Partition < 0 || r.From < 0 || r.To < r.From {
				t.Fatalf("%q holds the impossible range %+v", text, r)
			}
			for _, offset := range r.Excluded {
				if offset < r.From || offset >= r.To {
					t.Fatalf("%q excludes offset %d, which is not in %+v", text, offset, r)
				}
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
