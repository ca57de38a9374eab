//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/governance/replayproof"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// produceTrades writes trades as the parser does, on two partitions, and one value that is none.
func (p governedParts) produceTrades(t *testing.T, count int) {
	t.Helper()
	schema, err := p.registryClient(t).Version(t.Context(), "raw-trades-value", 1)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kafka.NewProducer(kafka.ClientConfig{BootstrapServers: p.kafka}, kafka.ProducerConfig{ProducerName: "parser@test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	values := [][]byte{[]byte("no trade")}
	for i := range count {
		trade := market.Trade{Instrument: &market.Instrument{Venue: "kraken", Symbol: "BTC-USDT", VenueSymbol: "BTC/USDT"}, ID: fmt.Append(nil, i), Price: market.NewDecimal(61837, 0), Quantity: market.NewDecimal(1, 0), EventTime: market.NoTime}
		values = append(values, records.AppendTrade(registry.AppendWireHeader(nil, schema.ID), &trade, 1_790_000_000_000_000, records.Coordinates{}))
	}
	for i, value := range values {
		if err := producer.Produce(&kafka.Message{Topic: "raw-trades", Partition: int32(i % 2), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestProofByReplay tries changes of raw-trades on real records of the embedded stack.
func TestProofByReplay(t *testing.T) {
	t.Parallel()
	p := embeddedParts(t)
	if output, status := p.govern(t, "schemas", "register"); status != 0 {
		t.Fatalf("register: %d\n%s", status, output)
	}
	if err := p.admin(t).Create(t.Context(), []kafka.NewTopic{{Name: "raw-trades", Partitions: 4, Replication: 1}}); err != nil {
		t.Fatal(err)
	}
	p.produceTrades(t, 20)
	r := ourRepository(t)
	r.Write(map[string]string{"contracts/consumers/momentum.yaml": "group: momentum\nowner: data-science\nprincipal: User:momentum\nreads:\n  - product: raw-trades\n    schemaVersion: 1\n    fields: [price, received_at]\n"})
	replay := func(arguments ...string) (string, int) {
		return p.govern(t, append([]string{"schemas", "check", "--root", r.Dir, "--replay"}, arguments...)...)
	}

	addFlag(t, r)
	output, status := replay("raw-trades")
	for _, want := range []string{
		"replay of raw-trades: 21 records: all read as before", "bad in the topic already: 1 record\n    0/0: value of 8 bytes begins with 0x6e",
		"note: block_trade appears as its default in 20 of 20", "momentum (data-science), version 1\n    the same in 20 records", "block_trade: no column → null  (Nullable(Bool))",
	} {
		if status != 0 || !strings.Contains(output, want) {
			t.Errorf("a field more: status %d, %q is missing in\n%s", status, want, output)
		}
	}

	edit(t, r, tradesFile, `"doc": "When the loader received the frame, UTC.", "type": {"type": "long", "logicalType": "timestamp-micros"}`,
		`"doc": "When the loader received the frame, UTC.", "type": {"type": "long", "logicalType": "timestamp-millis"}`)
	output, status = replay("raw-trades:6", "--json")
	var both struct {
		Check  struct{ Verdict string }
		Replay replayproof.Report
	}
	if err := json.Unmarshal([]byte(output), &both); err != nil || status != 3 {
		t.Fatalf("micros → millis: status %d, %v\n%s", status, err, output)
	}
	found := slices.IndexFunc(both.Replay.Read.Fields, func(f replayproof.Field) bool { return f.Path == "received_at" && f.Records == 6 && f.Breaks })
	// 21 records on two of four partitions: the newest six are three of each.
	if both.Replay.Records != 6 || both.Replay.Bad.Count != 0 || found < 0 || both.Check.Verdict == "" {
		t.Errorf("%s", output)
	}
	for _, reader := range both.Replay.Readers {
		if reader.Judged != 6 || len(reader.Fields) != 1 || reader.Fields[0].Path != "received_at" {
			t.Errorf("%+v", reader)
		}
	}
	if len(both.Replay.Readers) != 3 {
		t.Errorf("momentum, the candles and the table's writer read it: %+v", both.Replay.Readers)
	}

	for arguments, want := range map[string]string{"raw-trades:0": "raw-trades:1000", "nothing": "no schema of subject nothing-value", "raw-frames": "unknown topic"} {
		if output, status := replay(arguments); status != 1 || !strings.Contains(output, want) {
			t.Errorf("%s: status %d, want 1 and %q\n%s", arguments, status, want, output)
		}
	}
}

// TestSharesAreTheWantedNumberOrAll: what partitions hold less than their share, the others give.
func TestSharesAreTheWantedNumberOrAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		held, all := map[kafka.TopicPartition]int64{}, int64(0)
		for i, n := range rapid.SliceOfN(rapid.Int64Range(0, 50), 1, 8).Draw(t, "held") {
			held[kafka.TopicPartition{Partition: int32(i)}] = n
			all += n
		}
		wanted := rapid.Int64Range(1, 300).Draw(t, "wanted")
		given, sum, most := shares(held, wanted), int64(0), int64(0)
		for tp, n := range given {
			if n < 0 || n > held[tp] {
				t.Fatalf("%d of %d", n, held[tp])
			}
			sum, most = sum+n, max(most, n)
		}
		if sum != min(wanted, all) {
			t.Fatalf("%v gives %d of %d", given, sum, wanted)
		}
		for tp, n := range given {
			if n < held[tp] && n < most-1 {
				t.Fatalf("%v of %v: partition %d could give more", given, held, tp.Partition)
			}
		}
	})
}

// TestReplayCountsRecordsAndNotMarkers: behind every record stands the marker of its transaction.
func TestReplayCountsRecordsAndNotMarkers(t *testing.T) {
	t.Parallel()
	brokers := brokertest.Start(t)
	client := kafka.ClientConfig{BootstrapServers: brokers}
	admin, err := kafka.NewAdmin(client)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Create(t.Context(), []kafka.NewTopic{{Name: "marked", Partitions: 3, Replication: 1, Configs: map[string]string{"retention.ms": "-1"}}}); err != nil {
		t.Fatal(err)
	}
	marked, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.TransactionalID("marked"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer marked.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	topic := "marked"
	for i := range 10 { // 7 records in partition 0, 3 in partition 1
		must(marked.BeginTransaction())
		must(marked.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i / 7), Value: []byte{byte(i)}}).FirstErr())
		must(marked.EndTransaction(t.Context(), kgo.TryCommit))
	}
	for wanted, want := range map[int64]string{1: "9", 2: "6 9", 5: "5 6 7 8 9", 7: "3 4 5 6 7 8 9", 100: "0 1 2 3 4 5 6 7 8 9"} {
		last, err := newestRecords(t.Context(), client, topic, wanted)
		must(err)
		var found []string
		skip := maps.Clone(last.skip)
		must(kafka.ReadRanges(t.Context(), client, last.ranges, func(r kafka.Record) error {
			tp := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			if skip[tp]--; skip[tp] < 0 {
				found = append(found, fmt.Sprint(r.Value[0]))
			}
			return nil
		}))
		slices.Sort(found)
		if got := strings.Join(found, " "); got != want {
			t.Errorf("the newest %d: %s, want %s", wanted, got, want)
		}
	}
}
