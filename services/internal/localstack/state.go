package localstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Addresses of the three parts of a stack.
type Addresses struct {
	Kafka      string `json:"kafka"`
	Registry   string `json:"registry"`
	ClickHouse string `json:"clickhouse"`
}

// Environment is how every program learns the addresses.
func (a Addresses) Environment() []string {
	return []string{
		"KAFKA_BOOTSTRAP_SERVERS=" + a.Kafka,
		"SCHEMA_REGISTRY_URL=" + a.Registry,
		"CLICKHOUSE_URL=" + a.ClickHouse,
	}
}

// ProgramState is one child as the state file shows it.
type ProgramState struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// HTTP is host:port of /healthz, /readyz and /metrics; empty for a part that has none.
	HTTP string `json:"http,omitempty"`
	Log  string `json:"log,omitempty"`
	// Restarts counts how often it ended and was started again.
	Restarts int `json:"restarts"`
}

// State is what the supervisor of a running stack writes down for the other commands.
type State struct {
	Stack      string         `json:"stack"`
	Supervisor int            `json:"supervisor_pid"`
	Ready      bool           `json:"ready"`
	Error      string         `json:"error,omitempty"`
	Addresses  Addresses      `json:"addresses"`
	Simulator  string         `json:"simulator,omitempty"`
	Programs   []ProgramState `json:"programs"`
}

func statePath(dir string) string { return filepath.Join(dir, "state.json") }

// ReadState reads the state file of a stack's folder. A missing file is fs.ErrNotExist.
func ReadState(dir string) (State, error) {
	var s State
	text, err := os.ReadFile(statePath(dir))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("reading %s: %w; delete it and start again", statePath(dir), err)
	}
	return s, nil
}

// WriteState replaces the state file in one step, so that a reader never sees half of it.
func WriteState(dir string, s State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temporary := statePath(dir) + ".new"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the stack's state: %w", err)
	}
	return os.Rename(temporary, statePath(dir))
}

// RemoveState forgets a stack that has ended.
func RemoveState(dir string) error {
	if err := os.Remove(statePath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
