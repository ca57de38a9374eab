package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory of a process, in MiB: now, and at most so far.
func (p *process) memory(t *testing.T) (now, most int) {
	t.Helper()
	status := must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid)))
	for line := range strings.Lines(string(status)) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			now = n >> 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			most = n >> 10
		}
	}
	return now, most
}

// A backlog over 64 partitions waits while ClickHouse is away, and the writer's process, blocks, queues and all, stays within
// its bound. WRITER_BACKLOG is how many records; the figures of ten millions are in the README.
func TestABacklogIsHeldWithinItsBoundAndCaughtUp(t *testing.T) {
	records, err := strconv.Atoi(os.Getenv("WRITER_BACKLOG"))
	if err != nil {
		t.Skip("WRITER_BACKLOG is not set")
	}
	s := (&stack{t: t, partitions: 64}).fill(true, "raw-trades")
	p := s.spawn("a")
	s.trades(0, 1000)
	s.flush()
	s.awaitRows("raw_trades", 1000)
	s.server.Kill()
	began := time.Now()
	s.trades(1000, records)
	s.flush()
	t.Logf("%d records produced in %s", records, time.Since(began).Round(time.Millisecond))
	time.Sleep(20 * time.Second) // There is no event for what must not happen.
	now, most := p.memory(t)
	t.Logf("ClickHouse away: %d MiB, at most %d MiB", now, most)
	s.server.Restart(t)
	began = time.Now()
	for rows := 0; rows < records+1000; {
		rows = s.rows("raw_trades")
		if time.Since(began) > 10*time.Minute {
			t.Fatalf("%d rows after %s", rows, time.Since(began))
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(began)
	now, most = p.memory(t)
	t.Logf("caught up in %s, %.0f rows/s; %d MiB, at most %d MiB", took.Round(time.Millisecond), float64(records)/took.Seconds(), now, most)
	s.awaitRows("raw_trades", records+1000)
	// The text of this test's binary is 12 MiB longer than the writer's, and is counted.
	if most > 256+12 {
		t.Errorf("%d MiB at most: the process may take 256 MiB", most)
	}
}

// A writer that may put 1,000 rows a second into the table takes three seconds for 4,000, whatever is faster: the last block waits for
// nothing behind it.
func TestARateLimitHoldsWhileCatchingUp(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	const records, limit = 4000, 1000
	s.trades(0, records)
	s.flush()
	began := time.Now()
	s.start(Config{MaxRowsPerSecond: limit})
	s.awaitRows("raw_trades", records)
	// A block closes between two polls, so that one may be of nearly two seconds' rows.
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("%d rows took %s at a limit of %d a second", records, took, limit)
	}
}
