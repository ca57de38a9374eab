package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// The children of these tests are this test binary itself, told by childMode what to be.
const (
	childMode    = "STREAMFORGE_TEST_CHILD"
	childAddress = "HTTP_ADDRESS" // the name that Stack.Program uses
	childDir     = "STREAMFORGE_TEST_CHILD_DIR"
)

const (
	server     = "server"      // answers every request with its process id, until it is killed
	drainer    = "drainer"     // a server that leaves with status 0 when it is told to end
	badDrainer = "bad drainer" // a server that leaves with status 3, saying why, when it is told to end
	stubborn   = "stubborn"    // a server that does not hear SIGTERM
	failing    = "failing"     // ends at once, saying why
	secondFail = "second fail" // a server the first time, failing ever after
	supervisor = "supervisor"  // supervises a server, and prints the server's process id
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	// The clients that ask a child whether it is ready keep its connection until the child has gone.
	goleak.VerifyTestMain(m)
}

func child(mode string) int {
	fmt.Fprintln(os.Stderr, "started")
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	told := make(chan os.Signal, 1)
	switch mode {
	case drainer, badDrainer:
		signal.Notify(told, syscall.SIGTERM)
	case stubborn:
		signal.Ignore(syscall.SIGTERM)
	case failing:
		log.Error("cannot start", "error", "the thing is missing; bring it")
		return 1
	case secondFail:
		marker := filepath.Join(os.Getenv(childDir), "started before")
		if _, err := os.Stat(marker); err == nil {
			return 1
		}
		if err := os.WriteFile(marker, nil, 0o644); err != nil {
			return 1
		}
	case supervisor:
		return supervise()
	}
	listener, err := net.Listen("tcp", os.Getenv(childAddress))
	if err != nil {
		log.Error("listening", "error", err.Error())
		return 1
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) }))
	}()
	<-told
	if mode == badDrainer {
		log.Error("draining", "error", "half is left")
		return 3
	}
	return 0
}

// supervise is a supervisor that is going to be killed: it keeps a server and never stops it.
func supervise() int {
	dir, address := os.Getenv(childDir), os.Getenv(childAddress)
	spec := childSpec(server, dir, address)
	if _, err := Launch(context.Background(), spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("up")
	select {}
}

func childSpec(mode, dir, address string) Spec {
	return Spec{
		Name: "child", Path: os.Args[0],
		Env:          []string{childMode + "=" + mode, childAddress + "=" + address, childDir + "=" + dir},
		LogFile:      filepath.Join(dir, "logs", "child.log"),
		Ready:        answers("http://" + address + "/"),
		StartTimeout: time.Minute,
		StopTimeout:  time.Minute,
	}
}

// newSpec is a child in a folder and on a port of this test's own.
func newSpec(t *testing.T, mode string) (Spec, string) {
	t.Helper()
	listen, err := port.Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	spec := childSpec(mode, t.TempDir(), listen.Address())
	spec.Ports = []*port.Reservation{listen}
	return spec, listen.Address()
}

func launch(t *testing.T, spec Spec) *Process {
	t.Helper()
	p, err := Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

// line is a connection to a child, whose end tells of the child's.
type line struct{ net.Conn }

func connect(t *testing.T, address string) line {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return line{connection}
}

func (l line) awaitEnd(t *testing.T) {
	t.Helper()
	_ = l.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := l.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the child still runs")
	}
}

// whoAnswers is the process id of the child that listens on the address.
func whoAnswers(t *testing.T, address string) int {
	t.Helper()
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// starts counts how often the child was started, by its own log.
func starts(t *testing.T, spec Spec) int {
	t.Helper()
	text, err := os.ReadFile(spec.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "started\n")
}

func TestAKilledChildIsStartedAgainOnItsPort(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, server)
	p := launch(t, spec)
	for kills := 1; kills <= 3; kills++ {
		pid := p.PID()
		if who := whoAnswers(t, address); who != pid {
			t.Fatalf("process %d answers, but the child is %d", who, pid)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := p.AwaitRestart(t.Context(), pid); err != nil {
			t.Fatal(err)
		}
		if who := whoAnswers(t, address); who == pid || who != p.PID() {
			t.Fatalf("process %d answers after the kill of %d; the child is %d", who, pid, p.PID())
		}
		if p.Restarts() != kills {
			t.Fatalf("%d restarts after %d kills", p.Restarts(), kills)
		}
	}
}

func TestAHeldChildStaysDownUntilItsRelease(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, server)
	p := launch(t, spec)
	pid, end := p.PID(), connect(t, address)
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	end.awaitEnd(t)
	if err := p.Hold(); err == nil || !strings.Contains(err.Error(), "held") {
		t.Fatalf("holding it twice: %v", err)
	}
	// That nothing happens has no event to wait for: this is three times the first pause before a restart.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.AwaitRestart(ctx, pid); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the held child came back: %v", err)
	}
	p.Release()
	if err := p.AwaitRestart(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	if n := starts(t, spec); n != 2 {
		t.Fatalf("started %d times, want 2", n)
	}
}

func TestAHeldChildCanBeStopped(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, server)
	p := launch(t, spec)
	end := connect(t, address)
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	end.awaitEnd(t)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := p.Hold(); err == nil {
		t.Fatal("a stopped child was held")
	}
	if n := starts(t, spec); n != 1 {
		t.Fatalf("started %d times, want once", n)
	}
}

func TestAChildThatEndsAtOnceIsAnErrorOfOneLineWithItsReason(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, failing)
	_, err := Launch(t.Context(), spec)
	if want := "child ends at once (exit status 1): the thing is missing; bring it"; err == nil || err.Error() != want {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	if n := starts(t, spec); n != maxEarlyExits {
		t.Fatalf("started %d times, want %d", n, maxEarlyExits)
	}
}

func TestAProgramThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, server)
	spec.Path = filepath.Join(t.TempDir(), "absent")
	if _, err := Launch(t.Context(), spec); err == nil || !strings.Contains(err.Error(), spec.Path) {
		t.Fatalf("got %v", err)
	}
}

func TestAChildThatIsNeverReadyIsStoppedAndItsLogNamed(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, server)
	alive := spec.Ready
	up := make(chan struct{})
	spec.Ready = func(ctx context.Context) error {
		if alive(ctx) == nil {
			select {
			case <-up:
			default:
				close(up)
			}
		}
		return errors.New("still warming up")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Launch(ctx, spec)
		ended <- err
	}()
	<-up
	end := connect(t, address)
	cancel()
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "still warming up") || !strings.Contains(err.Error(), spec.LogFile) {
		t.Fatalf("got %v", err)
	}
	end.awaitEnd(t)
}

func TestStopReportsHowTheChildDrained(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		drainer:    "",
		server:     "", // ended by the signal itself
		badDrainer: "child ended with status 3: half is left",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			spec, _ := newSpec(t, mode)
			p := launch(t, spec)
			err := p.Stop()
			if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
				t.Fatalf("got %v, want %q", err, want)
			}
			if err := p.Wait(t.Context()); err != nil || starts(t, spec) != 1 {
				t.Fatalf("%v, started %d times", err, starts(t, spec))
			}
		})
	}
}

func TestStopKillsAChildThatDoesNotHear(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, stubborn)
	spec.StopTimeout = 200 * time.Millisecond
	p := launch(t, spec)
	end := connect(t, address)
	err := p.Stop()
	if err == nil || !strings.Contains(err.Error(), "child did not drain within 200ms and was killed") {
		t.Fatalf("got %v", err)
	}
	end.awaitEnd(t)
}

func TestStopDoesNotWaitForThePauseBetweenRestarts(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, secondFail)
	spec.StopTimeout = 300 * time.Millisecond
	p := launch(t, spec)
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// After the fourth failure the pause is longer than the child's whole StopTimeout.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.Restarts() < 5 {
		<-tick.C
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "ended with status 1") {
		t.Fatalf("got %v", err)
	}
}

func TestChildrenEndWithTheirSupervisor(t *testing.T) {
	t.Parallel()
	spec, address := newSpec(t, supervisor)
	// This process supervises the supervisor; its being killed is what the test is about, so that it must stay down.
	p := launch(t, spec)
	end := connect(t, address)
	if who := whoAnswers(t, address); who == p.PID() {
		t.Fatal("the supervisor answers by itself")
	}
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	end.awaitEnd(t)
}
