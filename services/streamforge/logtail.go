package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// maxShownErrors is how many of the newest errors a person is shown at once.
const maxShownErrors = 5

// logTail follows the programs' logs for errors.
type logTail struct {
	stack *localstack.Stack

	mu      sync.Mutex
	offsets map[string]int64
	newest  []string
	total   int
}

func newLogTail(stack *localstack.Stack) *logTail {
	return &logTail{stack: stack, offsets: map[string]int64{}}
}

// Errors reads what the logs gained and returns the newest error lines, oldest first.
func (t *logTail) Errors() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, program := range t.stack.States() {
		t.read(program.Name, program.Log)
	}
	return append([]string(nil), t.newest...)
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
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Error string `json:"error"`
		}
		if json.Unmarshal(line, &entry) != nil || entry.Level != "ERROR" {
			continue
		}
		text := fmt.Sprintf("%s: %s", name, entry.Msg)
		if entry.Error != "" {
			text += ": " + entry.Error
		}
		t.total++
		if t.newest = append(t.newest, text); len(t.newest) > maxShownErrors {
			t.newest = t.newest[1:]
		}
	}
}
