package coinbase_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/coinbase"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var exchange = venuetest.Venue{
	Adapter:        coinbase.New(),
	Renderer:       coinbase.NewRenderer,
	Symbols:        []string{"BTC-USD", "SKL-GBP", "00-USD"},
	Clock:          1,
	TradesPerFrame: 1,
	Shape: func(r *rapid.T, b *market.Book) {
		b.FirstUpdateID, b.LastUpdateID, b.PreviousUpdateID = market.OptInt{}, market.OptInt{}, market.OptInt{}
		if rapid.Bool().Draw(r, "no time") {
			b.EventTime = market.NoTime
		}
	},
}

const match = `{"type":"match","trade_id":7,"maker_order_id":"a","taker_order_id":"b","side":"sell","size":"0.04","price":"14.7775","product_id":"BAND-GBP","sequence":9,"time":"2021-04-17T16:43:30.244075Z"}`

var others = []struct {
	frame string
	class venue.Class
	word  string
}{
	{strings.Replace(match, "match", "last_match", 1), venue.Data, "last_match"},
	{`{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2021-04-17T16:43:30.244075Z"}`, venue.Heartbeat, "heartbeat"},
	{`{"type":"subscriptions","channels":[{"name":"level2_batch","product_ids":["BTC-USD"]}]}`, venue.Acknowledged, "subscriptions"},
	{`{"type":"error","message":"Failed to subscribe","reason":"FOO-BAR is not a valid product"}`, venue.Refused, "error"},
	{`{"type":"ticker","sequence":1,"product_id":"BTC-USD","price":"1","side":"buy","time":"x","trade_id":1}`, venue.Data, "ticker"},
	{`{"type":"status","products":[{"id":"BTC-USD"}]}`, venue.Notice, "status"},
}

func TestCoinbase(t *testing.T) { venuetest.Run(t, exchange) }

func FuzzCoinbase(f *testing.F) {
	seeds := []string{match}
	for _, other := range others {
		seeds = append(seeds, other.frame)
	}
	venuetest.Fuzz(f, exchange, seeds...)
}

func TestWhatIsNoProductIsKnownByName(t *testing.T) {
	decoder, inspector := exchange.Adapter.NewDecoder(), exchange.Adapter.NewInspector()
	for _, other := range others {
		var ev venue.Events
		if err := decoder.Decode(venue.Frame{Payload: []byte(other.frame)}, &ev); err != nil || ev.Ignored != other.word || len(ev.Trades)+len(ev.Books) > 0 {
			t.Errorf("%s: %q, %v", other.frame, ev.Ignored, err)
		}
		var in venue.Inspection
		if inspector.Inspect([]byte(other.frame), &in); in.Class != other.class || in.Channel != "" || in.FirstID.Valid {
			t.Errorf("%s: %+v, want class %d", other.frame, in, other.class)
		}
		if in.Class == venue.Refused && (string(in.VenueSymbol) != "FOO-BAR" || in.Error != "Failed to subscribe: FOO-BAR is not a valid product") {
			t.Errorf("a refusal must name the product: %+v", in)
		}
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"type":"rfq_match","product_id":"BTC-USD"}`)}, &ev); err != nil || ev.Unknown != "rfq_match" {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
}

func TestTheSideIsTheMakers(t *testing.T) {
	var ev venue.Events
	if err := exchange.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(match)}, &ev); err != nil || len(ev.Trades) != 1 || ev.Trades[0].TakerSide != market.Buy {
		t.Errorf("%+v, %v", ev.Trades, err)
	}
}

func TestAFrameThatCannotBeReadSaysWhatIsWrong(t *testing.T) {
	for frame, want := range map[string]string{
		strings.Replace(match, `"sell"`, `"hold"`, 1):                             "side",
		strings.Replace(match, `14.7775`, `1e`, 1):                                "1e",
		strings.Replace(match, `2021`, `x021`, 1):                                 "x021",
		strings.Replace(match, `BAND-GBP`, `BAND`, 1):                             "BAND",
		`{"type":"l2update","product_id":"BTC-USD"}`:                              "changes",
		`{"type":"l2update","product_id":"BTC-USD","changes":[["hold","1","1"]]}`: "hold",
		`{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1"]]}`:      "needs",
		`{"type":"l2update","product_id":"BTC-USD","changes":7}`:                  "found a number",
		`{"type":"snapshot","product_id":"BTC-USD","bids":[]}`:                    "missing",
	} {
		var ev venue.Events
		err := exchange.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev)
		if err == nil || !strings.Contains(err.Error(), want) || len(ev.Levels)+len(ev.Trades)+len(ev.Books) > 0 {
			t.Errorf("%s: %v; want %q", frame, err, want)
		}
	}
}

func TestTradesThatTheFeedDropsAreFound(t *testing.T) {
	inspector := exchange.Adapter.NewInspector()
	trade := func(kind, id string) string {
		return strings.Replace(strings.Replace(match, "match", kind, 1), `:7`, `:`+id, 1)
	}
	heartbeat := func(id string) string {
		return `{"type":"heartbeat","product_id":"BAND-GBP","last_trade_id":` + id + `}`
	}
	for i, step := range []struct{ frame, gap string }{
		{trade("last_match", "10"), ""},
		{trade("match", "11"), ""},
		{heartbeat("11"), ""},
		{heartbeat("12"), ""}, // overtakes its trade
		{trade("match", "12"), ""},
		{trade("match", "15"), "13-14"},
		{heartbeat("17"), ""},
		{heartbeat("17"), "16-17"}, // a heartbeat later they have still not come
		{heartbeat("17"), ""},
		{trade("match", "17"), ""},
		{trade("match", "18"), ""},
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

func TestEveryProductIsSubscribedByItself(t *testing.T) {
	s := venue.Subscription{Instruments: []market.Instrument{{VenueSymbol: "BTC-USD"}, {VenueSymbol: "FOO-BAR"}}, Channels: []venue.Channel{venue.Trades, venue.Book}}
	plan, err := exchange.Adapter.Connect(s)
	if err != nil || len(plan.Messages) != 2 || string(plan.Messages[1].Payload) != `{"type":"subscribe","product_ids":["FOO-BAR"],"channels":["heartbeat","matches","level2_batch"]}` {
		t.Errorf("%+v, %v", plan, err)
	}
	again := exchange.Adapter.Resubscribe(s.Instruments[0], s)
	if len(again) != 2 || string(again[0].Payload) != `{"type":"unsubscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}` {
		t.Errorf("%+v", again)
	}
}
