package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// say says a word on the group of raw-trades.
func (s *stack) say(state records.GroupState, reason string) {
	s.t.Helper()
	id := must[int](s.t)(s.schemas.ID(s.t.Context(), groupcontrol.Subject))
	m := groupcontrol.Message(id, records.GroupControl{
		Group: contract.WriterGroup("raw-trades"), State: state, Reason: reason, RequestedBy: "the test", RequestedAt: time.Now().UnixMicro(),
	})
	if err := s.producer.Produce(&m); err != nil {
		s.t.Fatal(err)
	}
	s.flush()
}

// pipeline of a topic in a writer.
func (w *Writer) pipeline(topic string) *product {
	for _, p := range w.products {
		if p.topic == topic {
			return p
		}
	}
	panic("BUG: no product " + topic)
}

// gaps produces n feed gaps, which the pause of raw-trades is nothing to.
func (s *stack) gaps(n int) {
	s.t.Helper()
	id := must[int](s.t)(s.schemas.ID(s.t.Context(), "feed-gaps-value"))
	for range n {
		g := records.FeedGap{Venue: "kraken", Symbol: "BTC-USD", Channel: "all", FromTime: market.NoTime, ToTime: market.NoTime, ReceivedAt: time.Now().UnixMicro()}
		s.produce("feed-gaps", "kraken/BTC-USD", g.AppendAvro(registry.AppendWireHeader(nil, id)))
	}
	s.flush()
}

// lag of the group of raw-trades, in records.
func (s *stack) lag() (records int64) {
	s.t.Helper()
	for _, l := range must[[]kafka.PartitionLag](s.t)(s.admin.Lag(s.t.Context(), contract.WriterGroup("raw-trades"), []string{"raw-trades"})) {
		records += l.Records
	}
	return records
}

// A paused product's table gets no rows from any of its writers, nor from one that is started meanwhile, and everything once it goes on.
func TestAPauseHoldsForEveryWriterAndOverRestarts(t *testing.T) {
	onEachStack(t, pauseHolds, "raw-trades", "feed-gaps")
}

func pauseHolds(t *testing.T, s *stack) {
	a, stopA := s.start(Config{})
	s.trades(0, 1000)
	s.flush()
	s.awaitRows("raw_trades", 1000)
	s.say(records.GroupPaused, "the table is moved")
	quiet := func(w *Writer) {
		t.Helper()
		p := w.pipeline("raw-trades")
		s.await("the pause", func() bool { return p.quiet.Load() && p.ready() == nil })
		if note := p.note(); !strings.HasPrefix(note, "paused by the test since 2") || !strings.HasSuffix(note, ": the table is moved") {
			t.Errorf("note %q", note)
		}
		if n := testutil.ToFloat64(p.metrics.paused.WithLabelValues("raw-trades")); n != 1 {
			t.Errorf("streamforge_writer_paused is %v", n)
		}
	}
	quiet(a)
	s.trades(1000, 500)
	s.gaps(50)
	s.awaitRows("feed_gaps", 50)
	b, _ := s.start(Config{})
	quiet(b)
	stopA()
	s.gaps(50)
	s.awaitRows("feed_gaps", 100)
	s.awaitRows("raw_trades", 1000)
	if lag := s.lag(); lag != 500 {
		t.Errorf("a lag of %d records, want 500", lag)
	}
	s.say(records.GroupRunning, "it is moved")
	s.awaitRows("raw_trades", 1500)
	if note := b.pipeline("raw-trades").note(); note != "" {
		t.Errorf("note %q after the pause", note)
	}
}

// A block that was planned before the pause belongs into the table within its horizon, whoever repeats it.
func TestAPausedWriterEndsWhatIsPlanned(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	s.trades(0, 200)
	s.flush()
	s.planned(func(*blockPlan) {})
	s.trades(200, 100)
	s.flush()
	s.say(records.GroupPaused, "before the writer is started")
	w, _ := s.start(Config{})
	p := w.pipeline("raw-trades")
	s.await("the planned block", func() bool { return p.quiet.Load() && s.lag() == 100 })
	s.awaitRows("raw_trades", 200)
	s.say(records.GroupRunning, "")
	s.awaitRows("raw_trades", 300)
}

// An installation that is older than group-controls goes on; a word that nobody can read holds up, until the next one.
func TestAnInstallationWithoutControlsAndAWordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	if err := s.admin.Delete(t.Context(), groupcontrol.Topic); err != nil {
		t.Fatal(err)
	}
	s.await("the topic to be gone", func() bool {
		_, err := s.admin.TopicID(t.Context(), groupcontrol.Topic)
		return errors.Is(err, kafka.ErrUnknownTopic)
	})
	w, _ := s.start(Config{})
	p := w.pipeline("raw-trades")
	s.trades(0, 100)
	s.flush()
	s.awaitRows("raw_trades", 100)
	if err := s.admin.Create(t.Context(), []kafka.NewTopic{{Name: groupcontrol.Topic, Partitions: 1, Replication: 1}}); err != nil {
		t.Fatal(err)
	}
	s.produce(groupcontrol.Topic, p.group, []byte("no word"))
	s.flush()
	s.await("the writer to stop", func() bool { return p.quiet.Load() })
	if err := p.ready(); err == nil || !strings.Contains(err.Error(), "offset 0 of group-controls cannot be read") || p.note() != "" {
		t.Errorf("ready: %v, note %q", err, p.note())
	}
	if n := testutil.ToFloat64(p.metrics.blocked.WithLabelValues("raw-trades")); n != 1 {
		t.Errorf("streamforge_writer_blocked is %v", n)
	}
	s.trades(100, 100)
	s.flush()
	s.say(records.GroupRunning, "")
	s.awaitRows("raw_trades", 200)
	// Made again, the topic says nothing on anybody.
	s.say(records.GroupPaused, "once more")
	s.await("the pause", func() bool { return p.quiet.Load() })
	if err := s.admin.Delete(t.Context(), groupcontrol.Topic); err != nil {
		t.Fatal(err)
	}
	s.trades(200, 100)
	s.flush()
	s.await("the topic, made again", func() bool {
		err := s.admin.Create(t.Context(), []kafka.NewTopic{{Name: groupcontrol.Topic, Partitions: 1, Replication: 1}})
		return err == nil
	})
	s.awaitRows("raw_trades", 300)
	if note := p.note(); note != "" {
		t.Errorf("note %q", note)
	}
}
