package fieldrules

import (
	"math/big"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

func pointer(v float64) *float64 { return &v }

// compiled is the checker of a product as the repository has it.
func compiled(t testing.TB, product string) *Checker {
	t.Helper()
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := contract.Find(all, product)
	if !ok {
		t.Fatalf("no contract %s", product)
	}
	subject, err := schemas.Get(c.Subject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(subject)
	if err != nil {
		t.Fatal(err)
	}
	checker, err := Compile(c, text)
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

var instrument = market.Instrument{Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT"}

const receivedAt = 1723161255208000

func trade(price, quantity market.Decimal) []byte {
	return records.AppendTrade(nil, &market.Trade{
		Instrument: &instrument, ID: []byte("3891234567"), Price: price, Quantity: quantity, TakerSide: market.Buy, EventTime: receivedAt,
	}, receivedAt, records.Coordinates{Partition: 3, Offset: 123456})
}

// book has the levels on each side, the last bid of the given price.
func book(levels int, last market.Decimal) []byte {
	b := market.Book{Kind: market.BookUpdate, Instrument: &instrument, LastUpdateID: market.Some(1000), PriceScale: 2, QuantityScale: 6, EventTime: receivedAt}
	for i := range int64(levels) {
		l := market.Level{Price: market.NewDecimal(6183763+i, 2), Quantity: market.NewDecimal(154698+i, 6)}
		b.Bids, b.Asks = append(b.Bids, l), append(b.Asks, l)
	}
	b.Bids[levels-1].Price = last
	return records.AppendBook(nil, &b, receivedAt, records.Coordinates{})
}

func texts(found []Violation) []string {
	var texts []string
	for _, v := range found {
		texts = append(texts, v.Error())
	}
	return texts
}

func TestWhatBreaksTheRulesOfTheProductsIsNamed(t *testing.T) {
	fine := market.NewDecimal(1, 18)
	for name, c := range map[string]struct {
		product string
		body    []byte
		want    []string
	}{
		"a trade": {"raw-trades", trade(fine, fine), nil},
		"a trade for nothing": {"raw-trades", trade(market.Decimal{}, fine), []string{
			"price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades",
		}},
		"a trade of less than nothing": {"raw-trades", trade(market.NewDecimal(-5, 1), market.NewDecimal(-1, 18)), []string{
			"price is -0.5, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades",
			"quantity is -0.000000000000000001, which breaks rule quantity:minimum 0 of contract raw-trades",
		}},
		"a book": {"raw-orderbooks", book(3, fine), nil},
		"a level for nothing": {"raw-orderbooks", book(3, market.Decimal{}), []string{
			"bids[2].price is 0, which breaks rule bids[].price:minimum 0.000000000000000001 of contract raw-orderbooks",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := compiled(t, c.product).Check(c.body, nil)
			if diff := cmp.Diff(c.want, texts(found)); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

const everyKind = `{"type":"record","name":"R","fields":[
	{"name":"when","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
	{"name":"nested","type":{"type":"array","items":{"type":"array","items":{"type":"record","name":"Cell","fields":[{"name":"x","type":["long","null"]}]}}}}]}`

func everyContract() contract.Contract {
	return contract.Contract{ID: "every", Fields: []contract.Field{
		{Name: "when", Minimum: pointer(1_000_500), OnViolation: "divert"},
		{Name: "day", Required: true, Maximum: pointer(86_400e6), OnViolation: "block"},
		{Name: "nested", Items: &contract.Field{Items: &contract.Field{Fields: []contract.Field{{Name: "x", Required: true, Minimum: pointer(0), OnViolation: "count"}}}}},
		{Name: "unknown to the schema", Minimum: pointer(0)},
	}}
}

func TestAViolationNamesTheFirstValueAndTheGravestActionWins(t *testing.T) {
	checker, err := Compile(everyContract(), everyKind)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range checker.Rules() {
		names = append(names, r.Name()+" "+string(r.Action))
	}
	if diff := cmp.Diff([]string{"when:minimum divert", "day:required block", "day:maximum block", "nested[][].x:required count", "nested[][].x:minimum count"}, names); diff != "" {
		t.Error(diff)
	}
	// 1970-01-01T00:00:01Z, 2 days, then {[ {5} ], [ {-1}, null, {-2} ]} with both forms of a block.
	body := []byte{0xd0, 0x0f, 2, 4, 2, 2, 0, 10, 0, 1, 0xff, 5, 6, 0, 1, 2, 0, 3, 0, 0}
	body = append(body[:9:9], 1, 16, 5, 12, 0, 1, 2, 0, 3, 0, 0)
	found, err := checker.Check(body, nil)
	want := []string{
		"when is 1970-01-01T00:00:01Z, which breaks rule when:minimum 1970-01-01T00:00:01.0005Z of contract every",
		"day is 1970-01-03, which breaks rule day:maximum 1970-01-02T00:00:00Z of contract every",
		"nested[1][0].x is -1, which breaks rule nested[][].x:minimum 0 of contract every",
		"nested[1][1].x is null, which rule nested[][].x:required of contract every forbids",
	}
	if diff := cmp.Diff(want, texts(found)); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	if b := Gravest(found); b.Action != Block || b.Error() != want[1] {
		t.Errorf("%s: %v", b.Action, b)
	}
	if b := Gravest(append(found[:1:1], found[2:]...)); b.Action != Divert || b.Error() != want[0] {
		t.Errorf("%s: %v", b.Action, b)
	}
	if b := Gravest(found[2:]); b.Action != Count || b.Error() != want[2]+"; "+want[3] {
		t.Errorf("%s: %v", b.Action, b)
	}
}

func TestARuleThatTheSchemaHasNoNumberForIsRefused(t *testing.T) {
	c := contract.Contract{ID: "p", Fields: []contract.Field{{Name: "a", Maximum: pointer(1)}}}
	for schema, want := range map[string]string{
		`{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`:                                             "rules of contract p: a has minimum or maximum and is of type string",
		`{"type":"record","name":"R","fields":[{"name":"a","type":["null",{"type":"long","logicalType":"time-micros"}]}]}`: "",
		`"long"`:         "the schema is a long and no record",
		`{"type":"nil"}`: "rules of contract p",
	} {
		if _, err := Compile(c, schema); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

// A record of the contract's older form, or of a reader that knows less, has only the rules of the fields that it has.
func TestWithoutRulesNothingIsRead(t *testing.T) {
	checker, err := Compile(everyContract(), `{"type":"record","name":"R","fields":[{"name":"other","type":"string"}]}`)
	if err != nil || len(checker.Rules()) != 0 {
		t.Fatal(err, checker)
	}
	if found, err := checker.Check([]byte{0xff}, nil); err != nil || found != nil {
		t.Error(found, err)
	}
}

const recursive = `{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]},{"name":"list","type":{"type":"array","items":"null"}},{"name":"v","type":"int"}]}`

func TestARecordWithinItselfIsFollowedWithinABound(t *testing.T) {
	checker, err := Compile(contract.Contract{ID: "p", Fields: []contract.Field{{Name: "v", Maximum: pointer(1)}}}, recursive)
	if err != nil {
		t.Fatal(err)
	}
	// Three nodes, the outer two after what they hold; the items of the innermost list take no bytes, however many.
	body := []byte{2, 2, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 6, 0, 6, 0, 4}
	if found, err := checker.Check(body, nil); err != nil || len(found) != 1 || found[0].Value != "2" {
		t.Error(found, err)
	}
	if _, err := checker.Check([]byte(strings.Repeat("\x02", 20<<20)), nil); err == nil || !strings.Contains(err.Error(), "a record within itself more than 512 times") {
		t.Error(err)
	}
}

// The values of a map may take no bytes; its keys do.
func TestTheKeysOfAMapOfNothingArePassedBy(t *testing.T) {
	c := contract.Contract{ID: "p", Fields: []contract.Field{{Name: "m", Required: true, OnViolation: "count"}, {Name: "v", Maximum: pointer(1)}}}
	checker, err := Compile(c, `{"type":"record","name":"R","fields":[{"name":"m","type":["null",{"type":"map","values":"null"}]},{"name":"v","type":"int"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := checker.Check([]byte{2, 2, 6, 'k', 'e', 'y', 0, 4}, nil); err != nil || len(found) != 1 || found[0].Value != "2" {
		t.Error(found, err)
	}
}

func TestDecimalsOfAnyLengthAreComparedLikeTheNumbersThatTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (*big.Int, []byte) {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name))
			if rapid.Bool().Draw(t, "negative") {
				n.Neg(n)
			}
			b := twosComplement(n)
			if want := big.NewInt(0).Add(n, big.NewInt(0)); decimalText(b, 0) != want.String() {
				t.Fatalf("%x of %s is written %s", b, n, decimalText(b, 0))
			}
			for range rapid.IntRange(0, 2).Draw(t, "padding") {
				b = append([]byte{byte(int8(b[0]) >> 7)}, b...)
			}
			return n, shortest(b)
		}
		a, ab := draw("a")
		b, bb := draw("b")
		if got := compare(ab, bb); got != a.Cmp(b) {
			t.Fatalf("%s and %s: %d", a, b, got)
		}
	})
}

// Garbage is an error or a body, never a panic, a hang, or a violation without a path.
func FuzzCheck(f *testing.F) {
	every, err := Compile(everyContract(), everyKind)
	if err != nil {
		f.Fatal(err)
	}
	node, err := Compile(contract.Contract{ID: "p", Fields: []contract.Field{{Name: "v", Maximum: pointer(1)}}}, recursive)
	if err != nil {
		f.Fatal(err)
	}
	checkers := []*Checker{every, node, compiled(f, "raw-trades"), compiled(f, "raw-orderbooks")}
	f.Add(trade(market.NewDecimal(1, 0), market.NewDecimal(-1, 0)))
	f.Add(book(2, market.NewDecimal(-1, 0)))
	f.Add([]byte{0xd0, 0x0f, 2, 4, 1, 2, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, c := range checkers {
			found, err := c.Check(body, nil)
			if len(body) == 0 && err == nil {
				t.Error("nothing is no body")
			}
			for _, v := range found {
				if v.Path == "" || v.Error() == "" {
					t.Errorf("%+v", v)
				}
			}
		}
	})
}

func TestARecordThatKeepsItsRulesAllocatesNothing(t *testing.T) {
	for product, body := range map[string][]byte{"raw-trades": trade(market.NewDecimal(1, 0), market.NewDecimal(1, 0)), "raw-orderbooks": book(25, market.NewDecimal(1, 0))} {
		checker := compiled(t, product)
		var found []Violation
		if n := testing.AllocsPerRun(100, func() { found, _ = checker.Check(body, found[:0]) }); n != 0 || len(found) > 0 {
			t.Errorf("%s: %v allocations, %v", product, n, found)
		}
	}
}

// cpuTime is what this process has used: unlike the clock it holds on a machine that does other things as well.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkCheck(b *testing.B) {
	price := market.NewDecimal(6183763, 2)
	for _, c := range []struct {
		name, product string
		body          []byte
	}{
		{"trade", "raw-trades", trade(price, market.NewDecimal(154698, 6))},
		{"book/3+3", "raw-orderbooks", book(3, price)},
		{"book/25+25", "raw-orderbooks", book(25, price)},
		{"book/1000+1000", "raw-orderbooks", book(1000, price)},
	} {
		b.Run(c.name, func(b *testing.B) {
			checker := compiled(b, c.product)
			var found []Violation
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				var err error
				if found, err = checker.Check(c.body, found[:0]); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
