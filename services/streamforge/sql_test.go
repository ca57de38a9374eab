//go:build cgo

package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// An answer that breaks off is told from one that does not, wherever the pieces of it end.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	const tag = "abcdefghijklmnop"
	frame := "\r\n__exception__\r\n" + tag + "\r\nCode: 395. DB::Exception: enough.\n33 " + tag + "\r\n__exception__\r\n"
	for name, data := range map[string]string{"short": "1\n2\n", "empty": "", "long": strings.Repeat("0123456789\n", 20_000)} {
		t.Run(name, func(t *testing.T) {
			for _, read := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.DataErrReader} {
				var out bytes.Buffer
				if err := printAnswer(&out, read(strings.NewReader(data)), tag); err != nil || out.String() != data {
					t.Fatalf("a whole answer: %d of %d bytes, %v", out.Len(), len(data), err)
				}
				out.Reset()
				err := printAnswer(&out, read(strings.NewReader(data+frame)), tag)
				if err == nil || err.Error() != "the answer broke off: Code: 395. DB::Exception: enough." || out.String() != data {
					t.Fatalf("a broken answer: %d of %d bytes, %v", out.Len(), len(data), err)
				}
			}
		})
	}
	var out bytes.Buffer
	if err := printAnswer(&out, io.MultiReader(strings.NewReader("1\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), tag); err == nil {
		t.Fatal("an answer whose connection broke is taken for whole")
	}
}

func TestASyntaxErrorFitsTheScreen(t *testing.T) {
	list := strings.Repeat("SELECT query, ", 200)
	got := shorten("Code: 62. Syntax error: failed at position 1 (SELEC). Expected one of: " + list + "end. (SYNTAX_ERROR) (version 26)")
	if len(got) > 400 || !strings.HasPrefix(got, "Code: 62.") || !strings.HasSuffix(got, ", …. (SYNTAX_ERROR) (version 26)") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	for _, text := range []string{"", "Code: 60. Table a does not exist. (UNKNOWN_TABLE)", "Expected one of: a, b. (SYNTAX_ERROR)", "Expected one of: " + list} {
		if got := shorten(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestTheHistoryOutlivesThePrompt(t *testing.T) {
	dir := t.TempDir()
	h := openHistory(dir)
	for _, statement := range []string{"SELECT 1", "SELECT\n  2", "SELECT 3 -- three\n", "SELECT 4 -- four\n  + 1", "SELECT 5", "SELECT 5"} {
		h.Remember(statement)
	}
	h.Add("a line that is no statement")
	for _, h := range []*sqlHistory{h, openHistory(dir)} {
		var got []string
		for i := range h.Len() {
			got = append(got, h.At(i))
		}
		if want := "SELECT 5;|SELECT   2;|SELECT 1;"; strings.Join(got, "|") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for range 2 * maxHistory {
		h.Remember("SELECT 6")
		h.Remember("SELECT 7")
	}
	if n := openHistory(dir).Len(); n != maxHistory {
		t.Errorf("%d statements are kept, want %d", n, maxHistory)
	}
	// Nowhere to keep it is no error.
	openHistory(dir + "/nowhere").Remember("SELECT 1")
	if _, err := os.Stat(dir + "/nowhere"); err == nil {
		t.Error("a folder was made for the history")
	}
}

// Ctrl-C is the end of a line for the terminal, and marked as such; what was typed ahead behind it is given up.
func TestCtrlCAbandonsALine(t *testing.T) {
	keys := &interruptible{in: strings.NewReader("SEL\x03ECT")}
	got := make([]byte, 100)
	n, err := keys.Read(got)
	if string(got[:n]) != "SEL\r" || err != nil || !keys.interrupted {
		t.Errorf("%q, %v, interrupted %v", got[:n], err, keys.interrupted)
	}
}
