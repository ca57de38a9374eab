package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// outcome is what a batch came to, a word a record in their order: letter/item, trade, gap/channel/item, and of
// raw-orderbooks the kind.
func (r *recorder) outcome(t *testing.T) string {
	t.Helper()
	var words []string
	for i, topic := range r.topics {
		var err error
		var word string
		switch body := r.bodies[i]; topic {
		case deadletters.Topic:
			var v records.DeadLetter
			err = v.DecodeAvro(body)
			word = fmt.Sprintf("%s/%d", v.ErrorClass, v.Item)
		case topicTrades:
			word = "trade"
		case topicGaps:
			var v records.FeedGap
			err = v.DecodeAvro(body)
			word = fmt.Sprintf("gap/%s/%s/%d", v.Channel, v.Reason, v.Frame.Item)
			if v.FromTime != v.ReceivedAt || v.ToTime != market.NoTime || v.Missing != market.Some(1) || v.Detail == "" || r.keys[i] != v.Venue+"/"+v.Symbol {
				t.Errorf("the gap under %q is %+v", r.keys[i], v)
			}
		case topicBooks:
			var v records.Orderbook
			err = v.DecodeAvro(body)
			word = [...]string{"?", "SNAPSHOT", "UPDATE", "GAP"}[v.Kind]
			if r.keys[i] != v.Instrument.Symbol || (v.Kind == market.BookGap) != (v.GapReason == "DEAD_LETTER") {
				t.Errorf("the event under %q is %+v", r.keys[i], v)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// A book event that goes to dead letters is never replayed into a book, so that whoever keeps the book must be told: by a
// GAP in the symbol's own order, and in the ledger of what is missing.
func TestABookThatLacksAnEventIsTold(t *testing.T) {
	const tooFine = "0.1234567890123456789"
	told := func(item int) string { return fmt.Sprintf("gap/book/DEAD_LETTER/%d GAP", item) }
	kraken := func(levels string) string {
		return `{"symbol":"BTC/USD","bids":[` + levels + `],"asks":[],"checksum":1,"timestamp":"2025-04-15T09:02:11.123456Z"}`
	}
	good, bad := kraken(`{"price":1.0,"qty":1.0}`), kraken(`{"price":1.0,"qty":`+tooFine+`}`)
	for name, c := range map[string]struct{ venue, payload, want string }{
		"binance, a number too fine": {"binance", `{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1,"u":2,"b":[["1.0","` + tooFine + `"]],"a":[]}}`, "bad-frame/-1 " + told(0)},
		"binance, cut short":         {"binance", `{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1,"u":2,"b":[["1.0"`, "bad-frame/-1 " + told(0)},
		"binance, an id is missing":  {"binance", `{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","u":2,"b":[],"a":[]}`, "bad-frame/-1 " + told(0)},
		"binance, no symbol of ours": {"binance", `{"e":"depthUpdate","E":1723161255208,"s":"???","U":1,"u":2,"b":[],"a":[]}`, "bad-frame/-1"},
		"binance, a trade":           {"binance", `{"e":"trade","E":1723161255342,"s":"BTCUSDT","t":1,"p":"` + tooFine + `","q":"1","T":1723161255341,"m":true}`, "bad-frame/-1"},
		"coinbase":                   {"coinbase", `{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.0","` + tooFine + `"]],"time":"2021-04-17T00:00:00.000000Z"}`, "bad-frame/-1 " + told(0)},
		"coinbase, cut short":        {"coinbase", `{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.0"`, "bad-frame/-1 " + told(0)},
		"coinbase, a trade":          {"coinbase", `{"type":"match","product_id":"BTC-USD","trade_id":1,"side":"buy","size":"` + tooFine + `","price":"1","time":"2021-04-17T00:00:00.000000Z"}`, "bad-frame/-1"},
		"okx":                        {"okx", `{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[["1","` + tooFine + `","0","1"]],"ts":"1652400000000","checksum":1}]}`, "bad-item/0 " + told(0)},
		"bybit":                      {"bybit", `{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["1","` + tooFine + `"]],"a":[],"u":5,"seq":6},"cts":1672304484976}`, "bad-item/0 " + told(0)},
		"kraken, one of two":         {"kraken", `{"channel":"book","type":"update","data":[` + good + `,` + bad + `]}`, "UPDATE bad-item/1 " + told(1)},
		"kraken, before a snapshot":  {"kraken", `{"channel":"book","type":"snapshot","data":[` + bad + `,` + good + `]}`, "bad-item/0 " + told(0) + " SNAPSHOT"},
	} {
		out := &recorder{}
		if err := bench(t).Handle(t.Context(), batchOf(frame(c.venue, c.payload)), out); err != nil {
			t.Fatal(err)
		}
		if got := out.outcome(t); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Each letter holds the whole frame: a large one with many bad items would make letters of many times its size.
func TestAFrameWithTooManyBadItemsIsOneLetter(t *testing.T) {
	const items = 2000
	level := `{"symbol":"%s","bids":[{"price":1.0,"qty":%s}],"asks":[],"checksum":1,"timestamp":"2025-04-15T09:02:11.123456Z"}`
	var data []string
	for range items {
		data = append(data, fmt.Sprintf(level, "BTC/USD", "1e60"))
	}
	data = append(data, fmt.Sprintf(level, "ETH/USD", "1.0"))
	payload := `{"channel":"book","type":"update","data":[` + strings.Join(data, ",") + `]}`
	if items*len(payload) < maxItemLetters {
		t.Fatalf("%d bytes are too few", len(payload))
	}
	out := &recorder{}
	if err := bench(t).Handle(t.Context(), batchOf(frame("kraken", payload)), out); err != nil {
		t.Fatal(err)
	}
	const want = "bad-frame/-1 gap/book/DEAD_LETTER/0 GAP gap/book/DEAD_LETTER/0 GAP"
	if got := out.outcome(t); got != want || !slices.Equal(out.keys[1:], []string{"kraken/BTC-USD", "BTC-USD", "kraken/ETH-USD", "ETH-USD"}) {
		t.Errorf("%s under %v, want %s", got, out.keys, want)
	}
}

// What a topic never takes must not reach the broker: its refusal undoes the transaction, again and again.
func TestARecordBeyondItsTopicsLimitIsNotProduced(t *testing.T) {
	p := bench(t)
	p.limits = map[string]int{topicTrades: 4096, topicBooks: 4096}
	trade := binanceTrade("BTCUSDT", 1)
	trade.Payload = []byte(strings.Replace(string(trade.Payload), `"t":1,`, `"t":"`+strings.Repeat("9", 5000)+`",`, 1))
	book := frame("coinbase", `{"type":"snapshot","product_id":"BTC-USD","bids":[`+strings.TrimSuffix(strings.Repeat(`["1.5","2.5"],`, 500), ",")+`],"asks":[]}`)
	out := &recorder{}
	if err := p.Handle(t.Context(), batchOf(trade, binanceTrade("BTCUSDT", 2), book), out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.outcome(t), "too-large/0 trade too-large/0 gap/book/DEAD_LETTER/0 GAP"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The loader counts what it dropped of a feed; a symbol's share of it is known only where the feed has one.
func TestAGapCountsWhatIsKnown(t *testing.T) {
	for payload, want := range map[string]market.OptInt{
		`{"venue_symbols":["BTCUSDT"],"channel":"all","reason":"BUFFER_FULL","frames":7,"bytes":70}`:        market.Some(7),
		`{"venue_symbols":["BTCUSDT"],"reason":"SEQUENCE_GAP","missing":3,"frames":7}`:                      market.Some(3),
		`{"venue_symbols":["BTCUSDT","ETHUSDT"],"channel":"all","reason":"BUFFER_FULL","frames":7}`:         {},
		`{"venue_symbols":["BTCUSDT"],"channel":"all","reason":"CONNECTION_LOST","detail":"reset by peer"}`: {},
	} {
		f := frame("binance", payload)
		f.Kind = records.FrameGap
		out := &recorder{}
		if err := bench(t).Handle(t.Context(), batchOf(f), out); err != nil {
			t.Fatal(err)
		}
		var got records.FeedGap
		if err := got.DecodeAvro(out.bodies[0]); err != nil || out.topics[0] != topicGaps {
			t.Fatal(out.topics, err)
		}
		if got.Missing != want || got.Channel != "all" {
			t.Errorf("%s: missing %v of %s, want %v", payload, got.Missing, got.Channel, want)
		}
	}
}
