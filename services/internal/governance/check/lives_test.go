package check_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/governance/check"
)

// TestWhatLivesIsTold: the check itself says what snapshots of clusters know, to a terminal and to a program.
func TestWhatLivesIsTold(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	var before strings.Builder
	if err := run(t, r).WriteText(&before); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(before.String(), "declared readers only") {
		t.Errorf("without a snapshot nothing says so:\n%s", &before)
	}
	snapshot := `{"cluster": "production", "date": "2026-11-22", "recordsPerPartition": 100, "products": [{"product": "raw-trades",
	  "groups": [{"group": "notebook", "members": false, "readUpTo": "2026-11-20"}, {"group": "writer.raw-trades", "members": true, "readUpTo": "2026-11-22"}],
	  "versions": [{"version": 1, "schemaId": 3, "lastWritten": "2026-11-22", "producers": ["parser@1.4.0"]}]}]}`
	r.Write(map[string]string{"contracts/evidence/production.json": snapshot})
	told := func(how string) {
		t.Helper()
		report := run(t, r)
		s := subject(t, report, "raw-trades-value")
		if want := []check.Reader{{Group: "view.candles", Owner: "market-data", Reads: []string{"price"}}, {Group: "writer.raw-trades", Owner: "platform", Reads: []string{"price"}, Live: "live on 2026-11-22 (production)"}}; cmp.Diff(want, s.Readers) != "" {
			t.Errorf("%s: %s", how, cmp.Diff(want, s.Readers))
		}
		if want := []check.Undeclared{{Group: "notebook", Life: "without a member on 2026-11-22, has read up to 2026-11-20", Cluster: "production"}}; cmp.Diff(want, s.Undeclared) != "" {
			t.Errorf("%s: %s", how, cmp.Diff(want, s.Undeclared))
		}
		if want := []check.Written{{Version: 1, SchemaID: 3, LastWritten: "2026-11-22", Today: true, Producers: []string{"parser@1.4.0"}, Cluster: "production"}}; cmp.Diff(want, s.Written) != "" {
			t.Errorf("%s: %s", how, cmp.Diff(want, s.Written))
		}
		var text strings.Builder
		if err := report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"concerns writer.raw-trades (platform): it reads price, live on 2026-11-22 (production)\n", "not declared: notebook, without a member on 2026-11-22",
			"on the wire: v1, last written on 2026-11-22 by parser@1.4.0 (production)\n",
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: %q is not in\n%s", how, want, &text)
			}
		}
		if strings.Contains(text.String(), "declared readers only") {
			t.Errorf("%s: the snapshot is there:\n%s", how, &text)
		}
		if data, err := json.Marshal(report); err != nil || !strings.Contains(string(data), `"live":"live on 2026-11-22 (production)"`) {
			t.Errorf("%s: %v, %s", how, err, data)
		}
	}
	told("in the working tree")

	// A branch that lags behind reads the snapshot that main has taken since.
	r.Git("stash", "-q", "-u")
	r.Git("checkout", "-q", "-b", "feature")
	r.Git("checkout", "-q", "main")
	r.Commit(map[string]string{"contracts/evidence/production.json": snapshot})
	r.Git("checkout", "-q", "feature")
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	told("on main since")

	r.Write(map[string]string{"contracts/evidence/other.json": `{}`})
	if _, err := check.Run(t.Context(), check.Options{Dir: r.Dir}); err == nil || !strings.Contains(err.Error(), "contracts/evidence/other.json") {
		t.Errorf("a snapshot without its form: %v", err)
	}
}
