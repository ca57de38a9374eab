package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// metrics of the loader. Labels are venue and feed: both come from the configuration, so their number is bounded.
type metrics struct {
	records, bytes, dropped, droppedBytes      *prometheus.CounterVec
	gaps, reconnects, dialFailures, connection *prometheus.CounterVec
	snapshots, resyncs, refused, classes       *prometheus.CounterVec
	rotations, skipped, discarded, resyncIn    *prometheus.CounterVec
	restRequests                               *prometheus.CounterVec
	restWeight, restBudget, state              *prometheus.GaugeVec
	publishLatency                             prometheus.Histogram
	delivered, deliveryErrors, queueFull       prometheus.Counter
	waits                                      *prometheus.CounterVec
	resyncsBlocked                             prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer, bufferBytes func() float64) *metrics {
	feed := []string{"venue", "feed"}
	m := &metrics{
		records:        counters("records_total", "Records put into the order of a feed, by kind of the envelope.", "venue", "feed", "kind"),
		bytes:          counters("payload_bytes_total", "Payload bytes put into the order of a feed.", feed...),
		dropped:        counters("dropped_frames_total", "Frames dropped because the buffer was full; a GAP tells of them.", feed...),
		droppedBytes:   counters("dropped_bytes_total", "Payload bytes of dropped frames.", feed...),
		gaps:           counters("gaps_total", "GAP records, by reason.", "venue", "feed", "reason"),
		reconnects:     counters("connections_lost_total", "Connections that ended without being asked to, by class.", "venue", "feed", "class"),
		dialFailures:   counters("dial_failures_total", "Attempts to connect that failed.", feed...),
		connection:     counters("connections_total", "Connections opened.", feed...),
		snapshots:      counters("snapshots_total", "Book snapshots published, by way and result.", "venue", "feed", "result"),
		resyncs:        counters("resyncs_total", "Resync requests for own feeds, by answer.", "venue", "feed", "answer"),
		refused:        counters("subscriptions_refused_total", "Subscriptions that the venue refused.", feed...),
		classes:        counters("frames_by_class_total", "Frames other than market data, by class.", "venue", "feed", "class"),
		rotations:      counters("rotations_total", "Rotations of a connection, by result.", "venue", "feed", "result"),
		skipped:        counters("rotation_duplicates_total", "Frames of the second connection not published, because the first had delivered their ids.", feed...),
		discarded:      counters("rotation_discarded_total", "Buffered frames of a second connection that failed before the switch.", feed...),
		resyncIn:       counters("resync_records_total", "Records read from orderbook-resyncs, by result.", "result"),
		restRequests:   counters("rest_requests_total", "REST requests, by status class.", "venue", "status"),
		restWeight:     gauges("rest_weight_used", "Request weight used in the current minute, as the venue reports it, else as counted here.", "venue"),
		restBudget:     gauges("rest_weight_budget", "Request weight that the loader allows itself a minute.", "venue"),
		state:          gauges("connection_up", "1 while the connections of the feed are up.", feed...),
		waits:          counters("start_waits_total", "Times the start had to wait, by what for.", "for"),
		delivered:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "loader", Name: "delivered_total", Help: "Records that Kafka has acknowledged."}),
		deliveryErrors: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "loader", Name: "delivery_errors_total", Help: "Records that Kafka refused for good; a GAP tells of them."}),
		queueFull:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "loader", Name: "queue_full_total", Help: "Times the Kafka client's queue was full and the publisher waited."}),
		resyncsBlocked: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "streamforge", Subsystem: "loader", Name: "resyncs_blocked", Help: "1 while no resync request is answered, because one cannot be read: the registry is away or does not know its schema yet, or this build cannot read it."}),
		publishLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "streamforge", Subsystem: "loader", Name: "publish_latency_seconds", Help: "From receipt to Kafka's acknowledgement, one record in 64.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		}),
	}
	registerer.MustRegister(m.records, m.bytes, m.dropped, m.droppedBytes, m.gaps, m.reconnects, m.dialFailures, m.connection,
		m.snapshots, m.resyncs, m.refused, m.classes, m.rotations, m.skipped, m.discarded, m.resyncIn, m.restRequests,
		m.restWeight, m.restBudget, m.state, m.waits, m.delivered, m.deliveryErrors, m.queueFull, m.publishLatency, m.resyncsBlocked,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "streamforge", Subsystem: "loader", Name: "buffer_bytes", Help: "Bytes in use between the readers and the Kafka client."}, bufferBytes))
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "loader", Name: name, Help: help}, labels)
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "streamforge", Subsystem: "loader", Name: name, Help: help}, labels)
}

// feedMetrics are the counters of one feed, looked up once: a label lookup a frame would cost more than the frame.
type feedMetrics struct {
	*metrics
	venue, feed           string
	kinds                 [records.FrameClose + 1]prometheus.Counter
	payload               prometheus.Counter
	dropFrames, dropBytes prometheus.Counter
}

func (m *metrics) of(venue, feed string) *feedMetrics {
	f := &feedMetrics{metrics: m, venue: venue, feed: feed}
	for kind := range f.kinds {
		f.kinds[kind] = m.records.WithLabelValues(venue, feed, records.FrameKind(kind).String())
	}
	f.payload = m.bytes.WithLabelValues(venue, feed)
	f.dropFrames = m.dropped.WithLabelValues(venue, feed)
	f.dropBytes = m.droppedBytes.WithLabelValues(venue, feed)
	return f
}

func (f *feedMetrics) count(e entry) {
	f.kinds[e.kind].Inc()
	f.payload.Add(float64(len(e.payload)))
}

func (f *feedMetrics) drop(e entry) {
	f.dropFrames.Inc()
	f.dropBytes.Add(float64(len(e.payload)))
}

func (f *feedMetrics) gap(reason market.GapReason) {
	f.gaps.WithLabelValues(f.venue, f.feed, string(reason)).Inc()
}

func (f *feedMetrics) add(v *prometheus.CounterVec, labels ...string) {
	v.WithLabelValues(append([]string{f.venue, f.feed}, labels...)...).Inc()
}
