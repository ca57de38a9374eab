package protocol

import (
	"fmt"
	"strings"
)

// The bounds of the model: two writers, two partitions of two records each, and a topic that may be made anew once. They are
// the least that lets a block span partitions, a partition span blocks, and a takeover meet a takeover.
const (
	writers    = 2
	partitions = 2
	records    = 2 // of the first partition; the second has one
	topics     = 2
	rows       = partitions * records
	inFlight   = 3 // inserts that ClickHouse may have under way at once
	window     = 4 // tokens that may still be remembered; forgetting is a step of its own
)

// set of rows of one topic: bit p*records+o.
type set uint8

func row(p, o int) int { return p*records + o }

// length of a partition.
func length(p int) uint8 { return uint8(records - p) }

func (s set) has(r int) bool { return s&(1<<r) != 0 }

func (s set) String() string {
	var names []string
	for r := range rows {
		if s.has(r) {
			names = append(names, fmt.Sprintf("%d/%d", r/records, r%records))
		}
	}
	return "{" + strings.Join(names, " ") + "}"
}

// plan of a block: ranges [from, to) of each partition, and the rows among them; what is in a range and no row is excluded.
// A plan that repairs another has a number of its own, so that the two are never taken for each other.
type plan struct {
	topic    uint8
	number   uint8
	from, to [partitions]uint8
	rows     set
}

func (b plan) spans(p int) bool { return b.from[p] < b.to[p] }

// all offsets of the ranges.
func (b plan) all() set {
	var s set
	for p := range partitions {
		for o := b.from[p]; o < b.to[p]; o++ {
			s |= 1 << row(p, int(o))
		}
	}
	return s
}

func (b plan) String() string {
	return fmt.Sprintf("topic %d %d+%d %d+%d %s", b.topic, b.from[0], b.to[0]-b.from[0], b.from[1], b.to[1]-b.from[1], b.rows)
}

// Kinds of what is committed at a partition.
const (
	nothing uint8 = iota
	ended         // everything before the offset is in the table or in dead letters
	planned       // the plan's insert may or may not have taken place
	leased        // an old plan is being repaired by whoever wrote this
)

// commit is an offset with its metadata. Old says that its horizon is past.
type commit struct {
	kind   uint8
	offset uint8
	topic  uint8
	old    bool
	plan   plan
}

// transaction of a writer at the broker: open from the offsets' arrival until its end. A reader with read_committed gets no
// answer for the partitions that it holds.
type transaction struct {
	open bool
	has  [partitions]bool
	what [partitions]commit
	dead set
}

// insert that ClickHouse has been sent. The sender is a writer, or none when it no longer waits.
type insert struct {
	used    bool
	old     bool
	started bool // the source part is written, the view's is not
	sender  int8
	plan    plan
}

// token that a table remembers. What is old may be forgotten at any time.
type token struct {
	used, old bool
	plan      plan
}

// table with its deduplication window; count is how often each row is in it.
type table struct {
	count  [topics][rows]uint8
	window [window]token
}

// Stages of a writer.
const (
	idle      uint8 = iota
	decoded         // a block is decoded; nothing of it is known to anyone else
	sent            // its transaction is open at the broker
	ready           // its plan is committed; the insert is to be sent
	inserting       // the insert was sent and not answered
	looking         // a repeated insert is acknowledged; whether the rows are there is to be seen
	leasing         // a lease is held on an old plan; views are to be rebuilt
	rebuilt         // views are; the table is to be asked what it lacks
)

// recovery is a predecessor's plan that is to be settled before anything else.
type recovery struct {
	used, old, repair bool
	mine              share
	plan              plan
}

// share of a plan: the partitions that the writer has owned ever since it planned the block, or read the plan there. Of a
// partition that was given away in between, another writer's word is the last.
type share [partitions]bool

func (m share) none() bool { return m == share{} }

type writer struct {
	up      bool
	topic   uint8 // that the session began with
	joined  bool  // as far as the writer knows
	current bool  // it has followed the last rebalance
	owns    [partitions]bool
	next    [partitions]uint8
	done    [partitions]bool // next is in the table and not committed
	stage   uint8
	old     bool // the block's horizon, or the lease's, is past
	repair  bool // the block is what a repair found missing, or is to find
	unknown bool // an insert of the block may have taken place
	block   plan
	mine    share
	dead    set // dead letters of the block
	queue   [partitions]recovery
}

// budget of what may still go wrong.
type budget struct {
	crashes, serverCrashes, expiries, lost, flips, recreations, horizons uint8
}

// state of everything. It is comparable: two ways to the same state are followed once.
type state struct {
	// Kafka.
	topic        uint8
	bad          set // records that cannot be decoded now
	committed    [partitions]commit
	transactions [writers]transaction
	dead         [topics][rows]uint8
	member       [writers]bool
	owner        [partitions]int8 // by the coordinator; -1: nobody

	// ClickHouse.
	source, view table
	inserts      [inFlight]insert

	writers [writers]writer
	left    budget
}

// initial is a group at work: each writer owns a partition.
func initial(b budget, bad set) state {
	s := state{bad: bad, left: b}
	for w := range s.writers {
		s.member[w] = true
		s.owner[w] = int8(w)
		s.writers[w] = writer{up: true, joined: true, current: true}
		s.writers[w].owns[w] = true
	}
	return s
}
