package main

import (
	"strings"
	"testing"
	"time"
)

// What a repeated insert, or one that comes late, would double is refused by name, and taken as soon as it is mended.
func TestAnUnsoundTableIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	change := func(statement string) {
		t.Helper()
		if err := s.client.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	change("CREATE TABLE per_symbol (symbol String, trades UInt64) ENGINE = SummingMergeTree ORDER BY symbol")
	change("CREATE MATERIALIZED VIEW fill_per_symbol TO per_symbol AS SELECT symbol, count() AS trades FROM raw_trades GROUP BY symbol")
	change("ALTER TABLE raw_trades DROP CONSTRAINT insert_deadline")
	s.trades(0, 100)
	s.flush()
	w, _ := s.start(Config{FlushInterval: 50 * time.Millisecond})
	refused := func(words ...string) {
		t.Helper()
		s.await(strings.Join(words, " … "), func() bool {
			err := w.products[0].ready()
			for _, word := range words {
				if err == nil || !strings.Contains(err.Error(), word) {
					return false
				}
			}
			return true
		})
	}
	refused("raw_trades", "insert_deadline", "streamforge apply")
	change("ALTER TABLE raw_trades ADD CONSTRAINT insert_deadline CHECK 1")
	refused("fill_per_symbol", "per_symbol", "MODIFY SETTING non_replicated_deduplication_window")
	change("ALTER TABLE per_symbol MODIFY SETTING non_replicated_deduplication_window = 50")
	refused("50 blocks", "maxPartsPerSecond 20")
	change("ALTER TABLE per_symbol MODIFY SETTING non_replicated_deduplication_window = 10000")
	s.awaitRows("raw_trades", 100)

	// What is made while the writer runs is found as well. The writer has looked a moment ago, which it is to forget.
	d := w.products[0].decoders
	d.mutex.Lock()
	d.lookEvery = 0
	d.mutex.Unlock()
	change("CREATE TABLE later (symbol String, trades UInt64) ENGINE = SummingMergeTree ORDER BY symbol")
	change("CREATE MATERIALIZED VIEW fill_later TO later AS SELECT symbol, count() AS trades FROM raw_trades GROUP BY symbol")
	s.trades(100, 100)
	s.flush()
	refused("fill_later", "later", "drop the view")
	change("DROP VIEW fill_later")
	s.awaitRows("raw_trades", 200)
}
