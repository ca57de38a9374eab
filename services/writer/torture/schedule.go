package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// kind of a fault.
type kind string

const (
	killWriter     kind = "kill-writer"     // SIGKILL; the supervisor starts it again
	stopWriter     kind = "stop-writer"     // SIGSTOP for a while: a zombie, when it takes longer than its session
	killClickHouse kind = "kill-clickhouse" // at no particular moment
	killInInsert   kind = "kill-in-insert"  // ClickHouse, milliseconds after it was given an insert: between source part and view part
	powerLoss      kind = "power-loss"      // the same, and the writers with it, so that a takeover has to heal the view
	stopClickHouse kind = "stop-clickhouse"
	killBroker     kind = "kill-broker"
	stopBroker     kind = "stop-broker"
	killRegistry   kind = "kill-registry"
	stopRegistry   kind = "stop-registry"
	rebalanceStorm kind = "rebalance-storm"   // a writer without a name joins and is killed, several times
	joinWriter     kind = "join-writer"       // a writer joins for a while and drains
	slowInserts    kind = "slow-inserts"      // each arrives up to two seconds late
	failingInserts kind = "failing-inserts"   // ClickHouse's error codes, without the insert
	falseErrors    kind = "false-errors"      // the insert takes place, and is answered by an error
	lostRequests   kind = "lost-requests"     // the connection ends before ClickHouse has seen anything
	lostAcks       kind = "lost-acks"         // the insert takes place, and the connection ends without an answer
	cutInserts     kind = "cut-inserts"       // the connection ends while the insert is under way
	lateInserts    kind = "late-inserts"      // the connection ends at once, and the insert arrives seconds later
	doubledInserts kind = "doubled-inserts"   // arrives twice at the same time
	schemaChange   kind = "schema-change"     // a new version, with a column, in the middle of the traffic; once at most
	recreateTopic  kind = "recreate-topic"    // deleted and made again in the middle of the traffic; once at most
	fullDisk       kind = "full-disk"         // ClickHouse's disk, a small tmpfs
	cutBroker      kind = "cut-broker"        // every connection of a writer with the broker ends, at once or when a transaction was just ended
	slowBroker     kind = "slow-broker"       // each message is up to 200 ms late
	blackHole      kind = "black-hole-broker" // requests, answers or both vanish, and the connections end after that
	pauseGroup     kind = "pause-group"       // the group is asked to pause, and to go on; once at most, for a word ends what the one before began
	clockJump      kind = "clock-jump"        // a writer's, by up to an hour either way, and back; the writer goes on, or is started again in between
)

// weights say how often each kind is drawn.
var weights = map[kind]int{
	killWriter: 5, stopWriter: 4, killClickHouse: 1, killInInsert: 2, powerLoss: 2, stopClickHouse: 2, killBroker: 1, stopBroker: 2,
	killRegistry: 1, stopRegistry: 1, rebalanceStorm: 2, joinWriter: 2, slowInserts: 2, failingInserts: 2, falseErrors: 2, lostRequests: 1,
	lostAcks: 3, cutInserts: 2, lateInserts: 3, doubledInserts: 1, schemaChange: 1, fullDisk: 1, clockJump: 3,
	cutBroker: 3, slowBroker: 1, blackHole: 2, recreateTopic: 1, pauseGroup: 1,
}

// allKinds in an order that does not change, which the draws rest on.
func allKinds() []kind {
	var kinds []kind
	for k := range weights {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

// fault is one thing that goes wrong.
type fault struct {
	// At is when it begins, counted from the beginning of the traffic; For is how long it lasts, 0 for what has no length.
	At, For time.Duration
	Kind    kind
	// Draw decides what the kind leaves open: which writer, which order of steps.
	Draw uint32
}

// offset is by how much a clock jumps: ten seconds to an hour, either way, each order of magnitude as often as the others. A writer that has to
// begin by a clock that is off by less than the margin does.
func (f fault) offset() time.Duration {
	share := float64(f.Draw>>3&0xffff) / 0xffff
	d := time.Duration(math.Pow(360, share) * float64(10*time.Second))
	if f.Draw>>2&1 == 1 {
		return -d
	}
	return d
}

func (f fault) String() string {
	text := fmt.Sprintf("%6.2fs  %s", f.At.Seconds(), f.Kind)
	if f.For > 0 {
		text += fmt.Sprintf(" for %.2fs", f.For.Seconds())
	}
	return text
}

// schedule is what a seed stands for. The same seed, length and kinds give the same schedule; how the processes' own steps fall
// between the faults is the machine's affair.
type schedule struct {
	Faults []fault
	// Window of the table in tokens. A small one makes a horizon of seconds, so that plans are found behind it.
	Window int
	// Candles says that the repository's views hang on the table, which a writer rebuilds for plans that are found behind the horizon. Otherwise
	// it is one of the torture's own, which is slower between the table's part and its own.
	Candles bool
	// Poisoned is how many records of 10,000 are bad.
	Poisoned int
	// SmallDisk says that a full disk is among the faults.
	SmallDisk bool
}

// meanBetween two faults.
const meanBetween = 600 * time.Millisecond

// draw makes the schedule of a seed, of the kinds given or, when there are none, of all.
func draw(seed uint64, length time.Duration, kinds []kind) schedule {
	random := rand.New(rand.NewPCG(seed, 5))
	s := schedule{Window: 10_000, Poisoned: random.IntN(40), Candles: seed%2 == 1}
	if seed%4 == 3 {
		s.Window = 200
	}
	var urn []kind
	for _, k := range allKinds() {
		if len(kinds) > 0 && !slices.Contains(kinds, k) {
			continue
		}
		for range weights[k] {
			urn = append(urn, k)
		}
	}
	once := map[kind]bool{schemaChange: true, recreateTopic: true, pauseGroup: true}
	for at := 500 * time.Millisecond; len(urn) > 0; {
		at += time.Duration(random.ExpFloat64() * float64(meanBetween))
		if at >= length {
			break
		}
		f := fault{At: at, Kind: urn[random.IntN(len(urn))], Draw: random.Uint32()}
		f.For = lasts(f.Kind, random)
		if may, rare := once[f.Kind]; rare && !may {
			continue
		} else if rare {
			once[f.Kind] = false
		}
		s.SmallDisk = s.SmallDisk || f.Kind == fullDisk
		s.Faults = append(s.Faults, f)
	}
	if s.SmallDisk {
		// An ALTER on a full disk may leave an empty file of the table's definition behind, when ClickHouse (26.5.3) is killed besides.
		s.Faults = slices.DeleteFunc(s.Faults, func(f fault) bool { return f.Kind == schemaChange })
	}
	return s
}

// lasts draws how long a fault of a kind lasts.
func lasts(k kind, random *rand.Rand) time.Duration {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(random.Int64N(int64(to-from))) }
	switch k {
	case killWriter, killClickHouse, killInInsert, powerLoss, killBroker, killRegistry, schemaChange, cutBroker, recreateTopic:
		return 0
	case stopWriter:
		if random.IntN(3) == 0 {
			return between(6500*time.Millisecond, 9*time.Second) // longer than a session: others own its partitions when it wakes
		}
		return between(100*time.Millisecond, 2*time.Second)
	case stopBroker, stopClickHouse, stopRegistry, fullDisk:
		return between(200*time.Millisecond, 3*time.Second)
	case rebalanceStorm, joinWriter, clockJump:
		return between(time.Second, 4*time.Second)
	}
	return between(300*time.Millisecond, 3*time.Second)
}
