package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
)

// The recordings, each of which is a feed.
const (
	spotBTC  = "binance-spot/btcusdt-20240808.gz"
	spotETH  = "binance-spot/ethusdt-20240808.gz"
	usdmBTC  = "binance-usdm/btcusdt-20240808.gz"
	kraken25 = "kraken-v2/btcusd-depth25.cbcap"
	kraken10 = "kraken-v2/btcusd-depth10.cbcap"
	coinbase = "coinbase-exchange/level2-matches-20210417.txt.gz"
	okx      = "okx/books-trades-20220513.txt.gz"
)

// recording reads a recording as the loader publishes it: the inspector finds what the envelope says.
func recording(t testing.TB, name string) []*records.Frame {
	t.Helper()
	folder := os.Getenv("STREAMFORGE_CAPTURES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "captures")
	}
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the captures are missing: %v; set STREAMFORGE_CAPTURES", err)
		}
		t.Skipf("the captures are missing: %v; set STREAMFORGE_CAPTURES", err)
	}
	c := must[*capture.Capture](t)(capture.Open(filepath.Join(folder, filepath.FromSlash(name))))
	inspector := must[venue.Adapter](t)(all.Get(c.Venue)).NewInspector()
	var frames []*records.Frame
	for entry, err := range c.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		f := &records.Frame{
			Kind: records.FrameData, Venue: c.Venue, Feed: name, LoaderEpoch: 1, Connection: 1, Sequence: int64(len(frames)),
			ReceivedAt: at.UnixMicro(), Payload: bytes.Clone(entry.Payload),
		}
		if entry.REST {
			f.Kind, f.VenueSymbol, f.Request = records.FrameRESTSnapshot, entry.VenueSymbol, entry.Request
		} else {
			var in venue.Inspection
			inspector.Inspect(f.Payload, &in)
			f.Request = in.Request
		}
		frames = append(frames, f)
	}
	return frames
}

// figures of one recording, counted from the parser's products alone.
type figures struct {
	Trades, Snapshots, Updates int
	// Applied to a rebuilt book, among them those whose checksum held.
	Applied, Verified, Broken int
}

// All recordings pass through a running parser. The books are rebuilt from raw-orderbooks' records and nothing else.
func TestBooksRebuiltFromTheProductsMatchTheirChecksums(t *testing.T) {
	t.Parallel()
	want := map[string]figures{
		spotBTC:  {Trades: 9757, Snapshots: 1, Updates: 3451, Applied: 3449},
		spotETH:  {Trades: 6106, Snapshots: 1, Updates: 3434, Applied: 3433},
		usdmBTC:  {Trades: 21313, Snapshots: 1, Updates: 6551, Applied: 6546},
		kraken25: {Snapshots: 1, Updates: 2051, Applied: 2052, Verified: 2052},
		kraken10: {Snapshots: 5, Updates: 296, Applied: 301, Verified: 301},
		coinbase: {Trades: 97, Snapshots: 10, Updates: 9719, Applied: 9729},
		okx:      {Trades: 74, Snapshots: 3, Updates: 287, Applied: 290, Verified: 290},
	}
	loaded := map[string][]*records.Frame{}
	for name := range want {
		loaded[name] = recording(t, name)
	}
	s := newStack(t)
	p := s.start(Config{})
	for _, frames := range loaded {
		for _, f := range frames {
			s.sendFrame(f)
		}
	}
	s.drained()
	p.stop()
	feeds := s.feeds()
	got := map[string]figures{}
	for _, trade := range readAs[records.Trade](s, topicTrades) {
		f := got[feeds[trade.Frame.Partition][trade.Frame.Offset]]
		f.Trades++
		got[feeds[trade.Frame.Partition][trade.Frame.Offset]] = f
	}
	books := map[string]*market.OrderBook{}
	for _, record := range readAs[records.Orderbook](s, topicBooks) {
		feed := feeds[record.Frame.Partition][record.Frame.Offset]
		f := got[feed]
		f.add(t, books, feed, &record.Book)
		got[feed] = f
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for key, book := range books {
		if book.State() != market.BookSynced {
			t.Errorf("%s ends %v: %s", key, book.State(), book.Reason())
		}
	}
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func (f *figures) add(t *testing.T, books map[string]*market.OrderBook, feed string, b *market.Book) {
	if b.Kind == market.BookSnapshot {
		f.Snapshots++
	} else {
		f.Updates++
	}
	key := feed + " " + b.Instrument.Symbol
	if books[key] == nil {
		books[key] = market.NewOrderBook(market.RulesOf(b.Instrument.Venue))
	}
	switch books[key].Apply(b) {
	case market.Applied:
		f.Applied++
		if b.Checksum.Valid {
			f.Verified++
		}
	case market.Broke:
		f.Broken++
		t.Errorf("%s: %s", key, books[key].Reason())
	}
}

// feeds says of which feed each frame is, by partition and offset.
func (s *stack) feeds() map[int32]map[int64]string {
	s.t.Helper()
	feeds := map[int32]map[int64]string{}
	err := kafka.ReadAll(s.t.Context(), s.kafka, []string{topicFrames}, func(r kafka.Record) error {
		if feeds[r.Partition] == nil {
			feeds[r.Partition] = map[int64]string{}
		}
		_, name, _ := records.SplitKey(string(r.Key))
		feeds[r.Partition][r.Offset] = name
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return feeds
}
