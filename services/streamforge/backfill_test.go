//go:build cgo

package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestABackfillTakesTheLiveTablesPlace makes a table again in which a row is missing and a view came later than its rows, under
// traffic; the writer that fills it and the swap are killed on the way.
func TestABackfillTakesTheLiveTablesPlace(t *testing.T) {
	t.Parallel()
	processtest.Require(t, localstack.Embedded)
	s := processtest.Start(t, localstack.Embedded, "--symbols", "12")
	s.AwaitRows(200, "SELECT count() FROM raw_trades")
	produce(t, s, "raw-trades", []byte("no wire format"))
	awaitLetters(t, s, "writer.raw-trades", 1)
	// A horizon of 5 s instead of 500 is what the swap waits for.
	for _, table := range []string{"raw_trades", "candles_1s_states", "candles_1m_states", "candles_1h_states"} {
		s.MustQuery("ALTER TABLE " + table + " MODIFY SETTING non_replicated_deduplication_window = 100")
	}
	s.MustQuery("ALTER TABLE raw_trades DELETE WHERE (_partition, _offset) = (SELECT _partition, min(_offset) FROM raw_trades GROUP BY _partition LIMIT 1) SETTINGS mutations_sync = 1, allow_nondeterministic_mutations = 1")
	s.MustQuery("TRUNCATE TABLE candles_1m_states")
	if output, err := s.Command("verify", "raw-trades").CombinedOutput(); err == nil || !strings.Contains(string(output), "lost=1 ") || !strings.Contains(string(output), "candles_1m DIFFERS") {
		t.Fatalf("%v\n%s", err, output)
	}
	s.Run("backfill", "start", "raw-trades", "--from-beginning")
	for _, table := range []string{"raw_trades_backfill", "candles_backfill_1s_states", "candles_backfill_1m_states", "candles_backfill_1h_states"} {
		s.MustQuery("ALTER TABLE " + table + " MODIFY SETTING non_replicated_deduplication_window = 100")
	}
	first := backfillWriter(t, s, "first")
	s.AwaitRows(1, "SELECT count() FROM raw_trades_backfill")
	_ = first.Process.Kill()
	backfillWriter(t, s, "second")
	killedAt(t, s.Command("backfill", "swap", "raw-trades", "--settle", "1s"), "EXCHANGE TABLES")
	if output, err := s.Command("resume", "raw-trades").CombinedOutput(); err == nil || !strings.Contains(string(output), "backfill swap") {
		t.Errorf("a swap's pause is ended by somebody: %v, %s", err, output)
	}
	t.Log(s.Run("backfill", "swap", "raw-trades", "--settle", "1s"))
	// What is no row of the new table is the live group's letter, and nobody else's.
	awaitLetters(t, s, "writer.raw-trades", 1)
	awaitLetters(t, s, "writer.raw-trades.backfill", 0)
	before := rowCount(t, s, "raw_trades")
	s.AwaitRows(before+200, "SELECT count() FROM raw_trades")
	processtest.Await(t, "the proof", patience, func() error {
		output, err := s.Command("verify", "raw-trades").CombinedOutput()
		if err != nil || !strings.Contains(string(output), "lost=0 duplicated=0, candles_1s equal") || strings.Contains(string(output), "DIFFERS") {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
	if output := s.Run("backfill", "status", "raw-trades"); !strings.Contains(output, "backfill of raw-trades: none\nreplaced: raw_trades_before_2") {
		t.Errorf("status after the swap:\n%s", output)
	}
	s.Run("backfill", "drop", "--yes", "raw-trades")
	if names := s.MustQuery("SELECT name FROM system.tables WHERE database = currentDatabase() AND (name LIKE '%before%' OR name LIKE '%backfill%')"); strings.TrimSpace(names) != "" {
		t.Errorf("left behind: %s", names)
	}
}

// awaitLetters waits until a group has that many open letters.
func awaitLetters(t *testing.T, s *processtest.Stack, group string, want int) {
	t.Helper()
	processtest.Await(t, "the letters of "+group, patience, func() error {
		if lines := letterLines(t, s, "--group", group); len(lines) != want {
			return fmt.Errorf("%+v, want %d", lines, want)
		}
		return nil
	})
}

// backfillWriter starts a writer that fills the table beside the live one.
func backfillWriter(t *testing.T, s *processtest.Stack, name string) *exec.Cmd {
	t.Helper()
	command := exec.Command(filepath.Join(processtest.Programs(t), "writer"), "--backfill=raw-trades", "--instance-id=backfill")
	command.Env = processtest.Environment(s.Addresses()...)
	var log strings.Builder
	command.Stderr = &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGKILL)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s writer of the backfill:\n%s", name, log.String())
		}
	})
	return command
}

// killedAt kills a command when it prints a line that begins so.
func killedAt(t *testing.T, command *exec.Cmd, line string) {
	t.Helper()
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	command.Stderr = &complaint
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	var said strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), line) && !found {
			found = true
			_ = command.Process.Kill()
		}
	}
	_ = command.Wait()
	if !found {
		t.Fatalf("never said %q\n%s%s", line, said.String(), complaint.String())
	}
}

// TestABackfillMayBeginLaterAndBeGivenUp begins one at an offset, which may not take the live table's place unasked and is given up, and
// one at a time, which is let take it.
func TestABackfillMayBeginLaterAndBeGivenUp(t *testing.T) {
	t.Parallel()
	processtest.Require(t, localstack.Embedded)
	s := processtest.Start(t, localstack.Embedded, "--symbols", "12")
	s.AwaitRows(300, "SELECT count() FROM raw_trades")
	short := func(tables ...string) {
		for _, table := range tables {
			s.MustQuery("ALTER TABLE " + table + " MODIFY SETTING non_replicated_deduplication_window = 100")
		}
	}
	beside := []string{"raw_trades_backfill", "candles_backfill_1s_states", "candles_backfill_1m_states", "candles_backfill_1h_states"}
	short("raw_trades", "candles_1s_states", "candles_1m_states", "candles_1h_states")
	s.Run("backfill", "start", "raw-trades", "--from-offset", "5")
	short(beside...)
	first := backfillWriter(t, s, "first")
	s.AwaitRows(100, "SELECT count() FROM raw_trades_backfill")
	// A partition that had less begins at its end.
	if n := strings.TrimSpace(s.MustQuery("SELECT min(_offset) FROM raw_trades_backfill WHERE _partition = (SELECT _partition FROM raw_trades GROUP BY 1 ORDER BY count() DESC LIMIT 1)")); n != "5" {
		t.Errorf("the first row of the longest partition is of offset %s", n)
	}
	if output, err := s.Command("backfill", "swap", "raw-trades", "--settle", "1s").CombinedOutput(); err == nil || !strings.Contains(string(output), "older than the new one's first") {
		t.Fatalf("a table without the first rows took the live one's place: %v\n%s", err, output)
	}
	s.Run("backfill", "drop", "--beside", "--yes", "raw-trades")
	_ = first.Process.Kill()
	if names := s.MustQuery("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%backfill%'"); strings.TrimSpace(names) != "" {
		t.Errorf("left behind: %s", names)
	}
	// The live table goes on.
	s.AwaitRows(rowCount(t, s, "raw_trades")+100, "SELECT count() FROM raw_trades")

	since := time.Now().UTC().Truncate(time.Second)
	s.AwaitRows(rowCount(t, s, "raw_trades")+100, "SELECT count() FROM raw_trades")
	// The killed writer is a member for as long as its session lasts.
	processtest.Await(t, "the killed writer to be forgotten", patience, func() error {
		output, err := s.Command("backfill", "start", "raw-trades", "--from-time", since.Format(time.RFC3339)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
	short(beside...)
	backfillWriter(t, s, "second")
	s.AwaitRows(50, "SELECT count() FROM raw_trades_backfill")
	s.Run("backfill", "swap", "raw-trades", "--settle", "1s", "--accept-faults")
	s.AwaitRows(rowCount(t, s, "raw_trades")+100, "SELECT count() FROM raw_trades")
	if n := strings.TrimSpace(s.MustQuery(fmt.Sprintf("SELECT count() FROM raw_trades WHERE received_at < toDateTime(%d) - 5", since.Unix()))); n != "0" {
		t.Errorf("%s rows were received before the backfill's time", n)
	}
	s.Run("backfill", "drop", "--yes", "raw-trades")
}
