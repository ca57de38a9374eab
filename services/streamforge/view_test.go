//go:build cgo

package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"
	"pgregory.net/rapid"
)

// busySample is a pipeline with something wrong.
func busySample() Sample {
	return Sample{
		At: time.Now(), Elapsed: 72 * time.Second, FramesPerSecond: 1043, TradesPerSecond: 241, Frames: 2_087_100,
		Groups: []GroupLag{{"parser", 12, 0.1}, {"writer.raw-frames", 500, 0.4}, {"writer.raw-orderbooks", 12_345_678, 61.5}, {"writer.raw-trades", 97, 0.3}},
		Rows:   map[string]int64{"raw_frames": 20_871, "raw_orderbooks": 9_000, "raw_trades": 4_000, "feed_gaps": 1, "dead_letters": 2},
		P50:    402 * time.Millisecond, P99: 571 * time.Millisecond,
		Errors: []string{
			"clickhouse ended (signal: killed) and is started again",
			"writer: insert is waiting: inserting 125 rows into raw_trades: read tcp 127.0.0.1:39020->127.0.0.1:37077: connection reset; " + strings.Repeat("what to do about it ", 20),
		},
	}
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// However small the terminal is, the picture fits it, and the figures and the errors are the last to go.
func TestTheViewFitsEveryTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := liveView{title: "simulated venues, embedded stack", sample: busySample()}
		view.width, view.height = rapid.IntRange(1, 220).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		lines := strings.Split(view.View(), "\n")
		if len(lines) > view.height {
			t.Fatalf("%d lines on a terminal of %d:\n%s", len(lines), view.height, view.View())
		}
		for _, line := range lines {
			// A figure is not cut in two below the width of its label and number.
			if wide := lipgloss.Width(line); wide > max(view.width, 36) {
				t.Fatalf("%d columns on a terminal of %d: %q", wide, view.width, line)
			}
		}
		text := escapes.ReplaceAllString(view.View(), "")
		if view.width >= 60 && view.height >= 7 && (!strings.Contains(text, "frames/s 1043") || !strings.Contains(text, "clickhouse ended")) {
			t.Fatalf("no figures or no error on %d × %d:\n%s", view.width, view.height, text)
		}
	})
}

func TestTheViewShowsEverythingWhereThereIsRoom(t *testing.T) {
	view := liveView{title: "simulated venues, embedded stack", sample: busySample(), width: 100, height: 50}
	want := `StreamForge  simulated venues, embedded stack
  frames/s 1043       trades/s 241        frames 2 087 100  running 1m12s
  received → visible  p50 402 ms     p99 571 ms

  consumer group              lag seconds  lag records
  parser                              0.1           12
  writer.raw-frames                   0.4          500
  writer.raw-orderbooks              61.5   12 345 678
  writer.raw-trades                   0.3           97

  ClickHouse table                   rows
  dead_letters                          2
  feed_gaps                             1
  raw_frames                       20 871
  raw_orderbooks                    9 000
  raw_trades                        4 000

  clickhouse ended (signal: killed) and is started again
`
	if text := escapes.ReplaceAllString(view.View(), ""); !strings.HasPrefix(tidy(text), tidy(want)) || !strings.Contains(text, "Ctrl-C drains") {
		t.Fatalf("got\n%s\nwant\n%s", text, want)
	}
}

// tidy takes the blanks off the ends of lines.
func tidy(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

// Where no live view can be drawn there is a line a second, and an error that still stands is told once.
func TestALineASecondElsewhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	began, asked := time.Now(), 0
	if err := show(ctx, &out, false, "", func(context.Context) Sample {
		if asked++; asked == 4 {
			cancel()
		}
		return busySample()
	}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "frames/s=1043"); n != 3 || time.Since(began) < 3*time.Second {
		t.Errorf("%d lines in %s:\n%s", n, time.Since(began), out.String())
	}
	if n := strings.Count(out.String(), "error: clickhouse ended"); n != 1 {
		t.Errorf("the error was told %d times:\n%s", n, out.String())
	}
}

func TestTimesOfTheCommandLine(t *testing.T) {
	for text, want := range map[string]string{"20s": "20s", "20": "20s", "1.5": "1.5s", "2m": "2m0s", "0": "0s", "-2s": "", "-2": "", "soon": "", "": "", "inf": ""} {
		var got timeSpan
		err := got.UnmarshalText([]byte(text))
		if (err == nil) != (want != "") || (err == nil && time.Duration(got).String() != want) {
			t.Errorf("%q: %s, %v; want %s", text, time.Duration(got), err, fmt.Sprintf("%q", want))
		}
	}
}
