package processtest

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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// Stack is a stack, with a pipeline or without, that `streamforge up` starts for one test.
//
//	s := processtest.Start(t, localstack.Embedded, "--symbols", "12") // up, with the pipeline; `down` at the test's end
//	s.Status().Kafka                                                   // the addresses and every program's health
//	s.PID("parser")                                                    // to be killed
//	s.Query("SELECT count() FROM raw_trades")                          // what ClickHouse says
//	processtest.Await(t, "the first trade", time.Minute, func() error {…}) // nil ends the wait
type Stack struct {
	t      testing.TB
	config Config
	// clickhouse is its address, which does not change: a question to it need not ask for the status first.
	clickhouse string
}

// patience bounds waits for what takes a second on a quiet machine.
const patience = 90 * time.Second

// Config of a Stack; what is empty is the test's own.
type Config struct {
	// Dir is the folder of data, logs and state; empty: a temporary one.
	Dir string
	// Programs is the folder of the binaries; empty: that of Programs.
	Programs string
	// Env is added to the environment.
	Env []string
}

// New makes a Stack that does not run.
func New(t testing.TB, config Config) *Stack {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	if config.Programs == "" {
		config.Programs = Programs(t)
	}
	return &Stack{t: t, config: config}
}

// Start runs `streamforge up` with further flags of it, and ends it with `down` at the end of the test. A failed test
// shows the ends of the programs' logs.
func Start(t testing.TB, kind string, arguments ...string) *Stack {
	t.Helper()
	return StartWith(t, Config{}, kind, arguments...)
}

// StartWith is Start with folders and variables given.
func StartWith(t testing.TB, config Config, kind string, arguments ...string) *Stack {
	t.Helper()
	Require(t, kind)
	s := New(t, config)
	s.Guard()
	if output, err := s.Command(append([]string{"up", "--stack", kind}, arguments...)...).CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, output)
	}
	return s
}

// Status is what `streamforge status --json` says.
type Status struct {
	Running    bool      `json:"running"`
	Healthy    bool      `json:"healthy"`
	Stack      string    `json:"stack"`
	Supervisor int       `json:"supervisor_pid"`
	Kafka      string    `json:"kafka"`
	Registry   string    `json:"registry"`
	ClickHouse string    `json:"clickhouse"`
	Simulator  string    `json:"simulator"`
	Programs   []Program `json:"programs"`
}

// Program is a program or part as status shows it.
type Program struct {
	localstack.ProgramState
	External bool   `json:"external"`
	Healthy  bool   `json:"healthy"`
	Detail   string `json:"detail"`
	// Notes are what a person has asked of the program, such as a pause.
	Notes []string `json:"notes"`
}

// Program finds a program or part by name.
func (s Status) Program(name string) (Program, bool) {
	for _, p := range s.Programs {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}

// Guard runs `down` when this process ends in whatever way: a test binary that runs into its timeout calls no cleanup,
// and would leave a stack behind. A shell holds the other end of a pipe and waits for its end.
func (s *Stack) Guard() {
	s.t.Helper()
	down := s.Command("down")
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

// Command is a streamforge command on this stack.
func (s *Stack) Command(arguments ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.config.Programs, "streamforge"), append([]string{"--dir", s.config.Dir}, arguments...)...)
	command.Env = Environment(s.config.Env...)
	return command
}

// Run is a streamforge command that must succeed; it returns what the command prints.
func (s *Stack) Run(arguments ...string) string {
	s.t.Helper()
	command := s.Command(arguments...)
	var complaint strings.Builder
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		s.t.Fatalf("streamforge %s: %v\n%s%s", strings.Join(arguments, " "), err, output, complaint.String())
	}
	return string(output)
}

// Status asks `streamforge status --json`, whose exit status 1 says that something is not well.
func (s *Stack) Status() Status {
	s.t.Helper()
	var status Status
	output, err := s.Command("status", "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(output, &status); err != nil {
		s.t.Fatalf("status --json: %v\n%s", err, output)
	}
	return status
}

// Addresses of the stack as variables, as `eval "$(streamforge env)"` sets them.
func (s *Stack) Addresses() []string {
	s.t.Helper()
	var environment []string
	for line := range strings.Lines(s.Run("env")) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			s.t.Fatalf("env says %q", line)
		}
		environment = append(environment, name+"="+strings.Trim(value, "'"))
	}
	if len(environment) != 3 {
		s.t.Fatalf("env says %q", environment)
	}
	return environment
}

// PID of a program or part.
func (s *Stack) PID(name string) int {
	s.t.Helper()
	p, ok := s.Status().Program(name)
	if !ok || p.PID == 0 {
		s.t.Fatalf("%s does not run", name)
	}
	return p.PID
}

// Signal sends a signal to a program or part; after SIGKILL the supervisor starts it again.
func (s *Stack) Signal(name string, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.PID(name), signal); err != nil {
		s.t.Fatalf("%v to %s: %v", signal, name, err)
	}
}

// Stop has a program drain and end, and keeps it down until Continue or until a build takes its place: while there is no file
// of its name, the supervisor cannot start it again. The stack needs a folder of programs of its own (CopyOfPrograms).
func (s *Stack) Stop(name string) {
	s.t.Helper()
	path := filepath.Join(s.config.Programs, name)
	if err := os.Rename(path, path+".stopped"); err != nil {
		s.t.Fatal(err)
	}
	s.end(name)
}

// Continue undoes Stop, and waits until the program is ready.
func (s *Stack) Continue(name string) {
	s.t.Helper()
	path := filepath.Join(s.config.Programs, name)
	if _, err := os.Stat(path); err != nil {
		if err := os.Rename(path+".stopped", path); err != nil {
			s.t.Fatal(err)
		}
	}
	s.awaitAnswer(name, "/readyz")
}

// Replace has a program drain and end, and waits until what stands in its place now is ready.
func (s *Stack) Replace(name string) {
	s.t.Helper()
	s.end(name)
	s.awaitAnswer(name, "/readyz")
}

// end has a program drain, and waits until its process is gone. What has not shown that it lives may not have its handler of
// signals yet, and would die of one.
func (s *Stack) end(name string) {
	s.t.Helper()
	pid := s.awaitAnswer(name, "/healthz")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		s.t.Fatalf("SIGTERM to %s: %v", name, err)
	}
	Await(s.t, name+" to drain", patience, func() error {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}

// awaitAnswer waits until a program answers 200, and returns its process id.
func (s *Stack) awaitAnswer(name, path string) (pid int) {
	s.t.Helper()
	Await(s.t, name+" to answer "+path, patience, func() error {
		p, found := s.Status().Program(name)
		if !found || syscall.Kill(p.PID, 0) != nil {
			return fmt.Errorf("there is no process %d", p.PID) // or the status is a second old
		}
		pid = p.PID
		_, err := Get(s.t.Context(), http.MethodGet, "http://"+p.HTTP+path, "")
		return err
	})
	return pid
}

// Metric is a program's metric, summed over the series that have all of the labels, each as name="value".
func (s *Stack) Metric(program, name string, labels ...string) (sum float64, err error) {
	p, _ := s.Status().Program(program)
	text, err := Get(s.t.Context(), http.MethodGet, "http://"+p.HTTP+"/metrics", "")
	if err != nil {
		return 0, err
	}
series:
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue series
			}
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		if err != nil {
			return 0, fmt.Errorf("%s says %q: %w", program, line, err)
		}
		sum += value
	}
	return sum, nil
}

// Query asks ClickHouse over HTTP and returns the answer without its last line end.
func (s *Stack) Query(sql string) (string, error) {
	if s.clickhouse == "" {
		s.clickhouse = s.Status().ClickHouse
	}
	return Get(s.t.Context(), http.MethodPost, s.clickhouse+"/", sql)
}

// MustQuery is query for what must succeed.
func (s *Stack) MustQuery(sql string) string {
	s.t.Helper()
	answer, err := s.Query(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// AwaitRows waits until a query's answer is a number of at least this many.
func (s *Stack) AwaitRows(least int64, sql string) {
	s.t.Helper()
	Await(s.t, fmt.Sprintf("at least %d from %s", least, sql), patience, func() error {
		answer, err := s.Query(sql)
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

// Fault tells the simulator what to do wrong, as JSON.
func (s *Stack) Fault(fault string) {
	s.t.Helper()
	if _, err := Get(s.t.Context(), http.MethodPost, "http://"+s.Status().Simulator+"/control/fault", fault); err != nil {
		s.t.Fatalf("fault %s: %v", fault, err)
	}
}

// Folder is where up keeps this stack: logs/, data, and the simulator's ledger.
func (s *Stack) Folder() string { return filepath.Join(s.config.Dir, "up") }

// Log is what a program or part has written.
func (s *Stack) Log(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.Folder(), "logs", name+".log"))
	return string(text)
}

// logs are the ends of all logs, for a failed test.
func (s *Stack) logs() string {
	const most = 3000
	files, _ := filepath.Glob(filepath.Join(s.Folder(), "logs", "*.log"))
	var all strings.Builder
	for _, file := range append(files, filepath.Join(s.Folder(), "supervisor.log")) {
		text, _ := os.ReadFile(file)
		if len(text) > most {
			text = append([]byte("…"), text[len(text)-most:]...)
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(file), text)
	}
	return all.String()
}

// Await calls what until it returns nil. It fails the test, with the last error, when that takes longer than patience,
// which is there for broken programs and may be generous: a loaded machine must not fail a test.
func Await(t testing.TB, name string, patience time.Duration, what func() error) {
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

// Get makes an HTTP request and returns the answer's body; a status other than 200 is an error with the body in it.
func Get(ctx context.Context, method, url, body string) (string, error) {
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
