package contract_test

import (
	"testing"

	"github.com/streamforge/streamforge/contracts"
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
