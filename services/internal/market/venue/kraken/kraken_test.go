package kraken_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/kraken"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var spot = venuetest.Venue{
	Adapter:  kraken.New(),
	Renderer: kraken.NewRenderer,
	Symbols:  []string{"BTC-USD", "ETH-EUR", "TSLAx-USD"},
	Clock:    1,
	Shape: func(r *rapid.T, b *market.Book) {
		b.FirstUpdateID, b.LastUpdateID, b.PreviousUpdateID = market.OptInt{}, market.OptInt{}, market.OptInt{}
		b.Checksum = market.Some(int64(rapid.Uint32().Draw(r, "checksum")))
		if rapid.Bool().Draw(r, "no time") {
			b.EventTime = market.NoTime
		}
		if b.Kind == market.BookSnapshot {
			b.Depth = market.Some(int64(rapid.SampledFrom([]int{10, 25, 100, 500, 1000}).Draw(r, "depth")))
		}
	},
	Request: func(b *market.Book) string {
		if !b.Depth.Valid {
			return ""
		}
		return fmt.Sprintf("depth=%d", b.Depth.Value)
	},
}

var others = []struct {
	frame string
	class venue.Class
	word  string
}{
	{`{"channel":"heartbeat"}`, venue.Heartbeat, "heartbeat"},
	{`{"channel":"status","type":"update","data":[{"system":"online"}]}`, venue.Notice, "status"},
	{`{"method":"pong","req_id":1,"time_in":"x"}`, venue.Heartbeat, "pong"},
	{`{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true,"req_id":7}`, venue.Acknowledged, "ack"},
	{`{"error":"Currency pair not supported XBT/EUR","method":"subscribe","success":false,"symbol":"XBT/EUR","req_id":7}`, venue.Refused, "ack"},
	{`{"error":"Subscription Not Found","method":"unsubscribe","success":false,"symbol":"BTC/USD","req_id":7}`, venue.Notice, "ack"},
	{`{"error":"Exceeded msg rate"}`, venue.Refused, "error"},
	{`{"channel":"trade","type":"snapshot","data":[{"symbol":"BTC/USD","side":"buy","price":1.0,"qty":1.0,"ord_type":"limit","trade_id":1,"timestamp":"2026-08-02T03:35:51Z"}]}`, venue.Data, "trade_snapshot"},
	{`{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD"}]}`, venue.Data, "ticker"},
}

func TestKraken(t *testing.T) { venuetest.Run(t, spot) }

func FuzzKraken(f *testing.F) {
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
		if inspector.Inspect([]byte(other.frame), &in); in.Class != other.class || in.Class == venue.Data && in.Channel != "" {
			t.Errorf("%s: %+v, want class %d", other.frame, in, other.class)
		}
	}
	var in venue.Inspection
	inspector.Inspect([]byte(others[4].frame), &in)
	if string(in.VenueSymbol) != "XBT/EUR" || in.RequestID != "7" || in.Error != "Currency pair not supported XBT/EUR" {
		t.Errorf("a refusal must name the symbol: %+v", in)
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"channel":"level9","type":"update","data":[]}`)}, &ev); err != nil || ev.Unknown != "level9" {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
}

func TestASnapshotsDepthIsThatOfItsSubscription(t *testing.T) {
	snapshot := []byte(`{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":1.0,"qty":1.00}],"asks":[],"checksum":1}]}`)
	inspector := spot.Adapter.NewInspector()
	var in venue.Inspection
	if inspector.Inspect(snapshot, &in); in.Request != "" || !in.Snapshot {
		t.Errorf("before the acknowledgement: %+v", in)
	}
	inspector.Inspect([]byte(others[3].frame), &in)
	if in.RequestID != "7" {
		t.Errorf("%+v", in)
	}
	if inspector.Inspect(snapshot, &in); in.Request != "depth=25" {
		t.Errorf("after it: %+v", in)
	}
	for request, want := range map[string]int64{"depth=25": 25, "": 10, "depth=x": 10, "nonsense": 10} {
		var ev venue.Events
		if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: snapshot, Request: request}, &ev); err != nil || ev.Books[0].Depth != market.Some(want) {
			t.Errorf("request %q: %+v, %v", request, ev.Books, err)
		}
	}
}

func TestABadTradeIsDivertedAloneAndItsSiblingsAreKept(t *testing.T) {
	good := `{"symbol":"BTC/USD","side":"buy","price":1.5,"qty":2.0,"ord_type":"limit","trade_id":7,"timestamp":"2026-08-02T03:35:51Z"}`
	for _, bad := range []string{
		`17`, `null`, `{}`, strings.Replace(good, "1.5", `"x"`, 1), strings.Replace(good, "1.5", `0.1234567890123456789`, 1), strings.Replace(good, "BTC/USD", "BTCUSD", 1),
		strings.Replace(good, "buy", "hold", 1), strings.Replace(good, "2026", "20x6", 1), strings.Replace(good, "2.0", "{}", 1), strings.Replace(good, "2.0", "-2", 1),
	} {
		var ev venue.Events
		frame := `{"channel":"trade","type":"update","data":[` + good + `,` + bad + `,` + good + `]}`
		if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Trades) != 2 || ev.Trades[0].Item != 0 || ev.Trades[1].Item != 2 || len(ev.Bad) != 1 || ev.Bad[0].Item != 1 || ev.Bad[0].Err == nil {
			t.Errorf("%s: %d trades, bad %v, %v", bad, len(ev.Trades), ev.Bad, err)
		}
	}
}

func TestABadBookIsDivertedWithItsReason(t *testing.T) {
	for body, want := range map[string]string{
		`{"symbol":"BTC/USD","bids":[{"price":1}],"asks":[],"checksum":1}`:             "level 0",
		`{"symbol":"BTC/USD","bids":[],"checksum":1}`:                                  "missing",
		`{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":4294967296}`:               "32 bits",
		`{"symbol":"BTC/USD","bids":[{"price":1e-30,"qty":1}],"asks":[],"checksum":1}`: "18 digits",
		`{"symbol":"BTC/USD","bids":{},"asks":[],"checksum":1}`:                        "found an object",
	} {
		var ev venue.Events
		err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(`{"channel":"book","type":"update","data":[` + body + `]}`)}, &ev)
		if err != nil || len(ev.Books) != 0 || len(ev.Bad) != 1 || !strings.Contains(ev.Bad[0].Err.Error(), want) || len(ev.Levels) > 0 {
			t.Errorf("%s: %+v, %v", body, ev, err)
		}
	}
	for _, kind := range []string{`"type":"replace",`, ``} {
		var ev venue.Events
		frame := `{"channel":"book",` + kind + `"data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":1}]}`
		if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Books) > 0 || len(ev.Bad) != 1 {
			t.Errorf("%s: %+v, %v", frame, ev, err)
		}
	}
	var ev venue.Events
	if err := spot.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(`{"channel":"book","type":"update"}`)}, &ev); err == nil {
		t.Error("a book without data passed")
	}
}

func TestSubscriptionsAreBatchedAndResubscriptionsFollow(t *testing.T) {
	var s venue.Subscription
	for range 70 {
		s.Instruments = append(s.Instruments, market.Instrument{VenueSymbol: "BTC/USD"})
	}
	s.Channels, s.Depth = []venue.Channel{venue.Book, venue.Trades}, 11
	plan, err := spot.Adapter.Connect(s)
	if err != nil || plan.Path != "/v2" || len(plan.Messages) != 4 {
		t.Fatalf("%d messages, %v", len(plan.Messages), err)
	}
	for i, want := range map[int]string{0: `"depth":25,"snapshot":true},"req_id":1}`, 2: `"snapshot":false},"req_id":3}`} {
		if got := string(plan.Messages[i].Payload); !strings.HasSuffix(got, want) {
			t.Errorf("message %d is %s", i, got)
		}
	}
	again := spot.Adapter.Resubscribe(s.Instruments[0], s)
	if len(again) != 2 || !strings.Contains(string(again[0].Payload), `"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25}`) || again[0].RequestID == again[1].RequestID {
		t.Errorf("%s", again[0].Payload)
	}
	s.Depth = 2000
	if _, err := spot.Adapter.Connect(s); err == nil || !strings.Contains(err.Error(), "2000") {
		t.Error(err)
	}
}
