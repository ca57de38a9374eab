package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childBootstrap) != "" {
		childMain()
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if apacheKafka.broker != nil {
			apacheKafka.broker.Stop()
			_ = os.RemoveAll(apacheKafka.dir)
		}
		os.Exit(code)
	}), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// apacheKafka is shared by the tests of this process: it takes seconds to start.
var apacheKafka struct {
	start  sync.Once
	broker *apachetest.Kafka
	dir    string
	err    error
}

func apacheCluster(t *testing.T) *cluster {
	t.Helper()
	apachetest.Require(t)
	apacheKafka.start.Do(func() {
		if apacheKafka.dir, apacheKafka.err = os.MkdirTemp("", "kafka"); apacheKafka.err == nil {
			apacheKafka.broker, apacheKafka.err = apachetest.StartKafka(context.Background(), apacheKafka.dir)
		}
	})
	if apacheKafka.err != nil {
		t.Fatal(apacheKafka.err)
	}
	return clusterAt(t, apacheKafka.broker.Address)
}

// onEachBroker runs a test on the embedded broker and on Apache Kafka, at the same time: most of it is waiting.
func onEachBroker(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newCluster(t))
	})
	t.Run("apache", func(t *testing.T) {
		t.Parallel()
		test(t, apacheCluster(t))
	})
}

func quiet() *slog.Logger {
	if os.Getenv("KAFKA_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// told keeps what a test's clients log, and prints it when the test fails: what went wrong with a group's handover is
// gone by the time somebody asks.
func told(t testing.TB) *slog.Logger {
	t.Helper()
	var mu sync.Mutex
	var text bytes.Buffer
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Log(text.String())
		}
	})
	return slog.New(slog.NewTextHandler(lockedWriter{&mu, &text}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// cluster is a broker with an Admin and a way to make topics.
type cluster struct {
	t      testing.TB
	client ClientConfig
	admin  *Admin
	prefix string
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	return clusterAt(t, brokertest.Start(t))
}

func clusterAt(t testing.TB, bootstrap string) *cluster {
	t.Helper()
	c := &cluster{t: t, client: ClientConfig{BootstrapServers: bootstrap}, prefix: fmt.Sprintf("t%d-", time.Now().UnixNano())}
	admin, err := NewAdmin(c.client)
	if err != nil {
		t.Fatal(err)
	}
	c.admin = admin
	t.Cleanup(admin.Close)
	return c
}

func (c *cluster) topic(name string, partitions int) string {
	c.t.Helper()
	topic := c.prefix + name
	// The tests' records are years old by their timestamps: a broker that has run for half a minute would delete them.
	configs := map[string]string{"max.message.bytes": "20971520", "retention.ms": "-1"}
	if err := c.admin.Create(c.t.Context(), []NewTopic{{Name: topic, Partitions: partitions, Configs: configs}}); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.admin.AwaitTopics(c.t.Context(), nil, topic); err != nil {
		c.t.Fatal(err)
	}
	return topic
}

// deliveries collects what a producer tells.
type deliveries struct {
	mu  sync.Mutex
	all []Delivery
}

func (d *deliveries) add(one Delivery) {
	d.mu.Lock()
	d.all = append(d.all, one)
	d.mu.Unlock()
}

func (c *cluster) produce(messages ...*Message) []Delivery {
	c.t.Helper()
	var d deliveries
	p, err := NewProducer(c.client, ProducerConfig{ProducerName: "test@1", OnDelivery: d.add}, quiet(), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Close()
	for _, m := range messages {
		for {
			err := p.Produce(m)
			if errors.Is(err, ErrQueueFull) {
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				c.t.Fatal(err)
			}
			break
		}
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		c.t.Fatal(err)
	}
	p.Close()
	for _, one := range d.all {
		if one.Err != nil {
			c.t.Fatalf("record %d of %d to %s: %v", one.Opaque, len(messages), messages[0].Topic, one.Err)
		}
	}
	if len(d.all) != len(messages) {
		c.t.Fatalf("%d deliveries of %d records to %s", len(d.all), len(messages), messages[0].Topic)
	}
	return d.all
}

func (c *cluster) consumer(config ConsumerConfig) *Consumer {
	c.t.Helper()
	consumer, err := NewConsumer(c.client, config, quiet(), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = consumer.Close() })
	return consumer
}

// copied is a record that outlives its batch.
func copied(r Record) Record {
	r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	headers := r.Headers
	r.Headers = nil
	for _, h := range headers {
		r.Headers = append(r.Headers, Header{Name: h.Name, Value: bytes.Clone(h.Value)})
	}
	return r
}

// read polls until n records came, or fails after a while.
func (c *cluster) read(consumer *Consumer, n int) []Record {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var all []Record
	for len(all) < n {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			c.t.Fatalf("after %d of %d records: %v", len(all), n, err)
		}
		for _, r := range batch {
			all = append(all, copied(r))
		}
	}
	return all
}

// all reads a whole topic, committed records only.
func (c *cluster) all(topic string) []Record {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.admin.AwaitCommitted(ctx, topic); err != nil {
		c.t.Fatal(err)
	}
	var all []Record
	if err := ReadAll(ctx, c.client, []string{topic}, func(r Record) error {
		all = append(all, copied(r))
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	return all
}

func keyed(topic string, from, to int) []*Message {
	var messages []*Message
	for i := from; i < to; i++ {
		messages = append(messages, &Message{Topic: topic, Partition: -1, Key: fmt.Appendf(nil, "key-%d", i%97), Value: fmt.Appendf(nil, "%d", i), TimestampMs: 1_700_000_000_000 + int64(i), Opaque: uint64(i)})
	}
	return messages
}
