package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestMain(m *testing.M) {
	if os.Getenv(childKafka) != "" {
		childMain()
		return
	}
	goleak.VerifyTestMain(m,
		// Idle connections of clients end by themselves.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// stack is a broker and a registry with the products' schemas and topics, as `streamforge apply` makes them.
type stack struct {
	t         testing.TB
	kafka     kafka.ClientConfig
	registry  registry.Config
	schemas   *registry.Client
	admin     *kafka.Admin
	producer  *kafka.Producer
	contracts []contract.Contract
	log       *slog.Logger

	stopRegistry func()
	parsers      []*running
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

// onEachStack runs a test on the embedded stack and on the apache one, at the same time: most of it is waiting.
func onEachStack(t *testing.T, test func(t *testing.T, s *stack)) {
	t.Helper()
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newStack(t))
	})
	t.Run("apache", func(t *testing.T) {
		t.Parallel()
		test(t, newApacheStack(t))
	})
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := emptyStack(t, brokertest.Start(t))
	s.startRegistry("")
	return s.fill()
}

// newApacheStack is newStack on Apache Kafka and Apicurio.
func newApacheStack(t testing.TB) *stack {
	t.Helper()
	broker, url := apachetest.Start(t)
	s := emptyStack(t, broker)
	s.registry = registry.Config{URL: url}
	return s.fill()
}

func emptyStack(t testing.TB, bootstrap string) *stack {
	s := &stack{t: t, log: slog.New(slog.NewTextHandler(io.Discard, nil)), kafka: kafka.ClientConfig{BootstrapServers: bootstrap}}
	if testing.Verbose() {
		s.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return s
}

// fill makes subjects and topics on a broker and a registry that run.
func (s *stack) fill() *stack {
	t := s.t
	t.Helper()
	s.schemas = must[*registry.Client](t)(registry.New(s.registry, prometheus.NewRegistry()))
	t.Cleanup(s.schemas.Close)
	s.admin = must[*kafka.Admin](t)(kafka.NewAdmin(s.kafka))
	t.Cleanup(s.admin.Close)
	s.contracts = must[[]contract.Contract](t)(contract.Load(contracts.FS))
	s.apply()
	s.openProducer()
	return s
}

// openProducer makes the producer anew: an idempotent one does not outlive its topic.
func (s *stack) openProducer() {
	s.t.Helper()
	s.producer = must[*kafka.Producer](s.t)(kafka.NewProducer(s.kafka, kafka.ProducerConfig{ProducerName: "loader@test", MaxMessageBytes: 20 << 20, OnDelivery: s.delivered}, s.log, prometheus.NewRegistry()))
	s.t.Cleanup(s.producer.Close)
}

// delivered fails the test for a record that Kafka does not have: what is missing behind it would be blamed on the parser.
func (s *stack) delivered(d kafka.Delivery) {
	if d.Err != nil {
		s.t.Errorf("the test's own record was not delivered: %v", d.Err)
	}
}

// startRegistry serves at an address, or at a free one, until stopRegistry.
func (s *stack) startRegistry(address string) {
	s.t.Helper()
	server := must[*schemaregistry.Server](s.t)(schemaregistry.New(schemaregistry.Config{Listen: address, BootstrapServers: s.kafka.BootstrapServers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	s.stopRegistry = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.stopRegistry)
	s.await("the registry", func() bool { return server.Ready() == nil })
	s.registry = registry.Config{URL: server.URL()}
}

// apply makes what is missing of subjects and topics.
func (s *stack) apply() {
	s.t.Helper()
	g := must[*governance.Governance](s.t)(governance.New(governance.Config{Replication: 1}, governance.Deps{
		Contracts: s.contracts, Subjects: must[[]schemas.Subject](s.t)(schemas.All()), Registry: s.schemas, Topics: cluster.Topics(s.admin),
	}))
	if _, err := g.PlanAndApply(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// await waits for something that another goroutine or process brings about.
func (s *stack) await(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %s%s", what, patience, s.states())
		}
	}
}

// states is what the parsers say of themselves and where the group stands, for a failure.
func (s *stack) states() string {
	text := ""
	for i, r := range s.parsers {
		text += fmt.Sprintf("\nparser %d: %v; %v trades", i, r.Ready(), r.count(s.t, "trades_total"))
	}
	lags, err := s.admin.Lag(s.t.Context(), "parser", []string{topicFrames})
	for _, l := range lags {
		if l.Records != 0 {
			text += fmt.Sprintf("\n%+v", l)
		}
	}
	return fmt.Sprintf("%s\nlag: %v", text, err)
}

// running is a parser in this process.
type running struct {
	*Service
	metrics *prometheus.Registry
	stop    func()
}

func (s *stack) start(config Config) *running {
	s.t.Helper()
	if config.Group == "" {
		config.Group = "parser"
	}
	r := &running{metrics: prometheus.NewRegistry()}
	client := must[*registry.Client](s.t)(registry.New(s.registry, r.metrics))
	r.Service = must[*Service](s.t)(New(config, Deps{
		Kafka: s.kafka, Registry: client, Contracts: s.contracts,
		Log: s.log, Metrics: r.metrics, Producer: "parser@test",
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the parser ended with %v", err)
		}
		client.Close()
	}
	s.t.Cleanup(r.stop)
	s.parsers = append(s.parsers, r)
	return r
}

// value is a frame in the wire format, written with this build's schema.
func (s *stack) value(f *records.Frame) []byte {
	s.t.Helper()
	return f.AppendAvro(registry.AppendWireHeader(nil, must[int](s.t)(s.schemas.ID(s.t.Context(), "raw-frames-value"))))
}

// send produces a value of raw-frames without waiting for it.
func (s *stack) send(key string, value []byte, at time.Time) {
	s.t.Helper()
	for {
		err := s.producer.Produce(&kafka.Message{Topic: topicFrames, Partition: -1, Key: []byte(key), Value: value, TimestampMs: at.UnixMilli()})
		if err == nil {
			return
		}
		s.flush()
	}
}

func (s *stack) sendFrame(f *records.Frame) {
	s.t.Helper()
	s.send(records.FrameKey(f.Venue, f.Feed), s.value(f), time.UnixMicro(f.ReceivedAt))
}

func (s *stack) flush() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.producer.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// drained waits until the parser has committed all frames.
func (s *stack) drained() {
	s.t.Helper()
	s.flush()
	s.await("the parser's lag to go", func() bool {
		lags, err := s.admin.Lag(s.t.Context(), "parser", []string{topicFrames})
		if err != nil {
			return false
		}
		for _, l := range lags {
			if l.Records != 0 {
				return false
			}
		}
		return true
	})
}

// read returns the committed records of a topic, by partition and offset.
func (s *stack) read(topic string) []kafka.Record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	// The markers of the last transaction reach its partitions after its offsets: until then a reader stops before them.
	if err := s.admin.AwaitCommitted(ctx, topic); err != nil {
		s.t.Fatal(err)
	}
	var all []kafka.Record
	err := kafka.ReadAll(ctx, s.kafka, []string{topic}, func(r kafka.Record) error {
		headers := r.Headers
		r.Key, r.Value, r.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), nil
		for _, h := range headers {
			r.Headers = append(r.Headers, kafka.Header{Name: h.Name, Value: bytes.Clone(h.Value)})
		}
		all = append(all, r)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// body checks the wire format and the subject's id, and returns the Avro body.
func (s *stack) body(r kafka.Record) []byte {
	s.t.Helper()
	id, body, err := registry.ParseWire(r.Value)
	if want := must[int](s.t)(s.schemas.ID(s.t.Context(), r.Topic+"-value")); err != nil || id != want {
		s.t.Fatalf("%s: schema id %d, %v; want %d", r.Topic, id, err, want)
	}
	return body
}

type decoded interface{ DecodeAvro([]byte) error }

func readAs[T any, P interface {
	*T
	decoded
}](s *stack, topic string,
) []T {
	s.t.Helper()
	all := s.read(topic)
	values := make([]T, len(all))
	for i := range all {
		if err := P(&values[i]).DecodeAvro(s.body(all[i])); err != nil {
			s.t.Fatalf("%s: %v", topic, err)
		}
	}
	return values
}

func (s *stack) topicID() [16]byte {
	s.t.Helper()
	return must[map[string]kafka.TopicDescription](s.t)(s.admin.Describe(s.t.Context(), topicFrames))[topicFrames].ID
}

// count reads a metric's sum over its labels.
func (r *running) count(t testing.TB, name string) float64 {
	t.Helper()
	total := 0.0
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "streamforge_parser_"+name {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// at is a fixed clock of the tests' frames: recent enough for retention, in whole milliseconds.
var at = time.Now().Add(-time.Hour).Truncate(time.Millisecond)

// frame is a WebSocket frame of a venue.
func frame(venue, payload string) *records.Frame {
	return &records.Frame{Kind: records.FrameData, Venue: venue, Feed: venue + "-0", LoaderEpoch: 1, Connection: 1, ReceivedAt: at.UnixMicro(), Payload: []byte(payload)}
}

// binanceTrade is a trade of 0.001 at 61837.63.
func binanceTrade(symbol string, id int) *records.Frame {
	return frame("binance", fmt.Sprintf(`{"stream":"x@trade","data":{"e":"trade","E":1723161255342,"s":"%s","t":%d,"p":"61837.63000000","q":"0.00100000","T":1723161255341,"m":true,"M":true}}`, symbol, id))
}

func noMetrics() prometheus.Registerer { return prometheus.NewRegistry() }
