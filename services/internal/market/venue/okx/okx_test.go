package okx_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/okx"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var public = venuetest.Venue{
	Adapter:        okx.New(),
	Renderer:       okx.NewRenderer,
	Symbols:        []string{"BTC-USDT", "BTC-USD-PERP", "BTC-USD-20220527"},
	Clock:          1000,
	TradesPerFrame: 1,
	Shape: func(r *rapid.T, b *market.Book) {
		b.FirstUpdateID = market.OptInt{}
		if sum := rapid.Uint32().Draw(r, "checksum"); sum != 0 {
			b.Checksum = market.Some(int64(sum))
		}
	},
}

var others = []struct {
	frame string
	class venue.Class
	word  string
}{
	{`pong`, venue.Heartbeat, "pong"},
	{`{"id":"7","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}`, venue.Acknowledged, "ack"},
	{`{"id":"7","event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:FOO-USDT doesn't exist. Please use the correct URL.","connId":"a4d3ae55"}`, venue.Refused, "error"},
	{`{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"a4d3ae55"}`, venue.GoingAway, "notice"},
	{`{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"abcd1234"}`, venue.Notice, "ack"},
	{`{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"1"}]}`, venue.Data, "tickers"},
}

func TestOKX(t *testing.T) { venuetest.Run(t, public) }

func FuzzOKX(f *testing.F) {
	var seeds []string
	for _, other := range others {
		seeds = append(seeds, other.frame)
	}
	venuetest.Fuzz(f, public, seeds...)
}

func TestWhatIsNoProductIsKnownByName(t *testing.T) {
	decoder, inspector := public.Adapter.NewDecoder(), public.Adapter.NewInspector()
	for _, other := range others {
		var ev venue.Events
		if err := decoder.Decode(venue.Frame{Payload: []byte(other.frame)}, &ev); err != nil || ev.Ignored != other.word || len(ev.Trades)+len(ev.Books) > 0 {
			t.Errorf("%s: %q, %v", other.frame, ev.Ignored, err)
		}
		var in venue.Inspection
		if inspector.Inspect([]byte(other.frame), &in); in.Class != other.class || in.Channel != "" {
			t.Errorf("%s: %+v, want class %d", other.frame, in, other.class)
		}
		if in.Class == venue.Refused && (string(in.VenueSymbol) != "FOO-USDT" || in.RequestID != "7" || !strings.Contains(in.Error, "60018")) {
			t.Errorf("a refusal must name the instrument: %+v", in)
		}
	}
	var ev venue.Events
	if err := decoder.Decode(venue.Frame{Payload: []byte(`{"arg":{"channel":"new-channel","instId":"BTC-USDT"},"data":[]}`)}, &ev); err != nil || ev.Unknown != "new-channel" {
		t.Errorf("%q, %v", ev.Unknown, err)
	}
}

func TestABadTradeIsDivertedAloneAndItsSiblingsAreKept(t *testing.T) {
	good := `{"instId":"BTC-USDT","tradeId":"7","px":"1.5","sz":"2","side":"buy","ts":"1652459199958"}`
	for _, bad := range []string{`17`, `{}`, strings.Replace(good, "1.5", "x", 1), strings.Replace(good, "buy", "hold", 1), strings.Replace(good, "1652459199958", "soon", 1), strings.Replace(good, "BTC-USDT", "BTC", 1)} {
		var ev venue.Events
		frame := `{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[` + good + `,` + bad + `,` + good + `]}`
		if err := public.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Trades) != 2 || ev.Trades[1].Item != 2 || len(ev.Bad) != 1 || ev.Bad[0].Item != 1 {
			t.Errorf("%s: %d trades, bad %v, %v", bad, len(ev.Trades), ev.Bad, err)
		}
	}
	for frame, want := range map[string]string{
		`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"checksum":1,"seqId":1}]}`:                    "missing",
		`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"replace","data":[{"asks":[],"bids":[],"seqId":1}]}`:                      "action",
		`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["1"]],"bids":[],"seqId":1}]}`:                  "level 0",
		`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"checksum":2147483648,"seqId":1}]}`: "32 bits",
		`{"arg":{"channel":"books","instId":"BTC-USDT-220527-30000-C"},"action":"update","data":[{"asks":[],"bids":[],"seqId":1}]}`:        "30000-C",
	} {
		var ev venue.Events
		err := public.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev)
		if err != nil || len(ev.Books) != 0 || len(ev.Bad) != 1 || !strings.Contains(ev.Bad[0].Err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", frame, ev, err, want)
		}
	}
}

func TestARetiredChecksumIsNone(t *testing.T) {
	var ev venue.Events
	frame := `{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1652459225464","checksum":0,"prevSeqId":10,"seqId":10}]}`
	if err := public.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Books) != 1 || ev.Books[0].Checksum.Valid {
		t.Errorf("%+v, %v", ev.Books, err)
	}
	frame = strings.Replace(frame, `"checksum":0`, `"checksum":-914047754`, 1)
	ev.Reset()
	if err := public.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || ev.Books[0].Checksum != market.Some(1<<32-914047754) {
		t.Errorf("%+v, %v", ev.Books, err)
	}
}

func TestHolesBetweenUpdatesAreFoundByTheIDBefore(t *testing.T) {
	inspector := public.Adapter.NewInspector()
	book := func(action, previous, id string) string {
		return `{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"` + action + `","data":[{"asks":[],"bids":[],"prevSeqId":` + previous + `,"seqId":` + id + `}]}`
	}
	for i, step := range []struct{ frame, gap string }{
		{book("snapshot", "-1", "10"), ""},
		{book("update", "10", "15"), ""},
		{book("update", "15", "15"), ""}, // nothing changed for a minute
		{book("update", "15", "17"), ""},
		{book("update", "20", "22"), "17-20"},
		{book("update", "22", "3"), ""}, // the venue began its numbers anew
		{book("update", "3", "5"), ""},
		{book("snapshot", "-1", "99"), ""},
		{book("update", "99", "100"), ""},
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

func TestSubscriptionsAreBatched(t *testing.T) {
	var s venue.Subscription
	for range 15 {
		s.Instruments = append(s.Instruments, market.Instrument{VenueSymbol: "BTC-USDT-SWAP"})
	}
	s.Channels = []venue.Channel{venue.Book, venue.Trades}
	plan, err := public.Adapter.Connect(s)
	if err != nil || plan.Path != "/ws/v5/public" || len(plan.Messages) != 2 || !strings.HasPrefix(string(plan.Messages[0].Payload), `{"id":"1","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"},{"channel":"trades",`) {
		t.Errorf("%+v, %v", plan, err)
	}
	again := public.Adapter.Resubscribe(s.Instruments[0], s)
	if len(again) != 2 || string(again[0].Payload) != `{"id":"dropBTCUSDTSWAP","op":"unsubscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}` {
		t.Errorf("%s", again[0].Payload)
	}
}
