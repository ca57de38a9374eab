package localstack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// Spec is one child process of the local stack.
type Spec struct {
	Name string
	Path string
	Args []string
	// Env is added to this process's environment.
	Env []string
	// LogFile gets the child's standard output and error, appended.
	LogFile string
	// Ready is asked until it returns nil; it decides when Start returns.
	Ready func(ctx context.Context) error
	// Ended is called when the child ended by itself after it had been ready; nil: not.
	Ended func(name string, reason error)
	// Ports are held for the child, also while it is down, and given back when it has ended for good.
	Ports []*port.Reservation
	// StartTimeout bounds the wait for Ready.
	StartTimeout time.Duration
	// StopTimeout is how long a SIGTERM may take before SIGKILL.
	StopTimeout time.Duration
}

// maxEarlyExits is how often a child may end before it was ever ready until Start gives up: once may be a race for a
// port or a dependency, three times is a fault that a person must see.
const maxEarlyExits = 3

// Process keeps one child alive until Stop: whenever it ends it is started again, with backoff.
type Process struct {
	spec Spec

	mu       sync.Mutex
	cmd      *exec.Cmd // nil while no child runs
	pid      int       // of the last child that was started
	restarts int
	stopping bool
	held     chan struct{} // not nil: the child is kept down until it is closed
	lastExit error
	everUp   bool

	stop   chan struct{} // closed by Stop: ends every wait of the supervisor
	exited chan struct{} // closed when the child has ended for good
	fatal  chan error    // early exits, to Launch
}

// Launch starts the child and returns once it is ready.
func Launch(ctx context.Context, spec Spec) (*Process, error) {
	p := &Process{spec: spec, stop: make(chan struct{}), exited: make(chan struct{}), fatal: make(chan error, 1)}
	if err := os.MkdirAll(filepath.Dir(spec.LogFile), 0o755); err != nil {
		p.releasePorts()
		return nil, fmt.Errorf("starting %s: making the folder of its log: %w", spec.Name, err)
	}
	go p.supervise()
	if err := p.awaitReady(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	p.mu.Lock()
	p.everUp = true
	p.mu.Unlock()
	return p, nil
}

func (p *Process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.StartTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case err := <-p.fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %v; see %s", p.spec.Name, p.spec.StartTimeout, last, p.spec.LogFile)
		case <-tick.C:
			err := p.spec.Ready(ctx)
			if err == nil {
				return nil
			}
			// The last answer says more than the end of the patience does.
			if ctx.Err() == nil {
				last = err
			}
		}
	}
}

func (p *Process) releasePorts() {
	for _, held := range p.spec.Ports {
		held.Release()
	}
}

// supervise runs the child again and again until Stop.
func (p *Process) supervise() {
	defer close(p.exited)
	defer p.releasePorts()
	// The kernel sends the parent-death signal when the THREAD that forked ends, so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.2}
	pause.Reset()
	for early := 0; ; {
		started := time.Now()
		err := p.runOnce()
		p.mu.Lock()
		p.lastExit = err
		stop, up := p.stopping, p.everUp
		if !stop {
			p.restarts++
		}
		p.mu.Unlock()
		if stop {
			return
		}
		if up && p.spec.Ended != nil {
			p.spec.Ended(p.spec.Name, err)
		}
		if early++; !up && early >= maxEarlyExits {
			p.fatal <- fmt.Errorf("%s ends at once (%v): %s", p.spec.Name, err, lastLogLine(p.spec.LogFile))
			return
		}
		if time.Since(started) > time.Second {
			pause.Reset()
		}
		p.pause(pause.NextBackOff())
	}
}

func (p *Process) runOnce() error {
	log, err := os.OpenFile(p.spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Env = append(os.Environ(), p.spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// An own process group keeps a terminal's Ctrl-C away from the children: the supervisor drains them in order. When
	// the supervisor itself is killed, they are told to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if started, err := p.start(cmd); !started {
		return err
	}
	err = cmd.Wait()
	p.mu.Lock()
	p.cmd = nil
	p.mu.Unlock()
	return err
}

// start starts the child unless it is to stop; it starts a held one only after its release. The decision and the start
// are one step, so that Hold and Stop either see the child or prevent it.
func (p *Process) start(cmd *exec.Cmd) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held != nil && !p.stopping {
		held := p.held
		p.mu.Unlock()
		select {
		case <-held:
		case <-p.stop:
		}
		p.mu.Lock()
	}
	if p.stopping {
		return false, p.lastExit
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	p.cmd, p.pid = cmd, cmd.Process.Pid
	return true, nil
}

// pause waits before a restart.
func (p *Process) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stop:
	}
}

// Hold kills the child and keeps it down until Release: an outage.
func (p *Process) Hold() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil || p.stopping {
		return fmt.Errorf("%s is held or stopped already", p.spec.Name)
	}
	p.held = make(chan struct{})
	if p.cmd == nil {
		return nil // It has just ended by itself, and stays down like one that was killed.
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.spec.Name, err)
	}
	return nil
}

// Release ends an outage.
func (p *Process) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// AwaitRestart returns when a child other than pid runs and is ready.
func (p *Process) AwaitRestart(ctx context.Context, pid int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if now := p.PID(); now != 0 && now != pid && p.spec.Ready(ctx) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Stop sends SIGTERM, waits, and after StopTimeout sends SIGKILL. It returns the child's own verdict on its drain.
func (p *Process) Stop() error {
	p.mu.Lock()
	if !p.stopping {
		p.stopping = true
		close(p.stop)
	}
	cmd := p.cmd
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	timer := time.NewTimer(p.spec.StopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		if cmd != nil {
			_ = cmd.Process.Kill()
		}
		<-p.exited
		return fmt.Errorf("%s did not drain within %s and was killed; see %s", p.spec.Name, p.spec.StopTimeout, p.spec.LogFile)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var exit *exec.ExitError
	// A Java process that was told to end by SIGTERM says so in its status.
	const toldToEnd = 128 + int(syscall.SIGTERM)
	if errors.As(p.lastExit, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != toldToEnd {
		return fmt.Errorf("%s ended with status %d: %s", p.spec.Name, exit.ExitCode(), lastLogLine(p.spec.LogFile))
	}
	return nil
}

// Wait returns when the child has ended for good.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID of the child, also while it is down and about to be started again; 0 before the first start. It is never 0 once
// Launch has returned, so that a signal sent to it cannot reach the caller's own process group.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Restarts counts how often the child ended and was started again.
func (p *Process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// Name of the child.
func (p *Process) Name() string { return p.spec.Name }

// lastLogLine finds the last line of a log, for an error message: the "error" of a JSON line, else the line itself.
func lastLogLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	const tail = 16 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-tail), io.SeekStart)
	}
	var last string
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, tail+1)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			last = line
		}
	}
	var entry struct{ Msg, Error string }
	if json.Unmarshal([]byte(last), &entry) == nil && entry.Error != "" {
		return entry.Error
	}
	return last
}
