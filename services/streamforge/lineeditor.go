//go:build cgo

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// errAbandoned says that a person gave up a line with Ctrl-C.
var errAbandoned = errors.New("the line was abandoned")

// lineEditor reads lines from a terminal, with the keys of a shell. The terminal is in its raw mode while a line is being
// read and at no other time, so that Ctrl-C reaches a statement that runs.
type lineEditor struct {
	in      *os.File
	keys    *interruptible
	term    *term.Terminal
	history *sqlHistory
}

func newLineEditor(in, out *os.File, history *sqlHistory) *lineEditor {
	keys := &interruptible{in: in}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, out}, "")
	t.History = history
	return &lineEditor{in: in, keys: keys, term: t, history: history}
}

// Read reads a line. Its error is io.EOF after Ctrl-D, and errAbandoned after Ctrl-C.
func (e *lineEditor) Read(prompt string) (string, error) {
	fd := int(e.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(fd, before) }()
	if width, height, err := term.GetSize(fd); err == nil && width > 0 {
		_ = e.term.SetSize(width, height)
	}
	e.term.SetBracketedPasteMode(true)
	defer e.term.SetBracketedPasteMode(false)
	e.term.SetPrompt(prompt)
	line, err := e.term.ReadLine()
	if errors.Is(err, io.EOF) {
		fmt.Print("\r\n")
		return "", err
	}
	if e.keys.interrupted {
		e.keys.interrupted = false
		return "", errAbandoned
	}
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil // a pasted line is a line
	}
	return line, err
}

// interruptible makes of Ctrl-C the end of a line that is marked as abandoned: the terminal's own answer to it is the same
// as to Ctrl-D, the end of everything.
type interruptible struct {
	in          io.Reader
	interrupted bool
}

func (i *interruptible) Read(p []byte) (int, error) {
	const ctrlC, enter = 3, '\r'
	n, err := i.in.Read(p)
	for k, key := range p[:n] {
		if key == ctrlC {
			p[k], i.interrupted = enter, true
			return k + 1, err // what was typed ahead behind it is given up as well
		}
	}
	return n, err
}

// maxHistory is how many statements are kept.
const maxHistory = 500

// sqlHistory is what the arrow keys bring back, also in the next prompt: whole statements, not their lines.
type sqlHistory struct {
	path       string
	statements []string // the oldest first
}

// openHistory reads what earlier prompts left in a folder; a file that cannot be read is a history that begins now.
func openHistory(dir string) *sqlHistory {
	h := &sqlHistory{path: filepath.Join(dir, "sql-history")}
	file, err := os.Open(h.path)
	if err != nil {
		return h
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			h.add(line)
		}
	}
	return h
}

func (h *sqlHistory) add(statement string) {
	if n := len(h.statements); n > 0 && h.statements[n-1] == statement {
		return
	}
	if h.statements = append(h.statements, statement); len(h.statements) > maxHistory {
		h.statements = h.statements[len(h.statements)-maxHistory:]
	}
}

// Remember keeps a statement, on one line: the terminal edits lines. One with a comment to the end of a line cannot be one.
func (h *sqlHistory) Remember(statement string) {
	if !strings.Contains(statement, "--") && !strings.Contains(statement, "#") {
		statement = strings.Join(strings.FieldsFunc(statement, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	}
	if strings.ContainsAny(statement, "\r\n") {
		return
	}
	h.add(statement + ";")
	// What cannot be kept for the next prompt is still there for this one.
	temporary := h.path + ".new"
	if os.WriteFile(temporary, []byte(strings.Join(h.statements, "\n")+"\n"), 0o600) == nil {
		_ = os.Rename(temporary, h.path)
	}
}

// Add is the terminal's own way to keep a line, which is no statement yet.
func (h *sqlHistory) Add(string) {}

// Len is how many statements there are.
func (h *sqlHistory) Len() int { return len(h.statements) }

// At is a statement, the newest being 0.
func (h *sqlHistory) At(index int) string { return h.statements[len(h.statements)-1-index] }
