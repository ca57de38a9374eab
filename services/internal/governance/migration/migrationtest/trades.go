// Package migrationtest gives tests a product with two major versions: the repository itself ships none.
package migrationtest

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
)

// Files of raw-trades.v2, below the repository's folder.
const (
	Contract  = "contracts/market/raw-trades.v2.yaml"
	Schema    = "schemas/market/raw-trades.v2.avsc"
	Migration = "contracts/market/raw-trades.v2.migration.yaml"
)

// rules: quantity is renamed, price loses ten digits, the venue's spelling goes, a fee comes.
const rules = `# quantity is renamed, price loses ten digits, the venue's spelling goes, a fee comes.
from: raw-trades
to: raw-trades.v2
fields:
  - rename: {from: quantity, to: size}
  - rescale: {field: price}
  - drop: {field: venue_symbol, down: ""}
  - default: {field: fee, up: "0"}
`

// TradesV2 is raw-trades.v2, made of raw-trades as the repository has it: contract, schema and migration by file.
func TradesV2(t testing.TB) map[string]string {
	t.Helper()
	text, err := contracts.FS.ReadFile("market/raw-trades.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v2 := strings.NewReplacer(
		"id: raw-trades\n", "id: raw-trades.v2\n", "version: 1.0.0", "version: 2.0.0", "dataProduct: raw-trades\n", "dataProduct: raw-trades.v2\n",
		"value: raw-trades}", "value: raw-trades.v2}", "raw-trades-value", "raw-trades.v2-value", "value: raw_trades}", "value: raw_trades_v2}",
		"- name: raw_trades\n", "- name: raw_trades_v2\n", "physicalName: raw-trades\n", "physicalName: raw-trades.v2\n", "element: raw_trades.", "element: raw_trades_v2.",
		"      - name: quantity\n", `      - name: fee
        description: "What the trade cost."
        logicalType: number
        physicalType: "bytes.decimal(10,4)"
        required: true
      - name: size
`).Replace(without(t, string(text), "      - name: venue_symbol\n", "      - name: trade_id\n"))
	v1, err := schemas.Get("raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.NewReplacer(`"streamforge.market"`, `"streamforge.market.v2"`, `"name": "quantity"`, `"name": "size"`,
		`    {"name": "trade_id"`, `    {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 4}, "doc": "What the trade cost."},`+"\n"+`    {"name": "trade_id"`).
		Replace(without(t, v1.Text, `    {"name": "venue_symbol"`, `    {"name": "trade_id"`))
	return map[string]string{
		Contract:  strings.Replace(v2, "bytes.decimal(38,18)", "bytes.decimal(38,8)", 1),
		Schema:    strings.Replace(schema, `"scale": 18`, `"scale": 8`, 1),
		Migration: rules,
	}
}

func without(t testing.TB, text, from, until string) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, from)
	_, after, found := strings.Cut(rest, until)
	if !ok || !found {
		t.Fatalf("no %q before %q", from, until)
	}
	return before + until + after
}

// Tree is this build's contracts and schemas with files beside them or in their place.
func Tree(t testing.TB, files map[string]string) (fsys fs.FS, subjects []schemas.Subject) {
	t.Helper()
	tree := fstest.MapFS{}
	if err := fs.WalkDir(contracts.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := contracts.FS.ReadFile(name)
		tree["contracts/"+name] = &fstest.MapFile{Data: text}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		tree["schemas/"+s.Path] = &fstest.MapFile{Data: []byte(s.Text)}
	}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if fsys, err = fs.Sub(tree, "contracts"); err != nil {
		t.Fatal(err)
	}
	below, err := fs.Sub(tree, "schemas")
	if err != nil {
		t.Fatal(err)
	}
	if subjects, err = schemas.Load(below); err != nil {
		t.Fatal(err)
	}
	return fsys, subjects
}

// AddTradesV2 adds the next major version of raw-trades and the migration to it, without the offsets of a cut-over.
func AddTradesV2(t testing.TB, deps *governance.Deps) {
	t.Helper()
	files := TradesV2(t)
	c, problems := contract.Parse("market/"+path.Base(Contract), []byte(files[Contract]))
	m, more := contract.ParseMigration("market/"+path.Base(Migration), []byte(files[Migration]))
	if problems = append(problems, more...); len(problems) > 0 {
		t.Fatal(problems)
	}
	s, err := schemas.Parse("market/"+path.Base(Schema), []byte(files[Schema]))
	if err != nil {
		t.Fatal(err)
	}
	deps.Contracts, deps.Subjects = append(deps.Contracts, c), append(deps.Subjects, s)
	deps.Migrations = []contract.Migration{m}
}
