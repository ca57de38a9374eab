package binanceusdm_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/binanceusdm"
	"github.com/streamforge/streamforge/services/internal/market/venue/venuetest"
)

var usdm = venuetest.Venue{
	Adapter:        binanceusdm.New(),
	Renderer:       binanceusdm.NewRenderer,
	Symbols:        []string{"BTC-USDT-PERP", "ETH-BTC-PERP", "1000PEPE-USDC-PERP", "BTC-USDT-20261225"},
	Clock:          1000,
	TradesPerFrame: 1,
	Shape: func(_ *rapid.T, b *market.Book) {
		if b.Kind == market.BookSnapshot {
			b.FirstUpdateID, b.PreviousUpdateID = market.OptInt{}, market.OptInt{}
		}
	},
}

func TestBinanceUSDM(t *testing.T) { venuetest.Run(t, usdm) }

func FuzzBinanceUSDM(f *testing.F) {
	venuetest.Fuzz(f, usdm, `{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":1,"p":"0","q":"0","X":"NA","m":false}`, `{"e":"markPriceUpdate","E":1,"s":"BTCUSDT"}`)
}

func TestTradesBesideTheBookAreNotTrades(t *testing.T) {
	for _, execution := range []string{"INSURANCE_FUND", "ADL", "NA"} {
		var ev venue.Events
		frame := `{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","X":"` + execution + `","m":false}`
		if err := usdm.Adapter.NewDecoder().Decode(venue.Frame{Payload: []byte(frame)}, &ev); err != nil || len(ev.Trades) > 0 || ev.Ignored != "trade."+execution {
			t.Errorf("%s: %+v, %v", frame, ev, err)
		}
	}
}

func TestHolesBetweenUpdatesAreFoundByTheIDBefore(t *testing.T) {
	inspector := usdm.Adapter.NewInspector()
	for _, step := range []struct{ frame, gap string }{
		{`{"e":"depthUpdate","s":"BTCUSDT","U":5,"u":9,"pu":3,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":20,"u":30,"pu":9,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":20,"u":30,"pu":9,"b":[],"a":[]}`, ""},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":50,"u":60,"pu":40,"b":[],"a":[]}`, "30-40"},
		{`{"e":"depthUpdate","s":"BTCUSDT","U":70,"u":71,"pu":60,"b":[],"a":[]}`, ""},
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

func TestOnlyLegalDepthsAreAskedFor(t *testing.T) {
	instrument := market.Instrument{VenueSymbol: "BTCUSDT"}
	for depth, want := range map[int]venue.SnapshotRequest{
		0:    {Path: "/fapi/v1/depth?symbol=BTCUSDT&limit=1000", Weight: 20},
		7:    {Path: "/fapi/v1/depth?symbol=BTCUSDT&limit=10", Weight: 2},
		100:  {Path: "/fapi/v1/depth?symbol=BTCUSDT&limit=100", Weight: 5},
		101:  {Path: "/fapi/v1/depth?symbol=BTCUSDT&limit=500", Weight: 10},
		5000: {Path: "/fapi/v1/depth?symbol=BTCUSDT&limit=1000", Weight: 20},
	} {
		if got, ok := usdm.Adapter.Snapshot(instrument, venue.Subscription{Depth: depth}); !ok || got != want {
			t.Errorf("depth %d: %+v", depth, got)
		}
	}
	if _, err := usdm.Adapter.Instrument("BTC-USDT"); err == nil || !strings.Contains(err.Error(), "-PERP") {
		t.Error(err)
	}
}
