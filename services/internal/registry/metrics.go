package registry

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests prometheus.Counter
	failures *prometheus.CounterVec
	cached   prometheus.GaugeFunc
}

func newMetrics(r prometheus.Registerer, cached func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamforge_schema_registry_requests_total", Help: "Requests sent to the schema registry.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamforge_schema_registry_failures_total", Help: "Requests that did not succeed, by kind.",
		}, []string{"kind"}),
		cached: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamforge_schema_registry_cached_schemas", Help: "Schemas kept by id.",
		}, cached),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.failures, m.cached} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
