package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
	"github.com/streamforge/streamforge/services/internal/governance/evidence/snapshot"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription/subscriptiontest"
)

const topic = "raw-trades"

// produce writes one record a partition as a program of that name.
func produce(t *testing.T, s *subscriptiontest.Stack, name string, schemaID int, at time.Time, partitions ...int32) {
	t.Helper()
	p, err := kafka.NewProducer(s.Kafka, kafka.ProducerConfig{ProducerName: name}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, partition := range partitions {
		m := kafka.Message{Topic: topic, Partition: partition, Key: []byte("k"), Value: append(registry.AppendWireHeader(nil, schemaID), 1, 2, 3), TimestampMs: at.UnixMilli()}
		if err := p.Produce(&m); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// commit lets a group read everything up to offsets and, unless stay, leave again.
func commit(t *testing.T, s *subscriptiontest.Stack, group string, stay bool, offsets ...kafka.Committed) {
	t.Helper()
	config := kafka.ConsumerConfig{Group: group, Topics: []string{topic}}
	c, err := kafka.NewConsumer(s.Kafka, config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	assigned := false
	s.Await("group "+group+" to be assigned", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := c.Poll(ctx); err != nil {
			return err
		}
		if !assigned {
			if len(c.Assignment()) == 0 {
				return errors.New("no partition yet")
			}
			err := c.Commit(offsets)
			assigned = err == nil
			return err
		}
		return nil
	})
	if !stay {
		c.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = c.Poll(ctx)
		}
	}()
	t.Cleanup(func() { cancel(); <-done; c.Close() })
}

func at(partition int32, offset int64) kafka.Committed {
	return kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: partition}, Offset: offset}
}

func TestSnapshotOfACluster(t *testing.T) {
	s := subscriptiontest.Start(t)
	now := time.Now().UTC()
	id, err := s.Client.ID(t.Context(), topic+"-value")
	if err != nil {
		t.Fatal(err)
	}
	// Old records on partition 0, new ones beside them; another schema's id, and a producer whose name is no program's.
	fiveDays := now.AddDate(0, 0, -5)
	produce(t, s, "parser@1.3.0", id, fiveDays, 0, 0, 0)
	produce(t, s, "parser@1.4.0", id, now, 0, 1, 2)
	produce(t, s, "backfill@2.0.0", 4711, fiveDays, 3)
	produce(t, s, "kafka-7.internal:9092", 4711, fiveDays, 3)
	commit(t, s, "volatility-predictor", true, at(0, 4))
	commit(t, s, "notebook", false, at(0, 2))
	commit(t, s, "commits-nothing", true)

	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	take := func(records int) (evidence.Snapshot, []byte) {
		t.Helper()
		got, err := snapshot.Take(t.Context(), s.Kafka, s.Client, snapshot.Config{Cluster: "test", RecordsPerPartition: records, Contracts: all, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		text, err := got.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := evidence.Parse("evidence/test.json", text)
		if err != nil {
			t.Fatal(err)
		}
		return back, text
	}
	got, text := take(100)
	today, old := now.Format(time.DateOnly), fiveDays.Format(time.DateOnly)
	want := evidence.Snapshot{Cluster: "test", Date: today, RecordsPerPartition: 100, Products: []evidence.Product{{
		Product:  topic,
		Groups:   []evidence.Group{{Group: "commits-nothing", Members: true}, {Group: "notebook", ReadUpTo: old}, {Group: "volatility-predictor", Members: true, ReadUpTo: today}},
		Versions: []evidence.Version{{Version: 1, SchemaID: id, LastWritten: today, Producers: []string{"parser@1.3.0", "parser@1.4.0"}}, {SchemaID: 4711, LastWritten: old, Producers: []string{"backfill@2.0.0"}}},
	}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, secret := range []string{"internal", s.Kafka.BootstrapServers, "127.0.0.1", "localhost"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the file holds %q:\n%s", secret, text)
		}
	}
	if _, again := take(100); !bytes.Equal(text, again) {
		t.Errorf("a second snapshot differs:\n%s\n%s", text, again)
	}
	// With one record a partition the three old ones of partition 0 are not seen any more.
	if newest, _ := take(1); strings.Contains(strings.Join(newest.Products[0].Versions[0].Producers, " "), "1.3.0") {
		t.Errorf("with the newest record alone it saw %v", newest.Products[0].Versions)
	}
	if life := evidence.Live([]evidence.Snapshot{got}, topic, "volatility-predictor"); life != "live on "+today+" (test)" {
		t.Errorf("the live group is %q", life)
	}
	if life := evidence.Live([]evidence.Snapshot{got}, topic, "notebook"); !strings.Contains(life, "has read up to "+old) {
		t.Errorf("the idle group is %q", life)
	}
}
