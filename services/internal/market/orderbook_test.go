package market

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fakeVenue is a venue's own book: the truth that an OrderBook must follow. Bids lie below 100, asks above.
type fakeVenue struct {
	rules      BookRules
	bids, asks map[int64]int64 // price in ticks → quantity
	id         int64
	truth      map[int64]string // the book after each id
}

func newFakeVenue(rules BookRules, id int64) *fakeVenue {
	v := &fakeVenue{rules: rules, bids: map[int64]int64{99: 1, 98: 2}, asks: map[int64]int64{101: 1, 102: 2}, id: id, truth: map[int64]string{}}
	v.truth[id] = v.text()
	return v
}

func levels(side map[int64]int64, from, to, step int64) []Level {
	var out []Level
	for price := from; price != to; price += step {
		if quantity := side[price]; quantity > 0 {
			out = append(out, Level{NewDecimal(price, 0), NewDecimal(quantity, 0)})
		}
	}
	return out
}

func (v *fakeVenue) sides() (bids, asks []Level) {
	return levels(v.bids, 99, 0, -1), levels(v.asks, 101, 200, 1)
}

func (v *fakeVenue) text() string {
	bids, asks := v.sides()
	return fmt.Sprint(bids, asks)
}

func (v *fakeVenue) snapshot() Book {
	bids, asks := v.sides()
	return Book{Kind: BookSnapshot, LastUpdateID: Some(v.id), Bids: bids, Asks: asks}
}

// step changes the book and returns the update.
func (v *fakeVenue) step(r *rapid.T) Book {
	b := Book{Kind: BookUpdate}
	for range rapid.IntRange(0, 3).Draw(r, "changes") {
		quantity := int64(rapid.IntRange(0, 3).Draw(r, "quantity"))
		if rapid.Bool().Draw(r, "bid") {
			price := int64(rapid.IntRange(90, 99).Draw(r, "price"))
			v.bids[price] = quantity
			b.Bids = append(b.Bids, Level{NewDecimal(price, 0), NewDecimal(quantity, 0)})
		} else {
			price := int64(rapid.IntRange(101, 110).Draw(r, "price"))
			v.asks[price] = quantity
			b.Asks = append(b.Asks, Level{NewDecimal(price, 0), NewDecimal(quantity, 0)})
		}
	}
	previous := v.id
	switch v.rules.Rule {
	case RuleIncrement:
		v.id++
	case RuleRange:
		b.FirstUpdateID = Some(v.id + 1)
		v.id += int64(rapid.IntRange(1, 4).Draw(r, "ids"))
	default:
		v.id += int64(rapid.IntRange(1, 4).Draw(r, "skip"))
		b.FirstUpdateID = Some(v.id)
		v.id += int64(rapid.IntRange(0, 4).Draw(r, "ids"))
		b.PreviousUpdateID = Some(previous)
	}
	b.LastUpdateID = Some(v.id)
	v.truth[v.id] = v.text()
	return b
}

func TestABookIsTheVenuesOrSaysThatItIsNot(t *testing.T) {
	for _, rules := range []BookRules{RulesOf("binance"), RulesOf("binance-usdm"), {Rule: RulePrevious}, RulesOf("bybit")} {
		t.Run(fmt.Sprint(rules.Rule), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { checkBook(r, rules) })
		})
	}
}

func checkBook(r *rapid.T, rules BookRules) {
	v, o := newFakeVenue(rules, 1000), NewOrderBook(rules)
	var delayed *Book // a REST answer under way: it is of the past when it arrives
	for range rapid.IntRange(1, 60).Draw(r, "steps") {
		switch rapid.IntRange(0, 9).Draw(r, "what") {
		case 0: // an update is lost
			v.step(r)
		case 1: // a snapshot of now
			b := v.snapshot()
			if !rules.keepsUpdates() || delayed == nil {
				o.Apply(&b)
			}
		case 2: // a snapshot is taken, and comes later
			if rules.keepsUpdates() && delayed == nil {
				b := v.snapshot()
				delayed = &b
			}
		case 3:
			if delayed != nil {
				o.Apply(delayed)
				delayed = nil
			}
		case 4: // an update comes twice
			b := v.step(r)
			o.Apply(&b)
			o.Apply(&b)
		case 5:
			b := Book{Kind: BookGap, GapReason: "BUFFER_FULL"}
			v.step(r)
			o.Apply(&b)
		default:
			b := v.step(r)
			o.Apply(&b)
		}
		checkTruth(r, v, o)
	}
	b := v.snapshot()
	o.Apply(&b)
	b = v.step(r)
	o.Apply(&b)
	if checkTruth(r, v, o); o.State() != BookSynced || o.LastUpdateID().Value != v.id {
		r.Fatalf("a snapshot and an update that follows leave the book %v at %v of %d: %s", o.State(), o.LastUpdateID(), v.id, o.Reason())
	}
}

func checkTruth(r *rapid.T, v *fakeVenue, o *OrderBook) {
	bids, asks := o.AppendBids(nil, -1), o.AppendAsks(nil, -1)
	if o.State() != BookSynced {
		if len(bids)+len(asks) > 0 || o.Reason() == "" && o.State() == BookBroken {
			r.Fatalf("a %v book holds %d levels, reason %q", o.State(), len(bids)+len(asks), o.Reason())
		}
		return
	}
	if got, want := fmt.Sprint(bids, asks), v.truth[o.LastUpdateID().Value]; got != want {
		r.Fatalf("the book at %d is\n%s, the venue's was\n%s", o.LastUpdateID().Value, got, want)
	}
}

func level(price, quantity string) Level {
	p, _, err1 := ParseDecimal([]byte(price))
	q, _, err2 := ParseDecimal([]byte(quantity))
	if err1 != nil || err2 != nil {
		panic("BUG: a test's number is none")
	}
	return Level{p, q}
}

func TestABridgeReceivedBeforeTheSnapshotIsApplied(t *testing.T) {
	for _, c := range []struct {
		venue  string
		bridge Book
	}{
		{"binance", Book{Kind: BookUpdate, FirstUpdateID: Some(8), LastUpdateID: Some(12), Bids: []Level{level("9", "5")}}},
		{"binance-usdm", Book{Kind: BookUpdate, FirstUpdateID: Some(8), LastUpdateID: Some(12), PreviousUpdateID: Some(5), Bids: []Level{level("9", "5")}}},
	} {
		o := NewOrderBook(RulesOf(c.venue))
		old := Book{Kind: BookUpdate, FirstUpdateID: Some(1), LastUpdateID: Some(5), PreviousUpdateID: Some(0), Bids: []Level{level("8", "1")}}
		if o.Apply(&old) != Kept || o.Apply(&c.bridge) != Kept {
			t.Fatal("updates of an unsynced book must be kept")
		}
		snapshot := Book{Kind: BookSnapshot, LastUpdateID: Some(10), Bids: []Level{level("9", "1"), level("7", "1")}, Asks: []Level{level("11", "1")}}
		if o.Apply(&snapshot) != Applied || o.State() != BookSynced || o.LastUpdateID() != Some(12) {
			t.Fatalf("%s: %v at %v: %s", c.venue, o.State(), o.LastUpdateID(), o.Reason())
		}
		if bid, _ := o.BestBid(); bid != level("9", "5") {
			t.Fatalf("%s: best bid %v", c.venue, bid)
		}
		next := Book{Kind: BookUpdate, FirstUpdateID: Some(13), LastUpdateID: Some(14), PreviousUpdateID: Some(12)}
		if o.Apply(&next) != Applied {
			t.Fatalf("%s: %s", c.venue, o.Reason())
		}
	}
}

func TestASnapshotTooOldLeavesTheBookUnsyncedAndTheUpdatesKept(t *testing.T) {
	o := NewOrderBook(RulesOf("binance"))
	update := Book{Kind: BookUpdate, FirstUpdateID: Some(20), LastUpdateID: Some(22), Asks: []Level{level("11", "7")}}
	o.Apply(&update)
	snapshot := Book{Kind: BookSnapshot, LastUpdateID: Some(10), Bids: []Level{level("9", "1")}, Asks: []Level{level("11", "1")}}
	if o.Apply(&snapshot) != Broke || o.State() != BookUnsynced || !strings.Contains(o.Reason(), "20") {
		t.Fatalf("%v: %s", o.State(), o.Reason())
	}
	snapshot.LastUpdateID = Some(21)
	if o.Apply(&snapshot) != Applied || o.LastUpdateID() != Some(22) {
		t.Fatalf("%v at %v: %s", o.State(), o.LastUpdateID(), o.Reason())
	}
	if snapshot.LastUpdateID = Some(15); o.Apply(&snapshot) != Stale || o.State() != BookSynced {
		t.Fatal("a snapshot that the updates have overtaken must not touch the book")
	}
}

func TestACrossedBookBreaks(t *testing.T) {
	o := NewOrderBook(BookRules{})
	snapshot := Book{Kind: BookSnapshot, Bids: []Level{level("9", "1")}, Asks: []Level{level("10", "1")}}
	o.Apply(&snapshot)
	crossing := Book{Kind: BookUpdate, Bids: []Level{level("10", "1")}}
	if o.Apply(&crossing) != Broke || o.State() != BookBroken || !strings.Contains(o.Reason(), "crossed") {
		t.Fatalf("%v: %s", o.State(), o.Reason())
	}
	if _, ok := o.BestBid(); ok {
		t.Fatal("a broken book must be empty")
	}
	if o.Apply(&snapshot) != Applied || o.State() != BookSynced {
		t.Fatalf("%v: %s", o.State(), o.Reason())
	}
}

func TestAWrongChecksumBreaksTheBookAndASnapshotHealsIt(t *testing.T) {
	o := NewOrderBook(RulesOf("kraken"))
	snapshot := Book{Kind: BookSnapshot, Depth: Some(10), PriceScale: 1, QuantityScale: 8, Bids: []Level{level("9.5", "0.00000001")}, Asks: []Level{level("10.0", "1.5")}}
	snapshot.Checksum = Some(int64(crc32.ChecksumIEEE([]byte("100150000000951"))))
	if o.Apply(&snapshot) != Applied {
		t.Fatal(o.Reason())
	}
	update := Book{Kind: BookUpdate, Asks: []Level{level("10.1", "1")}, Checksum: snapshot.Checksum}
	if o.Apply(&update) != Broke || !strings.Contains(o.Reason(), "checksum") {
		t.Fatal(o.State(), o.Reason())
	}
	if o.Apply(&update) != Kept || o.Apply(&snapshot) != Applied || o.State() != BookSynced {
		t.Fatal(o.State(), o.Reason())
	}
}

func TestABookIsCutToItsDepth(t *testing.T) {
	o := NewOrderBook(RulesOf("kraken"))
	snapshot := Book{Kind: BookSnapshot, Depth: Some(10)}
	for i := range int64(10) {
		snapshot.Bids = append(snapshot.Bids, Level{NewDecimal(100-i, 0), NewDecimal(1, 0)})
	}
	o.Apply(&snapshot)
	better := Book{Kind: BookUpdate, Bids: []Level{level("101", "1"), level("102", "1")}}
	o.Apply(&better)
	if bids := o.AppendBids(nil, -1); len(bids) != 10 || bids[0].Price != NewDecimal(102, 0) || bids[9].Price != NewDecimal(93, 0) {
		t.Fatal(bids)
	}
}

func TestKeptUpdatesAreBounded(t *testing.T) {
	o := NewOrderBook(RulesOf("binance"))
	update := Book{Kind: BookUpdate, Bids: make([]Level, 100)}
	for i := range int64(5000) {
		update.FirstUpdateID, update.LastUpdateID = Some(i), Some(i)
		o.Apply(&update)
		if len(o.kept.updates) > maxKeptUpdates || o.kept.levels > maxKeptLevels {
			t.Fatalf("%d updates, %d levels", len(o.kept.updates), o.kept.levels)
		}
	}
	huge := Book{Kind: BookUpdate, FirstUpdateID: Some(5000), LastUpdateID: Some(5000), Bids: make([]Level, maxKeptLevels+1)}
	if o.Apply(&huge); o.kept.levels != 0 || len(o.kept.updates) != 0 {
		t.Fatal("an update beyond the bound must not be kept")
	}
}

func TestApplyingUpdatesDoesNotAllocate(t *testing.T) {
	o := NewOrderBook(BookRules{Checksum: ChecksumKraken, Cut: true})
	snapshot := Book{Kind: BookSnapshot, Depth: Some(10), PriceScale: 1, QuantityScale: 8}
	for i := range int64(10) {
		snapshot.Bids = append(snapshot.Bids, Level{NewDecimal(100-i, 0), NewDecimal(1, 0)})
		snapshot.Asks = append(snapshot.Asks, Level{NewDecimal(101+i, 0), NewDecimal(1, 0)})
	}
	o.Apply(&snapshot)
	update := Book{Kind: BookUpdate, Bids: []Level{level("100", "2")}, PriceScale: 1, QuantityScale: 8}
	o.Apply(&update)
	sum := KrakenChecksum(o.AppendBids(nil, -1), o.AppendAsks(nil, -1), 1, 8)
	update.Checksum = Some(int64(sum))
	if n := testing.AllocsPerRun(100, func() {
		if o.Apply(&update) != Applied {
			t.Fatal(o.Reason())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzOrderBook feeds any sequence of events: the book must never be crossed and never panic.
func FuzzOrderBook(f *testing.F) {
	f.Add([]byte{1, 5, 200, 3, 2, 6, 100, 1}, uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, rule uint8) {
		rules := BookRules{Rule: BookRule(rule % 5), Checksum: ChecksumRule(rule % 3), Cut: rule%2 == 0}
		o := NewOrderBook(rules)
		for ; len(script) >= 4; script = script[4:] {
			b := Book{Kind: BookKind(script[0] % 5), LastUpdateID: OptInt{int64(script[1]), script[0]&8 == 0}, FirstUpdateID: OptInt{int64(script[1] / 2), script[0]&16 == 0}, PreviousUpdateID: OptInt{int64(script[1]) - 1, script[0]&32 == 0}}
			l := Level{NewDecimal(int64(script[2]), 0), NewDecimal(int64(script[3]%4), 0)}
			if script[0]&64 == 0 {
				b.Bids = append(b.Bids, l)
			} else {
				b.Asks = append(b.Asks, l)
			}
			o.Apply(&b)
			bid, hasBid := o.BestBid()
			ask, hasAsk := o.BestAsk()
			if hasBid && hasAsk && bid.Price.Cmp(ask.Price) >= 0 || o.State() != BookSynced && (hasBid || hasAsk) {
				t.Fatalf("%v book: bid %v, ask %v", o.State(), bid, ask)
			}
		}
	})
}
