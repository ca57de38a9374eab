package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestANewFieldWaitsForItsColumnAndThenBothSchemasGoOn(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	w, _ := s.start(Config{FlushInterval: 50 * time.Millisecond})
	s.trades(0, 100)
	s.flush()
	s.awaitRows("raw_trades", 100)

	subject := must[schemas.Subject](t)(schemas.Get("raw-trades-value"))
	newer := subject
	end := strings.LastIndex(newer.Text, "]")
	newer.Text = newer.Text[:end] + `, {"name": "liquidation", "type": "boolean", "default": true}, {"name": "note", "type": ["null", "string"], "default": null}` + newer.Text[end:]
	id, _, err := s.schemas.Register(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		trade := market.Trade{Instrument: &market.Instrument{Venue: "binance", Symbol: "NEW-USDT", VenueSymbol: "NEWUSDT"}, ID: fmt.Append(nil, i), EventTime: market.NoTime}
		value := records.AppendTrade(registry.AppendWireHeader(nil, id), &trade, time.Now().UnixMicro(), records.Coordinates{})
		s.produce("raw-trades", "NEW-USDT", append(value, 0, 2, 4, 'h', 'i'))
	}
	s.flush()
	p := w.products[0]
	s.await("the writer names the command", func() bool {
		err := p.ready()
		return err != nil && strings.Contains(err.Error(), "streamforge apply") && strings.Contains(err.Error(), "liquidation")
	})
	for _, statement := range []string{
		"ALTER TABLE raw_trades ADD COLUMN liquidation Bool DEFAULT true AFTER `frame.item`",
		"ALTER TABLE raw_trades ADD COLUMN note Nullable(String) AFTER liquidation",
	} {
		if err := s.client.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s.trades(100, 100)
	s.flush()
	s.awaitRows("raw_trades", 250)
	rows, err := s.client.Query(t.Context(), "SELECT countIf(liquidation), countIf(note = 'hi') FROM raw_trades")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var old, noted uint64
	for rows.Next() {
		if err := rows.Scan(&old, &noted); err != nil {
			t.Fatal(err)
		}
	}
	if old != 200 || noted != 50 {
		t.Errorf("%d rows have the new field's default and %d its value, want 200 and 50", old, noted)
	}
	s.await("ready again", func() bool { return p.ready() == nil })
}

func TestAnUnknownSchemaIDIsBadOnlyAfterItsTime(t *testing.T) {
	t.Parallel()
	s := newStack(t, false)
	s.start(Config{FlushInterval: 50 * time.Millisecond, UnknownSchemaWait: 3 * time.Second})
	began := time.Now()
	s.produce("raw-trades", "A", registry.AppendWireHeader(nil, 4711))
	// A record of another topic, whole and well.
	f := records.Frame{Kind: records.FrameData, Venue: "kraken", Feed: "kraken-0", Payload: []byte("{}")}
	s.produce("raw-trades", "B", f.AppendAvro(registry.AppendWireHeader(nil, must[int](t)(s.schemas.ID(t.Context(), "raw-frames-value")))))
	s.flush()
	s.awaitRows("dead_letters", 2)
	s.checkLetters(map[string]string{"A": deadletters.UnknownSchema, "B": deadletters.UnknownSchema})
	if waited := time.Since(began); waited < 3*time.Second {
		t.Errorf("diverted after %s", waited)
	}
	s.trades(0, 20)
	s.flush()
	s.awaitRows("raw_trades", 20)
}

// A producer refuses to work without exactly its schema: a writer that could write no dead letter does not begin to read.
func TestAWriterWithoutItsOwnSchemaWaitsForIt(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	s.trades(0, 10)
	s.flush()
	if err := s.schemas.DeleteSubject(t.Context(), "dead-letters-value", false); err != nil {
		t.Fatal(err)
	}
	w, _ := s.start(Config{FlushInterval: 50 * time.Millisecond})
	s.await("the writer names subject and command", func() bool {
		err := w.products[0].ready()
		return err != nil && strings.Contains(err.Error(), "dead-letters-value") && strings.Contains(err.Error(), "make register-schemas")
	})
	if rows, _ := s.count("raw_trades"); rows != 0 {
		t.Errorf("%d rows were written", rows)
	}
	s.register()
	s.awaitRows("raw_trades", 10)
}

// TestThroughput measures a backlog of trades: WRITER_BENCH=1000000 go test -run Throughput -v ./services/writer.
func TestThroughput(t *testing.T) {
	t.Parallel()
	n, _ := strconv.Atoi(os.Getenv("WRITER_BENCH"))
	if n == 0 {
		t.Skip("set WRITER_BENCH to a number of trades")
	}
	s := newStack(t, true, "raw-trades")
	s.trades(0, n)
	s.flush()
	began := time.Now()
	s.start(Config{})
	for s.rows("raw_trades") < n {
		time.Sleep(20 * time.Millisecond)
		if time.Since(began) > 5*time.Minute {
			t.Fatal("not within five minutes")
		}
	}
	t.Logf("%d trades in %s: %.0f rows/s", n, time.Since(began), float64(n)/time.Since(began).Seconds())
	s.awaitRows("raw_trades", n)
}
