package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// stack is a broker, a registry and a ClickHouse, with the products' schemas, topics and tables in place.
type stack struct {
	t          testing.TB
	apache     bool // Apache Kafka and Apicurio instead of the embedded broker and registry
	kafka      kafka.ClientConfig
	registry   registry.Config
	clickhouse clickhouse.Config
	client     *clickhouse.Client
	schemas    *registry.Client
	admin      *kafka.Admin
	producer   *kafka.Producer
	contracts  []contract.Contract
	views      []contract.View
	server     *clickhousetest.Server
	log        *slog.Logger
	writers    []*Writer        // that run in this process
	partitions int              // of each topic; 0 is 4
	now        func() time.Time // the writers' machine's time
}

// states is what the writers say of themselves, for a failure.
func (s *stack) states() string {
	text := ""
	for i, w := range s.writers {
		for _, p := range w.products {
			text += fmt.Sprintf("\nwriter %d, %s: %v", i, p.topic, p.ready())
		}
	}
	return text
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newStack starts what a writer rests on. own gives the test a ClickHouse that it may kill.
func newStack(t testing.TB, own bool, topics ...string) *stack {
	t.Helper()
	return (&stack{t: t}).fill(own, topics...)
}

// onEachStack runs a test on the embedded stack and on the apache one; ClickHouse is the same.
func onEachStack(t *testing.T, test func(t *testing.T, s *stack), topics ...string) {
	t.Helper()
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newStack(t, false, topics...))
	})
	t.Run("apache", func(t *testing.T) {
		t.Parallel()
		apachetest.Require(t)
		test(t, (&stack{t: t, apache: true}).fill(false, topics...))
	})
}

func (s *stack) fill(own bool, topics ...string) *stack {
	t := s.t
	t.Helper()
	s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if testing.Verbose() {
		s.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	address := ""
	if own {
		s.server = clickhousetest.Own(t, clickhousetest.Options{})
		address = s.server.URL
	} else {
		address = clickhousetest.Start(t)
	}
	database := "test_" + strings.ToLower(rand.Text()[:12])
	clickhousetest.Exec(t, address, "CREATE DATABASE "+database)
	s.clickhouse = clickhouse.Config{URL: address + "/" + database}
	s.client = must[*clickhouse.Client](t)(clickhouse.New(s.clickhouse))
	t.Cleanup(func() { s.client.Close() })
	if s.apache {
		var url string
		s.kafka.BootstrapServers, url = apachetest.Start(t)
		s.registry = registry.Config{URL: url}
	} else {
		s.kafka.BootstrapServers = brokertest.Start(t)
		s.startRegistry()
	}
	s.register()
	s.admin = must[*kafka.Admin](t)(kafka.NewAdmin(s.kafka))
	t.Cleanup(s.admin.Close)
	s.producer = must[*kafka.Producer](t)(kafka.NewProducer(s.kafka, kafka.ProducerConfig{ProducerName: "test@0"}, s.log, prometheus.NewRegistry()))
	t.Cleanup(s.producer.Close)
	all := must[[]contract.Contract](t)(contract.Load(contracts.FS))
	s.contracts = must[[]contract.Contract](t)(choose(all, topics))
	var wanted []kafka.NewTopic
	for _, c := range all {
		configs := map[string]string{"cleanup.policy": c.Topic.CleanupPolicy}
		wanted = append(wanted, kafka.NewTopic{Name: c.Topic.Name, Partitions: max(s.partitions, 4), Replication: 1, Configs: configs})
	}
	if err := s.admin.Create(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Sink != nil {
			s.createTable(c)
		}
	}
	return s
}

func (s *stack) startRegistry() {
	server := must[*schemaregistry.Server](s.t)(schemaregistry.New(schemaregistry.Config{BootstrapServers: s.kafka.BootstrapServers}, s.log, prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); server.Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-done })
	s.registry = registry.Config{URL: server.URL()}
	s.await("the registry", func() bool { return server.Ready() == nil })
}

func (s *stack) register() {
	s.schemas = must[*registry.Client](s.t)(registry.New(s.registry, prometheus.NewRegistry()))
	for _, subject := range must[[]schemas.Subject](s.t)(schemas.All()) {
		if _, _, err := s.schemas.Register(s.t.Context(), subject); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stack) createTable(c contract.Contract) {
	subject := must[schemas.Subject](s.t)(schemas.Get(c.Subject))
	text := must[string](s.t)(schemas.SelfContained(subject))
	statement := must[string](s.t)(ddl.CreateTable(c, text, s.client.Database(), ddl.Options{Tuning: ddl.Tuning()}))
	if err := s.client.Exec(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// await waits for something that another process or goroutine brings about.
func (s *stack) await(what string, done func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %s%s", what, patience, s.states())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// start runs a writer in this process; the returned function drains it.
func (s *stack) start(config Config) (*Writer, func()) {
	s.t.Helper()
	registered := prometheus.NewRegistry()
	store := must[*clickhouse.Client](s.t)(clickhouse.New(s.clickhouse))
	w := must[*Writer](s.t)(New(config, Deps{
		Kafka: s.kafka, Registry: must[*registry.Client](s.t)(registry.New(s.registry, registered)), ClickHouse: store,
		Contracts: s.contracts, Views: s.views, Log: s.log, Metrics: registered, Producer: "writer@test", Now: s.now,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the writer ended with %v", err)
		}
		store.Close()
	}
	s.t.Cleanup(stop)
	s.writers = append(s.writers, w)
	return w, stop
}

// trades produces n trades from number first on.
func (s *stack) trades(first, n int) {
	s.t.Helper()
	s.tradesAt(time.Now(), first, n)
}

// tradesAt are trades that were received at a time.
func (s *stack) tradesAt(received time.Time, first, n int) {
	s.t.Helper()
	id := must[int](s.t)(s.schemas.ID(s.t.Context(), "raw-trades-value"))
	for i := first; i < first+n; i++ {
		symbol := fmt.Sprintf("S%03d-USDT", i%97)
		price := market.NewDecimal(int64(100+i), 2)
		trade := market.Trade{Instrument: &market.Instrument{Venue: "binance", Symbol: symbol, VenueSymbol: symbol}, ID: fmt.Append(nil, i), Price: price, Quantity: price, TakerSide: 1, EventTime: market.NoTime}
		value := records.AppendTrade(registry.AppendWireHeader(nil, id), &trade, received.UnixMicro(), records.Coordinates{Offset: int64(i)})
		s.produce("raw-trades", symbol, value)
	}
}

func (s *stack) produce(topic, key string, value []byte) {
	s.t.Helper()
	for {
		err := s.producer.Produce(&kafka.Message{Topic: topic, Partition: -1, Key: []byte(key), Value: value, TimestampMs: time.Now().UnixMilli()})
		if err == nil {
			return
		}
		if err := s.producer.Flush(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stack) flush() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.producer.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// count returns rows and distinct rows of a table.
func (s *stack) count(table string) (rows, distinct int) {
	answer, err := s.client.Query(context.Background(), "SELECT count(), uniqExact(_partition, _offset) FROM "+ddl.QuoteName(table))
	if err != nil {
		return -1, -1
	}
	defer answer.Close()
	var a, b uint64
	for answer.Next() {
		if err := answer.Scan(&a, &b); err != nil {
			return -1, -1
		}
	}
	return int(a), int(b)
}

// rows of a table, without a look at them: the parts know their numbers, so that the question does not slow down what it is
// asked about.
func (s *stack) rows(table string) int {
	answer, err := s.client.Query(context.Background(), "SELECT count() FROM "+ddl.QuoteName(table))
	if err != nil {
		return -1
	}
	defer answer.Close()
	var rows uint64
	for answer.Next() {
		if err := answer.Scan(&rows); err != nil {
			return -1
		}
	}
	return int(rows)
}

// awaitRows waits for that many rows and fails when there are more, or doubles.
func (s *stack) awaitRows(table string, want int) {
	s.t.Helper()
	rows, distinct := 0, 0
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%s: %d rows, %d distinct, want %d", table, rows, distinct, want)
		}
	}()
	s.await(fmt.Sprintf("%d rows in %s", want, table), func() bool {
		rows, distinct = s.count(table)
		return distinct >= want
	})
	if rows != want || distinct != want {
		s.t.Fatalf("%s: %d rows, %d distinct, want %d: lost or doubled", table, rows, distinct, want)
	}
}
