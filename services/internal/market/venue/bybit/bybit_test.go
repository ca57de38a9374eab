package bybit_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/bybit"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var spot = venuetest.Venue{
	Adapter:        bybit.New(),
	Renderer:       bybit.NewRenderer,
	Symbols:        []string{"BTC-USDT", "ETH-BTC", "MNT-USDC"},
	Clock:          1000,
	TradesPerFrame: 1024,
	Shape: func(r *rapid.T, b *market.Book) {
		b.FirstUpdateID, b.PreviousUpdateID = market.OptInt{}, market.OptInt{}
		if b.Kind == market.BookSnapshot {
			b.Depth = market.Some(int64(rapid.SampledFrom([]int{1, 50, 200, 1000}).Draw(r, "depth")))
		}
	},
}

func linear() venuetest.Venue {
	v := spot
	v.Adapter = bybit.NewLinear()
	v.Symbols = []string{"BTC-USDT-PERP", "BTC-USDC-PERP", "BTC-USDT-20261225", "BTC-USDC-20261225", "1000PEPE-USDT-PERP"}
	return v
}

var others = []struct {
	frame string
	class venue.Class
	word  string
}{
	{`{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"7","op":"subscribe"}`, venue.Acknowledged, "ack"},
	{`{"success":false,"ret_msg":"error:handler not found,topic:orderbook.50.FOOUSDT","conn_id":"c","req_id":"7","op":"subscribe"}`, venue.Refused, "error"},
	{`{"success":false,"ret_msg":"not subscribed","conn_id":"c","req_id":"7","op":"unsubscribe"}`, venue.Notice, "error"},
	{`{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}`, venue.Heartbeat, "pong"},
	{`{"req_id":"t","op":"pong","args":["1675418560633"],"conn_id":"c"}`, venue.Heartbeat, "pong"},
	{`{"topic":"tickers.BTCUSDT","type":"snapshot","ts":1,"data":{"symbol":"BTCUSDT"}}`, venue.Data, "tickers"},
}

func TestBybitSpot(t *testing.T)   { venuetest.Run(t, spot) }
func TestBybitLinear(t *testing.T) { venuetest.Run(t, linear()) }

func FuzzBybit(f *testing.F) {
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
		if err := decoder.Decode(venue.Frame{Payload: []byte(other.frame)}, &ev); err != nil || ev.Ignored != other.word || len(ev.Trades)+len(ev.Books) > 0 {
			t.Errorf("%s: %q, %v", other.frame, ev.Ignored, err)
		}
		var in venue.Inspection
		if inspector.Inspect([]byte(other.frame), &in); in.Class != other.class || in.Channel != "" {
			t.Errorf("%s: %+v, want class %d", other.frame, in, other.class)
		}
		if in.Class == venue.Refused && (string(in.VenueSymbol) != "FOOUSDT" || in.RequestID != "7" || in.Error == "") {
			t.Errorf("a refusal must name the symbol: %+v", in)
		}
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"topic":"newTopic.BTCUSDT","data":{}}`)}, &ev); err != nil || ev.Unknown != "newTopic" {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
}

func TestTheIDOneIsAWholeBook(t *testing.T) {
	frame := []byte(`{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":1,"seq":9},"cts":1}`)
	var ev venue.Events
	if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: frame}, &ev); err != nil || len(ev.Books) != 1 || ev.Books[0].Kind != market.BookSnapshot || ev.Books[0].Depth != market.Some(50) {
		t.Errorf("%+v, %v", ev.Books, err)
	}
	var in venue.Inspection
	if spot.Adapter.NewInspector().Inspect(frame, &in); !in.Snapshot {
		t.Errorf("%+v", in)
	}
}

func TestHolesBetweenUpdatesAreFound(t *testing.T) {
	inspector := spot.Adapter.NewInspector()
	book := func(kind, id string) string {
		return `{"topic":"orderbook.50.BTCUSDT","type":"` + kind + `","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":` + id + `}}`
	}
	for i, step := range []struct{ frame, gap string }{
		{book("snapshot", "10"), ""},
		{book("delta", "11"), ""},
		{book("delta", "14"), "12-13"},
		{book("delta", "15"), ""},
		{book("delta", "1"), ""}, // the service began anew
		{book("delta", "2"), ""},
		{book("snapshot", "50"), ""},
		{book("delta", "51"), ""},
	} {
		var in venue.Inspection
		inspector.Inspect([]byte(step.frame), &in)
		gap, got := inspector.Continuity(&in), ""
		if gap != nil {
			got = gap.FromID + "-" + gap.ToID
		}
		if got != step.gap {
			t.Errorf("step %d: hole %q, want %q", i, got, step.gap)
		}
	}
}

func TestABadTradeIsDivertedAloneAndItsSiblingsAreKept(t *testing.T) {
	good := `{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false}`
	for _, bad := range []string{`17`, `{}`, strings.Replace(good, "16578.50", "x", 1), strings.Replace(good, "Buy", "buy", 1), strings.Replace(good, "1672304486865", "-1", 1)} {
		var ev venue.Events
		frame := `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[` + good + `,` + bad + `,` + good + `]}`
		if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Trades) != 2 || ev.Trades[1].Item != 2 || len(ev.Bad) != 1 || ev.Bad[0].Item != 1 {
			t.Errorf("%s: %d trades, bad %v, %v", bad, len(ev.Trades), ev.Bad, err)
		}
		var in venue.Inspection
		if spot.Adapter.NewInspector().Inspect([]byte(frame), &in); in.FirstID.Valid || in.Channel != venue.Trades {
			t.Errorf("a UUID is no number: %+v", in)
		}
	}
}

func TestEverySymbolIsSubscribedByItself(t *testing.T) {
	s := venue.Subscription{Instruments: []market.Instrument{{VenueSymbol: "BTCUSDT"}, {VenueSymbol: "FOOUSDT"}}, Channels: []venue.Channel{venue.Trades, venue.Book}, Depth: 51}
	plan, err := spot.Adapter.Connect(s)
	if err != nil || plan.Path != "/v5/public/spot" || len(plan.Messages) != 2 || string(plan.Messages[1].Payload) != `{"req_id":"2","op":"subscribe","args":["publicTrade.FOOUSDT","orderbook.200.FOOUSDT"]}` {
		t.Errorf("%+v, %v", plan, err)
	}
	if plan, err := bybit.NewLinear().Connect(s); err != nil || plan.Path != "/v5/public/linear" {
		t.Errorf("%+v, %v", plan, err)
	}
	again := spot.Adapter.Resubscribe(s.Instruments[0], s)
	if len(again) != 2 || string(again[1].Payload) != `{"req_id":"resubscribe-BTCUSDT","op":"subscribe","args":["orderbook.200.BTCUSDT"]}` {
		t.Errorf("%+v", again)
	}
	longest := "orderbook.1000.1000000BABYDOGEUSDT-25DEC26"
	if n := bybit.New().Limits().StreamsPerConnection; n*len(longest) > 21_000 || n < 2 {
		t.Errorf("%d topics of %d characters on a connection; the venue allows 21,000 characters", n, len(longest))
	}
	s.Depth = 5000
	if _, err := spot.Adapter.Connect(s); err == nil || !strings.Contains(err.Error(), "5000") {
		t.Error(err)
	}
}
