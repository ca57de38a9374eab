package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// asLoader makes the test binary be the loader: process tests kill it as a process.
const asLoader = "STREAMFORGE_TEST_AS_LOADER"

// stack is a broker and a registry for real processes.
type stack struct {
	t        testing.TB
	brokers  string
	registry string
	venue    *testVenue
	schemaID int
}

func newStack(t testing.TB) *stack {
	s := &stack{t: t, venue: newTestVenue(t)}
	s.brokers = brokertest.Start(t)
	s.registry = startRegistry(t, s.brokers)
	s.prepare()
	return s
}

func startRegistry(t testing.TB, brokers string) string {
	server, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: brokers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	waitFor(t, "the registry", func() bool { return server.Ready() == nil })
	return server.URL()
}

func (s *stack) client() kafka.ClientConfig { return kafka.ClientConfig{BootstrapServers: s.brokers} }

// prepare registers the schemas and creates the topics.
func (s *stack) prepare() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := registry.New(registry.Config{URL: s.registry}, prometheus.NewRegistry())
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	subjects, err := schemas.All()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, subject := range subjects {
		id, _, err := client.Register(ctx, subject)
		if err != nil {
			s.t.Fatal(err)
		}
		if subject.Name == framesSubject {
			s.schemaID = id
		}
	}
	admin, err := kafka.NewAdmin(s.client())
	if err != nil {
		s.t.Fatal(err)
	}
	defer admin.Close()
	s.createFrames(admin)
	if err := admin.Create(ctx, []kafka.NewTopic{{Name: resyncTopic, Partitions: 8}}); err != nil {
		s.t.Fatal(err)
	}
}

// createFrames makes raw-frames.
func (s *stack) createFrames(admin *kafka.Admin) {
	s.t.Helper()
	large := map[string]string{"max.message.bytes": fmt.Sprint(kafkaRecordBytes)}
	if err := admin.Create(context.Background(), []kafka.NewTopic{{Name: framesTopic, Partitions: 32, Configs: large}}); err != nil {
		s.t.Fatal(err)
	}
}

// frames reads a feed back from the broker.
func (s *stack) frames(key string) []published {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all []published
	err := kafka.ReadAll(ctx, s.client(), []string{framesTopic}, func(r kafka.Record) error {
		if string(r.Key) != key {
			return nil
		}
		p := published{TimestampMs: r.TimestampMs, Partition: r.Partition, Offset: r.Offset}
		id, body, err := registry.ParseWire(r.Value)
		if err != nil || id != s.schemaID {
			return fmt.Errorf("schema id %d, expected %d: %w", id, s.schemaID, err)
		}
		if len(r.Headers) != 1 || r.Headers[0].Name != "producer" || !strings.HasPrefix(string(r.Headers[0].Value), "loader@") {
			return fmt.Errorf("headers %v", r.Headers)
		}
		if r.Partition != partitionOf(key, 32) {
			return fmt.Errorf("partition %d, expected %d", r.Partition, partitionOf(key, 32))
		}
		err = p.DecodeAvro(body)
		p.Payload = bytes.Clone(p.Payload)
		all = append(all, p)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// process is a loader as a process of its own.
type process struct {
	cmd    *exec.Cmd
	stderr *lockedBuffer
	done   chan error
	http   string // file with the address
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (s *stack) start(config string, args ...string) *process {
	s.t.Helper()
	dir := s.t.TempDir()
	path := filepath.Join(dir, "loader.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p := &process{stderr: &lockedBuffer{}, done: make(chan error, 1), http: filepath.Join(dir, "http")}
	p.cmd = exec.Command(os.Args[0], append([]string{"--config", path, "--http-address-file", p.http}, args...)...)
	p.cmd.Env = append(os.Environ(), asLoader+"=1", "KAFKA_BOOTSTRAP_SERVERS="+s.brokers, "SCHEMA_REGISTRY_URL="+s.registry)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	s.t.Cleanup(func() {
		p.cmd.Process.Kill()
		if s.t.Failed() {
			s.t.Logf("loader %d said:\n%s", p.cmd.Process.Pid, p.stderr)
		}
	})
	return p
}

// end waits for the process to exit.
func (p *process) end(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(patience):
		t.Fatalf("the process did not end within %s", patience)
		return nil
	}
}

// get asks the process over HTTP.
func (p *process) get(path string) (int, string) {
	address, err := os.ReadFile(p.http)
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.Get("http://" + string(address) + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func (s *stack) config() string {
	return fmt.Sprintf("feeds: [{name: f0, venue: binance, symbols: [BTC-USDT], channels: [trades], websocket: %q, rest: %q}]", s.venue.ws(), s.venue.rest())
}

// play sends trades with growing ids on whatever connection the loader opens, until stop; last is the id sent last.
func (v *testVenue) play(stop <-chan struct{}, pause time.Duration) (last <-chan int) {
	result := make(chan int, 1)
	go func() {
		id := 0
		defer func() { result <- id }()
		var p *peer
		for {
			select {
			case <-stop:
				return
			case p = <-v.accepted:
			case <-time.After(pause):
			}
			if p == nil {
				continue
			}
			id++
			p.ws.Write(context.Background(), websocket.MessageText, []byte(trade("BTCUSDT", id)))
		}
	}()
	return result
}

// Loaders are killed again and again under load. Whatever is missing lies within a GAP LOADER_RESTART, nothing is there
// twice, and the order of each run is whole.
func TestAKilledLoaderLeavesAGapAndNothingTwice(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := newStack(t)
	stop := make(chan struct{})
	last := s.venue.play(stop, 200*time.Microsecond)
	const kills = 3
	runs := 0
	for ; runs < kills; runs++ {
		p := s.start(s.config())
		waitFor(t, "frames of this run", func() bool { return epochs(s.frames(btcKey)) == runs+1 })
		time.Sleep(200 * time.Millisecond) // load, not an event: the kill comes at any moment
		p.cmd.Process.Kill()
		p.end(t)
	}
	p := s.start(s.config())
	waitFor(t, "frames of the last run", func() bool { return epochs(s.frames(btcKey)) == runs+1 })
	close(stop)
	sent := <-last
	waitFor(t, "the last trade", func() bool {
		ids := tradeIDs(s.frames(btcKey))
		return len(ids) > 0 && ids[len(ids)-1] == sent
	})
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}
	all := s.frames(btcKey)
	checkOrder(t, all)
	if g := gaps(t, all, market.GapLoaderRestart); len(g) != kills {
		t.Fatalf("%d gaps after %d kills: %+v", len(g), kills, g)
	}
	// A hole in the ids is allowed only right after a GAP.
	previous, told := 0, true
	for i := range all {
		switch all[i].Kind {
		case records.FrameGap:
			told = true
		case records.FrameData:
			ids := tradeIDs(all[i : i+1])
			if len(ids) == 0 {
				continue
			}
			if ids[0] <= previous || ids[0] != previous+1 && !told {
				t.Fatalf("trade %d follows %d", ids[0], previous)
			}
			previous, told = ids[0], false
		}
	}
	if all[len(all)-1].Kind != records.FrameClose {
		t.Fatalf("the last record is %s", all[len(all)-1].Kind)
	}
}

// epochs counts the runs that have published a frame.
func epochs(all []published) int {
	seen := map[int64]bool{}
	for i := range all {
		if all[i].Kind == records.FrameData {
			seen[all[i].LoaderEpoch] = true
		}
	}
	return len(seen)
}

// The largest frame passes a real broker, and /readyz and /metrics say what is.
func TestAProcessPublishesVerbatimAndDrains(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := newStack(t)
	p := s.start(s.config())
	peer := s.venue.accept(t)
	largest := strings.Repeat("a", MaxFrameBytes)
	sent := []string{trade("BTCUSDT", 1), "", "garbage \xff\x00", largest, trade("BTCUSDT", 2)}
	for _, text := range sent {
		peer.send(text)
	}
	waitFor(t, "all frames", func() bool { return len(payloads(s.frames(btcKey))) == len(sent) })
	if status, body := p.get("/readyz"); status != 200 {
		t.Fatalf("/readyz: %d %s", status, body)
	}
	if _, body := p.get("/metrics"); !strings.Contains(body, `loader_records_total{feed="f0",kind="FRAME",venue="binance"} 5`) {
		t.Fatalf("metrics:\n%s", body)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}
	all := s.frames(btcKey)
	checkOrder(t, all)
	for i, text := range payloads(all) {
		if text != sent[i] {
			t.Fatalf("frame %d differs", i)
		}
	}
}

// Whatever is wrong at the start is one clear line, and no stack trace.
func TestAProcessSaysWhatIsWrongAtTheStart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := &stack{t: t, venue: newTestVenue(t), brokers: "127.0.0.1:1", registry: "http://127.0.0.1:1"}
	bad := s.start("feeds: [{name: a, venue: nowhere, symbols: [BTC-USDT]}]")
	if err := bad.end(t); err == nil {
		t.Fatal("a bad configuration was accepted")
	}
	away := s.start(s.config())
	waitFor(t, "/readyz", func() bool { _, body := away.get("/readyz"); return strings.Contains(body, "registry") })
	away.cmd.Process.Signal(syscall.SIGTERM)
	if err := away.end(t); err != nil {
		t.Fatalf("stopping a loader that waits: %v", err)
	}
	s.brokers = brokertest.Start(t)
	s.registry = startRegistry(t, s.brokers)
	unregistered := s.start(s.config())
	if err := unregistered.end(t); err == nil {
		t.Fatal("it started without its schema")
	}
	for p, want := range map[*process]string{bad: `feeds[0].venue: \"nowhere\"`, away: "127.0.0.1:1", unregistered: "make register-schemas"} {
		text := p.stderr.String()
		if !strings.Contains(text, want) || strings.Contains(text, "goroutine ") || strings.Count(text, want) > 2 {
			t.Errorf("expected one line with %s:\n%s", want, text)
		}
	}
}

// A broker that goes away under load and comes back on its data: nothing is lost and nothing is there twice.
func TestAProcessOutlivesItsBroker(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	config := broker.Config{DataDir: t.TempDir()}
	first := brokertest.StartBroker(t, config)
	s := &stack{t: t, venue: newTestVenue(t), brokers: first.Address()}
	s.registry = startRegistry(t, s.brokers)
	s.prepare()
	p := s.start(s.config())
	stop := make(chan struct{})
	last := s.venue.play(stop, 100*time.Microsecond)
	waitFor(t, "frames", func() bool { return len(s.frames(btcKey)) > 100 })
	first.Close()
	time.Sleep(2 * time.Second) // the outage itself
	config.Listen = s.brokers
	brokertest.StartBroker(t, config)
	waitFor(t, "frames after the outage", func() bool { return len(s.frames(btcKey)) > 1000 })
	close(stop)
	sent := <-last
	waitFor(t, "the last trade", func() bool {
		ids := tradeIDs(s.frames(btcKey))
		return len(ids) > 0 && ids[len(ids)-1] == sent
	})
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}
	all := s.frames(btcKey)
	checkOrder(t, all)
	for i, id := range tradeIDs(all) {
		if id != i+1 {
			t.Fatalf("trade %d stands where %d belongs", id, i+1)
		}
	}
	if n := count(all, records.FrameGap); n != 0 {
		t.Fatalf("%d gaps", n)
	}
}
