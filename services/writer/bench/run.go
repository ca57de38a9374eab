package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// run is one consumer with an empty ClickHouse.
type run struct {
	*bench
	store  *clickhouse.Client
	engine *localstack.Process
}

// ours runs the writer's program until every row is in the table, then drains it and checks the table.
func (r *run) ours(ctx context.Context) (o outcome, err error) {
	if err := r.rewind(ctx); err != nil {
		return o, err
	}
	if r.config.View != "candles" {
		if err := r.dropViews(ctx, r.config.View == "one"); err != nil {
			return o, err
		}
	}
	writer, address, began, err := r.startWriter(ctx)
	if err != nil {
		return o, err
	}
	defer writer.Stop()
	profiled := r.profile(ctx, address)
	if o, err = r.measure(ctx, r.what.table, began, writer.PID()); err != nil {
		return o, err
	}
	if err := profiled(); err != nil {
		return o, err
	}
	for name, into := range map[string]*float64{
		"go_memstats_mallocs_total": &o.mallocs, "streamforge_writer_blocks_total": &o.blocks, "streamforge_writer_insert_seconds_sum": &o.inserting,
	} {
		if *into, err = metric(ctx, "http://"+address+"/metrics", name); err != nil {
			return o, err
		}
	}
	if err := writer.Stop(); err != nil {
		return o, err
	}
	return o, r.check(ctx, r.what.table)
}

// startWriter starts the program; the clock runs from before its first instruction.
func (r *run) startWriter(ctx context.Context) (*localstack.Process, string, time.Time, error) {
	listen, err := port.Reserve(0)
	if err != nil {
		return nil, "", time.Time{}, err
	}
	began := time.Now()
	writer, err := localstack.Launch(ctx, localstack.Spec{
		Name: "writer", Path: filepath.Join(r.config.Programs, "writer"),
		Env:     append(r.addresses.Environment(), "HTTP_ADDRESS="+listen.Address(), "WRITER_TOPICS="+r.what.topic, "PPROF=true", localstack.OneArena),
		LogFile: r.logFile("writer"), Ports: []*port.Reservation{listen},
		Ready:        func(ctx context.Context) error { return ask(ctx, "http://"+listen.Address()+"/healthz") },
		StartTimeout: time.Minute, StopTimeout: time.Minute,
	})
	return writer, listen.Address(), began, err
}

// rewind sets the writer's group back to the first offset, without the plans of the run before.
func (r *run) rewind(ctx context.Context) error {
	described, err := r.admin.Describe(ctx, r.what.topic)
	if err != nil {
		return err
	}
	var offsets []kafka.Committed
	for p := range described[r.what.topic].Partitions {
		offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: r.what.topic, Partition: int32(p)}})
	}
	return r.admin.SetGroupOffsets(ctx, "writer."+r.what.topic, offsets)
}

// dropViews drops the views, or all but the one that reads the case's table.
func (r *run) dropViews(ctx context.Context, butOne bool) error {
	query := "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'"
	if butOne {
		query += " AND position(as_select, " + ddl.QuoteString("."+r.what.table+" ") + ") = 0"
	}
	names, err := r.column(ctx, query)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.store.Exec(ctx, "DROP VIEW "+ddl.QuoteName(name)); err != nil {
			return err
		}
	}
	return nil
}

// measure is await, or pace for a case that is not about speed.
func (r *run) measure(ctx context.Context, table string, began time.Time, pid int) (outcome, error) {
	if r.what.paced {
		return r.pace(ctx, table, pid)
	}
	return r.await(ctx, table, began, pid)
}

// await asks until every row is visible; processor time is that of the time between. pid is the writer's, 0 for the peer.
func (r *run) await(ctx context.Context, table string, began time.Time, pid int) (o outcome, err error) {
	o.rows = r.sent
	broker := r.stack.States()[0].PID
	engineBefore, err := cpuTime(r.engine.PID())
	if err != nil {
		return o, err
	}
	brokerBefore, err := cpuTime(broker)
	if err != nil {
		return o, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for rows := 0; rows < o.rows; {
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("%d of %d rows after %s: %w; logs are in %s", rows, o.rows, time.Since(began).Round(time.Second), ctx.Err(), filepath.Dir(r.logFile("x")))
		case <-tick.C:
		}
		if rows, err = r.number(ctx, "SELECT count() FROM "+ddl.QuoteName(table)); err != nil {
			return o, err
		}
		if rows > 0 && o.first == 0 {
			o.first = time.Since(began)
		}
	}
	o.took = time.Since(began)
	engineAfter, err := cpuTime(r.engine.PID())
	if err != nil {
		return o, err
	}
	brokerAfter, err := cpuTime(broker)
	if err != nil {
		return o, err
	}
	o.engine, o.broker = engineAfter-engineBefore, brokerAfter-brokerBefore
	if pid != 0 {
		o.writer, err = cpuTime(pid)
	}
	return o, err
}

// check holds that the table has each record once, by what Kafka says of it.
func (r *run) check(ctx context.Context, table string) error {
	rows, err := r.number(ctx, "SELECT count() FROM "+ddl.QuoteName(table))
	if err != nil {
		return err
	}
	distinct, err := r.number(ctx, "SELECT uniqExact(_partition, _offset) FROM "+ddl.QuoteName(table))
	if err != nil {
		return err
	}
	if rows != r.sent || distinct != r.sent {
		return fmt.Errorf("table %s holds %d rows, %d distinct, of %d records", table, rows, distinct, r.sent)
	}
	return nil
}

func (r *run) number(ctx context.Context, query string) (int, error) {
	answer, err := r.store.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	var n uint64
	for answer.Next() {
		if err := answer.Scan(&n); err != nil {
			return 0, err
		}
	}
	return int(n), answer.Err()
}

func (r *run) column(ctx context.Context, query string) ([]string, error) {
	answer, err := r.store.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var all []string
	for answer.Next() {
		var s string
		if err := answer.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, answer.Err()
}

// metric reads one number of a program's metrics.
func metric(ctx context.Context, url, name string) (float64, error) {
	body, err := get(ctx, url)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		var n float64
		// The writer has one product only, so that whatever labels there are tell nothing.
		text, ok := strings.CutPrefix(lines.Text(), name)
		if ok && (strings.HasPrefix(text, " ") || strings.HasPrefix(text, "{")) {
			_, err := fmt.Sscan(text[strings.LastIndexByte(text, ' '):], &n)
			return n, err
		}
	}
	return 0, errors.Join(fmt.Errorf("%s has no %s", url, name), lines.Err())
}

// profileSeconds is how long a profile is: shorter than the default case takes.
const profileSeconds = 4

// profile has the writer profile its first seconds; without a file it does nothing.
func (r *run) profile(ctx context.Context, address string) (written func() error) {
	if r.config.Profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		body, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, profileSeconds))
		if err == nil {
			err = os.WriteFile(r.config.Profile, body, 0o644)
		}
		done <- err
	}()
	return func() error { return <-done }
}

// get reads what a URL answers with 200.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, response.Status)
	}
	return body, err
}
