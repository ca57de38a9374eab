package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// buildSimulator makes the venue simulator's program.
func buildSimulator(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "venue-simulator")
	if out, err := exec.Command("go", "build", "-o", binary, "../venue-simulator").CombinedOutput(); err != nil {
		t.Fatalf("building the simulator: %v\n%s", err, out)
	}
	return binary
}

// startSimulator runs the venue simulator as a process; the returned address has no scheme.
func startSimulator(t *testing.T, binary string, args ...string) string {
	t.Helper()
	listen := filepath.Join(t.TempDir(), "listen")
	log := &lockedBuffer{}
	cmd := exec.Command(binary, append([]string{"--listen", "127.0.0.1:0", "--listen-file", listen}, args...)...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the simulator said:\n%s", log)
		}
	})
	var address []byte
	waitFor(t, "the simulator", func() bool { address, _ = os.ReadFile(listen); return len(address) > 0 })
	return string(address)
}

// allFrames reads the whole of raw-frames by key.
func (s *stack) allFrames() map[string][]published {
	s.t.Helper()
	all := map[string][]published{}
	err := kafka.ReadAll(s.t.Context(), s.client(), []string{framesTopic}, func(r kafka.Record) error {
		p := published{TimestampMs: r.TimestampMs, Partition: r.Partition, Offset: r.Offset}
		_, body, err := registry.ParseWire(r.Value)
		if err != nil {
			return err
		}
		err = p.DecodeAvro(body)
		p.Payload = append([]byte(nil), p.Payload...)
		all[string(r.Key)] = append(all[string(r.Key)], p)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// What the simulator's ledger says it sent and what raw-frames holds are the same payloads, as a multiset, over three
// venues, live snapshots, lost, doubled, reordered and garbage frames, and a cut of every connection.
func TestWhatTheSimulatorSentIsInKafka(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ledger := filepath.Join(t.TempDir(), "ledger")
	address := startSimulator(t, buildSimulator(t), "--ledger", ledger, "--frames-per-second", "3000", "--symbols", "20",
		"--fault", "kind=drop,rate=0.001", "--fault", "kind=duplicate,rate=0.001", "--fault", "kind=reorder,rate=0.001",
		"--fault", "kind=garbage,rate=0.001", "--fault", "kind=stale_snapshot,rate=0.2")
	s := newStack(t)
	p := s.start(simulatorConfig(t, address))
	waitFor(t, "readiness", func() bool { status, _ := p.get("/readyz"); return status == 200 })
	time.Sleep(2 * time.Second) // load
	for _, v := range []string{"kraken", "binance"} {
		response, err := http.Post("http://"+address+"/control/fault", "application/json", strings.NewReader(fmt.Sprintf(`{"kind":"cut","venue":%q}`, v)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode >= 300 {
			t.Fatalf("cut: %s", response.Status)
		}
	}
	time.Sleep(4 * time.Second) // load again
	response, err := http.Post("http://"+address+"/control/drain", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	totals, _ := io.ReadAll(response.Body)
	response.Body.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}

	balance := map[string]int{} // kind and hash → sent minus published
	sent := readLedger(t, ledger, balance)
	published := 0
	for key, all := range s.allFrames() {
		checkOrder(t, all)
		for i := range all {
			kind := map[records.FrameKind]string{records.FrameData: "F", records.FrameRESTSnapshot: "S"}[all[i].Kind]
			if kind != "" {
				balance[fmt.Sprintf("%s %016x", kind, xxhash.Sum64(all[i].Payload))]--
				published++
			}
		}
		t.Logf("%s: %d records, %d gaps", key, len(all), count(all, records.FrameGap))
	}
	different := 0
	for what, n := range balance {
		if n != 0 {
			if different++; different < 10 {
				t.Errorf("%s: sent minus published is %d", what, n)
			}
		}
	}
	if sent == 0 || different != 0 {
		t.Fatalf("sent %d, published %d, %d payloads differ; the simulator says %s", sent, published, different, totals)
	}
	t.Logf("sent %d = published %d", sent, published)
}

func simulatorConfig(t *testing.T, address string) string {
	response, err := http.Get("http://" + address + "/control/symbols")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var symbols map[string][]string
	if err := json.NewDecoder(response.Body).Decode(&symbols); err != nil {
		t.Fatal(err)
	}
	known, err := adapters()
	if err != nil {
		t.Fatal(err)
	}
	config := "feeds:\n"
	for v, names := range symbols {
		adapter := known[v]
		if adapter == nil {
			continue
		}
		var canonical []string
		for _, name := range names {
			instrument, err := adapter.FromVenue(name)
			if err != nil {
				t.Fatal(err)
			}
			canonical = append(canonical, instrument.Symbol)
		}
		half := len(canonical) / 2
		for i, part := range [][]string{canonical[:half], canonical[half:]} {
			config += fmt.Sprintf("- {name: s%d, venue: %s, symbols: [%s], websocket: 'ws://%s/%s', rest: 'http://%s/%s'}\n",
				i, v, strings.Join(part, ", "), address, v, address, v)
		}
	}
	return config
}

func readLedger(t *testing.T, path string, balance map[string]int) int {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	n := 0
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 7 {
			balance[fields[2]+" "+fields[3]]++
			n++
		}
	}
	return n
}
