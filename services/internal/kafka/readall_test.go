package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestReadAllReadsToTheEndsOfTransactionalTopics: the last offset of each partition is a control record, which no reader
// sees, and its end may come in the same batch as the last records.
func TestReadAllReadsToTheEndsOfTransactionalTopics(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		in, out := c.topic("in", 4), c.topic("out", 8)
		const records = 2000
		produceKeyed(t, c.client, in, records)
		copyInTransactions(ctx, t, c.client, in, out, records)
		for round := range 5 {
			counts := map[string]int{}
			err := ReadAll(ctx, c.client, []string{in, out}, func(r Record) error {
				counts[r.Topic]++
				return nil
			})
			if err != nil || counts[in] != records || counts[out] != records {
				t.Fatalf("round %d: %v, error %v; want %d of each", round, counts, err, records)
			}
		}
	})
}

func produceKeyed(t *testing.T, client ClientConfig, topic string, records int) {
	t.Helper()
	producer, err := NewProducer(client, ProducerConfig{ProducerName: "test@1"}, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for i := range records {
		if err := producer.Produce(&Message{Topic: topic, Partition: -1, Key: fmt.Append(nil, "k", i%50), Value: fmt.Append(nil, i), TimestampMs: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func copyInTransactions(ctx context.Context, t *testing.T, client ClientConfig, from, to string, records int) {
	t.Helper()
	processor, err := NewProcessor(client, ProcessorConfig{
		Group: to, Topics: []string{from}, TransactionalID: to + "-0", CommitInterval: time.Millisecond, MaxBatchRecords: 100, Producer: "test@1",
	}, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	seen := 0
	err = processor.Run(running, func(_ context.Context, batch []Record, out Output) error {
		for i := range batch {
			if err := out.Produce(to, batch[i].Key, batch[i].Value, batch[i].TimestampMs, nil); err != nil {
				return err
			}
		}
		if seen += len(batch); seen >= records {
			stop()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
