//go:build cgo

package main

import (
	"testing"
	"time"
)

// TestAStatementMayTakeHours: the driver alone gives up after five minutes.
func TestAStatementMayTakeHours(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]time.Duration{
		"http://127.0.0.1:8123":                  ddlPatience,
		"http://127.0.0.1:8123/?read_timeout=7s": 7 * time.Second,
	} {
		options, err := driverOptions(address)
		if err != nil || options.ReadTimeout != want || want < time.Second {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
}
