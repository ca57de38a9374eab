package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	ck "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"
)

// benchRecords of benchBytes each are what a benchmark reads; they fit the memory of the embedded broker.
const (
	benchRecords = 1_000_000
	benchBytes   = 150
)

// cpu reports the process's CPU time a record, the embedded broker's share included: on a machine that others use too it
// says more than the clock. Call what it returns at the end.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	return func() { b.ReportMetric(float64((used()-began).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func (c *cluster) fill(topic string, n int) {
	c.t.Helper()
	p, err := NewProducer(c.client, ProducerConfig{}, quiet(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Close()
	c.pump(p, topic, n)
}

func (c *cluster) pump(p *Producer, topic string, n int) {
	c.t.Helper()
	m := Message{Topic: topic, Partition: -1, Key: make([]byte, 8), Value: make([]byte, benchBytes)}
	for i := range n {
		binary.BigEndian.PutUint64(m.Key, uint64(i%1000))
		for {
			err := p.Produce(&m)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrQueueFull) {
				c.t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if err := p.Flush(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func BenchmarkProduce(b *testing.B) {
	c := newCluster(b)
	topic := c.topic("bench", 8)
	p, err := NewProducer(c.client, ProducerConfig{ProducerName: "bench@1"}, quiet(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	defer cpu(b)()
	b.ResetTimer()
	c.pump(p, topic, b.N)
}

func BenchmarkConsumeBatch(b *testing.B) {
	c := newCluster(b)
	topic := c.topic("bench", 8)
	c.fill(topic, min(b.N, benchRecords))
	b.ReportAllocs()
	defer cpu(b)()
	b.ResetTimer()
	for read, group := 0, 0; read < b.N; group++ {
		consumer := c.consumer(ConsumerConfig{Assign: c.fromStart(topic)})
		for here := 0; here < min(b.N, benchRecords) && read < b.N; {
			batch, err := consumer.Poll(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			here, read = here+len(batch), read+len(batch)
		}
		consumer.Close()
	}
}

func (c *cluster) fromStart(topic string) []Committed {
	var assign []Committed
	for p := range 8 {
		assign = append(assign, Committed{TopicPartition: TopicPartition{Topic: topic, Partition: int32(p)}, Offset: OffsetBeginning})
	}
	return assign
}

// BenchmarkConsumePoll is the Go client's own way, for comparison: the same options, one call a record.
func BenchmarkConsumePoll(b *testing.B) {
	c := newCluster(b)
	topic := c.topic("bench", 8)
	c.fill(topic, min(b.N, benchRecords))
	options, err := c.client.consumerOptions(ConsumerConfig{Group: "poll"}.withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	config := ck.ConfigMap{}
	for _, o := range options {
		config[o.name] = o.value
	}
	b.ReportAllocs()
	defer cpu(b)()
	b.ResetTimer()
	for read := 0; read < b.N; {
		consumer, err := ck.NewConsumer(&config)
		if err != nil {
			b.Fatal(err)
		}
		var parts []ck.TopicPartition
		for p := range int32(8) {
			parts = append(parts, ck.TopicPartition{Topic: &topic, Partition: p, Offset: ck.OffsetBeginning})
		}
		if err := consumer.Assign(parts); err != nil {
			b.Fatal(err)
		}
		for here := 0; here < min(b.N, benchRecords) && read < b.N; {
			if _, ok := consumer.Poll(100).(*ck.Message); ok {
				here, read = here+1, read+1
			}
		}
		consumer.Close()
	}
}

// BenchmarkProcess consumes, copies each record to another topic and commits, in transactions of 50 ms.
func BenchmarkProcess(b *testing.B) {
	c := newCluster(b)
	in, out := c.topic("in", 8), c.topic("out", 8)
	c.fill(in, b.N)
	var done atomic.Int64
	b.ReportAllocs()
	defer cpu(b)()
	b.ResetTimer()
	_, stop := startProcessor(b, c.client, ProcessorConfig{Group: "bench", Topics: []string{in}, TransactionalID: "bench-0"}, func(_ context.Context, batch []Record, o Output) error {
		for i := range batch {
			if err := o.Produce(out, batch[i].Key, batch[i].Value, batch[i].TimestampMs, nil); err != nil {
				return err
			}
		}
		done.Add(int64(len(batch)))
		return nil
	})
	for done.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	stop()
}

// BenchmarkTransaction is the cost of one transaction with one record in and one out, end to end.
func BenchmarkTransaction(b *testing.B) {
	c := newCluster(b)
	in, out := c.topic("in", 1), c.topic("out", 1)
	_, stop := startProcessor(b, c.client, ProcessorConfig{Group: "bench", Topics: []string{in}, TransactionalID: "bench-0", CommitInterval: time.Millisecond}, func(_ context.Context, batch []Record, o Output) error {
		for i := range batch {
			if err := o.Produce(out, batch[i].Key, batch[i].Value, batch[i].TimestampMs, nil); err != nil {
				return err
			}
		}
		return nil
	})
	defer stop()
	p, err := NewProducer(c.client, ProducerConfig{LingerMs: 1}, quiet(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	consumer := c.consumer(ConsumerConfig{Assign: []Committed{{TopicPartition: TopicPartition{Topic: out}, Offset: OffsetBeginning}}, MaxBatchWait: time.Millisecond})
	b.ResetTimer()
	for i := range b.N {
		if err := p.Produce(&Message{Topic: in, Value: fmt.Append(nil, i)}); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < 1; {
			batch, err := consumer.Poll(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			got += len(batch)
		}
	}
}
