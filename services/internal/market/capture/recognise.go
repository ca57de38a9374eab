package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// findings collects, frame by frame, whose frames they are. It searches for the few texts that tell venues apart
// instead of parsing: a recording has hundreds of thousands of frames, most of which say the same.
type findings struct {
	venue     string
	family    string // "binance" or "bybit" until a frame tells spot from futures
	symbols   []string
	known     map[string]*idRange
	snapshots []snapshot
	compact   bytes.Buffer
}

// idRange is the span of the update ids of a symbol, which tells whose a REST body without a name is.
type idRange struct{ first, last int64 }

type snapshot struct {
	symbol       string // when the recorder wrote the request down
	lastUpdateID int64
	line         int
}

func newFindings(venue string) *findings {
	return &findings{venue: strings.ToLower(venue), known: map[string]*idRange{}}
}

// isSnapshotBody knows a REST book of Binance by its beginning; no WebSocket frame of theirs begins so.
func isSnapshotBody(payload []byte) bool {
	inside, isObject := bytes.CutPrefix(bytes.TrimLeft(payload, " \t"), []byte("{"))
	return isObject && bytes.HasPrefix(bytes.TrimLeft(inside, " \t\r\n"), []byte(`"lastUpdateId"`))
}

// withoutBlanks gives the frame as venues write it. A recorder, or who wrote a recording by hand, may have put blanks
// between the tokens; the payload that is handed out keeps them.
func (f *findings) withoutBlanks(payload []byte) []byte {
	head := clip(payload, 60)
	if !has(head, `": `) && !has(head, `" :`) && !has(head, "{ ") && !has(head, "{\n") {
		return payload
	}
	f.compact.Reset()
	if err := json.Compact(&f.compact, payload); err != nil {
		return payload // no JSON; the search finds what it can
	}
	return f.compact.Bytes()
}

// inspect learns from one record, and says whether it is a REST snapshot.
func (f *findings) inspect(r raw) bool {
	if isSnapshotBody(r.payload) {
		r.payload = f.withoutBlanks(r.payload)
		f.inspectSnapshot(r)
		return true
	}
	if r.url != "" {
		return false
	}
	r.payload = f.withoutBlanks(r.payload)
	if f.venue == "" {
		f.recogniseVenue(r.payload)
	}
	f.noteSymbols(r.payload)
	return false
}

func (f *findings) inspectSnapshot(r raw) {
	f.family = "binance"
	if f.venue == "" && has(clip(r.payload, 100), `"E":`) {
		f.venue = "binance-usdm" // only the futures' body carries times
	}
	s := snapshot{lastUpdateID: number(r.payload, `"lastUpdateId":`), line: r.line}
	if u, err := url.Parse(r.url); err == nil {
		s.symbol = u.Query().Get("symbol")
	}
	f.snapshots = append(f.snapshots, s)
}

// recogniseVenue decides from one frame, or leaves the decision to a later one: an acknowledgement alone may not tell.
func (f *findings) recogniseVenue(p []byte) {
	head := clip(p, 160)
	switch {
	case has(head, `"stream":"`), has(head, `"e":"depthUpdate"`), has(head, `"e":"trade"`), has(head, `"e":"aggTrade"`):
		f.family = "binance"
		f.recogniseBinance(p)
	case has(head, `"arg":{`) && has(head, `"channel":"`):
		f.venue = "okx"
	case isBybit(head):
		f.family = "bybit"
		if has(head, `"topic":"publicTrade.`) {
			f.venue = "bybit"
			if has(p, `"L":"`) { // the tick direction is sent for derivatives only
				f.venue = "bybit-linear"
			}
		}
	case isKraken(head):
		f.venue = "kraken"
	case isCoinbase(p):
		f.venue = "coinbase"
	}
}

func (f *findings) recogniseBinance(p []byte) {
	switch {
	case has(p, `"pu":`), has(p, `"X":"`), has(p, `"e":"bookTicker"`), has(p, `"e":"markPriceUpdate"`):
		f.venue = "binance-usdm"
	case has(p, `"e":"trade"`), has(p, `"e":"depthUpdate"`):
		f.venue = "binance"
	}
}

func isBybit(head []byte) bool {
	for _, topic := range []string{"orderbook.", "publicTrade.", "tickers.", "kline.", "allLiquidation.", "liquidation."} {
		if has(head, `"topic":"`+topic) {
			return true
		}
	}
	return false
}

func isKraken(head []byte) bool {
	for _, channel := range []string{"book", "trade", "heartbeat", "status", "ticker", "ohlc", "instrument"} {
		if has(head, `"channel":"`+channel+`"`) && !has(head, `"product_id"`) && !has(head, `"events":`) {
			return true
		}
	}
	return false
}

func isCoinbase(p []byte) bool {
	head := clip(p, 400)
	for _, kind := range []string{"l2update", "snapshot", "match", "last_match", "ticker", "heartbeat", "received", "open", "done"} {
		if has(head, `"type":"`+kind+`"`) {
			return has(p, `"product_id":"`)
		}
	}
	return has(head, `"type":"subscriptions"`)
}

// decide settles the venue, from the addresses where the frames alone did not tell.
func (f *findings) decide(urls []string) (string, error) {
	if f.venue == "" {
		f.venue = venueOfURLs(urls)
	}
	if f.venue == "" {
		f.venue = f.family // spot, the market that has no marks of its own
	}
	if f.venue == "" {
		return "", errors.New("no frame tells which venue it is from; known are Binance spot and USD-M, Kraken v2, Coinbase Exchange, OKX v5 and Bybit v5")
	}
	return f.venue, nil
}

func venueOfURLs(urls []string) string {
	hosts := []struct{ part, venue string }{
		{"fstream.binance", "binance-usdm"},
		{"fapi.binance", "binance-usdm"},
		{"binance.", "binance"},
		{"kraken.com/v2", "kraken"},
		{"coinbase", "coinbase"},
		{"okx.com", "okx"},
		{"okex.com", "okx"},
		{"bybit.com/v5/public/linear", "bybit-linear"},
		{"bybit.com", "bybit"},
	}
	for _, u := range urls {
		for _, h := range hosts {
			if strings.Contains(u, h.part) {
				return h.venue
			}
		}
	}
	return ""
}

// symbolMarks are the texts before a symbol, per venue; the first that is found counts.
var symbolMarks = map[string][]string{
	"binance": {`"s":"`}, "binance-usdm": {`"s":"`}, "kraken": {`"symbol":"`}, "coinbase": {`"product_id":"`},
	"okx": {`"instId":"`}, "bybit": {`"s":"`}, "bybit-linear": {`"s":"`},
}

func (f *findings) noteSymbols(p []byte) {
	venue := f.venue
	if venue == "" {
		venue = f.family
	}
	if venue == "kraken" && has(clip(p, 60), `"channel":"instrument"`) {
		return // a list of every market there is, not of what was subscribed
	}
	for _, mark := range symbolMarks[venue] {
		_, after, ok := bytes.Cut(p, []byte(mark))
		if !ok {
			continue
		}
		symbol, _, ok := bytes.Cut(after, []byte(`"`))
		if !ok || len(symbol) == 0 || len(symbol) > 64 {
			continue
		}
		ids := f.known[string(symbol)]
		if ids == nil {
			ids = &idRange{}
			f.known[string(symbol)] = ids
			f.symbols = append(f.symbols, string(symbol))
		}
		if f.family == "binance" {
			ids.extend(p)
		}
		return
	}
}

func (r *idRange) extend(p []byte) {
	if !has(clip(p, 80), `"depthUpdate"`) {
		return
	}
	first, last := number(p, `"U":`), number(p, `"u":`)
	if r.first == 0 {
		r.first = first
	}
	r.last = max(r.last, last)
}

func (r *idRange) distance(id int64) int64 {
	return max(r.first-id, id-r.last, 0)
}

// assignSnapshots finds whose book each REST body is: by the recorded request, else the only symbol there is, else the
// symbol whose update ids lie nearest: ids of different symbols are far apart.
func (f *findings) assignSnapshots() ([]string, error) {
	var symbols []string
	for _, s := range f.snapshots {
		if s.symbol == "" {
			s.symbol = f.nearest(s.lastUpdateID)
		}
		if s.symbol == "" {
			return nil, fmt.Errorf("line %d: a REST snapshot names no symbol and no frame of the file does", s.line)
		}
		if f.known[s.symbol] == nil {
			f.known[s.symbol] = &idRange{}
			f.symbols = append(f.symbols, s.symbol)
		}
		symbols = append(symbols, s.symbol)
	}
	return symbols, nil
}

func (f *findings) nearest(id int64) string {
	best := ""
	for _, symbol := range f.symbols {
		if best == "" || f.known[symbol].distance(id) < f.known[best].distance(id) {
			best = symbol
		}
	}
	return best
}

// snapshotRequest is the recorded request's path and query, or the one that the venue answers with so many levels.
func snapshotRequest(venue, symbol string, r raw) string {
	if u, err := url.Parse(r.url); err == nil && r.url != "" {
		return u.RequestURI()
	}
	path := "/api/v3/depth"
	limits := []int{100, 500, 1000, 5000}
	if venue == "binance-usdm" {
		path, limits = "/fapi/v1/depth", []int{5, 10, 20, 50, 100, 500, 1000}
	}
	bids, asks, _ := bytes.Cut(r.payload, []byte(`"asks"`))
	levels := max(bytes.Count(bids, []byte(`["`)), bytes.Count(asks, []byte(`["`)))
	limit := limits[len(limits)-1]
	for i := len(limits) - 1; i >= 0 && limits[i] >= levels; i-- {
		limit = limits[i]
	}
	return path + "?symbol=" + symbol + "&limit=" + strconv.Itoa(limit)
}

func has(p []byte, text string) bool { return bytes.Contains(p, []byte(text)) }

// number reads the digits after a mark; 0 when there are none.
func number(p []byte, mark string) int64 {
	_, after, ok := bytes.Cut(p, []byte(mark))
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(after[:countDigits(clip(after, 19))]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
