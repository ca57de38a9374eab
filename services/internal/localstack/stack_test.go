package localstack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgramsOnAStackOfOthersParts(t *testing.T) {
	t.Parallel()
	external := Addresses{Kafka: "127.0.0.1:1", Registry: "http://127.0.0.1:2", ClickHouse: "http://127.0.0.1:3"}
	dir := t.TempDir()
	stack, err := Start(t.Context(), Config{Kind: Embedded, Dir: dir, External: external})
	if err != nil {
		t.Fatal(err)
	}
	if stack.Addresses() != external || len(stack.States()) != 0 {
		t.Fatalf("it started %v, at %v", stack.States(), stack.Addresses())
	}
	for name, mode := range map[string]string{"first": drainer, "second": badDrainer} {
		if _, err := stack.Program(t.Context(), name, os.Args[0], nil, []string{childMode + "=" + mode}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"first", "second"} {
		if who := whoAnswers(t, stack.HTTP(name)); who != stack.Process(name).PID() {
			t.Fatalf("%s: process %d answers", name, who)
		}
	}
	if stack.Process("third") != nil || stack.HTTP("third") != "" || stack.StopProgram("third") != nil {
		t.Fatal("a program that was never started is known")
	}
	if err := stack.StopProgram("first"); err != nil || stack.Process("first") != nil {
		t.Fatalf("stopping the first: %v", err)
	}
	if err := stack.Stop(); err == nil || !strings.Contains(err.Error(), "second ended with status 3: half is left") {
		t.Fatalf("stopping the stack: %v", err)
	}
	if len(stack.States()) != 0 || stack.Stop() != nil {
		t.Fatal("a stopped stack still has programs")
	}
}

func TestEveryProgramLearnsTheAddresses(t *testing.T) {
	t.Parallel()
	got := Addresses{Kafka: "k:1", Registry: "http://r", ClickHouse: "http://c"}.Environment()
	if want := []string{"KAFKA_BOOTSTRAP_SERVERS=k:1", "SCHEMA_REGISTRY_URL=http://r", "CLICKHOUSE_URL=http://c"}; !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
}

func TestTheStateIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := ReadState(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading what is not there: %v", err)
	}
	want := State{
		Stack: Apache, Supervisor: os.Getpid(), Ready: true, Error: "an error", Simulator: "http://127.0.0.1:9",
		Addresses: Addresses{Kafka: "127.0.0.1:1", Registry: "http://127.0.0.1:2", ClickHouse: "http://127.0.0.1:3"},
		Programs:  []ProgramState{{Name: "loader", PID: 12, HTTP: "127.0.0.1:4", Log: "l", Restarts: 2}, {Name: "broker", PID: 13, Log: "b"}},
	}
	for range 2 { // the second replaces the first
		if err := WriteState(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for range 2 { // forgetting what is forgotten is no error
		if err := RemoveState(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABrokenStateSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadState(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "delete it") {
		t.Fatalf("got %v", err)
	}
}

func TestTheLastLogLineIsTheReason(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40<<10)
	for text, want := range map[string]string{
		"":             "",
		"one\ntwo\n\n": "two",
		`{"level":"ERROR","msg":"m","error":"the reason"}` + "\n": "the reason",
		`{"level":"INFO","msg":"bye"}` + "\n":                     `{"level":"INFO","msg":"bye"}`,
		long + "\nlast\n":                                         "last",
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := lastLogLine(path); got != want {
			t.Errorf("%.60q: got %q, want %q", text, got, want)
		}
	}
	if got := lastLogLine(filepath.Join(t.TempDir(), "absent")); got != "no log" {
		t.Errorf("no file: %q", got)
	}
}
