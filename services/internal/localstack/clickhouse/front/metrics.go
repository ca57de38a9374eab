package front

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests     *prometheus.CounterVec
	exceptions   *prometheus.CounterVec
	killed       *prometheus.CounterVec
	refused      *prometheus.CounterVec
	truncated    prometheus.Counter
	bodyBytes    prometheus.Counter
	spilled      prometheus.Counter
	rowsWritten  prometheus.Counter
	running      prometheus.Gauge
	waiting      prometheus.Gauge
	querySeconds *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	const namespace, subsystem = "streamforge", "local_clickhouse"
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
	}
	m := &metrics{
		requests:    prometheus.NewCounterVec(counter("requests_total", "Requests by the kind of their statement."), []string{"kind"}),
		exceptions:  prometheus.NewCounterVec(counter("exceptions_total", "Requests answered with an exception, by its code."), []string{"code"}),
		killed:      prometheus.NewCounterVec(counter("killed_total", "Queries stopped before their end, by who asked for it."), []string{"by"}),
		refused:     prometheus.NewCounterVec(counter("refused_total", "Requests refused before they reached the engine, by reason."), []string{"reason"}),
		truncated:   prometheus.NewCounter(counter("truncated_bodies_total", "Bodies cut off by their sender; nothing of them was inserted.")),
		bodyBytes:   prometheus.NewCounter(counter("body_bytes_total", "Bytes of data received for inserts, unpacked.")),
		spilled:     prometheus.NewCounter(counter("spilled_bodies_total", "Bodies too big for memory, kept in a file on the disk.")),
		rowsWritten: prometheus.NewCounter(counter("rows_written_total", "Rows that the engine says it wrote.")),
		running:     prometheus.NewGauge(gauge("queries_running", "Queries in the engine now.")),
		waiting:     prometheus.NewGauge(gauge("requests_waiting", "Requests that wait for a place now.")),
		querySeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "query_seconds",
			Help: "Time of a query in the engine, without waiting and receiving.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"kind"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.exceptions, m.killed, m.refused, m.truncated, m.bodyBytes, m.spilled, m.rowsWritten, m.running, m.waiting, m.querySeconds} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
