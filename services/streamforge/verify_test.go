//go:build cgo

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// whatAHandDidEndsWithAStatus runs verify and manifest as a person or a job does, who look at the exit status.
func whatAHandDidEndsWithAStatus(t *testing.T, s *processtest.Stack) {
	// ends runs a command that has to end with the status, and to say all of it.
	ends := func(arguments string, status int, says ...string) {
		t.Helper()
		command := s.Command(strings.Fields(arguments)...)
		output, err := command.CombinedOutput()
		if command.ProcessState.ExitCode() != status {
			t.Errorf("%s: %v, want status %d\n%s", arguments, err, status, output)
		}
		for _, text := range says {
			if !strings.Contains(string(output), text) {
				t.Errorf("%s: says no %q\n%s", arguments, text, output)
			}
		}
	}
	ends("verify raw-trades", 0, "lost=0 duplicated=0", "candles_1h equal")
	ends("verify no-such-topic", 1, "no contract asks for a table of topic no-such-topic")

	where := strings.TrimSpace(s.MustQuery("SELECT concat('_partition = ', toString(_partition), ' AND _offset = ', toString(_offset)) FROM raw_trades ORDER BY _partition, _offset LIMIT 1"))
	day := strings.TrimSpace(s.MustQuery("SELECT toString(toDate(received_at, 'UTC')) FROM raw_trades WHERE " + where))
	group := strings.TrimSpace(s.MustQuery("SELECT concat(venue, '/', symbol) FROM raw_trades WHERE " + where))
	file := filepath.Join(t.TempDir(), "manifest.jsonl")
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	ends("manifest write raw-trades --day 2020-01-02 --out "+empty, 0)
	ends("manifest check "+empty, 0, "raw-trades:")
	ends("manifest write raw-trades feed-gaps --day "+day+" --out "+file, 0)
	s.MustQuery("DELETE FROM raw_trades WHERE " + where + " SETTINGS lightweight_deletes_sync = 2")
	ends("manifest check "+file, 1, fmt.Sprintf("differs raw-trades %s %s: ", day, group), "SELECT * FROM ", "feed-gaps: 1 days")
	ends("verify raw-trades", 1, "lost raw-trades[", "lost=1 duplicated=0", "DIFFERS")

	s.MustQuery("RENAME TABLE feed_gaps TO hidden_gaps")
	ends("verify feed-gaps raw-frames", 1, "feed-gaps: NOT VERIFIED: table ", "raw-frames: ", "streamforge apply")
	s.MustQuery("RENAME TABLE hidden_gaps TO feed_gaps")

	if err := os.WriteFile(file, []byte(`{"manifest":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ends("manifest check "+file, 1, "run a newer one")
}
