package main

import (
	"github.com/prometheus/client_golang/prometheus"
)

// maxKinds bounds the label of unknown kinds, which a venue chooses.
const maxKinds = 64

type metrics struct {
	frames, trades, books, gaps *prometheus.CounterVec
	ignored, unknown            *prometheus.CounterVec
	connections                 *prometheus.CounterVec
	deadLetters                 *prometheus.CounterVec
	floods                      prometheus.Counter

	kinds     map[string]bool
	deadCount int64
}

type venueMetrics struct {
	frames, trades, books, gaps prometheus.Counter
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
		floods: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "streamforge", Subsystem: "parser", Name: "dead_letter_floods_total",
			Help: "Times that the share of bad records was over the contract's limit and the parser stopped to wait.",
		}),
		kinds: map[string]bool{},
	}
	registerer.MustRegister(m.frames, m.trades, m.books, m.gaps, m.ignored, m.unknown, m.connections, m.deadLetters, m.floods)
	return m
}

func (m *metrics) venue(name string) *venueMetrics {
	return &venueMetrics{
		frames: m.frames.WithLabelValues(name), trades: m.trades.WithLabelValues(name),
		books: m.books.WithLabelValues(name), gaps: m.gaps.WithLabelValues(name),
	}
}

func (m *metrics) ignoredKind(venue, kind string) {
	m.ignored.WithLabelValues(venue, m.bounded(kind)).Inc()
}

func (m *metrics) unknownKind(venue, kind string) {
	m.unknown.WithLabelValues(venue, m.bounded(kind)).Inc()
}

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

func (m *metrics) dead(class string) {
	m.deadCount++
	m.deadLetters.WithLabelValues(class).Inc()
}
