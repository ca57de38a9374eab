package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
)

func TestTheFileHasALineAFrameAndTheTotalsAddUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := ledger.New([]string{"a", "b"}, path)
	if err != nil {
		t.Fatal(err)
	}
	l.Sent(4, 0, []ledger.Entry{
		{Venue: 0, Kind: ledger.Frame, Hash: 0xabc, Length: 10, Trades: 2},
		{Venue: 1, Kind: ledger.Frame, Hash: 1, Length: 20, Snapshot: true},
	})
	l.Sent(4, 2, []ledger.Entry{{Venue: 1, Kind: ledger.Frame, Hash: 2, Length: 30, Updates: 1}})
	l.SentREST(ledger.Entry{Venue: 0, Kind: ledger.RESTSnapshot, Hash: 3, Length: 40, Snapshot: true})
	l.Dropped(1, 5)
	l.Duplicated(1, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "4 0 F 0000000000000abc 10 2 0\n4 1 F 0000000000000001 20 0 0\n4 2 F 0000000000000002 30 0 1\n0 0 S 0000000000000003 40 0 0\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	totals := ledger.Totals{Frames: 3, Trades: 2, OrderbookUpdates: 1, Snapshots: 1, RESTSnapshots: 1, Bytes: 100, DroppedFrames: 5, DuplicatedFrames: 1}
	if diff := cmp.Diff(totals, l.Report(true).Totals); diff != "" {
		t.Error(diff)
	}
}

func TestAFullDiskIsReportedNotSwallowed(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	l, err := ledger.New([]string{"a"}, "/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	l.Sent(1, 0, []ledger.Entry{{Kind: ledger.Frame}})
	if err := l.Close(); err == nil {
		t.Error("a ledger that could not be written closed without an error")
	}
}

func BenchmarkSent(b *testing.B) {
	l, err := ledger.New([]string{"a"}, filepath.Join(b.TempDir(), "ledger"))
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]ledger.Entry, 100)
	for i := range entries {
		entries[i] = ledger.Entry{Kind: ledger.Frame, Hash: uint64(i) << 40, Length: 200, Trades: 1}
	}
	var index int64
	for b.Loop() {
		l.Sent(1, index, entries)
		index += 100
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(index), "ns/frame")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
