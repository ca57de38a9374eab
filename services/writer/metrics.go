package main

import "github.com/prometheus/client_golang/prometheus"

// metrics of all products of one writer; the label product tells them apart.
type metrics struct {
	rows, blocks, bytes, retries, deadLetters, tombstones, recovered, repaired, burnt, rebuilt, viewsLeft, discarded, commitWaits *prometheus.CounterVec
	insert, latency                                                                                                               *prometheus.HistogramVec
	memory, lag, blocked, horizon, planAge, paused                                                                                *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "streamforge_writer_" + name, Help: help}, append([]string{"product"}, labels...))
		registerer.MustRegister(v)
		return v
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "streamforge_writer_" + name, Help: help}, []string{"product"})
		registerer.MustRegister(v)
		return v
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "streamforge_writer_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}, []string{"product"})
		registerer.MustRegister(v)
		return v
	}
	return &metrics{
		rows:        counter("rows_total", "Rows that ClickHouse acknowledged."),
		blocks:      counter("blocks_total", "Blocks that ClickHouse acknowledged."),
		bytes:       counter("bytes_total", "Bytes of those blocks, uncompressed."),
		retries:     counter("insert_failures_total", "Inserts that failed and are tried again, by what the error asks for.", "action"),
		deadLetters: counter("dead_letters_total", "Rows diverted to dead-letters, by error class.", "class"),
		tombstones:  counter("tombstones_total", "Records without a value, which are no rows."),
		recovered:   counter("recovered_blocks_total", "Planned blocks of a predecessor that were inserted again under their token."),
		repaired:    counter("repaired_blocks_total", "Planned blocks that could not be made again or were too old for their token: only what the table lacked was inserted."),
		burnt:       counter("burnt_blocks_total", "Blocks whose repetition ClickHouse dropped although the table, or a view, had lost them in a crash; what lacked was made good."),
		rebuilt:     counter("rebuilt_buckets_total", "Buckets of views, of their coarsest resolution, that were made again from the table after a plan was found behind its horizon."),
		viewsLeft:   counter("views_left_total", "Times that a view, or a part of its buckets, could not be made again then, and may lack rows; the log says which and why."),
		commitWaits: counter("commit_waits_total", "Commits that were refused because the group is changing, or that the broker did not answer; each is tried again."),
		discarded:   counter("discarded_rows_total", "Rows decoded and given up at a rebalance, to be read again."),
		insert:      histogram("insert_seconds", "How long an insert took until it was acknowledged, retries included."),
		latency:     histogram("end_to_end_seconds", "Age of a block's oldest record, since its Kafka timestamp, when ClickHouse acknowledged it."),
		memory:      gauge("block_memory_bytes", "Memory held by blocks, used or not."),
		lag:         gauge("lag_seconds", "Age of the oldest record that was read and is not acknowledged; 0 when there is none."),
		horizon:     gauge("horizon_seconds", "For how long the table is sure to remember a block: its deduplication window divided by the contract's parts a second."),
		planAge:     gauge("plan_age_seconds", "Age of the plan whose block is on its way into the table; 0 when there is none."),
		blocked:     gauge("blocked", "1 while the product waits for something that needs a person; /readyz says for what."),
		paused:      gauge("paused", "1 while a person has paused the product's group; /readyz says who, since when and why."),
	}
}
