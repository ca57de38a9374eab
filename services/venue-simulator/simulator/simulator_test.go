package simulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// start runs a simulator until the test ends.
func start(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	config := DefaultConfig()
	config.Market.Symbols = 10
	config.RESTLatency = 0
	config.DrainTimeout = time.Minute
	if change != nil {
		change(&config)
	}
	s, err := New(config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// awaitSent waits until the ledger counts what is wanted.
func awaitSent(t testing.TB, s *Server, enough func(ledger.Report) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !enough(s.ledger.Report(false)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("within %s there was sent no more than %+v", patience, s.ledger.Report(false))
			return
		}
	}
}

// client is a library's WebSocket client, not ours.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context
}

func dial(t testing.TB, s *Server, path string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	conn, response, err := websocket.Dial(ctx, "ws://"+s.Address()+path, nil)
	if err != nil {
		status := 0
		if response != nil {
			status = response.StatusCode
		}
		t.Fatalf("dialing %s: status %d: %v", path, status, err)
	}
	conn.SetReadLimit(32 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t, conn, ctx}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() []byte {
	c.t.Helper()
	_, payload, err := c.conn.Read(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return payload
}

// until reads until a frame contains text.
func (c *client) until(text string) []byte {
	c.t.Helper()
	for {
		if payload := c.read(); bytes.Contains(payload, []byte(text)) {
			return payload
		}
	}
}

// rest reads everything until the connection ends.
func (c *client) rest() ([][]byte, error) {
	var frames [][]byte
	for {
		_, payload, err := c.conn.Read(c.ctx)
		if err != nil {
			return frames, err
		}
		frames = append(frames, payload)
	}
}

func get(t testing.TB, s *Server, path string) (*http.Response, []byte) {
	t.Helper()
	return do(t, http.MethodGet, s, path, "")
}

func do(t testing.TB, method string, s *Server, path, body string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+s.Address()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, content
}

func drain(t testing.TB, s *Server) ledger.Report {
	t.Helper()
	response, body := do(t, http.MethodPost, s, "/control/drain", "")
	var report ledger.Report
	if err := json.Unmarshal(body, &report); err != nil || response.StatusCode != 200 {
		t.Fatalf("drain answered %d %s", response.StatusCode, body)
	}
	return report
}

// binanceEvent is what a test client reads of a frame.
type binanceEvent struct {
	Time   int64       `json:"E"` // named, because the library takes e for E otherwise
	Kind   string      `json:"e"`
	Symbol string      `json:"s"`
	First  int64       `json:"U"`
	Last   int64       `json:"u"`
	Prev   int64       `json:"pu"`
	Bids   [][2]string `json:"b"`
	Asks   [][2]string `json:"a"`
}

type binanceBook struct {
	LastUpdateID int64       `json:"lastUpdateId"`
	Bids         [][2]string `json:"bids"`
	Asks         [][2]string `json:"asks"`
}

// textBook is a book as a client keeps it, by the texts of its numbers.
type textBook struct{ bids, asks map[string]string }

func (b *textBook) set(bids, asks [][2]string) {
	for side, levels := range map[*map[string]string][][2]string{&b.bids: bids, &b.asks: asks} {
		if *side == nil {
			*side = map[string]string{}
		}
		for _, l := range levels {
			if strings.Trim(l[1], "0.") == "" {
				delete(*side, l[0])
			} else {
				(*side)[l[0]] = l[1]
			}
		}
	}
}

// The venue's own procedure: buffer, fetch, drop what is older, check the bridge, apply and check the continuity.
func TestABinanceBookCanBeSyncedByTheVenuesProcedureAndEndsEqual(t *testing.T) {
	for _, futures := range []bool{false, true} {
		venue, path := "binance", "/api/v3/depth"
		if futures {
			venue, path = "binance-usdm", "/fapi/v1/depth"
		}
		t.Run(venue, func(t *testing.T) {
			s := start(t, func(c *Config) { c.Market.Rate = 30; c.RESTLatency = 30 * time.Millisecond })
			c := dial(t, s, "/"+venue+"/stream?streams=btcusdt@depth@100ms/btcusdt@trade")
			var events []binanceEvent
			read := func() bool {
				_, payload, err := c.conn.Read(c.ctx)
				if err != nil {
					if websocket.CloseStatus(err) != websocket.StatusGoingAway {
						t.Errorf("ended with %v", err)
					}
					return false
				}
				var frame struct {
					Stream string       `json:"stream"`
					Data   binanceEvent `json:"data"`
				}
				if err := json.Unmarshal(payload, &frame); err != nil {
					t.Fatalf("%v in %s", err, payload)
				}
				if frame.Data.Kind == "depthUpdate" {
					events = append(events, frame.Data)
				}
				return true
			}
			for len(events) < 3 {
				read()
			}
			_, body := get(t, s, "/"+venue+path+"?symbol=BTCUSDT&limit=1000")
			var snapshot binanceBook
			if err := json.Unmarshal(body, &snapshot); err != nil {
				t.Fatal(err)
			}
			if snapshot.LastUpdateID < events[0].First {
				t.Fatalf("the snapshot %d is older than the first event %d", snapshot.LastUpdateID, events[0].First)
			}
			for len(events) < 60 {
				read()
			}
			go drainInBackground(s)
			for read() {
			}
			var book textBook
			book.set(snapshot.Bids, snapshot.Asks)
			applied, local := 0, snapshot.LastUpdateID
			for i, e := range events {
				if i > 0 && (futures && e.Prev != events[i-1].Last || !futures && e.First != events[i-1].Last+1) {
					t.Fatalf("event %d does not follow: %d after %d", i, e.First, events[i-1].Last)
				}
				if e.Last < local || !futures && e.Last == local {
					continue
				}
				if applied == 0 && (futures && e.First > local || e.First > local+1) {
					t.Fatalf("no bridge: the first event to apply has %d to %d, the snapshot is %d", e.First, e.Last, local)
				}
				book.set(e.Bids, e.Asks)
				applied++
			}
			if applied < 20 {
				t.Fatalf("only %d events applied", applied)
			}
			checkAgainstOwnBook(t, s, venue, "BTCUSDT", book)
		})
	}
}

func drainInBackground(s *Server) {
	response, err := http.Post("http://"+s.Address()+"/control/drain", "", nil)
	if err == nil {
		response.Body.Close()
	}
}

func checkAgainstOwnBook(t *testing.T, s *Server, venue, symbol string, book textBook) {
	t.Helper()
	in := s.bySymbol[venue][symbol]
	if len(book.bids) != len(in.Bids) || len(book.asks) != len(in.Asks) {
		t.Errorf("the client has %d bids and %d asks, the simulator %d and %d", len(book.bids), len(book.asks), len(in.Bids), len(in.Asks))
	}
	for _, l := range in.Bids {
		if got := book.bids[string(in.numbers.price(nil, l.Price))]; got != string(in.numbers.lots(nil, l.Quantity)) {
			t.Fatalf("bid %d: the client has %q, the simulator %d lots", l.Price, got, l.Quantity)
		}
	}
	for _, l := range in.Asks {
		if got := book.asks[string(in.numbers.price(nil, l.Price))]; got != string(in.numbers.lots(nil, l.Quantity)) {
			t.Fatalf("ask %d: the client has %q, the simulator %d lots", l.Price, got, l.Quantity)
		}
	}
}

func TestBinanceAcknowledgesListsAndUnsubscribes(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 50 })
	c := dial(t, s, "/binance/ws/btcusdt@trade")
	if frame := c.read(); !bytes.HasPrefix(frame, []byte(`{"e":"trade"`)) {
		t.Fatalf("a raw stream begins %s", frame)
	}
	c.send(`{"method":"SUBSCRIBE","params":["ethusdt@depth@100ms","nosuch@trade"],"id":7}`)
	c.until(`{"result":null,"id":7}`)
	c.until(`"e":"depthUpdate"`)
	c.send(`{"method":"LIST_SUBSCRIPTIONS","id":"list"}`)
	if answer := string(c.until(`"id":"list"`)); !strings.Contains(answer, "btcusdt@trade") || !strings.Contains(answer, "ethusdt@depth@100ms") {
		t.Errorf("listed %s", answer)
	}
	c.send(`{"method":"UNSUBSCRIBE","params":["btcusdt@trade","ethusdt@depth@100ms"],"id":8}`)
	c.until(`{"result":null,"id":8}`)
	c.send(`{"method":"NONSENSE","id":9}`)
	if answer := c.read(); !bytes.Contains(answer, []byte(`"code":2`)) || !bytes.Contains(answer, []byte(`"id":9`)) {
		t.Errorf("after unsubscribing everything, got %s", answer)
	}
}

func TestABinanceClientThatSendsTooMuchIsCutOff(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, "/binance/ws")
	for range 60 { // so many that some six of them come within a second
		_ = c.conn.Write(c.ctx, websocket.MessageText, []byte(`{"method":"LIST_SUBSCRIPTIONS","id":1}`))
	}
	if _, err := c.rest(); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("ended with %v", err)
	}
}

func TestPingsAreSentAndAnOldConnectionIsCut(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) {
		c.PingInterval = time.Second
		c.MaxConnectionAge = 8 * time.Second
		c.Market.Rate = 0.1
	})
	pings := make(chan string, 10)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.Address()+"/binance/stream?streams=btcusdt@trade", &websocket.DialOptions{
		OnPingReceived: func(_ context.Context, payload []byte) bool { pings <- string(payload); return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for {
		if _, _, err = conn.Read(ctx); err != nil {
			break
		}
	}
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation || len(pings) == 0 {
		t.Errorf("%d pings, ended with %v", len(pings), err)
	}
}

func TestRESTKeepsABudgetAndAnswersLikeTheVenue(t *testing.T) {
	s := start(t, func(c *Config) { c.RESTWeightPerMinute = 20 })
	if response, body := get(t, s, "/binance/api/v3/depth?symbol=NOSUCH"); response.StatusCode != 400 || !bytes.Contains(body, []byte("-1121")) {
		t.Errorf("unknown symbol: %d %s", response.StatusCode, body)
	}
	response, body := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT&limit=5")
	var book binanceBook
	if err := json.Unmarshal(body, &book); err != nil || len(book.Bids) != 5 || len(book.Asks) != 5 {
		t.Errorf("%v in %s", err, body)
	}
	if response.Header.Get("X-MBX-USED-WEIGHT-1M") != "10" {
		t.Errorf("used weight is %q", response.Header.Get("X-MBX-USED-WEIGHT-1M"))
	}
	statuses := map[int]int{}
	for range 40 {
		response, _ := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT&limit=100")
		statuses[response.StatusCode]++
		if wait, err := strconv.Atoi(response.Header.Get("Retry-After")); response.StatusCode != 200 && (err != nil || wait < 1) {
			t.Fatalf("%d without Retry-After", response.StatusCode)
		}
	}
	if statuses[429] == 0 || statuses[418] == 0 {
		t.Errorf("statuses %v, expected 429 and then 418", statuses)
	}
}

// krakenFrame keeps the text of the numbers.
type krakenFrame struct {
	Channel string `json:"channel"`
	Type    string `json:"type"`
	Data    []struct {
		Symbol   string        `json:"symbol"`
		Bids     []krakenLevel `json:"bids"`
		Asks     []krakenLevel `json:"asks"`
		Checksum uint32        `json:"checksum"`
		TradeID  int64         `json:"trade_id"`
		Side     string        `json:"side"`
		Price    json.Number   `json:"price"`
	} `json:"data"`
}

type krakenLevel struct {
	Price json.Number `json:"price"`
	Qty   json.Number `json:"qty"`
}

// krakenClientBook follows the venue's documentation: apply all, cut to the depth, check the CRC over the texts.
type krakenClientBook struct {
	depth      int
	bids, asks []krakenLevel
}

func (b *krakenClientBook) apply(t *testing.T, bids, asks []krakenLevel) uint32 {
	t.Helper()
	b.bids = mergeLevels(t, b.bids, bids, b.depth, func(x, y float64) bool { return x > y })
	b.asks = mergeLevels(t, b.asks, asks, b.depth, func(x, y float64) bool { return x < y })
	var text strings.Builder
	for _, side := range [][]krakenLevel{b.asks, b.bids} {
		for _, l := range side[:min(10, len(side))] {
			for _, n := range []json.Number{l.Price, l.Qty} {
				text.WriteString(strings.TrimLeft(strings.ReplaceAll(n.String(), ".", ""), "0"))
			}
		}
	}
	return crc32.ChecksumIEEE([]byte(text.String()))
}

func mergeLevels(t *testing.T, levels, changes []krakenLevel, depth int, better func(x, y float64) bool) []krakenLevel {
	t.Helper()
	for _, c := range changes {
		levels = slices.DeleteFunc(levels, func(l krakenLevel) bool { return l.Price == c.Price })
		if q, err := c.Qty.Float64(); err != nil {
			t.Fatal(err)
		} else if q > 0 {
			levels = append(levels, c)
		}
	}
	slices.SortFunc(levels, func(x, y krakenLevel) int {
		a, _ := x.Price.Float64()
		b, _ := y.Price.Float64()
		if better(a, b) {
			return -1
		}
		return 1
	})
	return levels[:min(depth, len(levels))]
}

func TestKrakenChecksumsHoldAtEveryDepth(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 60 })
	for _, depth := range []int{10, 25, 100} {
		t.Run(strconv.Itoa(depth), func(t *testing.T) {
			c := dial(t, s, "/kraken/v2")
			c.send(fmt.Sprintf(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD","XRP/USD"],"depth":%d},"req_id":3}`, depth))
			books := map[string]*krakenClientBook{}
			for checked := 0; checked < 1500; {
				var frame krakenFrame
				if err := json.Unmarshal(c.read(), &frame); err != nil {
					t.Fatal(err)
				}
				if frame.Channel != "book" {
					continue
				}
				d := frame.Data[0]
				if frame.Type == "snapshot" {
					books[d.Symbol] = &krakenClientBook{depth: depth}
				}
				if got := books[d.Symbol].apply(t, d.Bids, d.Asks); got != d.Checksum {
					t.Fatalf("%s after %d: CRC %d, the frame says %d", d.Symbol, checked, got, d.Checksum)
				}
				checked++
			}
			if len(books) != 3 {
				t.Errorf("%d books", len(books))
			}
		})
	}
}

func TestKrakenAnswersEverySymbolOnItsOwn(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 60 })
	c := dial(t, s, "/kraken/v2")
	if first := c.read(); !bytes.Contains(first, []byte(`"channel":"status"`)) {
		t.Errorf("begins with %s", first)
	}
	c.send(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","NOSUCH/USD"]},"req_id":42}`)
	if ack := string(c.until(`"method":"subscribe"`)); !strings.HasPrefix(ack, `{"method":"subscribe","req_id":42,"result":{"channel":"trade","snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"`) {
		t.Errorf("accepted with %s", ack)
	}
	if ack := string(c.until(`"success":false`)); !strings.HasPrefix(ack, `{"error":"Currency pair not supported NOSUCH/USD","method":"subscribe","req_id":42,"success":false,"symbol":"NOSUCH/USD"`) {
		t.Errorf("refused with %s", ack)
	}
	c.until(`"channel":"trade","type":"update"`)
	c.until(`{"channel":"heartbeat"}`)
	c.send(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":11}}`)
	c.until(`Subscription depth not supported`)
	c.send(`{"method":"ping","req_id":5}`)
	c.until(`{"method":"pong","req_id":5`)
	c.send(`{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":43}`)
	c.until(`{"method":"unsubscribe","req_id":43,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true`)
	c.send(`not json`)
	c.until(`Malformed request`)
	d := dial(t, s, "/kraken/v2")
	d.send(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}`)
	d.until(`"channel":"trade","type":"snapshot"`)
}

// The ledger is compared with what independent clients received and with what a parser of JSON finds in it.
func TestTheLedgerIsWhatTheClientsReceived(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	s := start(t, func(c *Config) { c.Market.Rate = 40; c.Ledger = path })
	clients := []*client{
		dial(t, s, "/binance/stream?streams=btcusdt@depth@100ms/btcusdt@trade/ethusdt@trade"),
		dial(t, s, "/binance/ws/btcusdt@trade"),
		dial(t, s, "/binance-usdm/stream?streams=btcusdt@depth@0ms/solusdt@trade"),
		dial(t, s, "/kraken/v2"),
	}
	clients[3].send(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}`)
	clients[3].send(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}`)
	_, snapshot := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT")
	want := map[string]int{line("S", snapshot): 1}
	received := make(chan [][]byte, len(clients))
	for _, c := range clients {
		go func() {
			frames, err := c.rest()
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("ended with %v", err)
			}
			received <- frames
		}()
	}
	awaitSent(t, s, func(r ledger.Report) bool { return r.Frames >= 2000 && r.Snapshots == 1 })
	report := drain(t, s)
	var frames, trades, updates, snapshots int64
	for range clients {
		for _, f := range <-received {
			want[line("F", f)]++
			frames++
			var k krakenFrame
			switch {
			case bytes.Contains(f, []byte(`"e":"trade"`)):
				trades++
			case bytes.Contains(f, []byte(`"e":"depthUpdate"`)):
				updates++
			case json.Unmarshal(f, &k) == nil && k.Channel == "trade" && k.Type == "update":
				trades += int64(len(k.Data))
			case k.Channel == "book" && k.Type == "update":
				updates++
			case k.Channel == "book":
				snapshots++
			}
		}
	}
	if report.Frames != frames || report.Trades != trades || report.OrderbookUpdates != updates || report.Snapshots != snapshots || report.RESTSnapshots != 1 || report.DroppedFrames != 0 || !report.Finished {
		t.Errorf("the ledger says %+v, received %d frames, %d trades, %d updates, %d snapshots", report, frames, trades, updates, snapshots)
	}
	if frames < 500 || snapshots != 1 {
		t.Errorf("%d frames, %d snapshots", frames, snapshots)
	}
	compareLedger(t, path, want)
	if again := drain(t, s); again.Frames != report.Frames {
		t.Errorf("a second drain answers %+v", again)
	}
	if response, _ := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT"); response.StatusCode != 503 {
		t.Errorf("after draining, REST answers %d", response.StatusCode)
	}
}

func line(kind string, payload []byte) string {
	return fmt.Sprintf("%s %016x %d", kind, xxhash.Sum64(payload), len(payload))
}

// compareLedger compares the file, as a multiset of payloads, with want.
func compareLedger(t *testing.T, path string, want map[string]int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := map[string]int{}
	next := map[string]int64{}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) != 7 {
			t.Fatalf("line %q", scanner.Text())
		}
		if fields[1] != strconv.FormatInt(next[fields[0]], 10) {
			t.Fatalf("connection %s: index %s, expected %d", fields[0], fields[1], next[fields[0]])
		}
		next[fields[0]]++
		got[strings.Join(fields[2:5], " ")]++
	}
	for l, n := range want {
		if got[l] != n {
			t.Fatalf("%q: the ledger has %d, received %d", l, got[l], n)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("the ledger has %d payloads, received %d", len(got), len(want))
	}
}

func captures(t testing.TB) []string {
	t.Helper()
	folder := os.Getenv("STREAMFORGE_CAPTURES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "captures")
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*", "*.*"))
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no captures; set STREAMFORGE_CAPTURES")
		}
		t.Skip("no captures; set STREAMFORGE_CAPTURES")
	}
	return files
}

func TestAReplayIsTheRecordingByteForByteAndOnlyOnce(t *testing.T) {
	for _, file := range captures(t) {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			ledgerFile := filepath.Join(t.TempDir(), "ledger")
			s := start(t, func(c *Config) { c.Replay, c.Speed, c.Ledger = file, 0, ledgerFile })
			recording, err := capture.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, s, "/replay")
			want := map[string]int{}
			for e, err := range recording.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				kind, got, err := c.conn.Read(c.ctx)
				if err != nil {
					t.Fatal(err)
				}
				if (kind == websocket.MessageBinary) != e.REST {
					t.Fatalf("line %d: a message of type %v", e.Line, kind)
				}
				if e.REST {
					var header struct {
						VenueSymbol string `json:"venue_symbol"`
						Request     string `json:"request"`
					}
					text, body, _ := bytes.Cut(got, []byte("\n"))
					if err := json.Unmarshal(text, &header); err != nil || header.VenueSymbol != e.VenueSymbol || header.Request != e.Request {
						t.Fatalf("line %d: header %s", e.Line, text)
					}
					got = body
					want[line("S", got)]++
				} else {
					want[line("F", got)]++
				}
				if !bytes.Equal(got, e.Payload) {
					t.Fatalf("line %d: got %s", e.Line, got)
				}
			}
			if _, err := c.rest(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("ended with %v", err)
			}
			_, response, err := websocket.Dial(c.ctx, "ws://"+s.Address()+"/replay", nil)
			if err == nil || response == nil || response.StatusCode != http.StatusGone {
				t.Errorf("the second connection got %v, %v", response, err)
			}
			report := drain(t, s)
			if report.Frames != recording.Frames || report.RESTSnapshots != recording.Snapshots || !report.Finished {
				t.Errorf("the ledger says %+v", report)
			}
			compareLedger(t, ledgerFile, want)
		})
	}
}

func TestAReplayKeepsTheRecordedTimesAtItsSpeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "capture")
	const frame = `{"channel":"heartbeat"}`
	content := "1723161253000000000 " + frame + "\n1723161253500000000 " + frame + "\n1723161255000000000 " + frame + "\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(c *Config) { c.Replay, c.Speed = path, 10 })
	began := time.Now()
	frames, _ := dial(t, s, "/replay").rest()
	// At the recorded speed it would be two seconds, and with none at all next to nothing.
	if took := time.Since(began); len(frames) != 3 || took < 150*time.Millisecond {
		t.Errorf("%d frames in %s, expected 3 in 200 ms", len(frames), took)
	}
}

func TestAClientThatDoesNotReadIsCut(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 400; c.ConnectionBufferBytes = 1 << 16 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.Address()+"/binance/stream?streams=btcusdt@depth/btcusdt@trade/ethusdt@depth/ethusdt@trade", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for {
		s.mutex.Lock()
		open := len(s.connections)
		s.mutex.Unlock()
		// The server may not have met the client yet, so that no connection alone says nothing.
		dropped := s.ledger.Report(false).DroppedFrames
		if open == 0 && dropped > 0 {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("a client that does not read: %d connections are open, %d frames that were not sent are counted", open, dropped)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func fault(t testing.TB, s *Server, body string) {
	t.Helper()
	if response, answer := do(t, http.MethodPost, s, "/control/fault", body); response.StatusCode != 200 {
		t.Fatalf("%s: %d %s", body, response.StatusCode, answer)
	}
}

// pauses says whether a silence of that length makes a pause between two frames.
func pauses(c *client, s *Server, silence time.Duration) bool {
	c.t.Helper()
	fault(c.t, s, fmt.Sprintf(`{"kind":"silence","venue":"binance","duration":%q}`, silence))
	began := time.Now()
	for last := began; time.Since(began) < 2*silence; last = time.Now() {
		c.read()
		if time.Since(last) > 200*time.Millisecond {
			return true
		}
	}
	return false
}

func TestFaultsOfFrames(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 60 })
	c := dial(t, s, "/binance/ws/btcusdt@trade")
	id := func() int64 {
		for {
			var e struct {
				ID   int64 `json:"t"`
				Time int64 `json:"T"`
			}
			if err := json.Unmarshal(c.read(), &e); err == nil {
				return e.ID
			}
		}
	}
	// expect reads until the step from one trade id to the next is the wanted one.
	expect := func(kind, body string, wanted func(step int64) bool) {
		t.Helper()
		last := id()
		fault(t, s, body)
		for range 3000 {
			next := id()
			if wanted(next - last) {
				return
			}
			last = next
		}
		t.Errorf("%s: did not show in 3,000 frames", kind)
	}
	expect("drop", `{"kind":"drop","venue":"binance","symbol":"BTCUSDT","count":1}`, func(step int64) bool { return step == 2 })
	expect("duplicate", `{"kind":"duplicate","venue":"binance","rate":0.5,"count":1}`, func(step int64) bool { return step == 0 })
	expect("reorder", `{"kind":"reorder","count":1}`, func(step int64) bool { return step == -1 })
	fault(t, s, `{"kind":"garbage","count":1}`)
	c.until("this is not JSON")
	report := s.ledger.Report(false)
	if report.DroppedFrames != 1 || report.DuplicatedFrames != 1 {
		t.Errorf("the ledger says %+v", report)
	}
	// A client that is behind needs a longer silence to notice one.
	for silence := 300 * time.Millisecond; !pauses(c, s, silence); silence *= 3 {
		if silence > patience {
			t.Fatal("silence: there was no pause of 200 ms")
		}
	}
	if response, _ := do(t, http.MethodPost, s, "/control/fault", `{"kind":"nonsense"}`); response.StatusCode != 400 {
		t.Errorf("an unknown fault: %d", response.StatusCode)
	}
}

func TestFaultsOfConnectionsSnapshotsAndSubscriptions(t *testing.T) {
	s := start(t, func(c *Config) { c.Market.Rate = 60 })
	fault(t, s, `{"kind":"429","venue":"binance","count":1,"retry_after":3}`)
	if response, _ := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT"); response.StatusCode != 429 || response.Header.Get("Retry-After") != "3" {
		t.Errorf("429: %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	current := func() int64 {
		_, body := get(t, s, "/binance/api/v3/depth?symbol=BTCUSDT")
		var book binanceBook
		if err := json.Unmarshal(body, &book); err != nil {
			t.Fatal(err)
		}
		return book.LastUpdateID
	}
	d := dial(t, s, "/binance/ws/btcusdt@depth@100ms")
	d.read()
	d.read()
	fresh := current()
	fault(t, s, `{"kind":"stale_snapshot","count":1}`)
	if stale := current(); stale >= fresh {
		t.Errorf("the stale snapshot %d is not older than %d", stale, fresh)
	}

	fault(t, s, `{"kind":"refuse","venue":"kraken","symbol":"ETH/USD"}`)
	k := dial(t, s, "/kraken/v2")
	k.send(`{"method":"subscribe","params":{"channel":"book","symbol":["ETH/USD","BTC/USD"]}}`)
	k.until(`Currency pair not supported ETH/USD`)
	k.until(`"success":true`)
	// As many as are asked for are seen, though many of the book's changes are below the client's depth.
	fault(t, s, `{"kind":"checksum","venue":"kraken","count":20}`)
	book := krakenClientBook{depth: 10}
	for wrong := 0; wrong < 20; {
		var frame krakenFrame
		if err := json.Unmarshal(k.read(), &frame); err == nil && frame.Channel == "book" {
			if book.apply(t, frame.Data[0].Bids, frame.Data[0].Asks) != frame.Data[0].Checksum {
				wrong++
			}
		}
	}

	fault(t, s, `{"kind":"giant","venue":"kraken","bytes":20000000}`)
	if frame := k.until(`{"stream":"giant"`); len(frame) != 20000000 {
		t.Errorf("the giant frame has %d bytes", len(frame))
	}
	fault(t, s, `{"kind":"half_open","venue":"kraken"}`)
	short, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	for {
		if _, _, err := k.conn.Read(short); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("half-open: %v", err)
			}
			break
		}
	}
	going := dial(t, s, "/binance/ws/btcusdt@trade")
	going.read()
	fault(t, s, `{"kind":"shutdown","venue":"binance","duration":"1ms"}`)
	going.until(`{"e":"serverShutdown","E":`)
	if _, err := going.rest(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("after the announced shutdown: ended with %v", err)
	}
	for _, abrupt := range []string{"false", "true"} {
		b := dial(t, s, "/binance/ws/btcusdt@trade")
		b.read()
		fault(t, s, `{"kind":"cut","venue":"binance","abrupt":`+abrupt+`}`)
		if _, err := b.rest(); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("cut (abrupt %s): ended with %v", abrupt, err)
		}
	}
}

// Every kind of fault can be asked for by flag; those of connections strike each one once, at an age.
func TestEveryFaultHasAFlag(t *testing.T) {
	for kind := range faultKinds {
		text := "kind=" + kind + ",rate=0.5,count=3,venue=kraken"
		fault := Fault{Kind: kind}
		if fault.strikesConnections() {
			text += ",after=10s"
		}
		fault, err := ParseFault(text)
		if err != nil {
			t.Error(err)
			continue
		}
		s := start(t, func(c *Config) { c.Faults = []Fault{fault} })
		if active := s.faults.list(); len(active) != 1 || active[0].Kind != kind || active[0].Rate != 0.5 || active[0].Count != 3 || active[0].Venue != "kraken" {
			t.Errorf("%s: %+v", text, active)
		}
	}
}

func TestFaultsOfConnectionsStrikeAtAnAge(t *testing.T) {
	flags := func(texts ...string) (all []Fault) {
		for _, text := range texts {
			fault, err := ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fault)
		}
		return all
	}
	s := start(t, func(c *Config) {
		c.Market.Rate = 10
		c.Faults = flags("kind=cut,after=1s,venue=binance,count=1", "kind=giant,after=1s,venue=kraken,bytes=5000000", "kind=shutdown,after=1s,venue=binance-usdm,duration=1ms")
	})
	k, u := dial(t, s, "/kraken/v2"), dial(t, s, "/binance-usdm/ws/btcusdt@trade")
	began := time.Now()
	_, err := dial(t, s, "/binance/ws/btcusdt@trade").rest()
	if age := time.Since(began); websocket.CloseStatus(err) != -1 || age < 900*time.Millisecond {
		t.Errorf("cut after %s with %v", age, err)
	}
	k.until(`{"stream":"giant"`)
	u.until(`{"e":"serverShutdown","E":`)
	if _, err := u.rest(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("after the announced shutdown: ended with %v", err)
	}
	// The count of the cuts is used up, and the giant came once: both connections live on past the age.
	b := dial(t, s, "/binance/ws/btcusdt@trade")
	k.send(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}`)
	for began = time.Now(); time.Since(began) < 2500*time.Millisecond; {
		b.read()
		if frame := k.read(); bytes.HasPrefix(frame, []byte(`{"stream":"giant"`)) {
			t.Error("a second giant on the same connection")
		}
	}
	hits := map[string]int64{}
	for _, fault := range s.faults.list() {
		hits[fault.Kind] = fault.Hits
	}
	if hits["giant"] != 1 || hits["shutdown"] != 1 {
		t.Errorf("hits %v", hits)
	}
}

func TestAWrongStartIsOneClearLine(t *testing.T) {
	s := start(t, nil)
	for name, change := range map[string]func(*Config){
		"port taken":      func(c *Config) { c.Listen = s.Address() },
		"file missing":    func(c *Config) { c.Replay = "/nonexistent/file" },
		"unknown format":  func(c *Config) { c.Replay = "simulator_test.go" },
		"ledger":          func(c *Config) { c.Ledger = "/nonexistent/ledger" },
		"unknown venue":   func(c *Config) { c.Market.Venues = []string{"nyse"} },
		"impossible rate": func(c *Config) { c.Market.Rate = -1 },
		"fault":           func(c *Config) { c.Faults = []Fault{{Kind: "x"}} },
		"fault by flag":   func(c *Config) { c.Faults = []Fault{{Kind: FaultCut}} },
	} {
		config := DefaultConfig()
		change(&config)
		_, err := New(config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
