package all_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// ticker is Binance's best bid and ask at an update id.
type ticker struct {
	ID      int64           `json:"u"`
	Bid     json.RawMessage `json:"b"`
	BidSize json.RawMessage `json:"B"`
	Ask     json.RawMessage `json:"a"`
	AskSize json.RawMessage `json:"A"`
}

// books replays a recording into one order book a symbol and calls each after every event.
func books(t *testing.T, name string, each func(r recorded, b *market.Book, o *market.OrderBook, outcome market.Outcome)) map[string]*market.OrderBook {
	t.Helper()
	adapter, frames := load(t, name)
	decoder := adapter.NewDecoder()
	held := map[string]*market.OrderBook{}
	var ev venue.Events
	for _, r := range frames {
		ev.Reset()
		if err := decoder.Decode(r.frame, &ev); err != nil {
			t.Fatal(err)
		}
		for i := range ev.Books {
			b := &ev.Books[i]
			o := held[b.Instrument.Symbol]
			if o == nil {
				o = market.NewOrderBook(market.RulesOf(b.Instrument.Venue))
				held[b.Instrument.Symbol] = o
			}
			each(r, b, o, o.Apply(b))
		}
	}
	return held
}

func decimal(t *testing.T, quoted json.RawMessage) market.Decimal {
	t.Helper()
	d, _, err := market.ParseDecimal(quoted[1 : len(quoted)-1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tickers reads the best bids and asks of a Binance recording, ordered by update id.
func tickers(t *testing.T, name string) []ticker {
	t.Helper()
	_, frames := load(t, name)
	var found []ticker
	for _, r := range frames {
		var frame struct {
			Stream string
			Data   json.RawMessage
		}
		var one ticker
		if r.rest || json.Unmarshal(r.frame.Payload, &frame) != nil || !strings.HasSuffix(frame.Stream, "@bookTicker") {
			continue
		}
		if err := json.Unmarshal(frame.Data, &one); err != nil {
			t.Fatal(err)
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b ticker) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

// Binance sends no checksum, but a bookTicker at every change of the best levels: the book after an update must have the
// best levels of the ticker with the same id, and, where none has it, of the last before it.
func TestBinanceBooksBridgeAndAgreeWithTheBookTicker(t *testing.T) {
	t.Parallel()
	type figures struct{ Applied, SameID, Before int }
	for name, want := range map[string]figures{
		spotBTC: {3449, 564, 2885}, spotETH: {3433, 577, 2856}, usdmBTC: {6546, 629, 5917},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ordered := tickers(t, name)
			var got figures
			held := books(t, name, func(_ recorded, _ *market.Book, o *market.OrderBook, outcome market.Outcome) {
				if outcome == market.Broke {
					t.Errorf("broke: %s", o.Reason())
				}
				if outcome != market.Applied {
					return
				}
				got.Applied++
				id := o.LastUpdateID().Value
				at, same := slices.BinarySearchFunc(ordered, id, func(one ticker, id int64) int { return cmp.Compare(one.ID, id) })
				switch {
				case same:
					got.SameID++
				case at == 0:
					return
				default:
					at--
					got.Before++
				}
				one := ordered[at]
				bid, _ := o.BestBid()
				ask, _ := o.BestAsk()
				if bid.Price != decimal(t, one.Bid) || bid.Quantity != decimal(t, one.BidSize) || ask.Price != decimal(t, one.Ask) || ask.Quantity != decimal(t, one.AskSize) {
					t.Errorf("at %d the book is %v/%v, the ticker of %d %s/%s", id, bid, ask, one.ID, one.Bid, one.Ask)
				}
			})
			if got != want || len(held) != 1 {
				t.Errorf("%d books, %+v; want %+v", len(held), got, want)
			}
			for _, o := range held {
				if o.State() != market.BookSynced {
					t.Errorf("the book ends %v: %s", o.State(), o.Reason())
				}
			}
		})
	}
}

func TestKrakenBooksMatchTheirChecksums(t *testing.T) {
	for name, want := range map[string]int{kraken25: 2052, kraken10: 301, krakenDoc: 1} {
		verified := 0
		books(t, name, func(_ recorded, b *market.Book, o *market.OrderBook, outcome market.Outcome) {
			if !b.Checksum.Valid || outcome != market.Applied {
				t.Fatalf("%s: %v %v: %s", name, b.Checksum, outcome, o.Reason())
			}
			verified++
		})
		if verified != want {
			t.Errorf("%s: %d of %d", name, verified, want)
		}
	}
}

// OKX's recording is of 2022: it has the legacy checksum and no sequence numbers.
func TestOKXBooksMatchTheirChecksums(t *testing.T) {
	verified := 0
	held := books(t, okx, func(_ recorded, b *market.Book, o *market.OrderBook, outcome market.Outcome) {
		if !b.Checksum.Valid || outcome != market.Applied {
			t.Fatalf("%v %v: %s", b.Checksum, outcome, o.Reason())
		}
		verified++
	})
	if verified != 290 || len(held) != 3 {
		t.Errorf("%d of 290, %d books", verified, len(held))
	}
}

func TestCoinbaseBooksAreNeverCrossed(t *testing.T) {
	applied := 0
	held := books(t, coinbase, func(_ recorded, b *market.Book, o *market.OrderBook, outcome market.Outcome) {
		if outcome != market.Applied {
			t.Errorf("%s: %v: %s", b.Instrument.Symbol, outcome, o.Reason())
		}
		applied++
	})
	if applied != 9729 || len(held) != 10 {
		t.Errorf("%d applied to %d books", applied, len(held))
	}
}

// A Kraken snapshot does not say its depth; the inspector finds it in the acknowledgement.
func TestKrakenSnapshotsAreAskedForWithTheDepthOfTheirSubscription(t *testing.T) {
	for name, want := range map[string]int64{kraken25: 25, kraken10: 10, krakenDoc: 10} {
		books(t, name, func(r recorded, b *market.Book, _ *market.OrderBook, _ market.Outcome) {
			if b.Kind != market.BookSnapshot {
				return
			}
			if name != krakenDoc && r.frame.Request != fmt.Sprintf("depth=%d", want) || b.Depth != market.Some(want) {
				t.Errorf("%s: request %q, depth %v", name, r.frame.Request, b.Depth)
			}
		})
	}
}
