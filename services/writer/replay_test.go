package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// letters are the last words on the letters, by key.
func (s *stack) lastWords() map[string]deadletters.Word {
	s.t.Helper()
	words := map[string]deadletters.Word{}
	err := kafka.ReadAll(context.Background(), s.kafka, []string{deadletters.Topic}, func(r kafka.Record) error {
		word, err := deadletters.ReadWord(r)
		words[string(r.Key)] = word
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return words
}

// ask asks for the replay of every letter, as the command does.
func (s *stack) ask(words map[string]deadletters.Word) {
	s.t.Helper()
	id := must[int](s.t)(s.schemas.ID(s.t.Context(), deadletters.Subject))
	w := &deadletters.Writer{SchemaID: id, Producer: "test@0"}
	for _, word := range words {
		m := w.Ask(word, "asked for by the test")
		if err := s.producer.Produce(&m); err != nil {
			s.t.Fatal(err)
		}
	}
	s.flush()
}

func (s *stack) awaitStatus(want string, letters int) {
	s.t.Helper()
	s.await("letters that are "+want, func() bool {
		n := 0
		for _, word := range s.lastWords() {
			if word.Status() == want {
				n++
			}
		}
		return n == letters
	})
}

// One row of many is refused. When what refused it is mended, replays bring it in with its own coordinates, once, however often
// they are asked for.
func TestAReplayBringsTheRowIn(t *testing.T) {
	onEachStack(t, replayBringsTheRowIn, "raw-trades")
}

func replayBringsTheRowIn(t *testing.T, s *stack) {
	const constraint = "ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK trade_id != '50123'"
	if err := s.client.Exec(t.Context(), constraint); err != nil {
		t.Fatal(err)
	}
	s.trades(0, 100_000)
	s.flush()
	s.start(Config{})
	s.awaitRows("raw_trades", 99_999)
	s.awaitStatus(deadletters.StatusFailed, 1)
	before := s.lastWords()
	s.ask(before)
	// The cause is still there: the letter fails again, and waits for another request.
	s.await("the second failure", func() bool {
		for key, word := range s.lastWords() {
			if word.Status() == deadletters.StatusFailed && word.Letter.FailedAt > before[key].Letter.FailedAt && word.Letter.ErrorClass == deadletters.RejectedRow {
				return true
			}
		}
		return false
	})
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades DROP CONSTRAINT by_hand"); err != nil {
		t.Fatal(err)
	}
	s.ask(before)
	s.ask(before)
	s.awaitRows("raw_trades", 100_000)
	s.awaitStatus(deadletters.StatusReplayed, 1)
	// Asked for once more, the row is found to be there.
	s.ask(before)
	s.await("a second answer", func() bool {
		for _, word := range s.lastWords() {
			if word.Status() == deadletters.StatusReplayed && strings.HasPrefix(word.Letter.Resolution, "was in the table already") {
				return true
			}
		}
		return false
	})
	s.awaitRows("raw_trades", 100_000)
}

// A writer dies when its replay's insert took place and its answer is not written. Whoever follows, at once or after a slot, finds the
// request open and does not double the row; and neither do two writers that replay at the same time.
func TestAReplayIsOnceWhoeverDies(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK trade_id NOT IN ('5', '6', '7')"); err != nil {
		t.Fatal(err)
	}
	s.trades(0, 300)
	s.flush()
	_, stop := s.start(Config{})
	s.awaitRows("raw_trades", 297)
	s.awaitStatus(deadletters.StatusFailed, 3)
	stop()
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades DROP CONSTRAINT by_hand"); err != nil {
		t.Fatal(err)
	}
	s.ask(s.lastWords())

	direct := s.clickhouse
	var mutex sync.Mutex
	inserts := 0
	s.between(func(w http.ResponseWriter, in *held) {
		mutex.Lock()
		inserts++
		mutex.Unlock()
		in.send()
		cut(w) // The insert took place, and its writer never hears of it.
	})
	_, stop = s.start(Config{})
	s.await("replays without an answer", func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		rows, _ := s.count("raw_trades")
		return inserts >= 1 && rows > 297
	})
	stop()
	s.clickhouse = direct
	for range 2 {
		s.start(Config{})
	}
	s.awaitStatus(deadletters.StatusReplayed, 3)
	s.awaitRows("raw_trades", 300)
}

// Two writers that have looked at the table and found nothing insert the same letter at the same time: ClickHouse keeps one.
func TestTwoReplaysOfALetterInOneSlotAreOneRow(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK trade_id != '5'"); err != nil {
		t.Fatal(err)
	}
	s.trades(0, 300)
	s.flush()
	w, stop := s.start(Config{})
	s.awaitRows("raw_trades", 299)
	s.awaitStatus(deadletters.StatusFailed, 1)
	stop()
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades DROP CONSTRAINT by_hand"); err != nil {
		t.Fatal(err)
	}
	var mutex sync.Mutex
	inserts := 0
	both := make(chan struct{})
	s.between(func(w http.ResponseWriter, in *held) {
		mutex.Lock()
		if inserts++; inserts == 2 {
			close(both)
		}
		mutex.Unlock()
		select {
		case <-both: // Both have looked by now.
			pass(w, in)
		case <-time.After(patience):
			cut(w)
		}
	})
	// The slot's beginning leaves the two their time.
	s.await("a slot that has just begun", func() bool {
		now, err := number(t.Context(), s.client, "SELECT toInt64(toUnixTimestamp(now()))")
		return err == nil && now%slotSeconds < slotSeconds/3
	})
	p := w.products[0]
	p.deps.ClickHouse = must[*clickhouse.Client](t)(clickhouse.New(s.clickhouse))
	defer p.deps.ClickHouse.Close()
	r := &replayer{deps: p.deps, cluster: "c", log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	var group sync.WaitGroup
	for _, word := range s.lastWords() {
		for range 2 {
			group.Go(func() {
				letter := word.Letter
				// On a very slow machine the slot may end in between: then the table is asked again, as in a round.
				s.await("the insert", func() bool {
					_, err := r.insert(t.Context(), p, &letter)
					return err == nil
				})
			})
		}
	}
	group.Wait()
	s.awaitRows("raw_trades", 300)
	if n := testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues("raw-trades", deadletters.RejectedRow)); n != 1 {
		t.Errorf("%v dead letters", n)
	}
}

// All that is asked of slots: within one a letter has one token; what is inserted in one has ended before the next begins.
func TestSlotsDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		horizon := rapid.Int64Range(minHorizon, 10_000).Draw(t, "horizon")
		a := rapid.Int64Range(1, 1<<32-1).Draw(t, "a")
		b := a + rapid.Int64Range(0, 200).Draw(t, "later")
		first, second := slotAt(a, horizon), slotAt(b, horizon)
		if first.end-a > horizon || first.deadline+int64(first.execution/time.Second) > first.end {
			t.Fatalf("%+v at %d, horizon %d", first, a, horizon)
		}
		same := first.token("c", "t", "k") == second.token("c", "t", "k")
		if same != (b < first.end) {
			t.Fatalf("at %d and %d the tokens are the same: %t", a, b, same)
		}
		if !strings.HasPrefix(first.token("c", "t", "k"), ddl.TokenPrefix) || first.token("c", "t", "k") == first.token("c", "t", "l") {
			t.Fatal("tokens of letters")
		}
	})
}
