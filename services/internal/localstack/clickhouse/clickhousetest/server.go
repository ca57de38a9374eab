// Package clickhousetest gives tests a real ClickHouse: the embedded engine in a process of its own.
//
//	url := clickhousetest.Start(t)         // http://127.0.0.1:…, one server for all tests of a package
//	database := clickhousetest.Database(t) // a database of this test's own on that server, dropped at its end
//	server := clickhousetest.Own(t)        // a server of this test's own, to be killed and restarted
//
// Without the engine (no network, no npm or pip, another platform) a test skips; with CI=true it fails.
package clickhousetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/install"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// shared is the server of all tests of this process. It is package state because a test binary has no other place that
// its tests have in common; the child ends with the process.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Start returns the address of the package's shared server, and starts it for the first test that asks.
func Start(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "clickhousetest-")
		if err != nil {
			shared.err = err
			return
		}
		shared.server, shared.err = start(Options{}, dir, "127.0.0.1:0", true)
	})
	check(t, shared.err)
	return shared.server.URL
}

// Options of a test's own server.
type Options struct {
	Arguments []string // more flags of the test server
}

// Server is a running ClickHouse.
type Server struct {
	URL string // http://127.0.0.1:port, the same after Restart

	options Options
	dir     string
	remove  bool
	command *exec.Cmd
	stdin   io.Closer
	stderr  *tail
	exited  chan struct{}
}

// Own starts a server for this test alone; it is stopped, and its data removed, at the test's end.
func Own(t testing.TB, options Options) *Server {
	t.Helper()
	listen, err := port.Reserve(0)
	check(t, err)
	// The port is its own also between Kill and Restart.
	t.Cleanup(listen.Release)
	server, err := start(options, t.TempDir(), listen.Address(), false)
	check(t, err)
	t.Cleanup(server.Kill)
	return server
}

// check skips or fails the test for want of an engine.
func check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("starting ClickHouse for the test: %v", err)
	case errors.Is(err, errNoEngine):
		t.Skipf("no embedded ClickHouse here: %v", err)
	default:
		t.Fatalf("starting ClickHouse for the test: %v", err)
	}
}

var errNoEngine = errors.New("the engine is not to be had")

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	_ = s.command.Process.Kill()
	<-s.exited
	_ = s.stdin.Close()
}

// Stop ends the server with SIGTERM and returns how it ended.
func (s *Server) Stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(2 * time.Minute):
		s.Kill()
		return errors.New("the server did not stop within 2 min of SIGTERM")
	}
	_ = s.stdin.Close()
	if !s.command.ProcessState.Success() {
		return fmt.Errorf("the server ended with %s: %s", s.command.ProcessState, s.stderr.String())
	}
	return nil
}

// Pid is the server's process, for a test that freezes it or reads its memory.
func (s *Server) Pid() int { return s.command.Process.Pid }

// Restart starts the server again on the same port and data, after Kill or Stop.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	again, err := start(s.options, s.dir, strings.TrimPrefix(s.URL, "http://"), s.remove)
	if err != nil {
		t.Fatalf("starting ClickHouse again: %v", err)
	}
	*s = *again
}

// Database creates a database of the test's own on the shared server and drops it at the test's end.
func Database(t testing.TB) string {
	t.Helper()
	address := Start(t)
	name := "test_" + strings.ToLower(rand.Text()[:12])
	Exec(t, address, "CREATE DATABASE "+name)
	t.Cleanup(func() { Exec(t, address, "DROP DATABASE "+name) })
	return name
}

// Exec runs a statement over HTTP and returns the answer; an exception fails the test.
func Exec(t testing.TB, address, statement string) string {
	t.Helper()
	answer, err := Query(context.WithoutCancel(t.Context()), address, statement)
	if err != nil {
		t.Fatalf("running %q: %v", statement, err)
	}
	return answer
}

// Query runs a statement over HTTP and returns the answer without its last line end.
func Query(ctx context.Context, address, statement string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP status %d: %s", response.StatusCode, bytes.TrimSpace(body))
	}
	return strings.TrimSuffix(string(body), "\n"), nil
}

// raced is the exit status of a server in which the race detector found something.
const raced = 66

func start(options Options, dir, listen string, remove bool) (*Server, error) {
	if _, err := install.Library(context.Background(), install.Config{Progress: os.Stderr}); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	binary, err := build()
	if err != nil {
		return nil, err
	}
	arguments := append([]string{"-data", dir, "-listen", listen}, options.Arguments...)
	if remove {
		arguments = append(arguments, "-remove")
	}
	s := &Server{options: options, dir: dir, remove: remove, exited: make(chan struct{}), stderr: &tail{}}
	s.command = exec.Command(binary, arguments...)
	s.command.Stderr = s.stderr
	if raceEnabled {
		// A race ends the server, so that the test that met it fails instead of one line in a log being lost.
		s.command.Env = append(os.Environ(), fmt.Sprintf("GORACE=halt_on_error=1 exitcode=%d", raced))
	}
	if s.stdin, err = s.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- strings.TrimSpace(text)
		_ = s.command.Wait()
		if s.command.ProcessState.ExitCode() == raced {
			fmt.Fprintln(os.Stderr, "data race in the test server:", s.stderr)
		}
		close(s.exited)
	}()
	select {
	case s.URL = <-line:
	case <-time.After(3 * time.Minute):
	}
	if _, err := url.Parse(s.URL); err != nil || s.URL == "" {
		_ = s.command.Process.Kill()
		<-s.exited
		return nil, fmt.Errorf("the server did not start: %s", s.stderr.String())
	}
	return s, nil
}

// build makes the test server's binary, with the race detector when the test itself has it; Go's own cache makes the second time quick.
var build = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "streamforge", "clickhousetest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name, flags := "testserver", []string{"build"}
	if raceEnabled {
		name, flags = "testserver-race", append(flags, "-race")
	}
	// A name of this process's own, then a rename: tests of several packages build at the same time.
	fresh := filepath.Join(dir, fmt.Sprintf("%s.%d", name, os.Getpid()))
	command := exec.Command("go", append(flags, "-o", fresh, "github.com/streamforge/streamforge/services/internal/localstack/clickhouse/internal/testserver")...)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the test server: %w: %s", err, output)
	}
	binary := filepath.Join(dir, name)
	return binary, os.Rename(fresh, binary)
})

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > most {
		t.text = append(t.text[:0], t.text[len(t.text)-most:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// client bounds every query of a test, so that a hanging one fails with its name and not with the whole binary's timeout.
var client = &http.Client{Timeout: 3 * time.Minute}
