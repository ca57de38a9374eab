// Package brokertest starts brokers for tests: the embedded stack's own broker, in the test's process, on a free port.
package brokertest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// Start runs a broker in memory until the test ends and returns its bootstrap address. Topics are to be created, as
// on a real cluster.
func Start(t testing.TB) string { return StartBroker(t, broker.Config{}).Address() }

// StartBroker is Start with a configuration, for tests that restart a broker on its data or inject faults.
func StartBroker(t testing.TB, config broker.Config) *broker.Broker {
	t.Helper()
	if config.Listen == "" {
		// Held until the test ends, so that a broker that it restarts finds its port.
		listen, err := port.Reserve(0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(listen.Release)
		config.Listen = listen.Address()
	}
	// A port that a broker has just left may need a moment.
	deadline := time.Now().Add(time.Minute)
	b, err := broker.New(config, slog.New(slog.DiscardHandler))
	for ; err != nil && time.Now().Before(deadline); b, err = broker.New(config, slog.New(slog.DiscardHandler)) {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
