//go:build cgo

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// pauseHoldsOverAKill pauses a topic under traffic. Its table gets nothing while the others' do, also from a writer that was killed
// and started again; after the pause every record is there once.
func pauseHoldsOverAKill(t *testing.T, s *processtest.Stack) {
	if output, err := s.Command("pause", "raw-trades").CombinedOutput(); err == nil || !strings.Contains(string(output), "--reason") {
		t.Errorf("a pause without a reason: %v, %s", err, output)
	}
	s.Run("pause", "raw-trades", "--reason", "a test moves the table")
	awaitPaused(t, s)
	before := rowCount(t, s, "raw_trades")
	goOn := func() {
		t.Helper()
		s.AwaitRows(rowCount(t, s, "raw_frames")+200, "SELECT count() FROM raw_frames")
		if now := rowCount(t, s, "raw_trades"); now != before {
			t.Errorf("%d rows were written during the pause", now-before)
		}
	}
	goOn()
	pid := s.PID("writer")
	s.Signal("writer", syscall.SIGKILL)
	processtest.Await(t, "the writer's successor", patience, func() error {
		if p, _ := s.Status().Program("writer"); p.PID == 0 || p.PID == pid {
			return fmt.Errorf("process id %d after %d was killed", p.PID, pid)
		}
		return nil
	})
	awaitPaused(t, s)
	goOn()
	if listed := s.Run("pause"); !strings.HasPrefix(listed, "writer.raw-trades: paused by ") || !strings.Contains(listed, "a test moves the table\npaused groups: 1\n") {
		t.Errorf("what is paused:\n%s", listed)
	}
	s.Run("resume", "raw-trades")
	s.AwaitRows(before+1, "SELECT count() FROM raw_trades")
	// What was there when the question was asked is there once.
	processtest.Await(t, "the proof", patience, func() error {
		output, err := s.Command("verify", "raw-trades").CombinedOutput()
		if err != nil || !strings.Contains(string(output), "lost=0 duplicated=0") {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
	if p, _ := s.Status().Program("writer"); len(p.Notes) > 0 {
		t.Errorf("after the pause: %q", p.Notes)
	}
}

func awaitPaused(t *testing.T, s *processtest.Stack) {
	t.Helper()
	processtest.Await(t, "the pause", patience, func() error {
		p, _ := s.Status().Program("writer")
		if !p.Healthy || len(p.Notes) != 1 {
			return fmt.Errorf("healthy %v (%s), notes %q", p.Healthy, p.Detail, p.Notes)
		}
		if note := p.Notes[0]; !strings.HasPrefix(note, "raw-trades: paused by ") || !strings.HasSuffix(note, ": a test moves the table") {
			return errors.New(note) // Something is still on its way.
		}
		if n, err := s.Metric("writer", "streamforge_writer_paused", `product="raw-trades"`); err != nil || n != 1 {
			return fmt.Errorf("streamforge_writer_paused is %v, %w", n, err)
		}
		return nil
	})
}

func rowCount(t *testing.T, s *processtest.Stack, table string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(s.MustQuery("SELECT count() FROM "+table)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
