package clickhouse_test

import (
	"testing"

	"go.uber.org/goleak"
)

// The shared test server's process is watched by goroutines for as long as the tests run, and idle HTTP connections to it
// stay open; everything else must be gone at the end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
