package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A schedule of a few faults, written down: every kind but those that make a group of writers wait for its dead.
func TestAFewFaults(t *testing.T) {
	t.Parallel()
	c := testConfig(t, programs(t))
	c.Minutes, c.Writer = 0.05, mutation{}.build(t)
	plan := schedule{Window: 10_000, Poisoned: 20, Faults: []fault{
		{At: 300 * time.Millisecond, For: time.Second, Kind: lostAcks},
		{At: 800 * time.Millisecond, For: time.Second, Kind: lateInserts},
		{At: 1000 * time.Millisecond, For: time.Second, Kind: clockJump, Draw: 0xf7fff9},
		{At: 1200 * time.Millisecond, Kind: killWriter},
		{At: 1300 * time.Millisecond, Kind: cutBroker, Draw: 1},
		{At: 1500 * time.Millisecond, For: time.Second, Kind: doubledInserts},
		{At: 2000 * time.Millisecond, Kind: killInInsert, Draw: 10},
		{At: 2500 * time.Millisecond, For: 300 * time.Millisecond, Kind: falseErrors},
	}}
	r, err := run(t.Context(), c, 1, plan)
	if err != nil {
		t.Fatal(err)
	}
	if r.rows == 0 || r.buckets == 0 || r.inserts == 0 || r.fetches == 0 || r.faults != len(plan.Faults) {
		t.Errorf("little was done: %+v", r)
	}
	for _, a := range r.anomalies {
		t.Error(a)
	}
	t.Logf("%d faults, %d records, %d rows, %d letters, %d inserts, struck %v, healed in %s", r.faults, r.records, r.rows, r.letters, r.inserts, r.struck, r.healed)
}

func testConfig(t *testing.T, programs string) config {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return config{Stack: "embedded", Rate: 1000, Minutes: 0.167, Programs: programs, Dir: t.TempDir(), CacheDir: filepath.Join(cache, "streamforge"), Quiet: true}
}

var mutations = []mutation{
	{
		"the plan is committed after the insert, as its end",
		[]edit{{"blocks.go", "p.commit(begins, ends, j.letters)", "p.commit(begins[:0], ends, j.letters)"}},
		[]kind{killWriter, lostAcks, lateInserts},
		false,
	},
	{
		"the token says how many rows there are, and not which",
		[]edit{{"blockplan.go", `table + "\x00" + p.String()`, `table + "\x00" + fmt.Sprint(p.Rows)`}},
		[]kind{joinWriter},
		false,
	},
	{
		"the end of a block is committed before its insert",
		[]edit{{"blocks.go", "	committed, err := p.commit(begins, ends, j.letters)", `	early := map[int32]int64{}
	for _, r := range j.plan.Ranges {
		early[r.Partition] = r.To
	}
	committed, err := p.commit(begins[:0], early, j.letters)`}},
		[]kind{killWriter, lostRequests, slowInserts},
		false,
	},
	{
		"the plan is kept at one of its partitions only",
		[]edit{{"blockplan.go", "	text := p.String()\n	var offsets []kafka.Committed\n	for _, r := range p.Ranges {\n", "	text := p.String()\n	var offsets []kafka.Committed\n	for _, r := range p.Ranges[:1] {\n"}},
		[]kind{killWriter, lostAcks, slowInserts},
		false,
	},
	{
		"a takeover inserts nothing when the table has the plan's rows",
		[]edit{
			{"job.go", "if !j.again && !j.changed && !j.burnt && j.lease == (lease{}) && j.plan.insertable(now) {", "if false {"},
			{"job.go", "if !j.again && !j.burnt && !j.plan.settled(now) {", "if false {"},
			{"rebuild.go", "if err != nil || len(fills) == 0 {", "if true {"},
		},
		[]kind{killWriter, powerLoss, lateInserts},
		false,
	},
	{
		"plans are made and judged by the machine's clock",
		[]edit{{"clock.go", "return a.wall.Add(time.Since(a.monotonic))", "return c.wall()"}},
		[]kind{clockJump, lateInserts},
		true,
	},
}

// The mutations have to follow the writer's source, which is looked at without building anything.
func TestTheMutationsFitTheWriter(t *testing.T) {
	for _, m := range mutations {
		if _, err := overlay("..", t.TempDir(), m.edits); err != nil {
			t.Errorf("mutation %q: %v", m.name, err)
		}
	}
}

// seedsUntilCaught is how many seeds a broken protocol may survive.
const seedsUntilCaught = 5

// TestABrokenProtocolIsCaught: TORTURE_MUTATIONS=1 go test -timeout 1h -v -run Caught ./services/writer/torture.
func TestABrokenProtocolIsCaught(t *testing.T) {
	if os.Getenv("TORTURE_MUTATIONS") != "1" {
		t.Skip("TORTURE_MUTATIONS=1 builds six broken writers and tortures each for a minute or two")
	}
	built := programs(t)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			c := testConfig(t, built)
			c.Writer = m.build(t)
			for seed := range uint64(seedsUntilCaught) {
				seed = 4*seed + 1 // These schedules have a view.
				if m.shortly {
					seed += 2
				}
				plan := draw(seed, c.length(), m.only)
				plan.Poisoned = 0
				r, err := run(t.Context(), c, seed, plan)
				if err != nil {
					t.Fatal(err)
				}
				// A writer that stands still is caught as well, but shows nothing of the protocol.
				i := slices.IndexFunc(r.anomalies, func(a string) bool { return strings.HasPrefix(a, "a ") })
				t.Logf("seed %d: %d faults, %d records, lost %d, duplicated %d, %d anomalies", seed, r.faults, r.records, r.lost, r.duplicated, len(r.anomalies))
				if i >= 0 {
					t.Log(r.anomalies[i])
					return
				}
			}
			t.Errorf("not caught within %d seeds", seedsUntilCaught)
		})
	}
}

// The same seed stands for the same faults, all within the campaign's length and of the kinds asked for.
func TestASeedIsASchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		length := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "length"))
		only := rapid.SliceOfDistinct(rapid.SampledFrom(allKinds()), func(k kind) kind { return k }).Draw(t, "only")
		first, second := draw(seed, length, only), draw(seed, length, only)
		if !slices.Equal(first.Faults, second.Faults) || first.Poisoned != second.Poisoned || first.Window != second.Window {
			t.Fatalf("%v and %v", first, second)
		}
		changes, renewals := 0, 0
		for i, f := range first.Faults {
			if f.At >= length || i > 0 && f.At < first.Faults[i-1].At || len(only) > 0 && !slices.Contains(only, f.Kind) {
				t.Fatalf("fault %d of %s: %v", i, length, f)
			}
			if f.Kind == schemaChange {
				changes++
			}
			if f.Kind == recreateTopic {
				renewals++
			}
		}
		if changes > 1 || renewals > 1 || !first.Candles && first.Window != 10_000 {
			t.Fatalf("%d changes of the schema, %d of the topic, candles %v, window %d", changes, renewals, first.Candles, first.Window)
		}
	})
}
