package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/venue-simulator/synthetic"
)

var fixedStart = time.Unix(1_700_000_000, 0)

// still makes a simulator whose market moves only when told to.
func still(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	config := DefaultConfig()
	config.Market.Start = fixedStart
	if change != nil {
		change(&config)
	}
	s, err := New(config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Close(); s.ledger.Close() })
	return s
}

// attach connects a client to every instrument of a venue, without a handshake.
func (s *Server) attach(venue string, n net.Conn) *conn {
	index := int32(0)
	for i, v := range s.venues {
		if v == venue {
			index = int32(i)
		}
	}
	c := newConn(s.lastID.Add(1), index, n, bufio.NewReader(strings.NewReader("")), 1<<30, s)
	session := &session{conn: c, topics: map[*topic]*instrument{}}
	s.connections[c] = session
	if venue == "kraken" {
		k := &kraken{server: s}
		for _, in := range s.instruments {
			if in.Venue == venue {
				k.subscribe(session, in, "book", 25, true)
				k.subscribe(session, in, "trade", 0, true)
			}
		}
		return c
	}
	b := s.newBinance(venue, true)
	for _, in := range s.instruments {
		if in.Venue == venue {
			b.subscribe(session, streamSymbol(in.Symbol)+"@trade")
			b.subscribe(session, streamSymbol(in.Symbol)+"@depth@100ms")
		}
	}
	return c
}

func TestTheSameSeedAndClockGiveTheSameFrames(t *testing.T) {
	frames := func(step time.Duration) []byte {
		s := still(t, func(c *Config) { c.Market.Rate, c.Market.Symbols = 20, 12 })
		var conns []*conn
		for _, v := range s.venues {
			conns = append(conns, s.attach(v, nil))
		}
		for at := step; at <= 2*time.Second; at += step {
			for !s.advance(fixedStart.Add(at)) {
			}
		}
		var all []byte
		for _, c := range conns {
			all = append(all, c.pending...)
		}
		return all
	}
	one := frames(2 * time.Second)
	if !bytes.Equal(one, frames(5*time.Millisecond)) {
		t.Error("the frames differ when the market is moved in other steps")
	}
	if len(one) < 1<<20 {
		t.Errorf("only %d bytes", len(one))
	}
}

func TestNumbersAreWrittenWithTheirPoint(t *testing.T) {
	for _, c := range []struct {
		v           int64
		digits, pad int
		want        string
	}{{6183763, 2, 6, "61837.63000000"}, {5, 2, 0, "0.05"}, {0, 0, 8, "0.00000000"}, {0, 3, 0, "0.000"}, {42, 0, 0, "42"}, {630000, 1, 0, "63000.0"}, {618002, 1, 1, "61800.20"}, {139, 8, 0, "0.00000139"}} {
		if got := string(appendFixed(nil, c.v, c.digits, c.pad)); got != c.want {
			t.Errorf("%d with %d digits and %d more: %s, expected %s", c.v, c.digits, c.pad, got, c.want)
		}
	}
}

// What a client of a depth has, plus the difference, cut to the depth, is what the book shows in that depth.
func TestADifferenceTurnsOneViewIntoTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := synthetic.Side(rapid.IntRange(0, 1).Draw(t, "side"))
		draw := func(name string) []synthetic.Level {
			var levels []synthetic.Level
			prices := rapid.SliceOfNDistinct(rapid.Int64Range(1, 40), 0, 30, rapid.ID[int64]).Draw(t, name)
			b := textlessBook{}
			for _, p := range prices {
				b[p] = rapid.Int64Range(1, 3).Draw(t, "quantity")
			}
			levels = b.sorted(side)
			return levels
		}
		before, after := draw("before"), draw("after")
		depth := rapid.IntRange(1, 12).Draw(t, "depth")
		view := before[:min(depth, len(before))]
		b := textlessBook{}
		for _, l := range view {
			b[l.Price] = l.Quantity
		}
		for _, l := range difference(nil, view, after, depth, side) {
			if l.Quantity == 0 {
				delete(b, l.Price)
			} else {
				b[l.Price] = l.Quantity
			}
		}
		got := b.sorted(side)
		got = got[:min(depth, len(got))]
		want := after[:min(depth, len(after))]
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

type textlessBook map[int64]int64

func (b textlessBook) sorted(side synthetic.Side) []synthetic.Level {
	var levels []synthetic.Level
	for p := int64(0); p <= 41; p++ {
		price := p
		if side == synthetic.Bid {
			price = 41 - p
		}
		if q, ok := b[price]; ok {
			levels = append(levels, synthetic.Level{Price: price, Quantity: q})
		}
	}
	return levels
}

// Whatever a client sends, each venue answers with JSON and lives on.
func FuzzClientMessages(f *testing.F) {
	for _, message := range []string{
		`{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":1}`, `{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":null}`,
		`{"method":"SET_PROPERTY","params":["combined",true],"id":2}`, `{"method":"LIST_SUBSCRIPTIONS","id":"x"}`,
		`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","X"],"depth":25},"req_id":1}`,
		`{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}`, `{"method":"ping"}`, `[`, `null`, `{"method":"SUBSCRIBE","params":[1,null]}`,
	} {
		f.Add([]byte(message))
	}
	s := still(f, func(c *Config) { c.Market.Symbols = 2 })
	c := newConn(1, 0, nil, bufio.NewReader(strings.NewReader("")), 1<<30, s)
	session := &session{conn: c, topics: map[*topic]*instrument{}}
	dialects := []dialect{s.newBinance("binance", true), s.newBinance("binance-usdm", false), &kraken{server: s}}
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, d := range dialects {
			d.handle(session, message)
			for _, m := range c.marks {
				payload := c.pending[m.end-int(m.entry.Length) : m.end]
				if !json.Valid(payload) {
					t.Fatalf("answered %q", payload)
				}
			}
			c.pending, c.marks = c.pending[:0], c.marks[:0]
		}
	})
}

func FuzzParseFault(f *testing.F) {
	f.Add("kind=drop,rate=0.001,venue=binance,count=5,duration=10s")
	f.Add("kind=giant,bytes=100")
	f.Fuzz(func(t *testing.T, text string) {
		if fault, err := ParseFault(text); err == nil {
			if err := fault.validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkGenerateAndSend is the whole way of a frame on this side: the market, rendering, hashing, buffers, system
// calls, the ledger. The client reads and forgets.
func BenchmarkGenerateAndSend(b *testing.B) {
	s := still(b, func(c *Config) { c.Market.Rate = 145.2; c.Ledger = b.TempDir() + "/ledger" })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	var conns []*conn
	for _, v := range s.venues {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		go func() { io.Copy(io.Discard, client); client.Close() }()
		server, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		c := s.attach(v, server)
		go c.write()
		conns = append(conns, c)
	}
	at := time.Duration(0)
	for b.Loop() {
		at += tick
		for !s.advance(fixedStart.Add(at)) {
		}
		for _, c := range conns {
			c.waitForSpace(4<<20, nil)
		}
	}
	for _, c := range conns {
		c.finish()
		<-c.gone
	}
	frames := s.ledger.Report(true).Frames
	b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
}
