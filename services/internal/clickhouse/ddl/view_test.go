package ddl_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// TestTheViewsOfTheContracts compares the SQL of every view, for a single server, a cluster, and one with shards, with its snapshot.
func TestTheViewsOfTheContracts(t *testing.T) {
	all, views := everyView(t)
	for _, v := range views {
		c, _ := contract.Find(all, v.Source)
		for suffix, options := range map[string]ddl.Options{"": {}, ".cluster": {Cluster: "main"}, ".sharded": {Cluster: "main", Sharded: true}} {
			tables, err := ddl.Views(v, c, textOf(t, c), "", options)
			if err != nil {
				t.Fatal(err)
			}
			var statements []string
			for _, table := range tables {
				statements = append(statements, table.CreateTarget(options))
				if _, distributed := ddl.Distributed(table.Target, options); distributed != "" {
					statements = append(statements, distributed)
				}
				statements = append(statements, table.CreateFill(options), "-- "+table.Reader+"\n"+table.ReaderSelect)
			}
			compare(t, filepath.Join("testdata", v.Name+suffix+".sql"), strings.Join(statements, ";\n\n")+"\n")
		}
	}
}

func TestAViewOfWhatATableHasNotIsRefused(t *testing.T) {
	all, _ := everyView(t)
	text, err := contracts.FS.ReadFile("market/candles.view.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := contract.Find(all, "raw-trades")
	for _, e := range []struct{ from, to, want string }{
		{"maximum: price", "maximum: prize", "column high: the table raw_trades has no column prize"},
		{"maximum: price", "maximum: trade_id", "column high: column trade_id is String; it has to be Decimal or Int32 or Int64 and never null"},
		{"first: price", "first: event_time", "column open: column event_time is Nullable(DateTime64(6, 'UTC'))"},
		{"groupBy: [venue, symbol]", "groupBy: [venue, event_time]", "groupBy: column event_time is"},
		{", else: received_at, withinHours: 24", "", "time: column event_time is Nullable"},
		{"order: [frame.offset", "order: [trade_id", "order: column trade_id is String"},
		{"ratio: [turnover, volume]", "ratio: [volume, turnover]", "column vwap: volume has fewer digits behind the point than turnover"},
		{"ratio: [turnover, volume]", "ratio: [turnover, high_]", "column vwap: ratio is of two columns above it"},
		{"name: low,", "name: high,", "column high stands twice"},
		{"interval: 1s", "interval: 1d", "every: 1m stands behind 1d"},
	} {
		v, problems := contract.ParseView("market/candles.view.yaml", []byte(strings.Replace(string(text), e.from, e.to, 1)))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if err := ddl.Viewable(v, c, textOf(t, c)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: %v, want %q", e.to, err, e.want)
		}
	}
}

func everyView(t *testing.T) ([]contract.Contract, []contract.View) {
	t.Helper()
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	views, err := contract.LoadViews(contracts.FS, all)
	if err != nil {
		t.Fatal(err)
	}
	return all, views
}

func textOf(t *testing.T, c contract.Contract) string {
	t.Helper()
	subject, err := schemas.Get(c.Subject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(subject)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
