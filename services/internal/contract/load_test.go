package contract_test

import (
	"slices"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
)

func TestTheRepositorysContractsLoad(t *testing.T) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		partitions int
		max        int
		sink       bool
	}{
		"raw-frames": {32, 20 << 20, true}, "raw-trades": {64, 0, true}, "raw-orderbooks": {64, 20 << 20, true},
		"feed-gaps": {8, 0, true}, "orderbook-resyncs": {8, 0, false}, "dead-letters": {8, 20 << 20, true},
		"group-controls": {1, 0, false},
	}
	for _, c := range all {
		w, ok := want[c.ID]
		if !ok {
			continue
		}
		delete(want, c.ID)
		if c.Topic.Partitions != w.partitions || c.Topic.MaxMessageBytes != w.max || (c.Sink != nil) != w.sink {
			t.Errorf("%s: %d partitions, max.message.bytes %d, sink %v; want %+v", c.ID, c.Topic.Partitions, c.Topic.MaxMessageBytes, c.Sink != nil, w)
		}
		if c.Topic.RetentionMs != 7*24*3600*1000 || c.Topic.Configs["retention.ms"] != "604800000" {
			t.Errorf("%s: retention %d ms, want 7 days", c.ID, c.Topic.RetentionMs)
		}
		if c.Compatibility != "FULL_TRANSITIVE" {
			t.Errorf("%s: compatibility %s", c.ID, c.Compatibility)
		}
	}
	for id := range want {
		t.Errorf("no contract for %s", id)
	}
}

func TestTheRepositorysContractsConsumersAndSchemasAgree(t *testing.T) {
	subjects, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	if err := contract.Lint(contracts.FS, subjects); err != nil {
		t.Fatal(err)
	}
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	consumers, err := contract.LoadConsumers(contracts.FS, all)
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, c := range consumers {
		groups = append(groups, c.Group)
	}
	for _, want := range []string{"loader", "parser", "writer", "writer.raw-trades", "writer.dead-letters"} {
		if !slices.Contains(groups, want) {
			t.Errorf("no consumer %s in %v", want, groups)
		}
	}
	if slices.Contains(groups, "writer.orderbook-resyncs") {
		t.Error("orderbook-resyncs has no sink, so it has no writer")
	}
}
