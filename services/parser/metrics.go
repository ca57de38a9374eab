package main

import (
	"github.com/prometheus/client_golang/prometheus"
)

// maxKinds bounds the label of kinds, which a venue chooses.
const maxKinds = 64

type metrics struct {
	frames, trades, books, gaps *prometheus.CounterVec
	ignored, unknown            *prometheus.CounterVec
	connections                 *prometheus.CounterVec
	deadLetters, replays        *prometheus.CounterVec
	blocks                      *prometheus.CounterVec
	isBlocked                   prometheus.Gauge

	kinds map[string]bool
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "parser", Name: name, Help: help}, labels)
	}
	m := &metrics{
		frames:      counter("frames_total", "Frames decoded.", "venue"),
		trades:      counter("trades_total", "Trades produced.", "venue"),
		books:       counter("orderbook_events_total", "Book events produced, gaps apart.", "venue"),
		gaps:        counter("gaps_total", "Gaps produced, one a symbol.", "venue"),
		ignored:     counter("ignored_frames_total", "Frames of a known kind that holds nothing for a product.", "venue", "kind"),
		unknown:     counter("unknown_frames_total", "Frames of a kind that this build does not know.", "venue", "kind"),
		connections: counter("connection_events_total", "OPEN and CLOSE records seen.", "venue", "kind"),
		deadLetters: counter("dead_letters_total", "Dead letters written.", "class"),
		replays:     counter("replays_total", "Dead letters whose replay was tried, by what came of it: replayed, repeated (it was replayed before), failed, waiting.", "outcome"),
		blocks:      counter("blocked_batches_total", "Times that a batch was put back because of something that is not in its records.", "cause"),
		isBlocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "streamforge", Subsystem: "parser", Name: "blocked", Help: "1 while a batch is put back again and again.",
		}),
		kinds: map[string]bool{},
	}
	registerer.MustRegister(m.frames, m.trades, m.books, m.gaps, m.ignored, m.unknown, m.connections, m.deadLetters, m.replays, m.blocks, m.isBlocked)
	return m
}

// bounded keeps a kind from making more than maxKinds series.
func (m *metrics) bounded(kind string) string {
	if m.kinds[kind] {
		return kind
	}
	if len(m.kinds) >= maxKinds {
		return "other"
	}
	m.kinds[kind] = true
	return kind
}
