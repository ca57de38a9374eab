package capture_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/market/capture"
)

// A small recording of each form, as somebody else may have made it: two symbols, an acknowledgement, a channel that no
// product knows, and what the client sent where the form has it. payloads are what was received.
var small = []struct {
	name, venue, symbols, content string
	payloads                      []string
}{
	{
		name: "hftbacktest", venue: "binance-usdm", symbols: "BTCUSDT,ETHUSDT",
		content: "1723161253937085768 {\"result\":null,\"id\":1}\n" +
			"1723161253937085769 {\"stream\":\"btcusdt@depth@0ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1,\"T\":1,\"s\":\"BTCUSDT\",\"U\":3,\"u\":4,\"pu\":2,\"b\":[],\"a\":[]}}\n" +
			"1723161253937085770 {\"stream\":\"ethusdt@forceOrder\",\"data\":{\"e\":\"forceOrder\",\"E\":1,\"s\":\"ETHUSDT\"}}\n" +
			"1723161253937085771 {\"lastUpdateId\":4,\"E\":1,\"T\":1,\"bids\":[],\"asks\":[]}\n",
		payloads: []string{
			`{"result":null,"id":1}`,
			`{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":3,"u":4,"pu":2,"b":[],"a":[]}}`,
			`{"stream":"ethusdt@forceOrder","data":{"e":"forceOrder","E":1,"s":"ETHUSDT"}}`,
			`{"lastUpdateId":4,"E":1,"T":1,"bids":[],"asks":[]}`,
		},
	},
	{
		name: "cbcap", venue: "kraken", symbols: "BTC/USD,ETH/USD",
		content: "CBCAP1 kraken BTC/USD 1785641750295158100\n" + cbcapFrames(
			`{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true}`,
			`{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":1}]}`,
			`{"channel":"level3","type":"update","data":[{"symbol":"ETH/USD"}]}`,
		),
		payloads: []string{
			`{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true}`,
			`{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":1}]}`,
			`{"channel":"level3","type":"update","data":[{"symbol":"ETH/USD"}]}`,
		},
	},
	{
		name: "cryptofeed", venue: "okx", symbols: "BTC-USDT,ETH-USDT",
		content: "configuration: {}\nwss://ws.okx.com:8443/ws/v5/public <-> 1.5\n" +
			"wss://ws.okx.com:8443/ws/v5/public <- 1.6: {\"op\":\"subscribe\",\"args\":[{\"channel\":\"trades\",\"instId\":\"SOL-USDT\"}]}\n" +
			"2.25: {\"event\":\"subscribe\",\"arg\":{\"instId\":\"BTC-USDT\",\"channel\":\"trades\"}}\n" +
			"2.5: pong\n" +
			"2.75: {\"arg\":{\"channel\":\"mark-price\",\"instId\":\"ETH-USDT\"},\"data\":[]}\n",
		payloads: []string{
			`{"event":"subscribe","arg":{"instId":"BTC-USDT","channel":"trades"}}`, `pong`,
			`{"arg":{"channel":"mark-price","instId":"ETH-USDT"},"data":[]}`,
		},
	},
	{
		name: "json lines", venue: "bybit-linear", symbols: "BTCUSDT,ETHUSDT",
		content: `{"success":true,"ret_msg":"","conn_id":"c","op":"subscribe"}` + "\n" +
			`{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"x","BT":false}]}` + "\n" +
			`{"topic":"kline.5.ETHUSDT","type":"snapshot","ts":1,"data":[{"s":"ETHUSDT"}]}` + "\n",
		payloads: []string{
			`{"success":true,"ret_msg":"","conn_id":"c","op":"subscribe"}`,
			`{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"x","BT":false}]}`,
			`{"topic":"kline.5.ETHUSDT","type":"snapshot","ts":1,"data":[{"s":"ETHUSDT"}]}`,
		},
	},
}

func cbcapFrames(frames ...string) string {
	var text strings.Builder
	for i, frame := range frames {
		fmt.Fprintf(&text, "%d %d\n%s\n", 7_000_000+i, len(frame), frame)
	}
	return text.String()
}

func compress(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(content))
	w.Close()
	return b.String()
}

// entries opens a recording and reads all of its payloads.
func entries(t *testing.T, content string) (*capture.Capture, []string, error) {
	t.Helper()
	c, err := capture.Open(write(t, content))
	if err != nil {
		return nil, nil, err
	}
	var payloads []string
	for e, err := range c.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, string(e.Payload))
	}
	return c, payloads, nil
}

func TestARecordingIsReadHoweverItWasStored(t *testing.T) {
	variants := map[string]func(string) string{
		"as it is":            func(s string) string { return s },
		"gzip":                compress,
		"gzip in two members": func(s string) string { return compress(s[:50]) + compress(s[50:]) },
		"CR LF":               func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"CR LF, gzip":         func(s string) string { return compress(strings.ReplaceAll(s, "\n", "\r\n")) },
		"no last line feed":   func(s string) string { return strings.TrimSuffix(s, "\n") },
		"a byte order mark":   func(s string) string { return "\ufeff" + s },
	}
	for _, s := range small {
		for name, variant := range variants {
			t.Run(s.name+", "+name, func(t *testing.T) {
				c, payloads, err := entries(t, variant(s.content))
				if err != nil {
					t.Fatal(err)
				}
				if c.Venue != s.venue || strings.Join(c.Symbols, ",") != s.symbols || c.Cut != "" {
					t.Errorf("venue %s, symbols %s, cut %q", c.Venue, strings.Join(c.Symbols, ","), c.Cut)
				}
				if !slices.Equal(payloads, s.payloads) {
					t.Errorf("payloads %q", payloads)
				}
			})
		}
	}
}

// A recorder that is killed leaves a record half written: what stands before is used, and the place is named.
func TestARecordingThatEndsInTheMiddleIsReadUpToThere(t *testing.T) {
	for _, s := range small {
		t.Run(s.name, func(t *testing.T) {
			seen := map[string]bool{}
			for n := range len(s.content) {
				c, payloads, err := entries(t, s.content[:n])
				if err != nil {
					continue // too little to tell what it is
				}
				whole := 0
				for whole < len(payloads) && payloads[whole] == s.payloads[whole] {
					whole++
				}
				// A line that was cut in its frame is handed out as it is: nobody can tell that it was not sent so.
				if rest := payloads[whole:]; len(rest) > 1 || len(rest) == 1 && (s.name == "cbcap" || !strings.HasPrefix(s.payloads[whole], rest[0])) {
					t.Fatalf("cut at %d: %q", n, payloads)
				}
				if c.Cut != "" && !strings.Contains(c.Cut, "line ") {
					t.Fatalf("cut at %d: %q", n, c.Cut)
				}
				seen[fmt.Sprint(c.Cut != "", whole)] = true
			}
			if !seen[fmt.Sprint(true, len(s.payloads)-1)] {
				t.Errorf("no cut in the last record was told of: %v", seen)
			}
		})
	}
	// The same under gzip, where the compressed bytes end early.
	long := small[1].content + strings.Repeat(cbcapFrames(small[1].payloads...), 2000)
	zipped := compress(long)
	c, payloads, err := entries(t, zipped[:len(zipped)/2])
	if err != nil || c.Cut == "" || len(payloads) < 10 || int64(len(payloads)) != c.Frames {
		t.Errorf("%+v, %d payloads, %v", c, len(payloads), err)
	}
}

// Whoever makes a recording by hand writes JSON with blanks, which no venue does.
func TestARecordingWithBlanksInItsFramesIsRecognised(t *testing.T) {
	for _, s := range small {
		spaced := strings.NewReplacer(`":`, `": `, `,"`, `, "`)
		var content strings.Builder
		var want []string
		for i, payload := range s.payloads {
			want = append(want, spaced.Replace(payload))
			fmt.Fprintf(&content, "%d %s\n", 1723161253937085768+i, want[i])
		}
		if s.name == "cryptofeed" {
			content.Reset()
			for i := range want {
				fmt.Fprintf(&content, "%d.5: %s\n", i, want[i])
			}
		}
		c, payloads, err := entries(t, content.String())
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if c.Venue != s.venue || strings.Join(c.Symbols, ",") != s.symbols || !slices.Equal(payloads, want) {
			t.Errorf("%s: venue %s, symbols %v, payloads %q", s.name, c.Venue, c.Symbols, payloads)
		}
	}
}
