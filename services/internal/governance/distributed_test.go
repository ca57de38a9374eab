package governance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
)

// TestAShardedClusterIsPlanned: every table and every target is made on the cluster, with a table over all shards behind it, and one
// that lacks a new column is made again.
func TestAShardedClusterIsPlanned(t *testing.T) {
	w := newWorld()
	sharded := func(c *governance.Config, d *governance.Deps) {
		c.DDL = ddl.Options{Cluster: "main", Sharded: true}
		d.Views = must(contract.LoadViews(contracts.FS, d.Contracts))
	}
	p := planOf(t, newGovernance(t, w, sharded))
	var names []string
	for _, s := range p.Steps {
		if s.Kind == governance.KindTable || s.Kind == governance.KindView {
			if !strings.Contains(s.SQL, " ON CLUSTER `main`") {
				t.Errorf("%s: %s", s.Object, s.SQL)
			}
			names = append(names, s.Object)
		}
	}
	for _, want := range []string{"raw_trades raw_trades_all", "candles_1m_states candles_1m_states_all candles_1h_states", "candles_1s_fill candles_1s"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("%q is not in %q", want, names)
		}
	}

	if _, err := newGovernance(t, w, nil).PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := w.tables["raw_trades"]
	all.Engine = "Distributed"
	w.tables["raw_trades_all"] = all
	again := func() bool {
		return slices.ContainsFunc(planOf(t, newGovernance(t, w, sharded)).Steps, func(s governance.Step) bool {
			return s.Object == "raw_trades_all" && s.What == "make again: column price is to be Decimal(38, 18)"
		})
	}
	if again() {
		t.Error("a table with all columns is made again")
	}
	all.Columns = slices.DeleteFunc(slices.Clone(all.Columns), func(c ddl.ExistingColumn) bool { return c.Name == "price" })
	w.tables["raw_trades_all"] = all
	if !again() {
		t.Error("a table without a column is left as it is")
	}
}
