package main

import (
	"net/http"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ClickHouse is killed right after it has written an insert's token down: of the table's rows, or of a view's, it has nothing
// when it is back, and it drops the repetition. Deleting rows leaves their token as the kill does.
func TestABlockWhoseTokenIsBurntIsMadeGood(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]struct {
		statements []string
		crash      bool
	}{
		"table":              {[]string{"ALTER TABLE raw_trades DELETE WHERE _partition >= 2 SETTINGS mutations_sync = 1"}, false},
		"all of the table":   {[]string{"ALTER TABLE raw_trades DELETE WHERE 1 SETTINGS mutations_sync = 1"}, true},
		"a view":             {[]string{"ALTER TABLE candles_1m_states DELETE WHERE symbol < 'S2' SETTINGS mutations_sync = 1"}, true},
		"table and one view": {[]string{"ALTER TABLE raw_trades DELETE WHERE _partition = 1 SETTINGS mutations_sync = 1", "ALTER TABLE candles_1s_states DELETE WHERE 1 SETTINGS mutations_sync = 1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&stack{t: t, partitions: 4}).fill(true, "raw-trades")
			targets := s.candles()
			var once sync.Once
			s.between(func(w http.ResponseWriter, in *held) {
				first := false
				once.Do(func() { first = true })
				if !first {
					pass(w, in)
					return
				}
				if status, answer := in.send(); status != http.StatusOK {
					t.Errorf("the first insert: %d %s", status, answer)
				}
				for _, statement := range lose.statements {
					if err := s.client.Exec(t.Context(), statement); err != nil {
						t.Error(err)
					}
				}
				if lose.crash {
					s.server.Kill()
					s.server.Restart(t)
				}
				cut(w)
			})
			s.trades(0, 200)
			s.flush()
			w, _ := s.start(Config{})
			s.awaitRows("raw_trades", 200)
			p := w.products[0]
			s.await("the repair", func() bool { return testutil.ToFloat64(p.metrics.burnt.WithLabelValues(p.topic)) == 1 })
			for _, target := range targets {
				s.await(target, func() bool { return s.differing(target) == 0 })
			}
			s.awaitRows("raw_trades", 200)
			// What comes next is not held up.
			s.trades(200, 50)
			s.flush()
			s.awaitRows("raw_trades", 250)
			for _, target := range targets {
				s.await(target, func() bool { return s.differing(target) == 0 })
			}
		})
	}
}

// Nothing is looked for, and nothing is made again, when ClickHouse was killed and has everything.
func TestACrashThatLosesNothingChangesNothing(t *testing.T) {
	t.Parallel()
	s := (&stack{t: t, partitions: 4}).fill(true, "raw-trades")
	targets := s.candles()
	var once sync.Once
	s.between(func(w http.ResponseWriter, in *held) {
		pass := pass
		once.Do(func() {
			pass = func(w http.ResponseWriter, in *held) {
				in.send()
				s.server.Kill()
				s.server.Restart(t)
				cut(w)
			}
		})
		pass(w, in)
	})
	s.trades(0, 200)
	s.flush()
	w, _ := s.start(Config{})
	s.awaitRows("raw_trades", 200)
	s.trades(200, 50)
	s.flush()
	s.awaitRows("raw_trades", 250)
	p := w.products[0]
	for _, m := range []float64{testutil.ToFloat64(p.metrics.burnt.WithLabelValues(p.topic)), testutil.ToFloat64(p.metrics.rebuilt.WithLabelValues(p.topic))} {
		if m != 0 {
			t.Errorf("%v blocks or buckets were made good", m)
		}
	}
	for _, target := range targets {
		s.await(target, func() bool { return s.differing(target) == 0 })
	}
}
