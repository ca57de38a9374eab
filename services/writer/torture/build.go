package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The writer's package, whose program is built with changes.
const writerPackage = "github.com/streamforge/streamforge/services/writer"

// edit replaces a text that stands once in a file of the writer.
type edit struct{ file, from, to string }

// clockFile is a file more of the writer under torture: its machine's clock is off by what a file says.
const clockFile = `package main

import (
	"os"
	"strconv"
	"time"
)

// tortured is the machine's time and the nanoseconds that a file says.
func tortured() time.Time {
	text, _ := os.ReadFile(os.Getenv("` + clockVariable + `"))
	jump, _ := strconv.ParseInt(string(text), 10, 64)
	return time.Now().Add(time.Duration(jump))
}
`

// clockVariable names the file that says by how much a writer's clock is off.
const clockVariable = "TORTURE_CLOCK"

// clockEdits give the writer that clock.
var clockEdits = []edit{{"main.go", "Metrics: a.Registry, Producer: a.Producer(),", "Metrics: a.Registry, Producer: a.Producer(), Now: tortured,"}}

// overlay writes the changed files of the writer in source into dir and returns the file that tells Go of them, so that no program that
// anybody runs has a switch for what the torture does.
func overlay(source, dir string, edits []edit) (string, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return "", err
	}
	clock := filepath.Join(dir, "clock.go")
	if err := os.WriteFile(clock, []byte(clockFile), 0o644); err != nil {
		return "", err
	}
	replaced := map[string]string{filepath.Join(source, "tortured.go"): clock}
	for i, e := range append(clockEdits[:len(clockEdits):len(clockEdits)], edits...) {
		path := filepath.Join(source, e.file)
		now, again := replaced[path]
		if !again {
			now = path
		}
		text, err := os.ReadFile(now)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), e.from); n != 1 {
			return "", fmt.Errorf("services/writer/%s holds %q %d times and not once; write the change anew for the code as it is", e.file, e.from, n)
		}
		replaced[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replaced[path], []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o644); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}

// buildWriter builds the writer in source with its clock and the edits into program.
func buildWriter(ctx context.Context, source, program string, edits []edit) error {
	dir, err := os.MkdirTemp("", "torture-writer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, err := overlay(source, dir, edits)
	if err != nil {
		return err
	}
	output, err := exec.CommandContext(ctx, "go", "build", "-overlay", file, "-ldflags", "-s -w", "-o", program, writerPackage).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the writer with a clock that jumps: %w\n%s", err, output)
	}
	return nil
}
