package protocol

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Mutation is a way to break the protocol on purpose, named by what is done instead.
type Mutation string

// The mutations. Each must be found by the exploration.
const (
	None               Mutation = ""
	PlanAfterInsert    Mutation = "the plan is committed after the insert"
	TokenWithoutRange  Mutation = "the token says how many rows there are, and not which"
	CommitBeforeInsert Mutation = "the end of a block is committed before its insert"
	PlanOnOnePartition Mutation = "the plan is kept at one of its partitions only"
	TrustTheTable      Mutation = "a takeover inserts nothing when the table has the plan's rows"
	TrustTheToken      Mutation = "a repeated insert that is acknowledged is believed to be there"
	NoDeadline         Mutation = "inserts carry no deadline"
	UnboundedExecution Mutation = "an insert may run beyond its deadline"
	ReadUncommitted    Mutation = "a takeover does not wait for open transactions"
	StaleWorker        Mutation = "a worker goes on with its block after the group was lost and joined again"
	RepairAtOnce       Mutation = "a plan is repaired inside of its horizon"
	RepairWithoutLease Mutation = "a repair takes no lease"
	OffsetWithoutTopic Mutation = "committed offsets count for whatever topic has the name"
)

// Faults are how often each may happen in one history.
type Faults struct {
	Crashes, ServerCrashes, Expiries, LostAnswers, Flips, Recreations int
	// Horizons that pass while something else could happen; when nothing could, time passes anyway.
	Horizons int
	// Bad records at the beginning, by partition*2+offset.
	Bad []int
}

// String names the faults that there are.
func (f Faults) String() string {
	var words []string
	for _, part := range []struct {
		name string
		n    int
	}{
		{"crashes of writers", f.Crashes},
		{"crashes of ClickHouse", f.ServerCrashes},
		{"expulsions", f.Expiries},
		{"cut connections", f.LostAnswers},
		{"changed decodings", f.Flips},
		{"topics made anew", f.Recreations},
		{"early horizons", f.Horizons},
		{"bad records", len(f.Bad)},
	} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%s %d", part.name, part.n))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// Model of the protocol.
type Model struct {
	Faults   Faults
	Mutation Mutation
	// WithoutViews is a table that no view hangs on: its insert is one step, and a repair, which rebuilds nothing, takes no
	// lease.
	WithoutViews bool
	// MostStates ends the exploration.
	MostStates int
}

// Result of an exploration.
type Result struct {
	States, Quiescent, Depth int
	Complete                 bool
	// Anomaly is empty when there is none, else what is wrong and the steps that lead there.
	Anomaly string
}

type step struct {
	what  string
	who   int
	which int
	fault bool
}

func (s step) String() string {
	text := s.what
	if s.who >= 0 {
		text += " writer " + string(rune('A'+s.who))
	}
	if s.which >= 0 {
		text += fmt.Sprintf(" (%d)", s.which)
	}
	return text
}

type emitter func(step, *state)

type key [2]uint64

type link struct {
	from key
	by   step
}

// exploration of one model.
type exploration struct {
	*Model
	seeds  [2]maphash.Seed
	seen   map[key]link
	next   []state
	result Result
}

// name of a state: 128 bits of two hashes, so that states need not be kept.
func (e *exploration) name(s *state) key {
	return key{maphash.Comparable(e.seeds[0], *s), maphash.Comparable(e.seeds[1], *s)}
}

// Explore follows every interleaving, breadth first, so that an anomaly comes with a shortest history.
func (m *Model) Explore() Result {
	e := &exploration{Model: m, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, result: Result{Complete: true}}
	start := m.initial()
	e.seen = map[key]link{e.name(&start): {}}
	for layer := []state{start}; len(layer) > 0; layer = e.next {
		e.next = nil
		for i := range layer {
			if wrong, at := e.visit(&layer[i]); wrong != "" {
				e.result.Anomaly = wrong + ", after:\n" + e.history(at)
				return e.result
			}
		}
		e.result.Depth++
		if m.MostStates > 0 && e.result.States > m.MostStates {
			e.result.Complete = false
			break
		}
	}
	return e.result
}

func (m *Model) initial() state {
	f := m.Faults
	var bad set
	for _, r := range f.Bad {
		bad |= 1 << r
	}
	return initial(budget{
		crashes: uint8(f.Crashes), serverCrashes: uint8(f.ServerCrashes), expiries: uint8(f.Expiries), lost: uint8(f.LostAnswers),
		flips: uint8(f.Flips), recreations: uint8(f.Recreations), horizons: uint8(f.Horizons),
	}, bad)
}

// visit judges a state and finds those that may follow it.
func (e *exploration) visit(s *state) (wrong string, at key) {
	at = e.name(s)
	e.result.States++
	if wrong := s.unsound(); wrong != "" {
		return wrong, at
	}
	quiet := true
	follow := func(by step, n *state) {
		quiet = quiet && by.fault
		k := e.name(n)
		if _, known := e.seen[k]; !known {
			e.seen[k] = link{at, by}
			e.next = append(e.next, *n)
		}
	}
	e.steps(s, follow)
	if !quiet || e.tick(s, follow) {
		return "", at
	}
	e.result.Quiescent++
	return s.incomplete(), at
}

// history is how a state was reached, a step a line.
func (e *exploration) history(at key) string {
	var lines []string
	for l := e.seen[at]; l.by.what != ""; l = e.seen[l.from] {
		lines = append(lines, l.by.String())
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

func (m *Model) steps(s *state, emit emitter) {
	m.broker(s, emit)
	m.clickhouse(s, emit)
	if s.left.horizons > 0 {
		n := *s
		n.left.horizons--
		m.tick(&n, emit)
	}
	for w := range s.writers {
		m.writer(s, w, emit)
	}
}

// unsound is what must be true of no state.
func (s *state) unsound() string {
	for t := range topics {
		for r := range rows {
			switch {
			case s.source.count[t][r] > 1:
				return fmt.Sprintf("row %d/%d of topic %d is in the table twice", r/records, r%records, t)
			case s.view.count[t][r] > 1:
				return fmt.Sprintf("row %d/%d of topic %d is in the view twice", r/records, r%records, t)
			case s.dead[t][r] > 1:
				return fmt.Sprintf("row %d/%d of topic %d is in dead letters twice", r/records, r%records, t)
			case s.source.count[t][r]+s.dead[t][r] > 1:
				return fmt.Sprintf("row %d/%d of topic %d is in the table and in dead letters", r/records, r%records, t)
			}
		}
	}
	return ""
}

// incomplete is what must not be left when nothing is under way any more.
func (s *state) incomplete() string {
	t := s.topic
	for r := range row(partitions-1, int(length(partitions-1))) {
		switch {
		case s.source.count[t][r]+s.dead[t][r] != 1:
			return fmt.Sprintf("row %d/%d of topic %d is lost", r/records, r%records, t)
		case s.view.count[t][r] != s.source.count[t][r]:
			return fmt.Sprintf("row %d/%d of topic %d is in the table and not in the view", r/records, r%records, t)
		}
	}
	for p := range partitions {
		if c := s.committed[p]; c.kind != ended || c.offset != length(p) {
			return fmt.Sprintf("partition %d is never completed", p)
		}
	}
	return ""
}
