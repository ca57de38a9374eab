package main

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/services/internal/deadletters"
)

// ClickHouse refuses a block for some of its rows. They alone go to dead letters, and the others into the table.
func TestRowsThatClickHouseRefusesAreFoundAndDiverted(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades", "dead-letters")
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK trade_id NOT IN ('50', '51', '777')"); err != nil {
		t.Fatal(err)
	}
	s.trades(0, 1000)
	s.flush()
	w, _ := s.start(Config{FlushInterval: 200 * time.Millisecond})
	s.awaitRows("raw_trades", 997)
	s.awaitRows("dead_letters", 3)
	s.checkLetters(map[string]string{"S050-USDT": deadletters.RejectedRow, "S051-USDT": deadletters.RejectedRow, "S001-USDT": deadletters.RejectedRow})
	s.trades(1000, 100)
	s.flush()
	s.awaitRows("raw_trades", 1097)
	if n := testutil.ToFloat64(w.products[0].metrics.deadLetters.WithLabelValues("raw-trades", deadletters.RejectedRow)); n != 3 {
		t.Errorf("%v dead letters are counted, want 3", n)
	}
}

// A table that refuses nearly everything is an outage of understanding: nothing more goes to dead letters, and the alarm
// stands until the table is mended.
func TestATableThatRefusesTooMuchBlocksAndAlarms(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades ADD CONSTRAINT by_hand CHECK length(trade_id) > 10"); err != nil {
		t.Fatal(err)
	}
	s.trades(0, 60)
	s.flush()
	w, _ := s.start(Config{FlushInterval: 50 * time.Millisecond})
	p := w.products[0]
	s.await("the alarm", func() bool {
		return p.ready() != nil && testutil.ToFloat64(p.metrics.blocked.WithLabelValues("raw-trades")) == 1 &&
			testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues("raw-trades", deadletters.RejectedRow)) > 0
	})
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades DROP CONSTRAINT by_hand"); err != nil {
		t.Fatal(err)
	}
	s.await("every record in the table or in dead letters", func() bool {
		rows, _ := s.count("raw_trades")
		return rows+int(testutil.ToFloat64(p.metrics.deadLetters.WithLabelValues("raw-trades", deadletters.RejectedRow))) == 60
	})
	s.await("ready again", func() bool { return p.ready() == nil })
}
