package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// A registered schema that the table cannot hold makes no bad records of what was written with it: their partition blocks and
// alarms at once, the others go on, and a writer that begins later stands at the same record.
func TestASchemaThatTheTableCannotHoldBlocksItsPartitionAndAlarms(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	config := Config{FlushInterval: 50 * time.Millisecond, UnknownSchemaWait: time.Millisecond}
	w, stop := s.start(config)
	s.trades(0, 100)
	s.flush()
	s.awaitRows("raw_trades", 100)

	if err := s.schemas.SetCompatibility(t.Context(), "raw-trades-value", "NONE"); err != nil {
		t.Fatal(err)
	}
	subject := must[schemas.Subject](t)(schemas.Get("raw-trades-value"))
	price := `"price", "doc": "Price in the quote currency, exact.", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}`
	if !strings.Contains(subject.Text, price) {
		t.Fatal("the schema's text is not what the test knows")
	}
	subject.Text = strings.Replace(subject.Text, price, `"price", "type": {"type": "array", "items": "string"}`, 1)
	id, _, err := s.schemas.Register(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	s.produce("raw-trades", "S000-USDT", registry.AppendWireHeader(nil, id))
	s.flush()
	blocked := func(w *Writer) func() bool {
		p := w.products[0]
		return func() bool {
			err := p.ready()
			return err != nil && strings.Contains(err.Error(), fmt.Sprintf("topic's schema %d", id)) && strings.Contains(err.Error(), "price") &&
				testutil.ToFloat64(p.metrics.blocked.WithLabelValues("raw-trades")) == 1
		}
	}
	s.await("/readyz and the alarm", blocked(w))
	s.trades(100, 97) // a trade of every symbol: some stand behind the one that blocks
	s.flush()
	behind := 0
	s.await("the other partitions' rows", func() bool {
		rows, _ := s.count("raw_trades")
		behind = 197 - rows
		return behind < 60
	})
	stop()
	if behind == 0 {
		t.Error("nothing waits behind the record that blocks")
	}
	w, _ = s.start(config)
	s.await("the next writer's alarm", blocked(w))
	if letters, _ := s.count("dead_letters"); letters != 0 {
		t.Errorf("%d dead letters", letters)
	}
}
