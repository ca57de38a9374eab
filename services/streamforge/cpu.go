//go:build cgo

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// cpuAccount adds up the processor time of a stack's children. Time is compared where a clock cannot be: on a machine
// that does other work as well.
type cpuAccount struct {
	stack *localstack.Stack
	begin map[string]time.Duration
	now   map[string]time.Duration
}

// observer is the name of this process in the account: the proof and the looking cost, too.
const observer = "streamforge"

func newCPUAccount(stack *localstack.Stack) *cpuAccount {
	return &cpuAccount{stack: stack, begin: map[string]time.Duration{}, now: map[string]time.Duration{}}
}

// Begin makes what was used until now count for nothing.
func (a *cpuAccount) Begin() {
	a.Read()
	for name, used := range a.now {
		a.begin[name] = used
	}
}

// Read notes what each child that still runs has used; a child that was stopped keeps its last figure.
func (a *cpuAccount) Read() {
	for _, child := range a.stack.States() {
		if used, err := cpuTime(child.PID); err == nil {
			a.now[child.Name] = used
		}
	}
	if used, err := cpuTime(os.Getpid()); err == nil {
		a.now[observer] = used
	}
}

// Print writes seconds, and seconds a million frames, the greatest first.
func (a *cpuAccount) Print(w io.Writer, frames float64) {
	names := make([]string, 0, len(a.now))
	for name := range a.now {
		names = append(names, name)
	}
	used := func(name string) float64 { return (a.now[name] - a.begin[name]).Seconds() }
	sort.Slice(names, func(i, j int) bool { return used(names[i]) > used(names[j]) })
	var total float64
	for _, name := range names {
		total += used(name)
		fmt.Fprintf(w, "  cpu %-16s %7.2f s  %6.2f s per million frames\n", name, used(name), used(name)/max(1, frames)*1e6)
	}
	fmt.Fprintf(w, "  cpu %-16s %7.2f s  %6.2f s per million frames\n", "all", total, total/max(1, frames)*1e6)
}

// clockTicks is the kernel's unit in /proc/<pid>/stat, USER_HZ: 100 a second on every Linux that Go runs on.
const clockTicks = 100

// cpuTime is what a process has used so far, in user and kernel mode, all its threads together.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything; behind it stand fields 3 and on.
	end := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[end+1:])
	const user, kernel = 14 - 3, 15 - 3
	if end < 0 || len(fields) <= kernel {
		return 0, fmt.Errorf("/proc/%d/stat holds %q, which is not of the known form", pid, text)
	}
	var ticks int64
	for _, field := range []int{user, kernel} {
		n, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// profile fetches the programs' CPU profiles in the background, over the middle third of the load, and tells how it
// ended. Without a folder it does nothing.
func (r *load) profile(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if r.command.Profile == "" {
		done <- nil
		return done
	}
	third := time.Duration(r.command.Duration) / 3
	go func() {
		timer := time.NewTimer(third)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			done <- ctx.Err()
			return
		case <-timer.C:
		}
		results := make(chan error)
		states := r.session.stack.States()
		for _, child := range states {
			go func() { results <- fetchProfile(ctx, child, third, r.command.Profile) }()
		}
		var errs []error
		for range states {
			errs = append(errs, <-results)
		}
		done <- errors.Join(errs...)
	}()
	return done
}

func fetchProfile(ctx context.Context, child localstack.ProgramState, length time.Duration, dir string) error {
	if child.HTTP == "" {
		return nil // a part of the stack without a listener of its own
	}
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", child.HTTP, max(1, int(length.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profiling %s: %w", child.Name, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("profiling %s: %w", child.Name, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profiling %s: %s answers %s", child.Name, url, response.Status)
	}
	return os.WriteFile(filepath.Join(dir, child.Name+".pprof"), body, 0o644)
}
