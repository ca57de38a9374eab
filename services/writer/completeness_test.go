package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/services/internal/deadletters"
)

// A running writer says by its metrics what a hand did to its table, and that it was mended; a bucket of a view besides.
func TestARunningWriterProvesItsTable(t *testing.T) {
	onEachStack(t, provesItsTable, "raw-trades")
}

func provesItsTable(t *testing.T, s *stack) {
	targets := s.candles()
	w, _ := s.start(Config{VerifyInterval: 100 * time.Millisecond})
	m := w.verifier.metrics
	value := func(g *prometheus.GaugeVec, labels ...string) float64 {
		return testutil.ToFloat64(g.WithLabelValues(append([]string{"raw-trades"}, labels...)...))
	}
	standing := func() string {
		return fmt.Sprintf("missing=%v duplicated=%v foreign=%v", value(m.missing), value(m.duplicated), value(m.foreign))
	}
	defer func() {
		if t.Failed() {
			t.Logf("%s, %v verified, %v rounds failed", standing(), testutil.ToFloat64(m.verified.WithLabelValues("raw-trades")), testutil.ToFloat64(m.failures.WithLabelValues("raw-trades")))
		}
	}()
	expect := func(what, want string) {
		t.Helper()
		s.await(what, func() bool { return standing() == want })
	}
	s.trades(0, 500)
	s.produce("raw-trades", "S000-USDT", []byte("no wire format")) // A dead letter, and nothing that is missing.
	s.flush()
	s.awaitRows("raw_trades", 500)
	sound := "missing=0 duplicated=0 foreign=0"
	s.await("every trade to be verified", func() bool {
		return testutil.ToFloat64(m.verified.WithLabelValues("raw-trades")) >= 501 && value(m.unverified) == 0 && value(m.lastSound) > 0
	})
	expect("what the writer did", sound)

	differing := func() string {
		return fmt.Sprint(value(m.differing, "candles_1s"), value(m.differing, "candles_1m"), value(m.differing, "candles_1h"))
	}
	s.await("the views to be compared", func() bool { return testutil.CollectAndCount(m.differing) == len(targets) })
	s.await("candles that are the trades'", func() bool { return differing() == "0 0 0" })
	s.exec("INSERT INTO candles_1h_states (venue, symbol, time, volume) VALUES ('binance', 'S001-USDT', toStartOfHour(now('UTC')), 1)")
	s.await("a bucket that a hand changed", func() bool { return differing() == "0 0 1" })

	one := "_partition = 1 AND _offset = (SELECT min(_offset) FROM raw_trades WHERE _partition = 1)"
	s.exec("CREATE TABLE kept ENGINE = Memory AS SELECT * FROM raw_trades WHERE " + one)
	s.exec("DELETE FROM raw_trades WHERE " + one + " SETTINGS lightweight_deletes_sync = 2")
	expect("a row that a hand deleted", "missing=1 duplicated=0 foreign=0")
	s.exec("INSERT INTO raw_trades SELECT * FROM kept SETTINGS insert_deduplicate = 0")
	expect("the row put back", sound)
	s.exec("INSERT INTO raw_trades SELECT * FROM kept SETTINGS insert_deduplicate = 0")
	expect("a row inserted twice", "missing=0 duplicated=1 foreign=0")
}

// Letters, replays, rows that their TTL removes and a second writer that takes all over are nothing that is missing, at no moment.
func TestARunningWriterTakesNothingOfItsOwnForALoss(t *testing.T) {
	onEachStack(t, takesNothingForALoss, "raw-trades")
}

func takesNothingForALoss(t *testing.T, s *stack) {
	s.exec("ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK trade_id NOT IN ('5', '6', '7')")
	var worst sync.Map
	watched := func(w *Writer) verifierMetrics {
		m, done := w.verifier.metrics, make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for tick := time.NewTicker(5 * time.Millisecond); ; {
				for what, gauge := range map[string]*prometheus.GaugeVec{"missing": m.missing, "duplicated": m.duplicated, "foreign": m.foreign} {
					if n := testutil.ToFloat64(gauge.WithLabelValues("raw-trades")); n != 0 {
						worst.Store(what, n)
					}
				}
				select {
				case <-done:
					tick.Stop()
					return
				case <-tick.C:
				}
			}
		}()
		t.Cleanup(func() { close(done); <-stopped })
		return m
	}
	// Every round looks at what came since the one before, and again at what was odd.
	verified := func(what string, m verifierMetrics, records float64) {
		t.Helper()
		since := float64(time.Now().Unix())
		s.await(what, func() bool {
			return testutil.ToFloat64(m.verified.WithLabelValues("raw-trades")) >= records && testutil.ToFloat64(m.unverified.WithLabelValues("raw-trades")) == 0 &&
				testutil.ToFloat64(m.lastSound.WithLabelValues("raw-trades")) > since
		})
	}
	first, stop := s.start(Config{VerifyInterval: 50 * time.Millisecond})
	m := watched(first)
	s.trades(0, 500)
	s.tradesAt(time.Now().AddDate(0, 0, -40), 1000, 20)
	s.flush()
	s.awaitStatus(deadletters.StatusFailed, 3)
	verified("rows, letters and old rows", m, 520)
	s.exec("OPTIMIZE TABLE raw_trades FINAL")
	s.awaitRows("raw_trades", 497)
	verified("what the TTL has removed", m, 520)
	s.exec("ALTER TABLE raw_trades DROP CONSTRAINT by_hand")
	s.ask(s.lastWords())
	s.awaitStatus(deadletters.StatusReplayed, 3)
	verified("the replays", m, 520)

	second, _ := s.start(Config{VerifyInterval: 50 * time.Millisecond})
	m = watched(second)
	stop()
	s.trades(500, 200)
	s.flush()
	s.awaitRows("raw_trades", 700)
	verified("all by the one who took over", m, 200)
	worst.Range(func(what, n any) bool {
		t.Errorf("%v %v were told", n, what)
		return true
	})
	if n := testutil.ToFloat64(m.failures.WithLabelValues("raw-trades")); n != 0 {
		t.Errorf("%v rounds failed", n)
	}
}

func (s *stack) exec(statement string) {
	s.t.Helper()
	if err := s.client.Exec(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}
