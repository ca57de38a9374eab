package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market/venue"
)

func TestAConfigurationIsRead(t *testing.T) {
	t.Parallel()
	known, err := adapters()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "loader.yaml")
	text := `
feeds:
  - {name: binance-0, venue: binance, symbols: [BTC-USDT, ETH-USDT], channels: [trades], depth: 0}
  - name: kraken-0
    venue: kraken
    symbols: [BTC-USD]
    depth: 25
    websocket: ws://127.0.0.1:1/kraken/
    max_connection_age: 23h30m
  - {name: replay, venue: binance-usdm, symbols: [BTC-USDT-PERP], websocket: "ws://127.0.0.1:2/replay", replay: true}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	feeds, err := ReadFile(path, known)
	if err != nil {
		t.Fatal(err)
	}
	if len(feeds) != 3 || feeds[0].Subscription.Instruments[1].VenueSymbol != "ETHUSDT" || len(feeds[0].Channels) != 1 {
		t.Fatalf("%+v", feeds)
	}
	if f := feeds[1]; f.endpoint() != "ws://127.0.0.1:1/kraken" || f.MaxConnectionAge != 23*time.Hour+30*time.Minute || len(f.Channels) != 2 {
		t.Fatalf("%+v", f)
	}
	if !feeds[2].Replay {
		t.Fatal("not a replay")
	}
}

// Each fault is named in one line, with the field and the value.
func TestAConfigurationsFaultsAreNamed(t *testing.T) {
	t.Parallel()
	known, err := adapters()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"":          {"feeds", "none"},
		"feeds: []": {"feeds", "none"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], chanels: [book]}]":                                {"chanels"},
		"feeds: [{name: a/b, venue: binance, symbols: [BTC-USDT]}]":                                               {"feeds[0].name", "a/b"},
		"feeds: [{name: a, venue: binanse, symbols: [BTC-USDT]}]":                                                 {"feeds[0].venue", "binanse", "kraken"},
		"feeds: [{name: a, venue: binance}]":                                                                      {"feeds[0].symbols"},
		"feeds: [{name: a, venue: binance, symbols: [BTCUSDT]}]":                                                  {"feeds[0].symbols[0]", "BTCUSDT"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT, BTC-USDT]}]":                                       {"feeds[0].symbols[1]", "twice"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], channels: [tickers]}]":                            {"feeds[0].channels[0]", "tickers"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], depth: -1}]":                                      {"feeds[0].depth", "-1"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], websocket: 'http://x'}]":                          {"feeds[0].websocket", "http://x"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], rest: nowhere}]":                                  {"feeds[0].rest", "nowhere"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], replay: true}]":                                   {"feeds[0].websocket", "replay"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT], max_connection_age: soon}]":                       {"soon"},
		"feeds: [{name: a, venue: binance, symbols: [BTC-USDT]}, {name: a, venue: binance, symbols: [ETH-USDT]}]": {"feeds[1].name", `"a"`},
		"feeds: [": {"not valid"},
	} {
		_, err := ParseFile([]byte(text), known)
		if err == nil {
			t.Errorf("%s: accepted", text)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", text, err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not name %s", text, err, w)
			}
		}
	}
	if _, err := ReadFile("/nonexistent/loader.yaml", known); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("missing file: %v", err)
	}
}

// Whatever the file holds: an error of one line, or feeds that can be connected.
func FuzzParseFile(f *testing.F) {
	known, err := adapters()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("feeds: [{name: a, venue: binance, symbols: [BTC-USDT], channels: [book]}]")
	f.Add("feeds:\n- &a {name: a}\n- *a")
	f.Add("feeds: {name: 1}")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, text string) {
		feeds, err := ParseFile([]byte(text), known)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		for i := range feeds {
			for _, part := range feeds[i].split() {
				if _, err := feeds[i].Adapter.Connect(part); err != nil && !feeds[i].Replay {
					t.Fatal(err)
				}
			}
		}
	})
}

// However many symbols a feed has, each connection stays within the venue's limit and none is lost.
func TestAFeedIsSplitByTheVenuesLimit(t *testing.T) {
	t.Parallel()
	known, err := adapters()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		c := FeedConfig{Name: "a", Venue: "binance", Channels: []venue.Channel{venue.Trades, venue.Book}}
		n := rapid.IntRange(1, 1500).Draw(t, "symbols")
		for i := range n {
			base := []byte{'A' + byte(i/676%26), 'A' + byte(i/26%26), 'A' + byte(i%26), 'X'}
			c.Symbols = append(c.Symbols, string(base)+"-USDT")
		}
		feed, err := c.resolve(known)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, part := range feed.split() {
			if streams := len(part.Instruments) * 2; streams > 1024 {
				t.Fatalf("%d streams on one connection", streams)
			}
			total += len(part.Instruments)
		}
		if total != n {
			t.Fatalf("%d symbols of %d", total, n)
		}
	})
}
