package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// newerRegistry knows a version of orderbook-resyncs that another build has registered, under id 9.
type newerRegistry struct {
	*memoryRegistry
	text string
}

func (r *newerRegistry) SchemaByID(ctx context.Context, id int) (registry.Schema, error) {
	if id == 9 {
		return registry.Schema{ID: id, Text: r.text}, nil
	}
	return r.memoryRegistry.SchemaByID(ctx, id)
}

// Under knows no schema of other topics.
func (r *memoryRegistry) Under(context.Context, int, string) (bool, error) { return true, nil }

// A registered schema by which a request would be misread makes no bad request of it: nothing behind it is answered, and the
// alarm is there at once, until a build comes that can read it.
func TestAResyncRequestThatThisBuildCannotReadBlocks(t *testing.T) {
	t.Parallel()
	source := &newerRegistry{memoryRegistry: &memoryRegistry{}}
	own, err := source.SchemaByID(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	source.text = strings.Replace(own.Text, "timestamp-micros", "timestamp-millis", 1)
	values, err := newValues(source, resyncSubject)
	if err != nil {
		t.Fatal(err)
	}
	broker := newMemoryKafka()
	r := &rig{t: t, reg: prometheus.NewRegistry()}
	reader := &resyncReader{
		admin: broker, consumer: broker.consumer, values: values, log: slog.New(slog.DiscardHandler),
		metrics: newMetrics(r.reg, func() float64 { return 0 }),
	}
	request := records.OrderbookResync{Venue: "kraken", Symbol: "BTC-USD", VenueSymbol: "BTC/USD"}
	for _, id := range []int{8, 9, 8} {
		broker.add(resyncTopic, []byte("kraken/BTC-USD"), request.AppendAvro(registry.AppendWireHeader(nil, id)), 0)
	}
	positions := map[int32]int64{} // from the beginning
	err = reader.read(t.Context(), &positions)
	if err == nil || !strings.Contains(err.Error(), "offset 1: schema id 9 cannot be read by this build") || !strings.Contains(err.Error(), "requested_at") {
		t.Fatalf("the complaint is %v", err)
	}
	if blocked, done := r.metric("resyncs_blocked"), r.metric("resync_records_total", "result=others"); blocked != 1 || done != 1 || r.metric("resync_records_total", "result=unreadable") != 0 {
		t.Errorf("blocked %v, %v requests taken", blocked, done)
	}
	if at := positions[partitionOf("kraken/BTC-USD", 8)]; at != 1 {
		t.Errorf("it will go on at offset %d, want the one that blocks, 1", at)
	}

	source.text = own.Text
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- reader.read(ctx, &positions) }()
	waitFor(t, "all requests", func() bool { return r.metric("resync_records_total", "result=others") == 3 })
	cancel()
	<-ended
	if r.metric("resyncs_blocked") != 0 {
		t.Error("the alarm goes on")
	}
}
