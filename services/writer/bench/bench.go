package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// bench is a broker and a registry that stay, with the records in them, and the place of a ClickHouse that each run starts anew.
type bench struct {
	config     *runCommand
	what       product
	stack      *localstack.Stack
	addresses  localstack.Addresses
	enginePort int
	admin      *kafka.Admin
	registry   *registry.Client
	schemaID   int
	runs       int
	sent       int // records in the topic
}

// outcome of one run.
type outcome struct {
	rows           int
	took, first    time.Duration // from the consumer's start until all rows, and any row, were visible
	writer, engine time.Duration // processor time
	broker         time.Duration
	mallocs        float64         // of the writer's process
	blocks         float64         // that the writer inserted
	inserting      float64         // seconds that it waited for them
	latencies      []time.Duration // of a paced run, sorted
	parts          int             // that a paced run made of its table
}

func (o outcome) rate() float64 { return float64(o.rows) / o.took.Seconds() }

func (o outcome) perMillion(used time.Duration) float64 {
	return used.Seconds() / float64(o.rows) * 1e6
}

// String is the line of a run.
func (o outcome) String() string {
	if len(o.latencies) > 0 {
		at := func(share float64) time.Duration {
			return o.latencies[int(share*float64(len(o.latencies)-1))].Round(time.Millisecond)
		}
		return fmt.Sprintf("%d records in %.0f s: sent → visible p50 %s p99 %s, %.2f parts/s; cpu: writer %s engine %s",
			o.rows, o.took.Seconds(), at(0.5), at(0.99), float64(o.parts)/o.took.Seconds(), o.writer, o.engine)
	}
	waited := ""
	if o.blocks > 0 {
		waited = fmt.Sprintf("; %.0f blocks, an insert was under way for %.0f %% of the time", o.blocks, 100*o.inserting/o.took.Seconds())
	}
	return fmt.Sprintf("%9.0f rows/s  %6.2f s, first rows after %.2f s; cpu s per million rows: writer %.2f engine %.2f broker %.2f",
		o.rate(), o.took.Seconds(), o.first.Seconds(), o.perMillion(o.writer), o.perMillion(o.engine), o.perMillion(o.broker)) + waited
}

func newBench(ctx context.Context, config *runCommand, what product) (b *bench, err error) {
	b = &bench{config: config, what: what}
	if err := os.RemoveAll(b.dataDir()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	reserved, err := port.Reserve(0)
	if err != nil {
		return nil, err
	}
	_, number, _ := net.SplitHostPort(reserved.Address())
	b.enginePort, _ = strconv.Atoi(number)
	reserved.Release() // Each run's engine reserves it for itself.
	b.stack, err = localstack.Start(ctx, localstack.Config{
		Kind: config.Stack, Dir: b.dataDir(), CacheDir: config.CacheDir, Executable: filepath.Join(config.Programs, "streamforge"),
		External: localstack.Addresses{ClickHouse: "http://" + reserved.Address()},
	})
	if err != nil {
		return b, err
	}
	b.addresses = b.stack.Addresses()
	if b.admin, err = kafka.NewAdmin(b.client()); err != nil {
		return b, err
	}
	if b.registry, err = registry.New(registry.Config{URL: b.addresses.Registry}, prometheus.NewRegistry()); err != nil {
		return b, err
	}
	return b, b.fill(ctx)
}

func (b *bench) dataDir() string { return filepath.Join(b.config.Dir, "data") }

func (b *bench) logFile(name string) string { return filepath.Join(b.config.Dir, "logs", name+".log") }

func (b *bench) client() kafka.ClientConfig {
	return kafka.ClientConfig{BootstrapServers: b.addresses.Kafka}
}

// fill makes the topics as `streamforge apply` does, and the records.
func (b *bench) fill(ctx context.Context) (err error) {
	engine, err := b.startEngine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	if err := b.apply(ctx, "default"); err != nil {
		return err
	}
	if b.schemaID, err = b.selfContained(ctx); err != nil {
		return err
	}
	if b.what.paced {
		return nil // Each run sends its own.
	}
	return b.produce(ctx)
}

// apply runs the real command on a database.
func (b *bench) apply(ctx context.Context, database string) error {
	command := exec.CommandContext(ctx, filepath.Join(b.config.Programs, "streamforge"), "apply")
	addresses := b.addresses
	addresses.ClickHouse += "/" + database
	command.Env = append(os.Environ(), addresses.Environment()...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("streamforge apply: %w\n%s", err, output)
	}
	return nil
}

// selfContained registers the subject's schema with its references written out: ClickHouse's AvroConfluent follows no reference,
// and both consumers are to read the same bytes. Its doc says so, since the registry otherwise takes it for the one with references.
func (b *bench) selfContained(ctx context.Context) (int, error) {
	subject, err := b.what.subject()
	if err != nil {
		return 0, err
	}
	text, err := schemas.SelfContained(subject)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(map[string]string{"schema": strings.Replace(text, `"doc":`, `"doc":"References written out.","was":`, 1)})
	if err != nil {
		return 0, err
	}
	url := b.addresses.Registry + "/subjects/" + subject.Name + "/versions"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		ID      int    `json:"id"`
		Message string `json:"message"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.ID == 0 {
		return 0, fmt.Errorf("registering %s written out: %s, %s: %w", subject.Name, response.Status, answer.Message, err)
	}
	return answer.ID, nil
}

// once runs one consumer over all records; peers is the number of the peer's, 0 is the writer.
func (b *bench) once(ctx context.Context, peers int) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.Patience)
	defer cancel()
	b.runs++
	engine, err := b.startEngine(ctx)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	store, err := clickhouse.New(clickhouse.Config{URL: b.addresses.ClickHouse, Timeout: time.Minute})
	if err != nil {
		return o, err
	}
	defer store.Close()
	if err := b.apply(ctx, "default"); err != nil {
		return o, err
	}
	r := &run{bench: b, store: store, engine: engine}
	if peers == 0 {
		return r.ours(ctx)
	}
	return r.peer(ctx, peers)
}

// close ends every process and removes the data; logs stay.
func (b *bench) close() error {
	var err error
	if b.registry != nil {
		b.registry.Close()
	}
	if b.admin != nil {
		b.admin.Close()
	}
	if b.stack != nil {
		err = b.stack.Stop()
	}
	for _, made := range []string{"data", "clickhouse", "wide", "engine.xml"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.config.Dir, made)))
	}
	return err
}
