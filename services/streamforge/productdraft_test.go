package main

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
)

// draftOf drafts the next version of a product whose schema was edited in this repository.
func draftOf(t *testing.T, product, schemaFile string, edit ...string) (d drafted, lint func() error) {
	t.Helper()
	contracts, subjects := migrationtest.Tree(t, nil)
	held := map[string]string{}
	tree := fstest.MapFS{}
	text, err := fs.ReadFile(contracts, "market/"+product+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	held["contracts/market/"+product+".yaml"] = string(text)
	for _, s := range subjects {
		held["schemas/"+s.Path] = s.Text
	}
	for name, text := range held {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	edited := held[schemaFile]
	for i := 0; i < len(edit); i += 2 {
		if !strings.Contains(edited, edit[i]) {
			t.Fatalf("%s has no %s", schemaFile, edit[i])
		}
		edited = strings.Replace(edited, edit[i], edit[i+1], 1)
	}
	tree[schemaFile] = &fstest.MapFile{Data: []byte(edited)}
	d, err = draft(tree, held, product, history.Commit{Hash: "0123456789", Name: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if d.restored[schemaFile] != held[schemaFile] || len(d.restored) != 1 {
		t.Errorf("restored: %v", sortedNames(d.restored))
	}
	return d, func() error {
		fsys, subjects := migrationtest.Tree(t, d.files)
		return contract.Lint(fsys, subjects, contract.WithMigrations(migration.Judge))
	}
}

// TestADraftIsWhatLintAcceptsOnceDecided: what can be guessed is there and marked as guessed, what cannot is refused with
// the rule to write, and with that written lint has nothing to say.
func TestADraftIsWhatLintAcceptsOnceDecided(t *testing.T) {
	d, lint := draftOf(t, "raw-trades", "schemas/market/raw-trades.avsc",
		`"name": "quantity"`, `"name": "size"`, `"scale": 18`, `"scale": 8`, `"name": "venue_symbol"`, `"name": "symbol_of_venue", "aliases": ["venue_symbol"]`,
		`    {"name": "price"`, `    {"name": "fee", "doc": "What it cost.", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 4}]},`+"\n"+`    {"name": "price"`,
		`"BUY"`, `"BID"`)
	file := "contracts/market/raw-trades.v2.migration.yaml"
	const want = `fields:
  - rename: {from: venue_symbol, to: symbol_of_venue}
  - rescale: {field: price}
  - rename: {from: quantity, to: size} # guessed from the type
  - rename: {from: taker_side.BUY, to: taker_side.BID} # guessed: the only symbol that went, and the only one that came
  - decide: "field fee of raw-trades.v2 gets no value; say rename: {from: …, to: fee} or default: {field: fee, up: …}"
`
	if !strings.HasSuffix(d.files[file], want) || d.undecided != 1 {
		t.Fatalf("%d undecided in\n%s", d.undecided, d.files[file])
	}
	if err := lint(); err == nil || !strings.Contains(err.Error(), "undecided: field fee of raw-trades.v2 gets no value") || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("undecided: %v", err)
	}
	at := strings.Index(d.files[file], "  - decide")
	d.files[file] = d.files[file][:at] + "  - default: {field: fee, up: null}\n"
	if err := lint(); err != nil {
		t.Error(err)
	}
	schema := d.files["schemas/market/raw-trades.v2.avsc"]
	if !strings.Contains(schema, `"namespace": "streamforge.market.v2"`) || !strings.Contains(schema, `"streamforge.market.FrameCoordinates"`) {
		t.Errorf("a draft's own types are the version's, shared ones are everybody's:\n%s", schema)
	}
	said := d.files["contracts/market/raw-trades.v2.yaml"]
	for _, line := range []string{"id: raw-trades.v2\n", "version: 2.0.0\n", "value: raw_trades_v2}\n", "- name: symbol_of_venue\n", "element: raw_trades_v2.received_at}"} {
		if !strings.Contains(said, line) {
			t.Errorf("the contract lacks %s", line)
		}
	}
}

// TestADraftOfWhatIsNested: a list's records, and what a new field is made of.
func TestADraftOfWhatIsNested(t *testing.T) {
	d, lint := draftOf(t, "raw-orderbooks", "schemas/market/raw-orderbooks.avsc",
		`"fields": [`, `"fields": [
    {"name": "tags", "doc": "Words.", "default": {}, "type": {"type": "map", "values": "string"}},
    {"name": "legs", "doc": "Parts.", "default": [], "type": {"type": "array", "items": {"type": "record", "name": "Leg", "fields": [{"name": "of", "doc": "Of what.", "type": ["null", "long"]}]}}},`)
	if d.undecided != 0 {
		t.Errorf("%d undecided:\n%s", d.undecided, d.files["contracts/market/raw-orderbooks.v2.migration.yaml"])
	}
	if err := lint(); err != nil {
		t.Errorf("%v\n%s", err, d.files["contracts/market/raw-orderbooks.v2.yaml"])
	}
}

func TestADraftNeedsAChange(t *testing.T) {
	contracts, subjects := migrationtest.Tree(t, nil)
	text, err := fs.ReadFile(contracts, "market/raw-trades.yaml")
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]string{"contracts/market/raw-trades.yaml": string(text)}
	for _, s := range subjects {
		held["schemas/"+s.Path] = s.Text
	}
	tree := fstest.MapFS{}
	for name, text := range held {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for product, want := range map[string]string{"raw-trades": "schemas/market/raw-trades.avsc is what main at 01234567 has: change it", "trades": "product trades has no contract"} {
		if _, err := draft(tree, held, product, history.Commit{Hash: "0123456789", Name: "main"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", product, err)
		}
	}
	delete(held, "schemas/market/raw-trades.avsc")
	if _, err := draft(tree, held, "raw-trades", history.Commit{Hash: "0123456789", Name: "main"}); err == nil || !strings.Contains(err.Error(), "needs no next version") {
		t.Error(err)
	}
}
