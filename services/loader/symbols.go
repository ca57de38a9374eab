package main

import (
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// stream is one symbol and channel of a link.
type stream struct {
	last    market.OptInt // last id published
	lastAt  int64         // µs of the last frame published; 0: none
	skip    market.OptInt // after a rotation: ids up to here were published from the connection before
	skipEnd int64         // µs; a venue that starts its ids anew must not be silenced for ever
	holes   holes
}

// holes bounds the GAP records of one stream: a venue that reorders every frame must not double the topic.
type holes struct {
	windowFrom int64 // µs
	written    int
	suppressed int64
	missing    int64
	from       int64
	fromID     string
	toID       string
}

const (
	holesWindow = time.Second
	holesBurst  = 10
)

// symbol is the state of one symbol of a link, guarded by link.mu.
type symbol struct {
	instrument market.Instrument
	trades     stream
	book       stream
	rest       bool // its snapshots come by REST
	snapshot   snapshotState
	refusal    refusal
}

// refusal is a subscription that the venue did not accept.
type refusal struct {
	since    int64 // µs; 0: accepted, as far as is known
	retryAt  time.Time
	attempts int
	retried  bool // a retry is under way …
	awaited  int  // … and so many of its answers are still to come
}

// snapshotState is what is known of the snapshots of one book.
type snapshotState struct {
	wanted    bool
	inFlight  bool
	sentAt    time.Time
	notBefore time.Time
	failures  int
	seen      bool          // a book frame came on this connection
	atLeast   market.OptInt // the snapshot must reach this update id to bridge
	lastID    market.OptInt // update id of the last snapshot published
	pending   int           // published, not yet delivered
	partition int32         // of the last one delivered
	offset    int64         // −1: none
}

func (s *symbol) stream(channel venue.Channel) *stream {
	switch channel {
	case venue.Trades:
		return &s.trades
	case venue.Book:
		return &s.book
	default:
		return nil
	}
}

func newSymbols(feed *Feed, subscription venue.Subscription) (map[string]*symbol, []string) {
	all := make(map[string]*symbol, len(subscription.Instruments))
	var names []string
	for _, instrument := range subscription.Instruments {
		s := &symbol{instrument: instrument}
		s.snapshot.offset = -1
		_, s.rest = feed.Adapter.Snapshot(instrument, subscription)
		all[instrument.VenueSymbol] = s
		names = append(names, instrument.VenueSymbol)
	}
	return all, names
}
