package scaffold_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/scaffold"
)

// TestRegenerated: after a schema has got a field more, the generated files have it, and what a person wrote stays.
func TestRegenerated(t *testing.T) {
	for kind, files := range map[scaffold.Kind]struct {
		written   string
		generated []string
	}{
		scaffold.Go: {"services/momentum/consumer.go", []string{
			"services/momentum/events.go", "services/momentum/events_test.go", "services/momentum/schemas/raw-trades.avsc",
		}},
		scaffold.Python: {"services/momentum/momentum_consumer/handlers.py", []string{
			"services/momentum/momentum_consumer/records.py", "services/momentum/momentum_consumer/schemas/raw-trades.avsc", "services/momentum/tests/samples.py",
		}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			dir := copyTree(t)
			made, err := load(t, dir).Files(request(kind, "feed-gaps", "raw-trades"))
			if err != nil {
				t.Fatal(err)
			}
			if err := scaffold.Write(dir, made); err != nil {
				t.Fatal(err)
			}
			regenerate := func() []string {
				t.Helper()
				r, anew, err := load(t, dir).Regenerated("momentum")
				if err != nil {
					t.Fatal(err)
				}
				if r.Kind != kind || !slices.Equal(r.Topics, []string{"feed-gaps", "raw-trades"}) {
					t.Errorf("it takes the consumer for %+v", r)
				}
				changed, err := scaffold.Overwrite(dir, anew)
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(changed)
				return changed
			}
			if changed := regenerate(); len(changed) != 0 {
				t.Errorf("nothing changed, and %q were written", changed)
			}
			mine := filepath.Join(dir, files.written)
			if err := os.WriteFile(mine, []byte("a person's"), 0o644); err != nil {
				t.Fatal(err)
			}
			schema := filepath.Join(dir, "schemas/market/raw-trades.avsc")
			text, err := os.ReadFile(schema)
			if err != nil {
				t.Fatal(err)
			}
			more := strings.Replace(string(text), `{"name": "price"`, `{"name": "liquidity", "doc": "d", "type": {"type": "enum", "name": "Liquidity", "symbols": ["MAKER", "TAKER"]}, "default": "TAKER"},
    {"name": "price"`, 1)
			if err := os.WriteFile(schema, []byte(more), 0o644); err != nil {
				t.Fatal(err)
			}
			if changed := regenerate(); !slices.Equal(changed, files.generated) {
				t.Errorf("%q were written, want %q", changed, files.generated)
			}
			for _, name := range files.generated {
				if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(strings.ToLower(string(text)), "liquidity") {
					t.Errorf("%s does not have the field: %v", name, err)
				}
			}
			if text, _ := os.ReadFile(mine); string(text) != "a person's" {
				t.Errorf("what a person wrote is %q", text)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "services/momentum/.*")); len(left) > 0 {
				t.Errorf("%q are left behind", left)
			}
		})
	}
	dir := copyTree(t)
	for _, name := range []string{"nobody", "loader", "../x", ""} {
		if _, files, err := load(t, dir).Regenerated(name); err == nil || files != nil {
			t.Errorf("%q: %v, %d files", name, err, len(files))
		}
	}
}

func TestTeam(t *testing.T) {
	for name, want := range map[string]string{"Ada Lovelace": "ada-lovelace", "Data Science": "data-science", "dataScience": "data-science", "  x_y  ": "x-y", "李": "my-team", "": "my-team", "7 of 9": "7-of-9"} {
		if got := scaffold.Team(name); got != want || !contract.IsTeam(got) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
