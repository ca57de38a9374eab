package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be a writer process, which a test can kill.
func TestMain(m *testing.M) {
	if os.Getenv("WRITER_TEST_PROCESS") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m,
		// The shared ClickHouse ends with the process; idle connections of clients end by themselves.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

// process is a writer in a process of its own.
type process struct {
	command *exec.Cmd
	output  *bytes.Buffer
}

func (s *stack) spawn(instance string) *process {
	s.t.Helper()
	p := &process{command: exec.Command(os.Args[0], "--flush-interval=100ms"), output: &bytes.Buffer{}}
	p.command.Env = append(os.Environ(), "WRITER_TEST_PROCESS=1", "WRITER_TOPICS=raw-trades", "WRITER_INSTANCE_ID="+instance,
		"KAFKA_BOOTSTRAP_SERVERS="+s.kafka.BootstrapServers, "SCHEMA_REGISTRY_URL="+s.registry.URL, "CLICKHOUSE_URL="+s.clickhouse.URL)
	p.command.Stderr = p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("writer %d said:\n%s", p.command.Process.Pid, p.output)
		}
	})
	return p
}

func (p *process) kill() {
	p.command.Process.Kill()
	var exited *exec.ExitError
	if err := p.command.Wait(); err != nil && !errors.As(err, &exited) {
		return
	}
}

func TestAWriterThatIsKilledAgainAndAgainLosesAndDoublesNothing(t *testing.T) {
	onEachStack(t, killedAgainAndAgain, "raw-trades")
}

func killedAgainAndAgain(t *testing.T, s *stack) {
	total := 0
	more := func() {
		s.trades(total, 400)
		total += 400
		time.Sleep(30 * time.Millisecond)
	}
	for i := range 6 {
		before, _ := s.count("raw_trades")
		p := s.spawn("a")
		s.await(fmt.Sprintf("rows of writer %d", i), func() bool {
			more()
			rows, _ := s.count("raw_trades")
			return rows > before
		})
		// The kill comes under load, at no particular moment.
		for range 7 * i {
			more()
		}
		p.kill()
	}
	last := s.spawn("a")
	// Rows that only the last writer can have written show that it runs: a signal that comes before its handler is no drain.
	s.trades(total, 400)
	total += 400
	s.flush()
	s.awaitRows("raw_trades", total)
	last.command.Process.Signal(syscall.SIGTERM)
	if err := last.command.Wait(); err != nil {
		t.Fatalf("the drain ended with %v\n%s", err, last.output)
	}
	s.awaitRows("raw_trades", total)
	for line := range bytes.Lines(last.output.Bytes()) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) != nil {
			t.Errorf("a log line that is no JSON: %s", line)
		}
	}
	t.Logf("%d trades through 6 kills", total)
}

func TestTwoWritersShareATopicAndTakeOverFromEachOther(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	total := 0
	more := func() {
		for range 15 {
			s.trades(total, 300)
			total += 300
			time.Sleep(20 * time.Millisecond)
		}
	}
	_, stopA := s.start(Config{FlushInterval: 50 * time.Millisecond})
	more()
	_, stopB := s.start(Config{FlushInterval: 50 * time.Millisecond})
	more()
	stopA()
	more()
	_, stopC := s.start(Config{FlushInterval: 50 * time.Millisecond})
	more()
	stopB()
	more()
	s.flush()
	s.awaitRows("raw_trades", total)
	stopC()
	s.awaitRows("raw_trades", total)
}

func TestAClickHouseThatIsAwayIsWaitedForWithBoundedMemory(t *testing.T) {
	t.Parallel()
	s := newStack(t, true, "raw-trades")
	const limit = 4 << 20
	w, _ := s.start(Config{MemoryLimit: limit, MaxBlockBytes: 1 << 20, FlushInterval: 50 * time.Millisecond})
	s.trades(0, 1000)
	s.flush()
	s.awaitRows("raw_trades", 1000)
	s.server.Kill()
	s.trades(1000, 60_000)
	s.flush()
	s.await("not ready while ClickHouse is away", func() bool { return w.products[0].ready() != nil })
	time.Sleep(2 * time.Second)
	w.products[0].budget.mutex.Lock()
	held := w.products[0].budget.total
	w.products[0].budget.mutex.Unlock()
	if held > limit {
		t.Errorf("%d bytes are held, the limit is %d", held, limit)
	}
	s.server.Restart(t)
	s.awaitRows("raw_trades", 61_000)
	s.await("ready again", func() bool { return w.products[0].ready() == nil })
}
