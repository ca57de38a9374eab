//go:build cgo

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

const (
	// maxShownErrors is how many of the newest errors a person is shown at once.
	maxShownErrors = 5
	// shownFor is how long an error is shown: what does not come again is over.
	shownFor = 15 * time.Second
)

// shownError is a line of a log that a person must see.
type shownError struct {
	at   time.Time
	text string
}

// logTail follows the programs' logs for errors.
type logTail struct {
	mu      sync.Mutex
	stack   *localstack.Stack // nil: nothing to follow yet
	offsets map[string]int64
	newest  []shownError
}

func newLogTail() *logTail { return &logTail{offsets: map[string]int64{}} }

// Follow reads the logs of a stack's programs from now on.
func (t *logTail) Follow(stack *localstack.Stack) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stack = stack
}

// Add shows what stands in no log.
func (t *logTail) Add(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(shownError{at: time.Now(), text: text})
}

func (t *logTail) add(e shownError) {
	if t.newest = append(t.newest, e); len(t.newest) > maxShownErrors {
		t.newest = t.newest[1:]
	}
}

// Errors reads what the logs gained and returns the newest error lines, oldest first: errors, and warnings that carry one.
func (t *logTail) Errors() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stack != nil {
		for _, program := range t.stack.States() {
			t.read(program.Name, program.Log)
		}
	}
	var texts []string
	for _, e := range t.newest {
		if time.Since(e.at) < shownFor {
			texts = append(texts, e.text)
		}
	}
	return texts
}

func (t *logTail) read(name, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Seek(t.offsets[path], io.SeekStart); err != nil {
		return
	}
	reader := bufio.NewReader(f)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return // half a line is read again, whole, the next time
		}
		t.offsets[path] += int64(len(line))
		var entry struct {
			Time  time.Time `json:"time"`
			Level string    `json:"level"`
			Msg   string    `json:"msg"`
			Error string    `json:"error"`
		}
		if json.Unmarshal(line, &entry) != nil || (entry.Level != "ERROR" && (entry.Level != "WARN" || entry.Error == "")) {
			continue
		}
		text := fmt.Sprintf("%s: %s", name, entry.Msg)
		if entry.Error != "" {
			text += ": " + entry.Error
		}
		t.add(shownError{at: entry.Time, text: text})
	}
}
