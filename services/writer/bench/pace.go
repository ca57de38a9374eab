package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// littleTraffic is ten records a second in each of 64 partitions.
const (
	littleTraffic    = 640
	littlePartitions = 64
)

// pace sends the case's records at littleTraffic, and notes when as many are visible as had been sent: what the k-th visible
// row waited is the time since the k-th record was sent. The mean of that is exact in whatever order rows become visible,
// and the percentiles are close, because a block takes what all partitions have.
func (r *run) pace(ctx context.Context, table string, pid int) (o outcome, err error) {
	s, err := r.newSender()
	if err != nil {
		return o, err
	}
	defer s.producer.Close()
	// What was sent before has to be read first, and a record in every partition shows that each has its reader.
	for p := range littlePartitions {
		if err := s.send(ctx, int32(p), time.Now()); err != nil {
			return o, err
		}
	}
	if _, err := r.await(ctx, table, time.Now(), 0); err != nil {
		return o, err
	}
	partsBefore, err := r.partsMade(ctx, table)
	if err != nil {
		return o, err
	}
	used, err := r.used(pid)
	if err != nil {
		return o, err
	}
	began, first := time.Now(), s.sent
	var sent []time.Time
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(o.latencies) < r.what.rows {
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("%d of %d rows: %w; logs are in %s", len(o.latencies), r.what.rows, ctx.Err(), filepath.Dir(r.logFile("x")))
		case <-tick.C:
		}
		due := min(int(time.Since(began).Seconds()*littleTraffic), r.what.rows)
		for len(sent) < due {
			if err := s.send(ctx, int32(len(sent)%littlePartitions), time.Now()); err != nil {
				return o, err
			}
			sent = append(sent, time.Now())
		}
		rows, err := r.number(ctx, "SELECT count() FROM "+ddl.QuoteName(table))
		if err != nil {
			return o, err
		}
		for now := time.Now(); len(o.latencies) < min(rows-first, len(sent)); {
			o.latencies = append(o.latencies, now.Sub(sent[len(o.latencies)]))
		}
	}
	o.rows, o.took = r.what.rows, time.Since(began)
	after, err := r.used(pid)
	if err != nil {
		return o, err
	}
	o.writer, o.engine = after.writer-used.writer, after.engine-used.engine
	slices.Sort(o.latencies)
	parts, err := r.partsMade(ctx, table)
	o.parts = parts - partsBefore
	return o, err
}

// used is the processor time so far of the writer, if there is one, and of the engine.
func (r *run) used(pid int) (o outcome, err error) {
	if pid != 0 {
		if o.writer, err = cpuTime(pid); err != nil {
			return o, err
		}
	}
	o.engine, err = cpuTime(r.engine.PID())
	return o, err
}

// partsMade counts the parts that inserts have made: a table numbers them.
func (r *run) partsMade(ctx context.Context, table string) (int, error) {
	return r.number(ctx, "SELECT toUInt64(sum(last)) FROM (SELECT max(max_block_number) AS last FROM system.parts WHERE database = currentDatabase() AND table = "+
		ddl.QuoteString(table)+" GROUP BY partition)")
}
