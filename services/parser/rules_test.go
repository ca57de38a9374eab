package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// change puts an action in place of divert.
func change(contracts []contract.Contract, action string) {
	var fields func([]contract.Field)
	fields = func(of []contract.Field) {
		for i := range of {
			if of[i].OnViolation == "divert" {
				of[i].OnViolation = action
			}
			if of[i].Items != nil {
				fields(of[i].Items.Fields)
			}
		}
	}
	for i := range contracts {
		fields(contracts[i].Fields)
	}
}

// withRules loads the contracts with the given action in place of divert.
func withRules(t testing.TB, action string) []contract.Contract {
	t.Helper()
	loaded := must[[]contract.Contract](t)(contract.Load(contracts.FS))
	change(loaded, action)
	return loaded
}

// ruled is a parser of withRules, with its counters and its log.
func ruled(t *testing.T, action string) (*Parser, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	loaded := withRules(t, action)
	p, metrics, log := bench(t), prometheus.NewRegistry(), &bytes.Buffer{}
	p.rules = must[fieldRules](t)(newFieldRules(loaded, subscription.NewRuleCounter(metrics, "parser"), slog.New(slog.NewTextHandler(log, nil))))
	return p, metrics, log
}

// violations are the counters of rules that were broken.
func violations(t *testing.T, metrics *prometheus.Registry) map[string]float64 {
	t.Helper()
	broken := map[string]float64{}
	for _, family := range must[[]*dto.MetricFamily](t)(metrics.Gather()) {
		if family.GetName() != "streamforge_rule_violations_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if v := m.GetCounter().GetValue(); v != 0 {
				broken[strings.Join(labels, " ")] = v
			}
		}
	}
	return broken
}

// freeTrades is one frame with a trade for each price.
func freeTrades(t *testing.T, prices ...int64) *records.Frame {
	t.Helper()
	renderer := must[venue.Renderer](t)(all.NewRenderer("bybit"))
	instrument := must[market.Instrument](t)(must[venue.Adapter](t)(all.Get("bybit")).FromVenue("BTCUSDT"))
	var trades []market.Trade
	for _, price := range prices {
		trades = append(trades, market.Trade{
			Instrument: &instrument, ID: []byte("20f43950-d8dd-5b31-9112-a178eb6023af"), Price: market.NewDecimal(price, 2), Quantity: market.NewDecimal(5, 1),
			TakerSide: market.Buy, EventTime: 1723161255208000,
		})
	}
	var made []*records.Frame
	renderer.AppendTrades(trades, 2, 1, func(payload []byte) { made = append(made, frame("bybit", string(payload))) })
	if len(made) != 1 {
		t.Fatalf("%d trades became %d frames", len(prices), len(made))
	}
	return made[0]
}

const freeBook = `{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1001,"u":1005,"b":[["61730.170","0.000"],["0.000","1.0"]],"a":[]}}`

func TestATradeThatARuleDivertsIsALetterAndItsSiblingsAreProduced(t *testing.T) {
	p, metrics, _ := ruled(t, "divert")
	out := &recorder{}
	batch := batchOf(freeTrades(t, 100, 0, 200), frame("binance", freeBook))
	for range 2 { // A transaction that is undone brings the same again.
		*out = recorder{}
		if err := p.Handle(t.Context(), batch, out); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{topicTrades, deadletters.Topic, topicTrades, deadletters.Topic, topicGaps, topicBooks}
	if diff := cmp.Diff(want, out.topics); diff != "" {
		t.Fatal(diff)
	}
	for i, text := range map[int]string{
		1: "price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades",
		3: "bids[1].price is 0, which breaks rule bids[].price:minimum 0.000000000000000001 of contract raw-orderbooks",
	} {
		var letter records.DeadLetter
		if err := letter.DecodeAvro(out.bodies[i]); err != nil {
			t.Fatal(err)
		}
		if letter.ErrorClass != "rule" || letter.Error != text || letter.Item != int32(i%3) || letter.Offset != int64(i/2) {
			t.Errorf("%s at offset %d item %d: %s", letter.ErrorClass, letter.Offset, letter.Item, letter.Error)
		}
	}
	var gap records.FeedGap
	if err := gap.DecodeAvro(out.bodies[4]); err != nil || gap.Reason != market.GapDeadLetter || !strings.Contains(gap.Detail, "bids[].price:minimum") {
		t.Errorf("%+v %v", gap, err)
	}
	broken := map[string]float64{"divert parser raw-trades price:minimum": 1, "divert parser raw-orderbooks bids[].price:minimum": 1}
	if diff := cmp.Diff(broken, violations(t, metrics)); diff != "" {
		t.Error(diff)
	}
	if n := testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues("rule")); n != 2 {
		t.Errorf("%v letters are counted", n)
	}
}

func TestARuleThatBlocksNamesRuleFieldValueAndPlace(t *testing.T) {
	p, metrics, _ := ruled(t, "block")
	out := &recorder{}
	batch := batchOf(freeTrades(t, 100), freeTrades(t, 100, 0, 200))
	err := p.Handle(t.Context(), batch, out)
	if subscription.CauseOf(err) != "rule" {
		t.Fatal(err)
	}
	want := "raw-frames/0 offset 1: producing a trade of BTC-USDT from item 1: price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades"
	if err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if slices.Contains(out.topics, deadletters.Topic) {
		t.Error("a letter for what blocks")
	}
	if diff := cmp.Diff(map[string]float64{"block parser raw-trades price:minimum": 1}, violations(t, metrics)); diff != "" {
		t.Error(diff)
	}
}

func TestARuleThatCountsLetsEverythingPassAndIsLoggedOnce(t *testing.T) {
	p, metrics, log := ruled(t, "count")
	out := &recorder{}
	if err := p.Handle(t.Context(), batchOf(freeTrades(t, 0, 0, 200), frame("binance", freeBook)), out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{topicTrades, topicTrades, topicTrades, topicBooks}, out.topics); diff != "" {
		t.Error(diff)
	}
	broken := map[string]float64{"count parser raw-trades price:minimum": 2, "count parser raw-orderbooks bids[].price:minimum": 1}
	if diff := cmp.Diff(broken, violations(t, metrics)); diff != "" {
		t.Error(diff)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "rule=price:minimum action=count") || !strings.Contains(lines[0], "offset=0") {
		t.Errorf("%d lines: %s", len(lines), log)
	}
}

// A frame's own rules are held to before it is decoded: what its loader must never write.
func TestAFrameIsHeldToItsContract(t *testing.T) {
	p, metrics, _ := ruled(t, "divert")
	f := binanceTrade("BTCUSDT", 1)
	f.Sequence = -1
	out := &recorder{}
	if err := p.Handle(t.Context(), batchOf(f), out); err != nil || len(out.topics) != 1 {
		t.Fatal(out.topics, err)
	}
	if diff := cmp.Diff(map[string]float64{"count parser raw-frames sequence:minimum": 1}, violations(t, metrics)); diff != "" {
		t.Error(diff)
	}
}

// Each letter holds the whole frame: of a large one with many free trades one letter stands for most.
func TestTheLettersOfOneFrameAreBounded(t *testing.T) {
	p, metrics, _ := ruled(t, "divert")
	const free = 40
	f := freeTrades(t, make([]int64, free)...)
	f.Payload = append(f.Payload, bytes.Repeat([]byte(" "), 1<<20)...)
	out := &recorder{}
	if err := p.Handle(t.Context(), batchOf(f), out); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, b := range out.bodies {
		size += len(b)
	}
	if size > maxItemLetters+2<<20 || len(out.topics) != 32 {
		t.Errorf("%d letters of %d bytes", len(out.topics), size)
	}
	var letter records.DeadLetter
	if err := letter.DecodeAvro(out.bodies[len(out.bodies)-1]); err != nil || letter.Item != records.WholeRecord ||
		!strings.HasPrefix(letter.Error, "too many items are refused for a letter each; from item 31 on this one stands for them: price is 0") {
		t.Errorf("item %d: %s %v", letter.Item, letter.Error, err)
	}
	if diff := cmp.Diff(map[string]float64{"divert parser raw-trades price:minimum": free}, violations(t, metrics)); diff != "" {
		t.Error(diff)
	}
}
