package main

import "testing"

func TestThePieceOfAFrameThatAnItemCameFrom(t *testing.T) {
	for _, c := range []struct {
		name, payload string
		item          int
		wanted        []string
		want          string
	}{
		{"binance's trade", `{"stream":"x@trade","data":{"e":"trade","t":7,"p":"61837.63000000","q":"0.00100000"}}`, 0, []string{"7", "61837.63", "0.001"}, `{"e":"trade","t":7,"p":"61837.63000000","q":"0.00100000"}`},
		{"kraken's second trade", `{"channel":"trade","data":[{"price":1.5,"qty":2,"trade_id":7}, {"price":1.5,"qty":2,"trade_id":8}]}`, 1, []string{"8", "1.5", "2"}, `{"price":1.5,"qty":2,"trade_id":8}`},
		{"a book by its checksum", `{"data":[{"symbol":"A","bids":[{"price":1,"qty":9}],"checksum":1},{"symbol":"B","bids":[{"price":1,"qty":9}],"checksum":2}]}`, 1, []string{"2"}, `{"symbol":"B","bids":[{"price":1,"qty":9}],"checksum":2}`},
		{"a book without ids, by its position", `{"events":[{"updates":[{"x":1}]},{"updates":[{"x":2},{"x":3}]}]}`, 1, nil, `{"updates":[{"x":2},{"x":3}]}`},
		{"the symbol of a gap", `{"venue_symbols":["A","B"],"reason":"ROTATION"}`, 1, []string{"B"}, `{"venue_symbols":["A","B"],"reason":"ROTATION"}`},
		{"a trade as an array", `[0,[[7,"1.5","2"],[8,"1.5","2"]],"trade"]`, 0, []string{"8", "1.5"}, `[8,"1.5","2"]`},
		{"the whole frame", `{"lastUpdateId":7,"bids":[],"asks":[]}`, 0, []string{"7"}, `{"lastUpdateId":7,"bids":[],"asks":[]}`},
		{"escapes and blanks", " { \"a\" : [ { \"id\" : \"\\u0041\" , \"n\" : null } ] } ", 0, []string{"A"}, `{ "id" : "\u0041" , "n" : null }`},
		{"nothing of it", `[1,2,3]`, 5, []string{"9"}, ""},
		{"no JSON", `{"a":`, 0, []string{"9"}, ""},
		{"two values", `{} {}`, 0, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := findItem([]byte(c.payload), c.item, c.wanted)
			if got := c.payload[s.from:s.to]; got != c.want || ok != (c.want != "") {
				t.Errorf("%v %q, want %q", ok, got, c.want)
			}
		})
	}
}

func FuzzFindItem(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":7},{"id":8}]}`), 1, "8")
	f.Fuzz(func(t *testing.T, payload []byte, item int, wanted string) {
		s, ok := findItem(payload, max(item, 0), []string{wanted})
		if s.from < 0 || s.to < s.from || s.to > len(payload) || ok && s.from == s.to {
			t.Fatalf("%v %v of %d bytes", s, ok, len(payload))
		}
	})
}
