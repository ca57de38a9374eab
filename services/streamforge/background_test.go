//go:build cgo

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestWhateverIsKilledComesBack kills every part and program of a running stack: status says so, and what came back.
func TestWhateverIsKilledComesBack(t *testing.T) {
	t.Parallel()
	s := processtest.Start(t, localstack.Embedded, "--symbols", "8")
	s.AwaitRows(50, "SELECT count() FROM raw_trades")
	for _, names := range [][]string{{"clickhouse", "registry"}, {"broker"}, {"writer", "parser", "venue-simulator", "loader"}} {
		before := s.Status()
		for _, name := range names {
			p, _ := before.Program(name)
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		processtest.Await(t, strings.Join(names, ", ")+" to be back", patience, func() error {
			status := s.Status()
			for _, name := range names {
				was, _ := before.Program(name)
				if p, ok := status.Program(name); !ok || p.PID == was.PID || p.Restarts == 0 || !status.Healthy {
					return fmt.Errorf("%+v", p)
				}
			}
			return nil
		})
	}
	log, err := os.ReadFile(filepath.Join(s.Folder(), "supervisor.log"))
	if n := strings.Count(string(log), " ended (signal: killed) and is started again"); err != nil || n != 7 {
		t.Errorf("the supervisor's log tells of %d of 7: %v\n%s", n, err, log)
	}
	flows(s)
	// A part that hangs has a process and an open port, and is not well for all that.
	hanging := []string{"registry", "clickhouse", "broker"}
	for _, name := range hanging {
		s.Signal(name, syscall.SIGSTOP)
	}
	status := s.Status()
	for _, name := range hanging {
		p, _ := status.Program(name)
		if p.Healthy || p.Detail == "" {
			t.Errorf("%s hangs, and status says %+v", name, p)
		}
		if err := syscall.Kill(p.PID, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	flows(s)
}

// awaitHealth waits until status says that everything is well: one question has a short patience, which a busy machine uses up.
func awaitHealth(t *testing.T, s *processtest.Stack) {
	t.Helper()
	processtest.Await(t, "everything to be well", patience, func() error {
		if status := s.Status(); !status.Healthy {
			return fmt.Errorf("%+v", status.Programs)
		}
		return nil
	})
}

// TestTwoAtOnceAreOne starts two stacks in one folder at the same moment: one runs, and the other touches nothing.
func TestTwoAtOnceAreOne(t *testing.T) {
	t.Parallel()
	processtest.Require(t, localstack.Embedded)
	s := processtest.New(t, processtest.Config{})
	s.Guard()
	var outputs [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i := range outputs {
		both.Go(func() {
			output, err := s.Command("up", "--no-pipeline").CombinedOutput()
			outputs[i], errs[i] = string(output), err
		})
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("%v and %v:\n%s\n%s", errs[0], errs[1], outputs[0], outputs[1])
	}
	for i, err := range errs {
		if err != nil && (strings.Count(outputs[i], "\n") != 1 || !strings.Contains(outputs[i], "a stack runs already in ")) {
			t.Errorf("the one that came late says\n%s", outputs[i])
		}
	}
	awaitHealth(t, s)
	if out, err := s.Command("demo", "--duration", "soon").CombinedOutput(); err == nil {
		t.Errorf("%s", out)
	}
}

// TestAStackOnAnothersParts replaces each part by its address, one after another: status knows whose it is, and the
// rows and records of an earlier run are none of the next one's.
func TestAStackOnAnothersParts(t *testing.T) {
	t.Parallel()
	other := processtest.Start(t, localstack.Embedded, "--no-pipeline").Status()
	for _, c := range []struct {
		part, variable string
		demos          int
	}{
		{"broker", "KAFKA_BOOTSTRAP_SERVERS=" + other.Kafka, 1},
		{"registry", "SCHEMA_REGISTRY_URL=" + other.Registry, 0},
		{"clickhouse", "CLICKHOUSE_URL=" + other.ClickHouse, 2},
	} {
		t.Run(c.part, func(t *testing.T) {
			for range c.demos {
				output, err := runDemo(t, c.variable)
				if err != nil || !strings.Contains(output, "lost=0 duplicated=0 dead_letters=0") || strings.Contains(output, c.part+" is up") {
					t.Fatalf("%v\n%s", err, output)
				}
			}
			s := processtest.StartWith(t, processtest.Config{Env: []string{c.variable}}, localstack.Embedded, "--no-pipeline")
			awaitHealth(t, s)
			if p, _ := s.Status().Program(c.part); !p.External || p.PID != 0 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func runDemo(t *testing.T, env string) (string, error) {
	t.Helper()
	s := processtest.New(t, processtest.Config{Env: []string{env}})
	output, err := s.Command("demo", "--duration", "1s", "--symbols", "8").CombinedOutput()
	return string(output), err
}
