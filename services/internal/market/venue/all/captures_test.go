package all_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
)

// captures finds the folder of the recordings: STREAMFORGE_CAPTURES, else ../shared/captures beside the module.
func captures(tb testing.TB) string {
	tb.Helper()
	folder := os.Getenv("STREAMFORGE_CAPTURES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "..", "..", "shared", "captures")
	}
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("the captures are missing: %v; set STREAMFORGE_CAPTURES", err)
		}
		tb.Skipf("the captures are missing: %v; set STREAMFORGE_CAPTURES", err)
	}
	return folder
}

// recorded is one payload of a recording, as a decoder gets it.
type recorded struct {
	frame venue.Frame
	rest  bool
}

// load reads a whole recording and passes every frame by the venue's inspector, as the loader does.
func load(tb testing.TB, name string) (venue.Adapter, []recorded) {
	tb.Helper()
	c, err := capture.Open(filepath.Join(captures(tb), filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	adapter, err := all.Get(c.Venue)
	if err != nil {
		tb.Fatal(err)
	}
	inspector := adapter.NewInspector()
	var frames []recorded
	for entry, err := range c.Entries() {
		if err != nil {
			tb.Fatal(err)
		}
		r := recorded{rest: entry.REST, frame: venue.Frame{Payload: append([]byte(nil), entry.Payload...)}}
		if entry.REST {
			r.frame.Kind, r.frame.VenueSymbol, r.frame.Request = venue.RESTSnapshot, entry.VenueSymbol, entry.Request
		} else {
			var in venue.Inspection
			inspector.Inspect(r.frame.Payload, &in)
			r.frame.VenueSymbol, r.frame.Request = string(in.VenueSymbol), in.Request
		}
		frames = append(frames, r)
	}
	return adapter, frames
}

// golden is what a recording holds.
type golden struct {
	Frames, REST, Trades, Updates, Snapshots, Bad int
	Levels                                        int
	Ignored, Unknown                              map[string]int
	// What the inspector says.
	Classes map[venue.Class]int
	Gaps    int
}

const (
	spotBTC   = "binance-spot/btcusdt-20240808.gz"
	spotETH   = "binance-spot/ethusdt-20240808.gz"
	usdmBTC   = "binance-usdm/btcusdt-20240808.gz"
	kraken25  = "kraken-v2/btcusd-depth25.cbcap"
	kraken10  = "kraken-v2/btcusd-depth10.cbcap"
	krakenDoc = "kraken-v2/doc-vector-3310070434.json"
	coinbase  = "coinbase-exchange/level2-matches-20210417.txt.gz"
	okx       = "okx/books-trades-20220513.txt.gz"
)

func count(t *testing.T, name string) golden {
	t.Helper()
	adapter, frames := load(t, name)
	g := golden{Ignored: map[string]int{}, Unknown: map[string]int{}, Classes: map[venue.Class]int{}}
	decoder, inspector := adapter.NewDecoder(), adapter.NewInspector()
	var ev venue.Events
	var in venue.Inspection
	for i, r := range frames {
		if r.rest {
			g.REST++
		} else {
			g.Frames++
			inspector.Inspect(r.frame.Payload, &in)
			g.Classes[in.Class]++
			if gap := inspector.Continuity(&in); gap != nil {
				g.Gaps++
			}
		}
		ev.Reset()
		if err := decoder.Decode(r.frame, &ev); err != nil {
			t.Fatalf("frame %d: %v: %.200s", i, err, r.frame.Payload)
		}
		g.Trades += len(ev.Trades)
		g.Bad += len(ev.Bad)
		g.Levels += len(ev.Levels)
		for _, b := range ev.Books {
			if b.Kind == market.BookSnapshot {
				g.Snapshots++
			} else {
				g.Updates++
			}
		}
		if ev.Ignored != "" {
			g.Ignored[ev.Ignored]++
		}
		if ev.Unknown != "" {
			g.Unknown[ev.Unknown]++
		}
		if held := len(ev.Trades) + len(ev.Books) + len(ev.Bad); (held == 0) == (ev.Ignored == "" && ev.Unknown == "") {
			t.Fatalf("frame %d holds %d items and is called %q, %q: %.200s", i, held, ev.Ignored, ev.Unknown, r.frame.Payload)
		}
	}
	return g
}

func TestEveryRecordingHoldsWhatItShould(t *testing.T) {
	type counts = map[string]int
	type classes = map[venue.Class]int
	for name, want := range map[string]golden{
		spotBTC: {Frames: 41248, REST: 1, Trades: 9757, Updates: 3451, Snapshots: 1, Levels: 126090, Ignored: counts{"bookTicker": 28040}, Classes: classes{venue.Data: 41248}},
		spotETH: {Frames: 33617, REST: 1, Trades: 6106, Updates: 3434, Snapshots: 1, Levels: 108814, Ignored: counts{"bookTicker": 24077}, Classes: classes{venue.Data: 33617}},
		usdmBTC: {Frames: 93953, REST: 1, Trades: 21313, Updates: 6551, Snapshots: 1, Levels: 445521, Ignored: counts{"bookTicker": 66089}, Classes: classes{venue.Data: 93953}},
		kraken25: {
			Frames: 2104, Updates: 2051, Snapshots: 1, Levels: 3057, Ignored: counts{"ack": 1, "heartbeat": 50, "status": 1},
			Classes: classes{venue.Data: 2052, venue.Heartbeat: 50, venue.Acknowledged: 1, venue.Notice: 1},
		},
		kraken10: {
			Frames: 377, Updates: 296, Snapshots: 5, Levels: 479, Ignored: counts{"ack": 15, "heartbeat": 60, "status": 1},
			Classes: classes{venue.Data: 301, venue.Heartbeat: 60, venue.Acknowledged: 15, venue.Notice: 1},
		},
		krakenDoc: {Frames: 1, Snapshots: 1, Levels: 20, Ignored: counts{}, Classes: classes{venue.Data: 1}},
		coinbase: {
			Frames: 9946, Trades: 97, Updates: 9719, Snapshots: 10, Levels: 18081, Ignored: counts{"last_match": 10, "subscriptions": 3, "ticker": 107},
			Classes: classes{venue.Data: 9943, venue.Acknowledged: 3},
		},
		okx: {
			Frames: 410, Trades: 74, Updates: 287, Snapshots: 3, Levels: 8264, Ignored: counts{"ack": 18, "tickers": 28},
			Classes: classes{venue.Data: 392, venue.Acknowledged: 18},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want.Unknown = counts{}
			if diff := cmp.Diff(want, count(t, name)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
