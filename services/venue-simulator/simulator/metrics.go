package simulator

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sent, dropped, cut, faults, rest *prometheus.CounterVec
	connections                      *prometheus.GaugeVec
	slipped                          prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "streamforge_simulator_" + name, Help: help}, labels)
		registerer.MustRegister(c)
		return c
	}
	m := &metrics{
		sent:    counter("frames_sent_total", "WebSocket frames handed to the operating system whole.", "venue"),
		dropped: counter("frames_dropped_total", "Frames that were generated for a connection and not sent.", "venue", "reason"),
		cut:     counter("connections_ended_total", "Connections that ended, by reason.", "venue", "reason"),
		faults:  counter("faults_total", "Faults that struck, by kind.", "kind"),
		rest:    counter("rest_requests_total", "REST requests by their answer.", "venue", "status"),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "streamforge_simulator_connections", Help: "Open WebSocket connections.",
		}, []string{"venue"}),
		slipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamforge_simulator_slipped_seconds_total", Help: "Time by which the market was shifted because the host could not keep up with the rate.",
		}),
	}
	registerer.MustRegister(m.connections, m.slipped)
	return m
}
