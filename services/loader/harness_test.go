package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
)

func TestMain(m *testing.M) {
	if os.Getenv(asLoader) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// testVenue is a real WebSocket and HTTP server that the test plays the venue on.
type testVenue struct {
	server   *httptest.Server
	accepted chan *peer
	refuse   func() int // HTTP status to refuse a connection with; 0 accepts
	retry    string     // Retry-After of a refusal
	mu       sync.Mutex
	depth    func(symbol string) (status int, header http.Header, body string)
	asked    []string
}

// peer is the venue's end of one connection.
type peer struct {
	t        testing.TB
	ws       *websocket.Conn
	received chan string
	done     chan struct{}
}

func newTestVenue(t testing.TB) *testVenue {
	v := &testVenue{accepted: make(chan *peer, 16)}
	v.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/depth") {
			v.serveDepth(w, r)
			return
		}
		if v.refuse != nil {
			if status := v.refuse(); status != 0 {
				if v.retry != "" {
					w.Header().Set("Retry-After", v.retry)
				}
				w.WriteHeader(status)
				return
			}
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		p := &peer{t: t, ws: ws, received: make(chan string, 1000), done: make(chan struct{})}
		go func() {
			defer close(p.done)
			for {
				_, message, err := ws.Read(context.Background())
				if err != nil {
					return
				}
				p.received <- string(message)
			}
		}()
		v.accepted <- p
		<-p.done
	}))
	t.Cleanup(func() {
		v.server.CloseClientConnections()
		v.server.Close()
	})
	return v
}

func (v *testVenue) serveDepth(w http.ResponseWriter, r *http.Request) {
	symbol := r.URL.Query().Get("symbol")
	v.mu.Lock()
	v.asked = append(v.asked, symbol)
	depth := v.depth
	v.mu.Unlock()
	if depth == nil {
		http.Error(w, "no book", http.StatusNotFound)
		return
	}
	status, header, body := depth(symbol)
	for name := range header {
		w.Header().Set(name, header.Get(name))
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func (v *testVenue) timesAsked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.asked)
}

func (v *testVenue) ws() string   { return "ws" + strings.TrimPrefix(v.server.URL, "http") }
func (v *testVenue) rest() string { return v.server.URL }

// accept waits for the loader's next connection.
func (v *testVenue) accept(t testing.TB) *peer {
	t.Helper()
	select {
	case p := <-v.accepted:
		return p
	case <-time.After(patience):
		t.Fatalf("waited %s for a connection", patience)
		return nil
	}
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Errorf("sending: %v", err)
	}
}

// subscribed reads the loader's subscription, passing over its pings.
func (p *peer) subscribed() string {
	p.t.Helper()
	for {
		select {
		case m := <-p.received:
			if m != `{"method":"ping"}` {
				return m
			}
		case <-time.After(patience):
			p.t.Fatalf("waited %s for a subscription", patience)
		}
	}
}

func trade(symbol string, id int) string {
	return fmt.Sprintf(`{"stream":"%s@trade","data":{"e":"trade","E":1723104000000,"s":"%s","t":%d,"p":"57000.10000000","q":"0.00100000","T":1723104000000,"m":true,"M":true}}`,
		strings.ToLower(symbol), symbol, id)
}

func depthUpdate(symbol string, first, last int) string {
	return fmt.Sprintf(`{"stream":"%s@depth@100ms","data":{"e":"depthUpdate","E":1723104000000,"s":"%s","U":%d,"u":%d,"b":[["57000.10000000","1.00000000"]],"a":[]}}`,
		strings.ToLower(symbol), symbol, first, last)
}

func depthBody(last int) string {
	return fmt.Sprintf(`{"lastUpdateId":%d,"bids":[["57000.10000000","1.00000000"]],"asks":[["57000.20000000","1.00000000"]]}`, last)
}

// rig is a loader under test.
type rig struct {
	t        testing.TB
	kafka    *memoryKafka
	registry *memoryRegistry
	venue    *testVenue
	config   Config
	feeds    []FeedConfig
	log      *slog.Logger
	reg      *prometheus.Registry
	loader   *Loader
	wrap     func(venue.Adapter) venue.Adapter

	cancel context.CancelFunc
	ended  chan error
}

func newRig(t testing.TB, feeds ...FeedConfig) *rig {
	r := &rig{t: t, kafka: newMemoryKafka(), registry: &memoryRegistry{}, venue: newTestVenue(t), feeds: feeds}
	r.log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.config = Config{
		BufferBytes: 64 << 20, QueueBytes: 8 << 20, DrainTimeout: time.Minute, ProducerName: "loader@test",
		Rotation: RotationConfig{Settle: 50 * time.Millisecond, Overlap: patience},
	}
	return r
}

// logTo sends the log to w.
func (r *rig) logTo(w io.Writer) { r.log = slog.New(slog.NewTextHandler(w, nil)) }

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Print(string(p))
	}
	return len(p), nil
}

// btc is the feed that most tests use.
func btc(v ...venue.Channel) FeedConfig {
	return FeedConfig{Name: "f0", Venue: "binance", Symbols: []string{"BTC-USDT"}, Channels: v}
}

const btcKey = "binance/f0"

func (r *rig) start() {
	r.t.Helper()
	known, err := adapters()
	if err != nil {
		r.t.Fatal(err)
	}
	r.config.Feeds = nil
	for _, c := range r.feeds {
		if c.WebSocket == "" {
			c.WebSocket = r.venue.ws()
		}
		if c.REST == "" {
			c.REST = r.venue.rest()
		}
		feed, err := c.resolve(known)
		if err != nil {
			r.t.Fatal(err)
		}
		if r.wrap != nil {
			feed.Adapter = r.wrap(feed.Adapter)
		}
		r.config.Feeds = append(r.config.Feeds, feed)
	}
	r.reg = prometheus.NewRegistry()
	r.loader, err = New(r.config, Deps{
		Log: r.log, Registerer: r.reg, Registry: r.registry, Admin: r.kafka, Consumer: r.kafka.consumer, Producer: r.kafka.producer,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.loader.Run(ctx) }()
	r.t.Cleanup(cancel)
}

// stop drains the loader and returns what Run returned.
func (r *rig) stop() error {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatalf("the loader did not drain within %s", patience)
		return nil
	}
}

func (r *rig) mustStop() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

// metric sums a counter or gauge over its labels.
func (r *rig) metric(name string, labels ...string) float64 {
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		if family.GetName() != "streamforge_loader_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			matched := 0
			for _, want := range labels {
				for _, pair := range m.GetLabel() {
					if pair.GetName()+"="+pair.GetValue() == want {
						matched++
					}
				}
			}
			if matched == len(labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// payloads are the payloads of FRAME records.
func payloads(all []published) []string {
	var texts []string
	for i := range all {
		if all[i].Kind == records.FrameData {
			texts = append(texts, string(all[i].Payload))
		}
	}
	return texts
}

func count(all []published, kind records.FrameKind) int {
	n := 0
	for i := range all {
		if all[i].Kind == kind {
			n++
		}
	}
	return n
}

func gaps(t testing.TB, all []published, reason market.GapReason) []market.Gap {
	t.Helper()
	var found []market.Gap
	for i := range all {
		if all[i].Kind != records.FrameGap {
			continue
		}
		var gap market.Gap
		if err := json.Unmarshal(all[i].Payload, &gap); err != nil {
			t.Fatal(err)
		}
		if gap.Reason == reason {
			found = append(found, gap)
		}
	}
	return found
}

// checkOrder holds the envelope's promises over all records of a feed.
func checkOrder(t testing.TB, all []published) {
	t.Helper()
	var epoch, sequence int64
	open := int64(0)
	for i := range all {
		p := &all[i]
		if i == 0 || p.LoaderEpoch != epoch {
			if p.LoaderEpoch <= epoch {
				t.Fatalf("epoch %d after %d", p.LoaderEpoch, epoch)
			}
			epoch, sequence, open = p.LoaderEpoch, 0, 0
		}
		if p.Sequence != sequence {
			t.Fatalf("record %d: sequence %d, expected %d%s", i, p.Sequence, sequence, summary(all))
		}
		sequence++
		if p.TimestampMs != p.ReceivedAt/1000 {
			t.Fatalf("record %d: timestamp %d ms, received_at %d µs", i, p.TimestampMs, p.ReceivedAt)
		}
		switch p.Kind {
		case records.FrameOpen:
			open = p.Connection
		case records.FrameData:
			if p.Connection != open {
				t.Fatalf("record %d: a frame of connection %d, but connection %d is open%s", i, p.Connection, open, summary(all))
			}
		case records.FrameClose:
			if p.Connection != open {
				t.Fatalf("record %d: CLOSE of connection %d, but connection %d is open", i, p.Connection, open)
			}
			open = 0
		}
	}
}
