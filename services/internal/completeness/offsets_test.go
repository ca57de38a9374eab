package completeness

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestEveryOffsetIsInOneRound: nothing is left out, nothing is read twice, and a partition stands once in a round.
func TestEveryOffsetIsInOneRound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 20).Draw(t, "limit")
		var runs []Run
		want := map[Run]bool{}
		for partition := range rapid.Int32Range(0, 5).Draw(t, "partitions") {
			from := rapid.Int64Range(0, 50).Draw(t, "from")
			run := Run{partition, from, from + rapid.Int64Range(-3, 50).Draw(t, "length")}
			runs = append(runs, run)
			for offset := run.From; offset < run.To; offset++ {
				want[Run{partition, offset, offset + 1}] = true
			}
		}
		for _, round := range rounds(runs, limit) {
			seen, length := map[int32]bool{}, int64(0)
			for _, r := range round {
				if seen[r.Partition] || r.From >= r.To {
					t.Fatalf("round %v", round)
				}
				seen[r.Partition] = true
				length += r.To - r.From
				for offset := r.From; offset < r.To; offset++ {
					one := Run{r.Partition, offset, offset + 1}
					if !want[one] {
						t.Fatalf("%v is read twice or never asked for", one)
					}
					delete(want, one)
				}
			}
			if length > limit {
				t.Fatalf("round of %d offsets, limit %d", length, limit)
			}
		}
		if len(want) > 0 {
			t.Fatalf("left out: %v", want)
		}
	})
}

// TestJudgementIsThatOfPlainSets compares with the definition, offset by offset.
func TestJudgementIsThatOfPlainSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := Run{Partition: 3, From: rapid.Int64Range(0, 1000).Draw(t, "from")}
		run.To = run.From + rapid.Int64Range(1, 200).Draw(t, "length")
		held, rows, letters := newOffsetSet(run), newOffsetSet(run), partitionLetters{}
		var wanted judgement
		for offset := run.From; offset < run.To; offset++ {
			record, row := rapid.Bool().Draw(t, "record"), rapid.Bool().Draw(t, "row")
			kind := letterKind(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "letter"))
			if !record {
				kind = 0
			} else {
				held.add(offset)
			}
			if row {
				rows.add(offset)
			}
			if kind != 0 {
				letters[offset] = kind
			}
			switch {
			case !record && row:
				wanted.foreign = appendOffset(wanted.foreign, 3, offset)
			case !record:
			case row && kind == letterOpen:
				wanted.letters++
				wanted.beside = appendOffset(wanted.beside, 3, offset)
			case row:
				wanted.rows++
			case kind == letterOpen || kind == letterMoving:
				wanted.letters++
			default:
				wanted.missing = appendOffset(wanted.missing, 3, offset)
			}
		}
		got := judgementOf(run, held, rows, letters)
		if got.rows != wanted.rows || got.letters != wanted.letters || !slices.Equal(got.missing, wanted.missing) ||
			!slices.Equal(got.foreign, wanted.foreign) || !slices.Equal(got.beside, wanted.beside) {
			t.Fatalf("%+v, want %+v", got, wanted)
		}
		// What is not looked at closely has nothing that a close look would find.
		quick := letters.apart(held, run).sum() == rows.sum()
		if quick && len(got.missing)+len(got.foreign)+len(got.beside) > 0 {
			t.Fatalf("sums are equal, and yet %+v, letters %v", got, maps.Collect(maps.All(letters)))
		}
	})
}
