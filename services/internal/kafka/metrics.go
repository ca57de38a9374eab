package kafka

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// register adds a collector, or takes the one that another client of this process registered under the same name: the
// clients of a process share their metrics and differ in the labels.
func register[C prometheus.Collector](registerer prometheus.Registerer, collector C) C {
	if registerer == nil {
		return collector
	}
	err := registerer.Register(collector)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	return collector
}

func counter(registerer prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	return register(registerer, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "kafka", Name: name, Help: help}, labels))
}

func gauge(registerer prometheus.Registerer, name, help string, labels ...string) *prometheus.GaugeVec {
	return register(registerer, prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "streamforge", Subsystem: "kafka", Name: name, Help: help}, labels))
}

func histogram(registerer prometheus.Registerer, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(registerer, prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "streamforge", Subsystem: "kafka", Name: name, Help: help, Buckets: buckets}, labels))
}

// clientMetrics are those of every client: what librdkafka told.
type clientMetrics struct {
	errors    *prometheus.CounterVec
	logs      *prometheus.CounterVec
	recreated prometheus.Counter
}

func newClientMetrics(registerer prometheus.Registerer, client string) clientMetrics {
	return clientMetrics{
		errors:    counter(registerer, "client_errors_total", "Errors that librdkafka told in passing, by its code.", "client", "code").MustCurryWith(prometheus.Labels{"client": client}),
		logs:      counter(registerer, "client_log_lines_total", "Log lines of librdkafka: written, or suppressed by the rate limit or a full ring.", "client", "fate").MustCurryWith(prometheus.Labels{"client": client}),
		recreated: counter(registerer, "client_recreated_total", "Clients made anew after a fatal error.", "client").WithLabelValues(client),
	}
}

type consumerMetrics struct {
	records, again, bytes, batches, commits, rebalances, revoked, lost, maxPoll prometheus.Counter
	failures                                                                    *prometheus.CounterVec
	commitSeconds                                                               prometheus.Observer
	assigned                                                                    prometheus.Gauge
}

func newConsumerMetrics(r prometheus.Registerer, group string) *consumerMetrics {
	return &consumerMetrics{
		records:       counter(r, "consumed_records_total", "Records handed out.", "group").WithLabelValues(group),
		again:         counter(r, "consumed_again_total", "Records dropped because they had been handed out already: fetched a second time around a rebalance.", "group").WithLabelValues(group),
		bytes:         counter(r, "consumed_bytes_total", "Bytes of keys, values and asked-for headers handed out.", "group").WithLabelValues(group),
		batches:       counter(r, "consumed_batches_total", "Batches handed out that were not empty.", "group").WithLabelValues(group),
		commits:       counter(r, "commits_total", "Offset commits that succeeded.", "group").WithLabelValues(group),
		rebalances:    counter(r, "rebalances_total", "Rebalances of the group seen by this member.", "group").WithLabelValues(group),
		revoked:       counter(r, "revoked_partitions_total", "Partitions taken away in order.", "group").WithLabelValues(group),
		lost:          counter(r, "lost_partitions_total", "Partitions lost: the member had been expelled.", "group").WithLabelValues(group),
		maxPoll:       counter(r, "max_poll_exceeded_total", "Times that the member was expelled because it did not poll.", "group").WithLabelValues(group),
		failures:      counter(r, "consumer_failures_total", "Failed consumer operations, by operation.", "group", "operation").MustCurryWith(prometheus.Labels{"group": group}),
		commitSeconds: histogram(r, "commit_seconds", "Time of a synchronous offset commit.", prometheus.ExponentialBuckets(0.0005, 2, 14), "group").WithLabelValues(group),
		assigned:      gauge(r, "assigned_partitions", "Partitions assigned now.", "group").WithLabelValues(group),
	}
}

type producerMetrics struct {
	produced, bytes, delivered, queueFull prometheus.Counter
	failed                                *prometheus.CounterVec
	queued                                prometheus.Gauge
}

func newProducerMetrics(r prometheus.Registerer, producer string) *producerMetrics {
	return &producerMetrics{
		produced:  counter(r, "produced_records_total", "Records taken into the queue.", "producer").WithLabelValues(producer),
		bytes:     counter(r, "produced_bytes_total", "Bytes of keys and values taken into the queue.", "producer").WithLabelValues(producer),
		delivered: counter(r, "delivered_records_total", "Records that the broker acknowledged.", "producer").WithLabelValues(producer),
		queueFull: counter(r, "queue_full_total", "Times that the bounded queue refused a record.", "producer").WithLabelValues(producer),
		failed:    counter(r, "delivery_failures_total", "Records refused for good, by librdkafka's code.", "producer", "code").MustCurryWith(prometheus.Labels{"producer": producer}),
		queued:    gauge(r, "producer_queue_records", "Records queued or in flight.", "producer").WithLabelValues(producer),
	}
}

type processorMetrics struct {
	committed, produced, bytes, queueFull prometheus.Counter
	aborted, failures                     *prometheus.CounterVec
	commitSeconds, transactionRecords     prometheus.Observer
}

func newProcessorMetrics(r prometheus.Registerer, group string) *processorMetrics {
	return &processorMetrics{
		committed:          counter(r, "transactions_committed_total", "Transactions committed.", "group").WithLabelValues(group),
		produced:           counter(r, "transaction_records_produced_total", "Records produced inside transactions, aborted ones included.", "group").WithLabelValues(group),
		bytes:              counter(r, "transaction_bytes_produced_total", "Bytes of keys and values produced inside transactions.", "group").WithLabelValues(group),
		queueFull:          counter(r, "transaction_queue_full_total", "Times that a handler waited because the bounded queue was full.", "group").WithLabelValues(group),
		aborted:            counter(r, "transactions_aborted_total", "Transactions aborted and done again, by what failed.", "group", "reason").MustCurryWith(prometheus.Labels{"group": group}),
		failures:           counter(r, "processor_failures_total", "Failed steps of the processor, by step; each is tried again.", "group", "step").MustCurryWith(prometheus.Labels{"group": group}),
		commitSeconds:      histogram(r, "transaction_commit_seconds", "Time to send the offsets and commit.", prometheus.ExponentialBuckets(0.0005, 2, 14), "group").WithLabelValues(group),
		transactionRecords: histogram(r, "transaction_records_consumed", "Records consumed a transaction.", prometheus.ExponentialBuckets(1, 4, 10), "group").WithLabelValues(group),
	}
}
