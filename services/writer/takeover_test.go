package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// planned leaves behind what a writer leaves that died after planning one block of everything in the topic: the plan on
// every partition, nothing in the table.
func (s *stack) planned(change func(*blockPlan)) {
	s.t.Helper()
	s.plannedAs(func(p *blockPlan) []kafka.Committed {
		change(p)
		return p.begins("raw-trades")
	})
}

// plannedAs leaves behind what is made of the plan.
func (s *stack) plannedAs(left func(*blockPlan) []kafka.Committed) {
	s.t.Helper()
	description := must[map[string]kafka.TopicDescription](s.t)(s.admin.Describe(s.t.Context(), "raw-trades"))["raw-trades"]
	plan := blockPlan{Created: time.Now().Unix(), Horizon: 500, TopicID: description.ID}
	seen := map[int32]*planRange{}
	rows := 0
	consumer := must[*kafka.Consumer](s.t)(kafka.NewConsumer(s.kafka, kafka.ConsumerConfig{Group: "writer.raw-trades", Topics: []string{"raw-trades"}}, s.log, prometheus.NewRegistry()))
	defer consumer.Close()
	s.await("all records", func() bool {
		records := must[[]kafka.Record](s.t)(consumer.Poll(s.t.Context()))
		for _, r := range records {
			if seen[r.Partition] == nil {
				seen[r.Partition] = &planRange{Partition: r.Partition, From: r.Offset}
			}
			seen[r.Partition].To, seen[r.Partition].Cut = r.Offset+1, r.Offset+1
			plan.Hash += recordHash(r.Partition, r.Offset, r.Value)
			rows++
		}
		return rows >= 200
	})
	plan.Rows = rows
	for _, r := range seen {
		plan.Ranges = append(plan.Ranges, *r)
	}
	plan.sort()
	if err := consumer.Commit(left(&plan)); err != nil {
		s.t.Fatal(err)
	}
}

func TestATakeoverRepeatsThePlannedBlockUnderItsToken(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	s.trades(0, 200)
	s.flush()
	s.planned(func(*blockPlan) {})
	w, _ := s.start(Config{})
	s.awaitRows("raw_trades", 200)
	s.trades(200, 100)
	s.flush()
	s.awaitRows("raw_trades", 300)
	if n := testutil.ToFloat64(w.products[0].metrics.recovered.WithLabelValues("raw-trades")); n != 1 {
		t.Errorf("%v blocks were repeated, want 1", n)
	}
}

func TestATakeoverThatCannotRepeatTheBlockInsertsOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*blockPlan){
		// Somebody else may be able to repeat these two: their horizon is waited for.
		"other rows":  func(p *blockPlan) { p.Hash++; p.Horizon = 3 },
		"other count": func(p *blockPlan) { p.Rows++; p.Horizon = 3 },
		"too old":     func(p *blockPlan) { p.Created -= 86400 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, false, "raw-trades")
			s.trades(0, 200)
			s.flush()
			// A first writer has half of the partitions in the table already, then its memory of it is lost.
			_, stop := s.start(Config{})
			s.awaitRows("raw_trades", 200)
			stop()
			if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades DELETE WHERE _partition >= 2 SETTINGS mutations_sync = 1"); err != nil {
				t.Fatal(err)
			}
			s.resetGroup()
			s.planned(change)
			w, _ := s.start(Config{})
			s.awaitRows("raw_trades", 200)
			if n := testutil.ToFloat64(w.products[0].metrics.repaired.WithLabelValues("raw-trades")); n != 1 {
				t.Errorf("%v blocks were repaired, want 1", n)
			}
		})
	}
}

// resetGroup moves the group back to the beginning, as if nothing had been committed.
func (s *stack) resetGroup() {
	s.t.Helper()
	consumer := must[*kafka.Consumer](s.t)(kafka.NewConsumer(s.kafka, kafka.ConsumerConfig{Group: "writer.raw-trades", Topics: []string{"raw-trades"}}, s.log, prometheus.NewRegistry()))
	defer consumer.Close()
	s.await("an assignment", func() bool {
		must[[]kafka.Record](s.t)(consumer.Poll(s.t.Context()))
		return len(consumer.Assignment()) == 4
	})
	var offsets []kafka.Committed
	for _, tp := range consumer.Assignment() {
		offsets = append(offsets, kafka.Committed{TopicPartition: tp})
	}
	if err := consumer.Commit(offsets); err != nil {
		s.t.Fatal(fmt.Errorf("resetting the group: %w", err))
	}
}
