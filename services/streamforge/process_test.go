//go:build cgo

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// onBothStacks is processtest.OnBothStacks with both stacks at the same time, beside other tests: most of it is waiting.
func onBothStacks(t *testing.T, test func(t *testing.T, kind string)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{localstack.Embedded, localstack.Apache} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			processtest.Require(t, kind)
			test(t, kind)
		})
	}
}

// figures runs a command that ends with a line of figures, `name: a=1 b=2`, and returns them. Whatever the command
// prints belongs to a failure's report.
func figures(t *testing.T, name string, arguments ...string) (map[string]int64, string) {
	t.Helper()
	command := exec.Command(filepath.Join(processtest.Programs(t), "streamforge"), append([]string{"--dir", t.TempDir()}, arguments...)...)
	command.Env = processtest.Environment()
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("streamforge %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	found := map[string]int64{}
	for line := range strings.Lines(string(output)) {
		rest, ok := strings.CutPrefix(line, name+": ")
		if !ok {
			continue
		}
		for _, pair := range regexp.MustCompile(`([a-z_0-9]+)=(\d+)`).FindAllStringSubmatch(rest, -1) {
			found[pair[1]], _ = strconv.ParseInt(pair[2], 10, 64)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no line of figures in\n%s", output)
	}
	return found, string(output)
}

func TestTheDemoProvesThatNothingIsLost(t *testing.T) {
	onBothStacks(t, func(t *testing.T, kind string) {
		f, output := figures(t, "demo", "demo", "--stack", kind, "--duration", "5s", "--symbols", "20")
		if f["lost"] != 0 || f["duplicated"] != 0 || f["dead_letters"] != 0 || f["frames"] == 0 || f["trades"] == 0 || f["orderbook_updates"] == 0 || f["rows"] < f["frames"] {
			t.Fatalf("%v\n%s", f, output)
		}
	})
}

// recordings and what they hold: computed from the files by the capture reader's and the adapters' own tests, and held
// here against what the whole pipeline makes of them.
var recordings = []struct {
	file                               string
	frames, trades, snapshots, updates int64
}{
	{"binance-spot/btcusdt-20240808.gz", 41249, 9757, 1, 3451},
	{"binance-spot/ethusdt-20240808.gz", 33618, 6106, 1, 3434},
	{"binance-usdm/btcusdt-20240808.gz", 93954, 21313, 1, 6551},
	{"coinbase-exchange/level2-matches-20210417.txt.gz", 9946, 97, 10, 9719},
	{"kraken-v2/btcusd-depth10.cbcap", 377, 0, 5, 296},
	{"kraken-v2/btcusd-depth25.cbcap", 2104, 0, 1, 2051},
	{"kraken-v2/doc-vector-3310070434.json", 1, 0, 1, 0},
	{"okx/books-trades-20220513.txt.gz", 410, 74, 3, 287},
}

func TestEveryRecordingComesThroughByteForByte(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	folder := capturesFolder(t)
	for _, r := range recordings {
		t.Run(r.file, func(t *testing.T) {
			f, output := figures(t, "replay", "replay", "--speed", "max", filepath.Join(folder, r.file))
			want := fmt.Sprintf("frames=%d trades=%d snapshots=%d updates=%d gaps=0 dead_letters=0 unknown=0", r.frames, r.trades, r.snapshots, r.updates)
			got := fmt.Sprintf("frames=%d trades=%d snapshots=%d updates=%d gaps=%d dead_letters=%d unknown=%d", f["frames"], f["trades"], f["snapshots"], f["updates"], f["gaps"], f["dead_letters"], f["unknown"])
			if got != want {
				t.Fatalf("got  %s\nwant %s\n%s", got, want, output)
			}
		})
	}
}

// capturesFolder is where the recordings are: a clone has none.
func capturesFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("STREAMFORGE_CAPTURES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "captures")
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(absolute); err != nil {
		processtest.Cannot(t, "the recordings are not here (%v); set STREAMFORGE_CAPTURES", err)
	}
	return absolute
}

// TestKillingLosesNothing: what entered raw-frames is in the products exactly once and in ClickHouse, and a restart of
// the loader leaves a GAP. The campaign of a minute is `make chaos`.
func TestKillingLosesNothing(t *testing.T) {
	onBothStacks(t, func(t *testing.T, kind string) {
		f, output := figures(t, "chaos", "chaos", "--stack", kind, "--kill", "loader,parser,writer", "--every", "2s", "--duration", "20s", "--symbols", "20")
		t.Log(output)
		if f["kills"] == 0 || f["lost"] != 0 || f["duplicated"] != 0 || f["silent"] != 0 || f["gaps"] == 0 {
			t.Fatalf("%v", f)
		}
	})
}

// TestAClickHouseThatIsAwayHoldsNobodyUp: loader and parser go on, the lag grows, and is worked off afterwards.
func TestAClickHouseThatIsAwayHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	f, output := figures(t, "chaos", "chaos", "--outage", "clickhouse", "--outage-for", "10s", "--symbols", "20")
	t.Log(output)
	if f["lost"] != 0 || f["duplicated"] != 0 || f["row_doubles"] != 0 {
		t.Fatalf("%v", f)
	}
	if f["during"] == 0 {
		t.Fatal("nothing was parsed while ClickHouse was away")
	}
}

// TestKillingThePartsLosesNothing: the registry and ClickHouse on both stacks; the broker on Apache Kafka alone, because
// the embedded one does not keep the state of producers over a kill -9 (its README says so).
func TestKillingThePartsLosesNothing(t *testing.T) {
	onBothStacks(t, func(t *testing.T, kind string) {
		parts := "registry,clickhouse"
		if kind == localstack.Apache {
			parts = "broker,clickhouse,registry"
		}
		f, output := figures(t, "chaos", "chaos", "--stack", kind, "--kill", parts, "--every", "3s", "--duration", "20s", "--symbols", "20")
		t.Log(output)
		if f["kills"] == 0 || f["lost"] != 0 || f["duplicated"] != 0 || f["silent"] != 0 {
			t.Fatalf("%v", f)
		}
	})
}
