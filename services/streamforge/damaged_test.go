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

// A recording in which every fourth frame cannot be read is played to its end all the same: each bad frame is a dead
// letter, each book event among them a gap as well, and nothing else is lost.
func TestADamagedRecordingIsPlayedToItsEnd(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	var lines []string
	for i := range 400 {
		digits := "" // the venue's ids have no holes: every gap is of the damage
		if i%4 == 3 {
			digits = "00000000001" // with the eight before them more than a decimal has
		}
		payload := fmt.Sprintf(`{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255342,"s":"BTCUSDT","t":%d,"p":"61837.63000000%s","q":"1.0","T":1723161255341,"m":true,"M":true}}`, i-i/5, digits)
		if i%5 == 0 {
			payload = fmt.Sprintf(`{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":%d,"u":%d,"b":[["61837.63000000%s","1.0"]],"a":[]}}`, i/5, i/5, digits)
		}
		lines = append(lines, fmt.Sprintf("%d %s\n", 1723161253937085768+i*1_000_000, payload))
	}
	path := filepath.Join(t.TempDir(), "damaged.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	f, output := figures(t, "replay", "replay", "--speed", "max", path)
	for word, want := range map[string]int64{"frames": 400, "trades": 240, "updates": 60, "snapshots": 0, "gaps": 20, "dead_letters": 100, "unknown": 0} {
		if f[word] != want {
			t.Errorf("%s=%d, want %d", word, f[word], want)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
}
