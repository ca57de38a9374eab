package subscription

import "github.com/prometheus/client_golang/prometheus"

// metrics of one group. A transaction that is undone brings its records again, and they are counted again.
type metrics struct {
	events, deadLetters, blocks *prometheus.CounterVec
	isBlocked                   prometheus.Gauge
	rules                       RuleCounter
}

func newMetrics(registerer prometheus.Registerer, group string) *metrics {
	labels := prometheus.Labels{"group": group}
	counter := func(name, help string, names ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "subscription", Name: name, Help: help, ConstLabels: labels}, names)
	}
	m := &metrics{
		events:      counter("events_total", "Events that their handler has taken.", "topic"),
		deadLetters: counter("dead_letters_total", "Dead letters written.", "topic", "class"),
		blocks:      counter("blocked_batches_total", "Times that a batch was put back because of something that is not in its records.", "cause"),
		isBlocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "streamforge", Subsystem: "subscription", Name: "blocked", Help: "1 while a batch is put back again and again.", ConstLabels: labels,
		}),
	}
	m.rules = NewRuleCounter(registerer, group)
	if registerer != nil {
		registerer.MustRegister(m.events, m.deadLetters, m.blocks, m.isBlocked)
	}
	return m
}
