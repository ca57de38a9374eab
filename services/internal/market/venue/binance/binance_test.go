package binance_test

import (
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/binance"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var spot = venuetest.Venue{
	Adapter:        binance.New(),
	Renderer:       binance.NewRenderer,
	Symbols:        []string{"BTC-USDT", "ETH-BTC", "ADA-EUR", "BTC-AEUR", "USDT-TRY", "1000SATS-USDT", "币安人生-USDT", "TUSD-USDT", "BTC-FDUSD"},
	Clock:          1000,
	TradesPerFrame: 1,
	Shape: func(_ *rapid.T, b *market.Book) {
		b.PreviousUpdateID = market.OptInt{}
		if b.Kind == market.BookSnapshot {
			b.FirstUpdateID, b.EventTime = market.OptInt{}, market.NoTime
		}
	},
}

// others are frames that hold nothing for a product, with the class that the inspector gives them and the decoder's word.
var others = []struct {
	frame string
	class venue.Class
	word  string
}{
	{`{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}`, venue.Data, "bookTicker"},
	{`{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}`, venue.Data, "bookTicker"},
	{`{"e":"aggTrade","E":1,"s":"BTCUSDT","a":1,"p":"1","q":"1","f":1,"l":1,"T":1,"m":true}`, venue.Data, "aggTrade"},
	{`{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":1,"T":2,"s":"BTCUSDT"}}`, venue.Data, "kline"},
	{`{"result":null,"id":1}`, venue.Acknowledged, "ack"},
	{`{"result":["btcusdt@trade"],"id":3}`, venue.Heartbeat, "ack"},
	{`{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":7}`, venue.Refused, "error"},
	{`{"code":2,"msg":"Invalid request: unknown variant","id":7}`, venue.Refused, "error"},
	{`{"e":"serverShutdown","E":1770123456789}`, venue.GoingAway, "serverShutdown"},
}

func TestBinanceSpot(t *testing.T) { venuetest.Run(t, spot) }

func FuzzBinanceSpot(f *testing.F) {
	var seeds []string
	for _, other := range others {
		seeds = append(seeds, other.frame)
	}
	venuetest.Fuzz(f, spot, seeds...)
}

func TestWhatIsNoProductIsKnownByName(t *testing.T) {
	decoder, inspector := spot.Adapter.NewDecoder(), spot.Adapter.NewInspector()
	for _, other := range others {
		var ev venue.Events
		if err := decoder.Decode(venue.Frame{Payload: []byte(other.frame)}, &ev); err != nil || ev.Ignored != other.word || len(ev.Trades)+len(ev.Books)+len(ev.Levels) > 0 {
			t.Errorf("%s: %q, %v", other.frame, ev.Ignored, err)
		}
		var in venue.Inspection
		if inspector.Inspect([]byte(other.frame), &in); in.Class != other.class {
			t.Errorf("%s: class %d, want %d", other.frame, in.Class, other.class)
		}
		if in.Class == venue.Refused && (in.RequestID != "7" || !strings.Contains(in.Error, "Invalid request") || !strings.Contains(in.Error, "code 2")) {
			t.Errorf("%s: %+v", other.frame, in)
		}
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"e":"newKind","s":"BTCUSDT","b":[["1","2"]]}`)}, &ev); err != nil || ev.Unknown != "newKind" || len(ev.Levels) > 0 {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
	ev.Reset()
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":1,"bids":[["1","1"]],"asks":[]}}`)}, &ev); err != nil || ev.Unknown != "depth20@100ms" {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
}

func TestAFrameThatCannotBeReadSaysWhatIsWrong(t *testing.T) {
	decoder := spot.Adapter.NewDecoder()
	for frame, want := range map[string]string{
		`{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.2.3","q":"1","T":1,"m":true}`:                 "1.2.3",
		`{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"0.1234567890123456789","q":"1","T":1,"m":true}`: "18 digits",
		`{"e":"trade","E":1,"s":"NOQUOTE","t":1,"p":"1","q":"1","T":1,"m":true}`:                     "NOQUOTE",
		`{"e":"trade","E":1,"s":"BTCUSDT","p":"1","q":"1","T":1,"m":true}`:                           "missing",
		`{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"-1","T":1,"m":true}`:                    "below zero",
		`{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":-5,"m":true}`:                    "",
		`{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}`:                     "level 0",
		`{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","1"],["1",null]],"a":[]}`:      "found null",
		`{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":99999999999999999999,"b":[],"a":[]}`:       "integer",
		`{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[]}`:                                 "missing",
		`{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]`:                           "malformed JSON at byte",
		``:                 "malformed JSON at byte 0",
		`<html>429</html>`: "malformed JSON at byte 0",
	} {
		var ev venue.Events
		err := decoder.Decode(venue.Frame{Payload: []byte(frame)}, &ev)
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", frame, err, want)
		}
	}
	for body, want := range map[string]string{
		`{"code":-1003,"msg":"Too much request weight used"}`: "missing",
		`{"lastUpdateId":1,"bids":[]}`:                        "missing",
	} {
		var ev venue.Events
		err := decoder.Decode(venue.Frame{Kind: venue.RESTSnapshot, VenueSymbol: "BTCUSDT", Payload: []byte(body)}, &ev)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Kind: venue.RESTSnapshot, Payload: []byte(`{"lastUpdateId":1,"bids":[],"asks":[]}`)}, &ev); err == nil || !strings.Contains(err.Error(), "symbol") {
		t.Error(err)
	}
}

func TestHolesBetweenFramesAreFound(t *testing.T) {
	inspector := spot.Adapter.NewInspector()
	for _, step := range []struct {
		frame string
		gap   string
	}{
		{`{"e":"depthUpdate","s":"BTCUSDT","U":5,"u":9,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":10,"u":12,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"ETHUSDT","U":99,"u":99,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":10,"u":12,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":15,"u":16,"b":[],"a":[]}`, "13-14"},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":17,"u":17,"b":[],"a":[]}`, ""},
		{`{"e":"trade","s":"BTCUSDT","t":7}`, ""},
		{`{"e":"trade","s":"BTCUSDT","t":8}`, ""},
		{`{"e":"trade","s":"BTCUSDT","t":11}`, "9-10"},
		{`{"lastUpdateId":3,"bids":[],"asks":[]}`, ""},
	} {
		var in venue.Inspection
		inspector.Inspect([]byte(step.frame), &in)
		gap, got := inspector.Continuity(&in), ""
		if gap != nil {
			got = gap.FromID + "-" + gap.ToID
		}
		if got != step.gap {
			t.Errorf("%s: hole %q, want %q", step.frame, got, step.gap)
		}
	}
}

func TestSubscriptionsFitTheLimits(t *testing.T) {
	var s venue.Subscription
	for range 120 {
		s.Instruments = append(s.Instruments, market.Instrument{VenueSymbol: "BTCUSDT"})
	}
	s.Channels = []venue.Channel{venue.Trades, venue.Book}
	plan, err := spot.Adapter.Connect(s)
	if err != nil || plan.Path != "/stream" || len(plan.Messages) != 3 || !strings.HasPrefix(string(plan.Messages[0].Payload), `{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms",`) || plan.Messages[2].RequestID != "3" {
		t.Errorf("%+v, %v", plan, err)
	}
	s.Instruments = append(s.Instruments, make([]market.Instrument, 500)...)
	if _, err := spot.Adapter.Connect(s); err == nil || !strings.Contains(err.Error(), "1240") {
		t.Error(err)
	}
	s.Channels = []venue.Channel{"candles"}
	if _, err := spot.Adapter.Connect(s); err == nil || !strings.Contains(err.Error(), "candles") {
		t.Error(err)
	}
}

func TestSnapshotsCostWhatTheVenueSays(t *testing.T) {
	instrument := market.Instrument{VenueSymbol: "BTCUSDT"}
	for depth, want := range map[int]venue.SnapshotRequest{
		0:    {Path: "/api/v3/depth?symbol=BTCUSDT&limit=1000", Weight: 50},
		100:  {Path: "/api/v3/depth?symbol=BTCUSDT&limit=100", Weight: 5},
		101:  {Path: "/api/v3/depth?symbol=BTCUSDT&limit=101", Weight: 25},
		9999: {Path: "/api/v3/depth?symbol=BTCUSDT&limit=5000", Weight: 250},
	} {
		if got, ok := spot.Adapter.Snapshot(instrument, venue.Subscription{Depth: depth}); !ok || got != want {
			t.Errorf("depth %d: %+v", depth, got)
		}
	}
	if used, ok := spot.Adapter.UsedWeight(http.Header{"X-Mbx-Used-Weight-1m": {"123"}}); !ok || used != 123 {
		t.Error(used, ok)
	}
	if _, ok := spot.Adapter.UsedWeight(http.Header{}); ok {
		t.Error("no header is no report")
	}
}
