package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs builds what the torture runs, into the user's cache, so that Go links again only what has changed.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole stack")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "streamforge", "tests", "torture")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "github.com/streamforge/streamforge/services/streamforge").CombinedOutput()
	if err != nil {
		t.Fatalf("building the programs: %v\n%s", err, output)
	}
	install := exec.CommandContext(t.Context(), filepath.Join(dir, "streamforge"), "install", "--stack", "embedded")
	if output, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("installing the parts: %v\n%s", err, output)
		}
		t.Skipf("the embedded stack cannot be installed: %s", output)
	}
	return dir
}

// mutation is a writer whose protocol is broken on purpose. It is made of the writer's source when it is built, so that no
// program that anybody runs has a switch for it.
type mutation struct {
	name  string
	edits []edit
	// only these faults, which are enough to show it.
	only []kind
	// shortly says that it takes a horizon of seconds.
	shortly bool
}

// build returns the broken writer; without edits, the sound one.
func (m mutation) build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "writer")
	if err := buildWriter(t.Context(), "..", program, m.edits); err != nil {
		t.Fatal(err)
	}
	return program
}
