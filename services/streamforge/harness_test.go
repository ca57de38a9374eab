//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// Process tests run the programs as a person does: as binaries, through `streamforge up`, with a folder of their own.
//
//	s := startStack(t, localstack.Embedded, "--symbols", "12") // up, with the pipeline; `down` at the test's end
//	s.status().Kafka                                            // the addresses and every program's health
//	s.pid("parser")                                             // to be killed
//	s.query("SELECT count() FROM raw_trades")                   // what ClickHouse says
//	await(t, "the first trade", time.Minute, func() error {…})  // nil ends the wait

// processPrograms are what a pipeline consists of; streamforge finds the others beside itself.
var processPrograms = []string{"streamforge", "loader", "parser", "writer", "venue-simulator"}

// built is package state because a test binary has no other place that its tests have in common.
var built = sync.OnceValues(buildPrograms)

// programs builds the programs once for all tests of this run and returns their folder.
func programs(t testing.TB) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildPrograms builds into the user's cache rather than into a temporary folder, so that Go links again only what has
// changed since the last run.
func buildPrograms() (string, error) {
	cache, err := testCache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Another run of these tests may be building at the same time.
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	arguments := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range processPrograms {
		arguments = append(arguments, "github.com/streamforge/streamforge/services/"+name)
	}
	if output, err := exec.Command("go", arguments...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return dir, nil
}

// testCache is a folder that outlives a test run: binaries, and what tests install.
func testCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "streamforge", "tests")
	return dir, os.MkdirAll(dir, 0o755)
}

// lockFile waits until it holds a file's lock, against other processes.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// ownedVariables would lead a test's programs to somebody's real cluster.
var ownedVariables = []string{
	"KAFKA_", "SCHEMA_REGISTRY_", "CLICKHOUSE_", "LOADER_", "PARSER_", "WRITER_", "STACK=", "VENUES=", "DURATION=", "STREAMFORGE_DIR=", "HTTP_ADDRESS",
}

// cleanEnvironment is this process's environment without anything that configures the programs.
func cleanEnvironment(added ...string) []string {
	var environment []string
next:
	for _, variable := range os.Environ() {
		for _, prefix := range ownedVariables {
			if strings.HasPrefix(variable, prefix) {
				continue next
			}
		}
		environment = append(environment, variable)
	}
	return append(environment, added...)
}

// needProcesses skips a test of whole processes where they cannot run: with -short, and where the ClickHouse engine (or
// the Apache parts) cannot be had. In CI the latter is a failure.
func needProcesses(t testing.TB, kind string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole stack")
	}
	if kind == localstack.Apache && os.Getenv("STREAMFORGE_APACHE") != "1" {
		t.Skip("STREAMFORGE_APACHE=1 runs this on Apache Kafka and Apicurio, too")
	}
	command := exec.Command(filepath.Join(programs(t), "streamforge"), "install", "--stack", kind)
	command.Env = cleanEnvironment()
	if output, err := command.CombinedOutput(); err != nil {
		cannot(t, "the %s stack cannot be installed: %s", kind, output)
	}
}

// cannot skips a test that lacks something of its surroundings, and fails it in CI, where nothing may be lacking.
func cannot(t testing.TB, format string, arguments ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, arguments...)
	}
	t.Skipf(format, arguments...)
}

// onBothStacks runs a test on the embedded stack and, where asked for, on the Apache one.
func onBothStacks(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{localstack.Embedded, localstack.Apache} {
		t.Run(kind, func(t *testing.T) {
			needProcesses(t, kind)
			test(t, kind)
		})
	}
}

// runningStack is a stack and pipeline that `streamforge up` started for one test.
type runningStack struct {
	t   testing.TB
	dir string
	env []string
}

// stackStatus is what `streamforge status --json` says.
type stackStatus struct {
	Running    bool            `json:"running"`
	Healthy    bool            `json:"healthy"`
	Stack      string          `json:"stack"`
	Supervisor int             `json:"supervisor_pid"`
	Kafka      string          `json:"kafka"`
	Registry   string          `json:"registry"`
	ClickHouse string          `json:"clickhouse"`
	Simulator  string          `json:"simulator"`
	Programs   []programStatus `json:"programs"`
}

// program finds a program or part by name.
func (s stackStatus) program(name string) (programStatus, bool) {
	for _, p := range s.Programs {
		if p.Name == name {
			return p, true
		}
	}
	return programStatus{}, false
}

// startStack runs `streamforge up` with a folder of its own and further flags of up, and ends it with `down` at the end
// of the test. A failed test shows the ends of the programs' logs.
func startStack(t testing.TB, kind string, arguments ...string) *runningStack {
	t.Helper()
	return startStackIn(t, t.TempDir(), kind, nil, arguments...)
}

// startStackIn is startStack with a folder and variables given.
func startStackIn(t testing.TB, dir, kind string, env []string, arguments ...string) *runningStack {
	t.Helper()
	needProcesses(t, kind)
	s := &runningStack{t: t, dir: dir, env: env}
	s.guard()
	if output, err := s.command(append([]string{"up", "--stack", kind}, arguments...)...).CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, output)
	}
	return s
}

// guard runs `down` when this process ends in whatever way: a test binary that runs into its timeout calls no cleanup,
// and would leave a stack behind. A shell holds the other end of a pipe and waits for its end.
func (s *runningStack) guard() {
	s.t.Helper()
	down := s.command("down")
	guard := exec.Command("/bin/sh", append([]string{"-c", `cat >/dev/null; exec "$0" "$@"`}, down.Args...)...)
	guard.Env = down.Env
	// In a group of its own, so that a Ctrl-C for the tests does not end the one that is to clean up.
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output strings.Builder
	guard.Stdout, guard.Stderr = &output, &output
	pipe, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Log(s.logs())
		}
		pipe.Close()
		if err := guard.Wait(); err != nil {
			s.t.Errorf("down: %v\n%s", err, output.String())
		}
	})
}

// command is a streamforge command on this stack.
func (s *runningStack) command(arguments ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(programs(s.t), "streamforge"), append([]string{"--dir", s.dir}, arguments...)...)
	command.Env = cleanEnvironment(s.env...)
	return command
}

// run is a streamforge command that must succeed; it returns what the command prints.
func (s *runningStack) run(arguments ...string) string {
	s.t.Helper()
	command := s.command(arguments...)
	var complaint strings.Builder
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		s.t.Fatalf("streamforge %s: %v\n%s%s", strings.Join(arguments, " "), err, output, complaint.String())
	}
	return string(output)
}

// status asks `streamforge status --json`, whose exit status 1 says that something is not well.
func (s *runningStack) status() stackStatus {
	s.t.Helper()
	var status stackStatus
	output, err := s.command("status", "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(output, &status); err != nil {
		s.t.Fatalf("status --json: %v\n%s", err, output)
	}
	return status
}

// pid of a program or part.
func (s *runningStack) pid(name string) int {
	s.t.Helper()
	p, ok := s.status().program(name)
	if !ok || p.PID == 0 {
		s.t.Fatalf("%s does not run", name)
	}
	return p.PID
}

// signal sends a signal to a program or part; after SIGKILL the supervisor starts it again.
func (s *runningStack) signal(name string, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.pid(name), signal); err != nil {
		s.t.Fatalf("%v to %s: %v", signal, name, err)
	}
}

// query asks ClickHouse over HTTP and returns the answer without its last line end.
func (s *runningStack) query(sql string) (string, error) {
	return get(s.t.Context(), http.MethodPost, s.status().ClickHouse+"/", sql)
}

// mustQuery is query for what must succeed.
func (s *runningStack) mustQuery(sql string) string {
	s.t.Helper()
	answer, err := s.query(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// awaitRows waits until a query's answer is a number of at least this many.
func (s *runningStack) awaitRows(least int64, sql string) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("at least %d from %s", least, sql), 90*time.Second, func() error {
		answer, err := s.query(sql)
		if err != nil {
			return err
		}
		var rows int64
		if _, err := fmt.Sscan(answer, &rows); err != nil {
			return fmt.Errorf("%q: %w", answer, err)
		}
		if rows < least {
			return fmt.Errorf("%d", rows)
		}
		return nil
	})
}

// fault tells the simulator what to do wrong, as JSON.
func (s *runningStack) fault(fault string) {
	s.t.Helper()
	if _, err := get(s.t.Context(), http.MethodPost, "http://"+s.status().Simulator+"/control/fault", fault); err != nil {
		s.t.Fatalf("fault %s: %v", fault, err)
	}
}

// log is what a program or part has written.
func (s *runningStack) log(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "up", "logs", name+".log"))
	return string(text)
}

// logs are the ends of all logs, for a failed test.
func (s *runningStack) logs() string {
	const most = 3000
	files, _ := filepath.Glob(filepath.Join(s.dir, "up", "logs", "*.log"))
	var all strings.Builder
	for _, file := range append(files, filepath.Join(s.dir, "up", "supervisor.log")) {
		text, _ := os.ReadFile(file)
		if len(text) > most {
			text = append([]byte("…"), text[len(text)-most:]...)
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(file), text)
	}
	return all.String()
}

// await calls what until it returns nil. It fails the test, with the last error, when that takes longer than patience,
// which is there for broken programs and may be generous: a loaded machine must not fail a test.
func await(t testing.TB, name string, patience time.Duration, what func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := what()
		if last == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waiting for %s: not after %s: %v", name, patience, last)
		case <-t.Context().Done():
			t.Fatalf("waiting for %s: the test ended: %v", name, last)
		}
	}
}

// get makes an HTTP request and returns the answer's body; a status other than 200 is an error with the body in it.
func get(ctx context.Context, method, url, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(answer), "\n")
	if response.StatusCode != http.StatusOK {
		return text, fmt.Errorf("%s: %s", response.Status, text)
	}
	return text, nil
}
