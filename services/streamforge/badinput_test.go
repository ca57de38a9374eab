//go:build cgo

package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestBadInput runs the scripts of testdata/script against the built programs. What a person did wrong is told in one
// line that names the thing and the remedy, with an exit status that is not zero. Beyond testscript's own commands:
//
//	complains 'regexp'          the last command said one line on stderr, it matches, and it is no stack trace
//	logs 'regexp' …             the last command's log holds one error, which matches each
//	contracts                   writes this build's contracts into the folder contracts
//	edit file 'from' 'to'       replaces text, which must be there, in a file
//
// $CLOSED is an address that nobody listens on, $TAKEN a port that is taken.
func TestBadInput(t *testing.T) {
	processtest.Require(t, localstack.Embedded)
	bin := processtest.Programs(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The scripts run in parallel, after this function's own return.
	t.Cleanup(func() { taken.Close() })
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			e.Setenv("BIN", bin)
			e.Setenv("STREAMFORGE_DIR", filepath.Join(e.WorkDir, "stack"))
			e.Setenv("STREAMFORGE_CACHE_DIR", filepath.Join(cache, "streamforge"))
			e.Setenv("CLOSED", closedAddress)
			_, port, _ := net.SplitHostPort(taken.Addr().String())
			e.Setenv("TAKEN", port)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"complains": complains, "logs": logsError, "contracts": writeContracts, "edit": editFile,
		},
	})
}

// closedAddress is nobody's: port 1 is reserved, and below those that a listener on port 0 is given.
const closedAddress = "127.0.0.1:1"

// stackTrace is what a person must never be shown.
var stackTrace = regexp.MustCompile(`(?m)^goroutine \d|panic:|\.go:\d+|Traceback|Exception in thread`)

func complains(ts *testscript.TestScript, negative bool, arguments []string) {
	if negative || len(arguments) != 1 {
		ts.Fatalf("usage: complains regexp")
	}
	said := strings.TrimSpace(ts.ReadFile("stderr"))
	if lines := strings.Split(said, "\n"); len(lines) != 1 || stackTrace.MatchString(said) {
		ts.Fatalf("%d lines, expected one without a stack trace:\n%s", len(lines), said)
	}
	if !regexp.MustCompile(arguments[0]).MatchString(said) {
		ts.Fatalf("said %q, expected %q", said, arguments[0])
	}
}

func logsError(ts *testscript.TestScript, negative bool, arguments []string) {
	if negative || len(arguments) == 0 {
		ts.Fatalf("usage: logs regexp …")
	}
	said := ts.ReadFile("stderr")
	found := errorsOf(said)
	if len(found) != 1 || stackTrace.MatchString(said) {
		ts.Fatalf("%d errors are logged, expected one without a stack trace:\n%s", len(found), said)
	}
	for _, wanted := range arguments {
		if !regexp.MustCompile(wanted).MatchString(found[0]) {
			ts.Fatalf("said %q, expected %q", found[0], wanted)
		}
	}
}

// errorsOf are the lines of a log that are errors.
func errorsOf(log string) []string {
	var found []string
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(line, `"level":"ERROR"`) {
			found = append(found, line)
		}
	}
	return found
}

func writeContracts(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(os.RemoveAll(ts.MkAbs("contracts")))
	ts.Check(os.CopyFS(ts.MkAbs("contracts"), contracts.FS))
}

func editFile(ts *testscript.TestScript, negative bool, arguments []string) {
	if negative || len(arguments) != 3 {
		ts.Fatalf("usage: edit file from to")
	}
	text := ts.ReadFile(arguments[0])
	if !strings.Contains(text, arguments[1]) {
		ts.Fatalf("%s does not contain %q", arguments[0], arguments[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(arguments[0]), []byte(strings.Replace(text, arguments[1], arguments[2], 1)), 0o644))
}
