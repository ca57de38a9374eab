package capture_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/internal/market/capture"
)

// capturesFolder is where the recordings lie, which are not part of the repository.
func capturesFolder(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("STREAMFORGE_CAPTURES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "..", "shared", "captures")
	}
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no captures: %v; set STREAMFORGE_CAPTURES", err)
		}
		t.Skipf("no captures: %v; set STREAMFORGE_CAPTURES", err)
	}
	return folder
}

func TestEveryCaptureIsRecognisedAndCountedAsItsDescriptionSays(t *testing.T) {
	folder := capturesFolder(t)
	tests := []struct {
		file, venue string
		format      capture.Format
		symbols     string
		frames      int64
		snapshots   int64
		seconds     int64
	}{
		{"binance-spot/btcusdt-20240808.gz", "binance", capture.Hftbacktest, "BTCUSDT", 41248, 1, 346},
		{"binance-spot/ethusdt-20240808.gz", "binance", capture.Hftbacktest, "ETHUSDT", 33617, 1, 345},
		{"binance-usdm/btcusdt-20240808.gz", "binance-usdm", capture.Hftbacktest, "BTCUSDT", 93953, 1, 344},
		{"kraken-v2/btcusd-depth25.cbcap", "kraken", capture.Cbcap, "BTC/USD", 2104, 0, 50},
		{"kraken-v2/btcusd-depth10.cbcap", "kraken", capture.Cbcap, "BTC/USD", 377, 0, 60},
		{"kraken-v2/doc-vector-3310070434.json", "kraken", capture.BareJSON, "BTC/USD", 1, 0, 0},
		{"coinbase-exchange/level2-matches-20210417.txt.gz", "coinbase", capture.Cryptofeed, "BAND-GBP,SKL-GBP,NU-GBP,YFI-BTC,SKL-BTC,CRV-EUR,BAND-BTC,DASH-BTC,NMR-EUR,SKL-USD", 9946, 0, 30},
		{"okx/books-trades-20220513.txt.gz", "okx", capture.Cryptofeed, "BTC-USD-220527,UNI-USD-SWAP,BTC-USDT", 410, 0, 10},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			c, err := capture.Open(filepath.Join(folder, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if c.Venue != test.venue || c.Format != test.format || strings.Join(c.Symbols, ",") != test.symbols {
				t.Errorf("venue %s, format %s, symbols %s", c.Venue, c.Format, strings.Join(c.Symbols, ","))
			}
			if c.Frames != test.frames || c.Snapshots != test.snapshots {
				t.Errorf("frames %d, snapshots %d; want %d, %d", c.Frames, c.Snapshots, test.frames, test.snapshots)
			}
			if span := (c.LastReceivedAt - c.FirstReceivedAt) / 1e9; span != test.seconds {
				t.Errorf("spans %d s, want %d", span, test.seconds)
			}
			checkEntries(t, c)
		})
	}
}

func checkEntries(t *testing.T, c *capture.Capture) {
	t.Helper()
	var frames, snapshots int64
	for e, err := range c.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Payload) == 0 || e.Payload[0] != '{' || e.Payload[len(e.Payload)-1] != '}' {
			t.Fatalf("line %d: payload is not a frame: %q", e.Line, e.Payload)
		}
		if e.ReceivedAt < c.FirstReceivedAt || e.ReceivedAt > c.LastReceivedAt {
			t.Fatalf("line %d: time %d outside the span", e.Line, e.ReceivedAt)
		}
		if !e.REST {
			frames++
			continue
		}
		snapshots++
		path := "/api/v3/depth"
		if c.Venue == "binance-usdm" {
			path = "/fapi/v1/depth"
		}
		if e.VenueSymbol != c.Symbols[0] || e.Request != path+"?symbol="+c.Symbols[0]+"&limit=1000" {
			t.Errorf("REST of %q by %q", e.VenueSymbol, e.Request)
		}
	}
	if frames != c.Frames || snapshots != c.Snapshots {
		t.Errorf("iterated %d frames and %d snapshots, counted %d and %d", frames, snapshots, c.Frames, c.Snapshots)
	}
}

// The independent count: what remains of the file's lines after removing what the recorder added, hashed, is what the
// reader hands out.
func TestPayloadsAreTheFilesOwnBytes(t *testing.T) {
	folder := capturesFolder(t)
	c, err := capture.Open(filepath.Join(folder, "binance-spot/btcusdt-20240808.gz"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if _, err := content.ReadFrom(unzipped); err != nil {
		t.Fatal(err)
	}
	want, got := xxhash.New(), xxhash.New()
	for line := range bytes.Lines(content.Bytes()) {
		want.Write(line[bytes.IndexByte(line, ' ')+1:])
	}
	for e, err := range c.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got.Write(e.Payload)
		got.Write([]byte("\n"))
	}
	if want.Sum64() != got.Sum64() {
		t.Error("the payloads are not the file's bytes")
	}
}

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOtherRecordingsOfTheseFormsWorkTheSame(t *testing.T) {
	binance := func(symbol, u string) string {
		return `{"stream":"` + strings.ToLower(symbol) + `@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"` + symbol + `","U":` + u + `,"u":` + u + `,"b":[],"a":[]}}`
	}
	tests := []struct {
		name, content, venue, symbols string
		frames, snapshots             int64
		restSymbol, request           string
	}{
		{
			name:    "plain hftbacktest, two symbols, a REST body told by its ids",
			content: "1723161253937085768 " + binance("BTCUSDT", "500") + "\n1723161253937085769 " + binance("ETHUSDT", "90") + "\n1723161253937085770 " + `{"lastUpdateId":88,"bids":[],"asks":[]}` + "\n",
			venue:   "binance", symbols: "BTCUSDT,ETHUSDT", frames: 2, snapshots: 1, restSymbol: "ETHUSDT", request: "/api/v3/depth?symbol=ETHUSDT&limit=100",
		},
		{
			name:    "cryptofeed with a configuration line and a recorded REST request",
			content: "configuration: {}\nhttps://api.binance.com/api/v3/exchangeInfo -> 1.0: {\"symbols\":[]}\nwss://stream.binance.com:9443/stream <-> 1.5\n2.25: " + binance("BTCUSDT", "5") + "\nhttps://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000 -> 3: " + `{"lastUpdateId":5,"bids":[],"asks":[]}`,
			venue:   "binance", symbols: "BTCUSDT", frames: 1, snapshots: 1, restSymbol: "BTCUSDT", request: "/api/v3/depth?symbol=BTCUSDT&limit=5000",
		},
		{
			name:    "frames of Bybit derivatives",
			content: `1723161253937085768 {"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":1,"seq":1},"cts":1}` + "\n" + `1723161253937085769 {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"x","BT":false}]}`,
			venue:   "bybit-linear", symbols: "BTCUSDT", frames: 2,
		},
		{name: "a JSON document a line", content: `{"channel":"heartbeat"}` + "\n" + `{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD"}]}` + "\n", venue: "kraken", symbols: "ETH/USD", frames: 2},
		{name: "cbcap with a frame of two lines", content: "CBCAP1 kraken XRP/USD 1000\n7 23\n{\"channel\":\"heartbeat\"}\n9 3\n{\n}\n", venue: "kraken", symbols: "", frames: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := capture.Open(write(t, test.content))
			if err != nil {
				t.Fatal(err)
			}
			if c.Venue != test.venue || strings.Join(c.Symbols, ",") != test.symbols || c.Frames != test.frames || c.Snapshots != test.snapshots {
				t.Errorf("got %+v", c)
			}
			for e, err := range c.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				if e.REST && (e.VenueSymbol != test.restSymbol || e.Request != test.request) {
					t.Errorf("REST of %q by %q", e.VenueSymbol, e.Request)
				}
			}
		})
	}
}

func TestWhatCannotBeReadIsNamedWithItsLine(t *testing.T) {
	good := "1723161253937085768 {\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"s\":\"BTCUSDT\"}}\n"
	tests := []struct{ name, content, want string }{
		{"empty", "", "empty"},
		{"not a capture", "hello world\n", "not recognised"},
		{"bad time in line 3", good + good + "x {}\n", "line 3"},
		{"no frame", "configuration: {}\n", "no frame"},
		{"unknown venue", "1723161253937085768 {\"hello\":1}\n", "venue"},
		{"cut cbcap", "CBCAP1 kraken BTC/USD 5\n7 200\n{\"channel\"", "ends in the middle"},
		{"blank lines", "\n\r\n  \n", "blank"},
		{"cbcap of a huge frame", "CBCAP1 kraken BTC/USD 5\n7 99999999999\n{}\n", "largest"},
		{"too long a line", good + "1723161253937085768 {" + strings.Repeat("x", capture.MaxFrameBytes+8<<10), "line 2: the line is longer"},
		{"broken JSON", "{\"a\":", "not a JSON document"},
		{"broken gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00abc", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.content)
			_, err := capture.Open(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to name %q and the file", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %v", err)
			}
		})
	}
	if _, err := capture.Open(filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("got %v", err)
	}
}

func FuzzOpenNeverPanicsAndCountsWhatItIterates(f *testing.F) {
	f.Add([]byte("1723161253937085768 {\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"s\":\"BTCUSDT\"}}\n"))
	f.Add([]byte("CBCAP1 kraken BTC/USD 5\n7 23\n{\"channel\":\"heartbeat\"}\n"))
	f.Add([]byte("wss://x <-> 1.5\n1.5: {\"arg\":{\"channel\":\"books\",\"instId\":\"BTC-USDT\"}}\nhttps://x/y?symbol=A -> 2: {\"lastUpdateId\":1}\n"))
	f.Add([]byte("{\"channel\":\"book\"}"))
	folder := f.TempDir()
	path := filepath.Join(folder, "capture")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := capture.Open(path)
		if err != nil {
			return
		}
		var n int64
		for _, err := range c.Entries() {
			if err != nil {
				t.Fatalf("it could be opened but not read: %v", err)
			}
			n++
		}
		if n != c.Frames+c.Snapshots {
			t.Fatalf("iterated %d, counted %d and %d", n, c.Frames, c.Snapshots)
		}
	})
}

func BenchmarkReadingUSDM(b *testing.B) {
	path := filepath.Join(capturesFolder(b), "binance-usdm/btcusdt-20240808.gz")
	for b.Loop() {
		c, err := capture.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range c.Entries() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
