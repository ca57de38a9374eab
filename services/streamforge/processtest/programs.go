// Package processtest runs the programs as a person does, for tests: as binaries, through `streamforge up`, with a folder of
// their own; and builds them from a working tree that a test has edited.
package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// names of what a pipeline consists of; streamforge finds the others beside itself.
var names = []string{"streamforge", "loader", "parser", "writer", "venue-simulator"}

// built is package state because a test binary has no other place that its tests have in common.
var built = sync.OnceValues(buildPrograms)

// Programs builds the programs once for all tests of this run and returns their folder.
func Programs(t testing.TB) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildPrograms builds into the user's cache rather than into a temporary folder, so that Go links again only what has
// changed since the last run.
func buildPrograms() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Another run of these tests may be building at the same time.
	unlock, err := Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if output, err := build(dir, names).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return dir, nil
}

// build is the command that builds programs into a folder.
func build(dir string, programs []string, flags ...string) *exec.Cmd {
	arguments := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	for _, name := range programs {
		arguments = append(arguments, "github.com/streamforge/streamforge/services/"+name)
	}
	return exec.Command("go", arguments...)
}

// Cache is a folder that outlives a test run: binaries, and what tests install.
func Cache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "streamforge", "tests")
	return dir, os.MkdirAll(dir, 0o755)
}

// Lock waits until it holds a file's lock, against other processes.
func Lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// owned are the variables that would lead a test's programs to somebody's real cluster, by how they begin.
var owned = []string{
	"KAFKA_", "SCHEMA_REGISTRY_", "CLICKHOUSE_", "LOADER_", "PARSER_", "WRITER_", "STACK=", "VENUES=", "DURATION=", "STREAMFORGE_DIR=", "HTTP_ADDRESS",
}

// Environment is this process's without anything that configures the programs.
func Environment(added ...string) []string {
	var environment []string
next:
	for _, variable := range os.Environ() {
		for _, prefix := range owned {
			if strings.HasPrefix(variable, prefix) {
				continue next
			}
		}
		environment = append(environment, variable)
	}
	return append(environment, added...)
}

// Require skips a test of whole processes where they cannot run: with -short, and where the ClickHouse engine (or the
// Apache parts) cannot be had. In CI the latter is a failure.
func Require(t testing.TB, kind string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole stack")
	}
	if kind == localstack.Apache && os.Getenv("STREAMFORGE_APACHE") != "1" {
		t.Skip("STREAMFORGE_APACHE=1 runs this on Apache Kafka and Apicurio, too")
	}
	command := exec.Command(filepath.Join(Programs(t), "streamforge"), "install", "--stack", kind)
	command.Env = Environment()
	if output, err := command.CombinedOutput(); err != nil {
		Cannot(t, "the %s stack cannot be installed: %s", kind, output)
	}
}

// Cannot skips a test that lacks something of its surroundings, and fails it in CI, where nothing may be lacking.
func Cannot(t testing.TB, format string, arguments ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, arguments...)
	}
	t.Skipf(format, arguments...)
}

// OnBothStacks runs a test on the embedded stack and, where asked for, on the Apache one.
func OnBothStacks(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{localstack.Embedded, localstack.Apache} {
		t.Run(kind, func(t *testing.T) {
			Require(t, kind)
			test(t, kind)
		})
	}
}
