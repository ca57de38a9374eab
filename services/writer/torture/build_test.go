package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/streamforge/streamforge/services/"

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
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", module+"streamforge", module+"writer").CombinedOutput()
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

// edit replaces a text that stands once in a file of the writer.
type edit struct{ file, from, to string }

// mutation is a writer whose protocol is broken on purpose. It is made of the writer's source when it is built, so that no
// program that anybody runs has a switch for it.
type mutation struct {
	name  string
	edits []edit
	// only these faults, which are enough to show it.
	only []kind
}

// overlay writes the changed files and returns the file that tells Go of them.
func (m mutation) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	for i, e := range m.edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		source := path
		if changed, again := replaced[path]; again {
			source = changed
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.from); n != 1 {
			t.Fatalf("mutation %q: services/writer/%s holds %q %d times and not once; write the mutation anew for the code as it is", m.name, e.file, e.from, n)
		}
		replaced[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replaced[path], []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// build returns the broken writer.
func (m mutation) build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "writer")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", m.overlay(t), "-ldflags", "-s -w", "-o", program, module+"writer").CombinedOutput()
	if err != nil {
		t.Fatalf("building the writer with %q: %v\n%s", m.name, err, output)
	}
	return program
}
