//go:build cgo

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestWhatTheDemoOffersExists: every line is a target of the Makefile, and those that show something are among them.
func TestWhatTheDemoOffersExists(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	text := offered(14)
	for _, target := range regexp.MustCompile(`make ([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile("(?m)^" + target[1] + ":").Match(makefile) {
			t.Errorf("make %s is offered and is no target", target[1])
		}
	}
	for _, want := range []string{"make tail TOPIC=raw-trades ", "make trace TABLE=raw_trades PARTITION=14 OFFSET=0 ", "make try-breaking "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not offered:\n%s", want, text)
		}
	}
}
