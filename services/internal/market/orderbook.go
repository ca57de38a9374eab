package market

import (
	"fmt"
	"hash/crc32"
	"slices"
)

// BookRule is how a venue's book updates hang together.
type BookRule uint8

// Rules of the venues.
const (
	// RuleNone: the venue numbers nothing (Coinbase). Only a crossed book shows that something is missing.
	RuleNone BookRule = iota
	// RuleRange: an update covers the ids FirstUpdateID to LastUpdateID and follows the id before its first (Binance spot).
	RuleRange
	// RulePrevious: an update names the id before it (OKX, prevSeqId).
	RulePrevious
	// RulePreviousBridged: as RulePrevious, but a snapshot comes by REST and lies somewhere between (Binance USD-M, pu).
	RulePreviousBridged
	// RuleIncrement: every update's id is one more than the last (Bybit).
	RuleIncrement
)

// ChecksumRule is the checksum that a venue sends with its book events.
type ChecksumRule uint8

// Checksums of the venues.
const (
	ChecksumNone ChecksumRule = iota
	ChecksumKraken
	ChecksumOKX
)

// BookRules is what an OrderBook must know of a venue.
type BookRules struct {
	Rule     BookRule
	Checksum ChecksumRule
	// Cut says that the book is to be cut to the subscribed depth after every event (Kraken).
	Cut bool
}

// RulesOf returns the rules of a venue by its name in topics; of a venue that is not known it is RuleNone, which is right
// for any venue and finds the least.
func RulesOf(venue string) BookRules {
	switch venue {
	case "binance":
		return BookRules{Rule: RuleRange}
	case "binance-usdm":
		return BookRules{Rule: RulePreviousBridged}
	case "kraken":
		return BookRules{Checksum: ChecksumKraken, Cut: true}
	case "okx":
		return BookRules{Rule: RulePrevious, Checksum: ChecksumOKX}
	case "bybit", "bybit-linear":
		return BookRules{Rule: RuleIncrement}
	}
	return BookRules{}
}

// keepsUpdates says whether updates that came before a snapshot can be needed after it. Where snapshots come by REST they
// can: the bridge was often received first. Where they come on the stream, what came before is older.
func (r BookRules) keepsUpdates() bool { return r.Rule == RuleRange || r.Rule == RulePreviousBridged }

// BookState says whether a book can be believed.
type BookState uint8

// States of a book.
const (
	BookUnsynced BookState = iota // no snapshot yet, or none that the updates reach
	BookSynced
	BookBroken // something is missing; only a snapshot helps
)

// String names the state.
func (s BookState) String() string {
	switch s {
	case BookSynced:
		return "synced"
	case BookBroken:
		return "broken"
	}
	return "unsynced"
}

// Outcome says what became of an event.
type Outcome uint8

// Outcomes of Apply.
const (
	Applied Outcome = iota // the book is as the venue's after this event
	Stale                  // older than the book; nothing was done
	Kept                   // kept until a snapshot comes, or dropped for the bound's sake
	Broke                  // the event shows that something is missing: see Reason
)

// Bounds of one book.
const (
	maxBookLevels  = 65536 // a side; levels beyond, the farthest from the market, are forgotten
	maxKeptUpdates = 1024
	maxKeptLevels  = 65536
)

// OrderBook is the book of one instrument, built from its events. It is never crossed: an event that would leave it so
// breaks it. A book that is not synced is empty. Not safe for concurrent use.
type OrderBook struct {
	rules  BookRules
	state  BookState
	reason string
	// Both sides end with the best level: most changes happen there and move little memory.
	bids, asks    []Level
	last          int64 // the id of the last event applied
	hasLast       bool
	bridged       bool // an update was applied since the snapshot
	depth         int
	priceScale    int32
	quantityScale int32
	forgotten     int64
	kept          keptUpdates
	// Memory of verify.
	top  [2][]Level
	text []byte
}

// NewOrderBook makes an empty book of a venue with these rules.
func NewOrderBook(rules BookRules) *OrderBook { return &OrderBook{rules: rules} }

// State says whether the book can be believed.
func (o *OrderBook) State() BookState { return o.state }

// Reason says why the book is not synced; it is empty while it is.
func (o *OrderBook) Reason() string { return o.reason }

// LastUpdateID is the id of the last event applied.
func (o *OrderBook) LastUpdateID() OptInt { return OptInt{Value: o.last, Valid: o.hasLast} }

// Scales are the most digits after the point that the venue has sent for this instrument.
func (o *OrderBook) Scales() (price, quantity int32) { return o.priceScale, o.quantityScale }

// Forgotten counts the levels dropped because a side grew beyond its bound.
func (o *OrderBook) Forgotten() int64 { return o.forgotten }

// BestBid returns the highest bid.
func (o *OrderBook) BestBid() (Level, bool) { return best(o.bids) }

// BestAsk returns the lowest ask.
func (o *OrderBook) BestAsk() (Level, bool) { return best(o.asks) }

func best(side []Level) (Level, bool) {
	if len(side) == 0 {
		return Level{}, false
	}
	return side[len(side)-1], true
}

// Levels returns the count of levels of each side.
func (o *OrderBook) Levels() (bids, asks int) { return len(o.bids), len(o.asks) }

// AppendBids appends up to n bids, the best first; n < 0 means all.
func (o *OrderBook) AppendBids(dst []Level, n int) []Level { return appendBest(dst, o.bids, n) }

// AppendAsks appends up to n asks, the best first; n < 0 means all.
func (o *OrderBook) AppendAsks(dst []Level, n int) []Level { return appendBest(dst, o.asks, n) }

func appendBest(dst, side []Level, n int) []Level {
	if n < 0 || n > len(side) {
		n = len(side)
	}
	for i := len(side) - 1; i >= len(side)-n; i-- {
		dst = append(dst, side[i])
	}
	return dst
}

// Apply takes the next event of the instrument, in the order in which the events were received. It copies what it keeps.
func (o *OrderBook) Apply(b *Book) Outcome {
	o.priceScale, o.quantityScale = max(o.priceScale, b.PriceScale), max(o.quantityScale, b.QuantityScale)
	switch b.Kind {
	case BookSnapshot:
		return o.snapshot(b)
	case BookUpdate:
		if o.state != BookSynced {
			return o.keep(b)
		}
		outcome := o.update(b)
		if outcome == Broke {
			o.keep(b) // it may be the bridge of the next snapshot
		}
		return outcome
	case BookGap:
		o.kept.clear()
		return o.breakWith(BookBroken, "the feed says that events are missing: "+b.GapReason)
	}
	return Stale
}

func (o *OrderBook) keep(b *Book) Outcome {
	if o.rules.keepsUpdates() {
		o.kept.add(b)
	}
	return Kept
}

// breakWith empties the book and says why.
func (o *OrderBook) breakWith(state BookState, reason string) Outcome {
	o.state, o.reason = state, reason
	o.bids, o.asks = o.bids[:0], o.asks[:0]
	o.bridged, o.hasLast, o.last = false, false, 0
	return Broke
}

// snapshot starts the book anew and applies the kept updates that follow it.
func (o *OrderBook) snapshot(b *Book) Outcome {
	if o.state == BookSynced && o.rules.keepsUpdates() && o.hasLast && b.LastUpdateID.Valid && b.LastUpdateID.Value <= o.last {
		return Stale // a REST answer that the updates have overtaken
	}
	o.bids, o.asks = loadSide(o.bids[:0], b.Bids, bidOrder), loadSide(o.asks[:0], b.Asks, askOrder)
	o.last, o.hasLast = b.LastUpdateID.Value, b.LastUpdateID.Valid
	o.bridged, o.state, o.reason = false, BookSynced, ""
	if o.depth = 0; b.Depth.Valid {
		o.depth = int(min(b.Depth.Value, maxBookLevels))
	}
	if outcome := o.finish(b); outcome != Applied {
		return outcome
	}
	return o.replay()
}

// replay applies the kept updates. One that does not follow ends it: the snapshot is older than what was kept, and a
// fresher one is needed; the update and those after it stay kept for that.
func (o *OrderBook) replay() Outcome {
	updates := o.kept.take()
	for i := range updates {
		if o.update(&updates[i]) == Broke {
			reason := o.reason
			o.kept.restore(updates[i:])
			return o.breakWith(BookUnsynced, "the snapshot does not reach the updates: "+reason)
		}
	}
	o.kept.clear()
	return Applied
}

// update applies one update to a synced book, if it follows.
func (o *OrderBook) update(b *Book) Outcome {
	follows, stale := o.check(b)
	switch {
	case stale:
		return Stale
	case !follows:
		return o.breakWith(BookBroken, o.missing(b))
	}
	for i := range b.Bids {
		o.bids = setLevel(o.bids, &b.Bids[i], bidOrder)
	}
	for i := range b.Asks {
		o.asks = setLevel(o.asks, &b.Asks[i], askOrder)
	}
	if b.LastUpdateID.Valid {
		o.last, o.hasLast = b.LastUpdateID.Value, true
	}
	o.bridged = true
	return o.finish(b)
}

// check applies the venue's rule. An update without ids follows: older recordings of OKX have none, and the checksum
// decides.
func (o *OrderBook) check(b *Book) (follows, stale bool) {
	first, last, previous := b.FirstUpdateID, b.LastUpdateID, b.PreviousUpdateID
	if !o.hasLast || !last.Valid {
		return true, false
	}
	switch o.rules.Rule {
	case RuleRange:
		return !first.Valid || first.Value <= o.last+1, last.Value <= o.last
	case RulePrevious:
		if !previous.Valid || previous.Value == o.last {
			return true, false
		}
		return false, last.Value <= o.last
	case RulePreviousBridged:
		if !o.bridged {
			// The snapshot's id may lie inside the update, or between it and the one before.
			inside := previous.Valid && previous.Value <= o.last || first.Valid && first.Value <= o.last
			return inside, last.Value < o.last
		}
		return !previous.Valid || previous.Value == o.last, last.Value <= o.last
	case RuleIncrement:
		return last.Value == o.last+1, last.Value <= o.last
	}
	return true, false
}

func (o *OrderBook) missing(b *Book) string {
	if b.PreviousUpdateID.Valid {
		return fmt.Sprintf("the update follows %d, the book is at %d", b.PreviousUpdateID.Value, o.last)
	}
	from := b.LastUpdateID.Value
	if b.FirstUpdateID.Valid {
		from = b.FirstUpdateID.Value
	}
	return fmt.Sprintf("the update begins with %d, the book is at %d", from, o.last)
}

// finish cuts the book and verifies it.
func (o *OrderBook) finish(b *Book) Outcome {
	depth := maxBookLevels
	if o.rules.Cut && o.depth > 0 {
		depth = o.depth
	}
	o.bids, o.asks = o.cut(o.bids, depth), o.cut(o.asks, depth)
	bid, hasBid := o.BestBid()
	ask, hasAsk := o.BestAsk()
	if hasBid && hasAsk && bid.Price.Cmp(ask.Price) >= 0 {
		return o.breakWith(BookBroken, fmt.Sprintf("the book is crossed: bid %v, ask %v", bid.Price, ask.Price))
	}
	return o.verify(b)
}

func (o *OrderBook) cut(side []Level, depth int) []Level {
	surplus := len(side) - depth
	if surplus <= 0 {
		return side
	}
	if !o.rules.Cut {
		o.forgotten += int64(surplus)
	}
	return slices.Delete(side, 0, surplus)
}

// verify compares the venue's checksum with the book's.
func (o *OrderBook) verify(b *Book) Outcome {
	if !b.Checksum.Valid || o.rules.Checksum == ChecksumNone {
		return Applied
	}
	o.top[0], o.top[1] = o.AppendBids(o.top[0][:0], okxChecksumDepth), o.AppendAsks(o.top[1][:0], okxChecksumDepth)
	if o.rules.Checksum == ChecksumKraken {
		o.text = appendKrakenText(o.text[:0], o.top[0], o.top[1], o.priceScale, o.quantityScale)
	} else {
		o.text = appendOKXText(o.text[:0], o.top[0], o.top[1])
	}
	computed := crc32.ChecksumIEEE(o.text)
	if int64(computed) != b.Checksum.Value {
		return o.breakWith(BookBroken, fmt.Sprintf("the venue's checksum is %d, the book's %d", b.Checksum.Value, computed))
	}
	return Applied
}

// order compares two prices: less than 0 means that the first stands before the second in a side that ends with the best.
type order func(a, b Decimal) int

func bidOrder(a, b Decimal) int { return a.Cmp(b) }
func askOrder(a, b Decimal) int { return b.Cmp(a) }

// loadSide takes a snapshot's levels. Venues send the best first, so they are taken from the end and are mostly sorted
// already. Of a price that comes twice the last stands, as with updates.
func loadSide(side, levels []Level, cmp order) []Level {
	for i := len(levels) - 1; i >= 0; i-- {
		side = append(side, levels[i])
	}
	slices.SortStableFunc(side, func(a, b Level) int { return cmp(a.Price, b.Price) })
	kept := 0
	for i := range side {
		repeated := i > 0 && side[i].Price == side[i-1].Price
		if !repeated {
			side[kept] = side[i]
			kept++
		}
	}
	return slices.DeleteFunc(side[:kept], func(l Level) bool { return l.Quantity.IsZero() })
}

// setLevel puts, replaces or (quantity 0) removes a level.
func setLevel(side []Level, l *Level, cmp order) []Level {
	low, high := 0, len(side)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if cmp(side[middle].Price, l.Price) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	found := low < len(side) && side[low].Price == l.Price
	switch {
	case l.Quantity.IsZero() && found:
		return slices.Delete(side, low, low+1)
	case l.Quantity.IsZero():
		return side
	case found:
		side[low].Quantity = l.Quantity
		return side
	}
	return slices.Insert(side, low, *l)
}

// keptUpdates are the last updates of a book that is not synced, oldest first, with bounds on events and on levels.
type keptUpdates struct {
	updates []Book
	levels  int
}

func (k *keptUpdates) add(b *Book) {
	levels := len(b.Bids) + len(b.Asks)
	if levels > maxKeptLevels {
		// What was kept before it cannot be reached across it.
		k.clear()
		return
	}
	drop := 0
	for drop < len(k.updates) && (len(k.updates)-drop >= maxKeptUpdates || k.levels+levels > maxKeptLevels) {
		k.levels -= len(k.updates[drop].Bids) + len(k.updates[drop].Asks)
		drop++
	}
	// append moves what is left to the front of new memory once the old is used up.
	clear(k.updates[:drop])
	kept := *b
	kept.Bids, kept.Asks = slices.Clone(b.Bids), slices.Clone(b.Asks)
	k.updates = append(k.updates[drop:], kept)
	k.levels += levels
}

// take hands the updates over.
func (k *keptUpdates) take() []Book {
	updates := k.updates
	k.clear()
	return updates
}

// restore takes updates back.
func (k *keptUpdates) restore(updates []Book) {
	k.updates, k.levels = updates, 0
	for i := range updates {
		k.levels += len(updates[i].Bids) + len(updates[i].Asks)
	}
}

func (k *keptUpdates) clear() { k.updates, k.levels = nil, 0 }
