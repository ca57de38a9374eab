package main

import "github.com/prometheus/client_golang/prometheus"

// recordTally is what one record came to. It is counted when the record is done, and only the first time.
type recordTally struct {
	decoded, trades, books, gaps         int64
	ignored, unknown, connection, letter string
	letters                              int64
	// rest says that one letter stands for the items that are still to be diverted.
	rest bool
}

// venueTally gathers a batch's counts of one venue: an atomic increment a frame costs as much as decoding some frames.
type venueTally struct {
	decoded, trades, books, gaps pending
	ignored, unknown, connection kinds
}

// pending is a counter with what it has yet to be told.
type pending struct {
	n       int64
	counter prometheus.Counter
}

func (p *pending) flush() {
	if p.n != 0 {
		p.counter.Add(float64(p.n))
		p.n = 0
	}
}

// kinds counts by kind; frames of one kind come in runs, so the last one is kept at hand.
type kinds struct {
	of    func(kind string) prometheus.Counter
	known map[string]*pending
	last  string
	at    *pending
}

func (k *kinds) add(kind string) {
	if k.at == nil || k.last != kind {
		at := k.known[kind]
		if at == nil {
			if len(k.known) >= 2*maxKinds {
				k.flush()
				clear(k.known)
			}
			at = &pending{counter: k.of(kind)}
			k.known[kind] = at
		}
		k.last, k.at = kind, at
	}
	k.at.n++
}

func (k *kinds) flush() {
	for _, p := range k.known {
		p.flush()
	}
}

func newVenueTally(m *metrics, venue string) *venueTally {
	by := func(vec *prometheus.CounterVec) kinds {
		return kinds{
			of:    func(kind string) prometheus.Counter { return vec.WithLabelValues(venue, m.bounded(kind)) },
			known: map[string]*pending{},
		}
	}
	return &venueTally{
		decoded: pending{counter: m.frames.WithLabelValues(venue)}, trades: pending{counter: m.trades.WithLabelValues(venue)},
		books: pending{counter: m.books.WithLabelValues(venue)}, gaps: pending{counter: m.gaps.WithLabelValues(venue)},
		ignored: by(m.ignored), unknown: by(m.unknown), connection: by(m.connections),
	}
}

func (t *venueTally) add(r *recordTally) {
	t.decoded.n += r.decoded
	t.trades.n += r.trades
	t.books.n += r.books
	t.gaps.n += r.gaps
	if r.ignored != "" {
		t.ignored.add(r.ignored)
	}
	if r.unknown != "" {
		t.unknown.add(r.unknown)
	}
	if r.connection != "" {
		t.connection.add(r.connection)
	}
}

func (t *venueTally) flush() {
	for _, p := range []*pending{&t.decoded, &t.trades, &t.books, &t.gaps} {
		p.flush()
	}
	for _, k := range []*kinds{&t.ignored, &t.unknown, &t.connection} {
		k.flush()
	}
}
