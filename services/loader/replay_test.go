package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/internal/records"
)

// captures finds the recordings; without them the test is skipped, except in CI.
func captures(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("STREAMFORGE_CAPTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "captures")
	}
	var found []string
	for _, pattern := range []string{"*/*.gz", "*/*.cbcap"} {
		matches, _ := filepath.Glob(filepath.Join(dir, pattern))
		found = append(found, matches...)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no captures in %s; set STREAMFORGE_CAPTURES", dir)
		}
		t.Skipf("no captures in %s; set STREAMFORGE_CAPTURES", dir)
	}
	return found
}

// Each recording passes simulator and loader entry by entry: kind, symbol, request and bytes, in order, nothing else.
func TestEachRecordingIsReplayedByteForByte(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	known, err := adapters()
	if err != nil {
		t.Fatal(err)
	}
	s, simulator := newStack(t), buildSimulator(t)
	for i, path := range captures(t) {
		recording, err := capture.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		adapter := known[recording.Venue]
		if adapter == nil {
			t.Logf("%s: venue %s is not in this build", path, recording.Venue)
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			s.t = t
			address := startSimulator(t, simulator, "--replay", path, "--speed", "max")
			var symbols []string
			for _, name := range recording.Symbols {
				instrument, err := adapter.FromVenue(name)
				if err != nil {
					t.Fatal(err)
				}
				symbols = append(symbols, instrument.Symbol)
			}
			feed := fmt.Sprintf("r%d", i)
			p := s.start(fmt.Sprintf("feeds: [{name: %s, venue: %s, symbols: [%s], websocket: 'ws://%s/replay', replay: true}]",
				feed, recording.Venue, strings.Join(symbols, ", "), address))
			waitFor(t, "the end of the replay", func() bool {
				_, body := p.get("/metrics")
				return strings.Contains(body, `kind="CLOSE",venue="`+recording.Venue+`"} 1`)
			})
			p.cmd.Process.Signal(syscall.SIGTERM)
			if err := p.end(t); err != nil {
				t.Fatal(err)
			}
			all := s.frames(records.FrameKey(recording.Venue, feed))
			checkOrder(t, all)
			all = slices.DeleteFunc(all, func(p published) bool { return p.Kind != records.FrameData && p.Kind != records.FrameRESTSnapshot })
			n := 0
			for entry, err := range recording.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				if n >= len(all) {
					t.Fatalf("%d records, the recording has more entries", len(all))
				}
				got := all[n]
				if !bytes.Equal(got.Payload, entry.Payload) || (got.Kind == records.FrameRESTSnapshot) != entry.REST {
					t.Fatalf("entry %d: %s %.100q, expected %.100q", n, got.Kind, got.Payload, entry.Payload)
				}
				if entry.REST && (got.VenueSymbol != entry.VenueSymbol || got.Request != entry.Request) {
					t.Fatalf("entry %d: snapshot of %s by %s, expected %s by %s", n, got.VenueSymbol, got.Request, entry.VenueSymbol, entry.Request)
				}
				n++
			}
			if n != len(all) {
				t.Fatalf("%d records for %d entries", len(all), n)
			}
			t.Logf("%d entries, byte for byte", n)
		})
	}
}
