//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestProgramsWithoutTheirSurroundings starts programs where something is missing: what is away is waited for, and
// /readyz says what and where; what is not there (a schema, a topic) is refused at once, with the command that makes it.
func TestProgramsWithoutTheirSurroundings(t *testing.T) {
	t.Parallel()
	s := processtest.Start(t, localstack.Embedded, "--no-pipeline")
	at := s.Status()
	here := []string{"KAFKA_BOOTSTRAP_SERVERS=" + at.Kafka, "SCHEMA_REGISTRY_URL=" + at.Registry, "CLICKHOUSE_URL=" + at.ClickHouse}
	feeds := filepath.Join(t.TempDir(), "feeds.yaml")
	if err := os.WriteFile(feeds, []byte("feeds:\n  - {name: b, venue: binance, symbols: [BTC-USDT], websocket: 'ws://"+closedAddress+"', rest: 'http://"+closedAddress+"'}\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	t.Run("away", func(t *testing.T) {
		for name, c := range map[string]struct {
			program, variable, says string
			arguments               []string
		}{
			"loader, registry down":   {"loader", "SCHEMA_REGISTRY_URL=http://" + closedAddress, "schema registry unavailable at http://127.0.0.1:1", []string{"--config", feeds}},
			"loader, broker down":     {"loader", "KAFKA_BOOTSTRAP_SERVERS=" + closedAddress, "127.0.0.1:1", []string{"--config", feeds}},
			"loader, venue down":      {"loader", "", "127.0.0.1:1", []string{"--config", feeds}},
			"parser, registry down":   {"parser", "SCHEMA_REGISTRY_URL=http://" + closedAddress, "waiting for the schema registry at http://127.0.0.1:1 (subject raw-frames-value)", nil},
			"parser, broker down":     {"parser", "KAFKA_BOOTSTRAP_SERVERS=" + closedAddress, "waiting for the topics of Kafka at 127.0.0.1:1", nil},
			"writer, registry down":   {"writer", "SCHEMA_REGISTRY_URL=http://" + closedAddress, "schema registry unavailable at http://127.0.0.1:1", nil},
			"writer, broker down":     {"writer", "KAFKA_BOOTSTRAP_SERVERS=" + closedAddress, "127.0.0.1:1", nil},
			"writer, ClickHouse down": {"writer", "CLICKHOUSE_URL=http://" + closedAddress, "127.0.0.1:1", nil},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := startProgram(t, c.program, append(here, c.variable), c.arguments...)
				processtest.Await(t, "/readyz to say why", patience, func() error {
					answer, err := p.ask("/readyz")
					if err == nil {
						return errors.New("it is ready")
					}
					if !strings.Contains(answer, c.says) {
						return fmt.Errorf("it says %q: %w", answer, err)
					}
					return nil
				})
				if _, err := p.ask("/healthz"); err != nil {
					t.Errorf("/healthz: %v", err)
				}
				if err := p.stop(); err != nil {
					t.Errorf("waiting is no fault, but it ends with %v:\n%s", err, p.output())
				}
			})
		}
	})

	if _, err := processtest.Get(t.Context(), http.MethodDelete, at.Registry+"/subjects/raw-frames-value", ""); err != nil {
		t.Fatal(err)
	}
	for program, arguments := range map[string][]string{"loader": {"--config", feeds}, "parser": nil} {
		t.Run(program+", schema not registered", func(t *testing.T) {
			refuses(t, startProgram(t, program, here, arguments...), "raw-frames-value", "make register-schemas")
		})
	}
	s.Run("schemas", "register")

	admin, err := kafka.NewAdmin(kafka.ClientConfig{BootstrapServers: at.Kafka})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Delete(t.Context(), "raw-frames"); err != nil {
		t.Fatal(err)
	}
	t.Run("parser, unknown topic", func(t *testing.T) {
		refuses(t, startProgram(t, "parser", here), "unknown topic raw-frames", "streamforge apply")
	})
	// The loader holds its connections' places: it waits for the topic, and takes it when it is there.
	loader := startProgram(t, "loader", here, "--config", feeds)
	loaderSays := func(says string) {
		t.Helper()
		processtest.Await(t, "the loader to say "+says, patience, func() error {
			if answer, err := loader.ask("/readyz"); err == nil || !strings.Contains(answer, says) {
				return fmt.Errorf("it says %q, %v", answer, err)
			}
			return nil
		})
	}
	loaderSays("topic raw-frames does not exist; create it from its contract with `streamforge apply`")
	// The remedy that was named is one.
	s.Run("apply")
	loaderSays("connecting to ws://127.0.0.1:1")
	p := startProgram(t, "parser", here)
	processtest.Await(t, "the parser to be ready", patience, func() error {
		_, err := p.ask("/readyz")
		return err
	})
}

// refuses says that a program ends by itself, with a status, one error that holds every word, and no stack trace.
func refuses(t *testing.T, p *startedProgram, words ...string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("it still runs:\n%s", p.output())
	}
	found := errorsOf(p.output())
	if p.err == nil || len(found) != 1 || stackTrace.MatchString(p.output()) {
		t.Fatalf("ended with %v and %d errors:\n%s", p.err, len(found), p.output())
	}
	for _, word := range words {
		if !strings.Contains(found[0], word) {
			t.Errorf("it says %s, expected %q", found[0], word)
		}
	}
}

// startedProgram is one program without a supervisor.
type startedProgram struct {
	t       *testing.T
	command *exec.Cmd
	files   string
	ended   chan struct{}
	err     error // once ended is closed
}

func startProgram(t *testing.T, name string, env []string, arguments ...string) *startedProgram {
	t.Helper()
	p := &startedProgram{t: t, files: t.TempDir(), ended: make(chan struct{})}
	p.command = exec.Command(filepath.Join(processtest.Programs(t), name), append(arguments, "--http-address-file", filepath.Join(p.files, "http"))...)
	p.command.Env = processtest.Environment(env...)
	log, err := os.Create(filepath.Join(p.files, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
	})
	return p
}

// output is all that it has logged.
func (p *startedProgram) output() string {
	text, _ := os.ReadFile(filepath.Join(p.files, "log"))
	return string(text)
}

// ask makes a request of its HTTP listener.
func (p *startedProgram) ask(path string) (string, error) {
	address, err := os.ReadFile(filepath.Join(p.files, "http"))
	if err != nil {
		return "", err
	}
	return processtest.Get(context.WithoutCancel(p.t.Context()), http.MethodGet, "http://"+strings.TrimSpace(string(address))+path, "")
}

// stop tells it to drain and returns how it ended.
func (p *startedProgram) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		return errors.New("it does not end within a minute of SIGTERM")
	}
}
