//go:build cgo

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestNoTextOfALetterSteersATerminal: what failed is somebody else's bytes.
func TestNoTextOfALetterSteersATerminal(t *testing.T) {
	for _, text := range []string{"\x1b[2J", "a\nb", "a\rb", "\u009b2J", "\xff\xfe", "\u202etxt"} {
		shown := safe(text, 100)
		if strings.ContainsAny(shown, "\x1b\n\r\u009b\u202e") {
			t.Errorf("%q is shown as %q", text, shown)
		}
	}
	if shown := safe(strings.Repeat("x", 1000), 100); len(shown) > 110 {
		t.Errorf("%d bytes are shown", len(shown))
	}
}

// letterLine is a line of `dead-letters list --json`.
type letterLine struct {
	Key    string `json:"key"`
	Status string `json:"status"`
	Class  string `json:"class"`
	Offset int64  `json:"offset"`
}

func letterLines(t *testing.T, s *processtest.Stack, arguments ...string) []letterLine {
	t.Helper()
	var lines []letterLine
	for line := range strings.Lines(s.Run(append([]string{"dead-letters", "list", "--json"}, arguments...)...)) {
		var v letterLine
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, v)
	}
	return lines
}

// deadLettersAreResolved is a person's day with dead letters: one is replayed after its cause is mended, while the writer is killed
// again and again, and one is discarded.
func deadLettersAreResolved(t *testing.T, s *processtest.Stack) {
	s.MustQuery("ALTER TABLE feed_gaps ADD CONSTRAINT by_hand CHECK feed != 'dead'")
	id := gapOf(t, s, "dead")
	one := produce(t, s, "feed-gaps", id)
	produce(t, s, "feed-gaps", []byte("no wire format either"))
	filter := []string{"--group", "writer.feed-gaps", "--class", "rejected-row"}
	var letter letterLine
	processtest.Await(t, "the letter", patience, func() error {
		lines := letterLines(t, s, filter...)
		if len(lines) != 1 || lines[0].Offset != one.Offset || lines[0].Status != "failed" {
			return fmt.Errorf("%+v", lines)
		}
		letter = lines[0]
		return nil
	})
	if output := s.Run("dead-letters", "show", letter.Key); !strings.Contains(output, "feed=dead") || !strings.Contains(output, "rejected-row") || !strings.Contains(output, "producer=test@test") {
		t.Errorf("show:\n%s", output)
	}
	s.MustQuery("ALTER TABLE feed_gaps DROP CONSTRAINT by_hand")
	s.Run("dead-letters", "replay", "--yes", letter.Key)
	again, err := s.Command("dead-letters", "replay", "--yes", letter.Key).CombinedOutput()
	if err == nil && len(letterLines(t, s, append(filter, "--status", "failed")...)) > 0 {
		t.Errorf("asked twice: %s", again)
	}
	for range 3 {
		pid := s.PID("writer")
		s.Signal("writer", syscall.SIGKILL)
		processtest.Await(t, "the writer's successor", patience, func() error {
			if p, _ := s.Status().Program("writer"); p.PID == 0 || p.PID == pid {
				return fmt.Errorf("process id %d after %d was killed", p.PID, pid)
			}
			return nil
		})
	}
	processtest.Await(t, "the replay", patience, func() error {
		if lines := letterLines(t, s, append(filter, "--status", "replayed")...); len(lines) != 1 {
			return fmt.Errorf("%+v", letterLines(t, s, append(filter, "--status", "all")...))
		}
		return nil
	})
	rows := s.MustQuery(fmt.Sprintf("SELECT count(), any(_partition), any(_offset) FROM feed_gaps WHERE feed = 'dead' AND _partition = %d", one.Partition))
	if got := strings.Join(strings.Fields(rows), " "); got != fmt.Sprintf("1 %d %d", one.Partition, one.Offset) {
		t.Errorf("rows, partition, offset: %s", got)
	}
	processtest.Await(t, "the other letter", patience, func() error {
		if lines := letterLines(t, s, "--class", "not-wire"); len(lines) == 0 {
			return errors.New("none")
		}
		return nil
	})
	// The parser answers for its own letters. This one will never be a frame.
	produce(t, s, "raw-frames", []byte("no frame"))
	filter = []string{"--group", "parser", "--class", "not-wire"}
	answered := func(what string) {
		processtest.Await(t, what, patience, func() error {
			if lines := letterLines(t, s, filter...); len(lines) != 1 || lines[0].Status != "failed" {
				return fmt.Errorf("%+v", lines)
			}
			return nil
		})
	}
	answered("the parser's letter")
	if output := s.Run(append([]string{"dead-letters", "replay", "--yes"}, filter...)...); !strings.Contains(output, "the replay of 1 letters is asked for") {
		t.Errorf("replay:\n%s", output)
	}
	answered("the parser's answer")
	s.Run("dead-letters", "discard", "--yes", "--class", "not-wire", "--reason", "test")
	if lines := letterLines(t, s, "--class", "not-wire"); len(lines) != 0 {
		t.Errorf("open after they were discarded: %+v", lines)
	}
	if output := s.Run("dead-letters", "list", "--status", "all", "--class", "not-wire"); !strings.Contains(output, "discarded") {
		t.Errorf("list:\n%s", output)
	}
}

// gapOf is a gap of a feed of the test's own.
func gapOf(t *testing.T, s *processtest.Stack, feed string) []byte {
	t.Helper()
	id, body, err := registry.ParseWire(gap(t, s))
	var g records.FeedGap
	if err == nil {
		err = g.DecodeAvro(body)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.Feed, g.ReceivedAt = feed, time.Now().UnixMicro() // An old row would be past its TTL.
	return g.AppendAvro(registry.AppendWireHeader(nil, id))
}
