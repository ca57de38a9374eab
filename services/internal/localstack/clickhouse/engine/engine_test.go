package engine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/install"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open starts the engine of this process; the library allows one, so each test runs in a process of its own.
func open(t *testing.T) *Engine {
	t.Helper()
	library, err := install.Library(t.Context(), install.Config{Progress: os.Stderr})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	e, err := Open(Config{Library: library, DataDir: t.TempDir(), MaxMemoryBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestStatementsAnswerAndErrorsCarryTheirCode(t *testing.T) {
	e := open(t)
	conn, err := e.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Query("SELECT {x:String}, number FROM numbers(2)", "TSV", []Param{{"x", "it's"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(result.Data); got != "it\\'s\t0\nit\\'s\t1\n" {
		t.Errorf("answer %q", got)
	}
	result.Close()
	if err := conn.Exec("SELECT * FROM nowhere"); Code(err) != 60 {
		t.Errorf("a missing table gave %v", err)
	}
	stream, err := conn.Stream("SELECT number FROM numbers(300000)", "TSV", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for {
		piece, err := stream.Next()
		if err != nil {
			t.Fatal(err)
		}
		if piece == nil {
			break
		}
		lines += strings.Count(string(piece.Data), "\n")
		piece.Close()
	}
	stream.Close()
	if lines != 300000 {
		t.Errorf("%d lines of a stream, expected 300000", lines)
	}
}

// TestANilDereferenceStillPanics runs itself again as a child that crashes after the engine was opened.
func TestANilDereferenceStillPanics(t *testing.T) {
	if os.Getenv("ENGINE_TEST_CRASH") != "1" {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestANilDereferenceStillPanics$", "-test.timeout=30s", "-test.v")
		command.Env = append(os.Environ(), "ENGINE_TEST_CRASH=1")
		output, err := command.CombinedOutput()
		text := string(output)
		if strings.Contains(text, "--- SKIP") {
			t.Skip("no engine here")
		}
		if err == nil || !strings.Contains(text, "recovered: runtime error: invalid memory address") || !strings.Contains(text, "SIGSEGV") {
			t.Fatalf("%v: %s", err, text)
		}
		return
	}
	e := open(t)
	conn, err := e.Connect()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	func() {
		defer func() {
			t.Log("recovered:", recover())
			os.Stdout.WriteString("recovered: runtime error: invalid memory address\n")
		}()
		var nothing *Config
		nothing.DataDir = "x"
	}()
	var nothing *Config
	nothing.DataDir = "x"
}
