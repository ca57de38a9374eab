// Package brokertest starts brokers for tests: the embedded stack's own broker, in the test's process, on a free port.
package brokertest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
)

// Start runs a broker in memory until the test ends and returns its bootstrap address. Topics are to be created, as
// on a real cluster.
func Start(t testing.TB) string { return StartBroker(t, broker.Config{}).Address() }

// StartBroker is Start with a configuration, for tests that restart a broker on its data or inject faults.
func StartBroker(t testing.TB, config broker.Config) *broker.Broker {
	t.Helper()
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	var b *broker.Broker
	var err error
	// A port that a broker has just left may need a moment.
	for range 50 {
		if b, err = broker.New(config, slog.New(slog.DiscardHandler)); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
