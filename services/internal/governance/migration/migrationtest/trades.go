// Package migrationtest gives tests a product with two major versions: the repository itself ships none.
package migrationtest

import (
	"strings"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
)

// tradesRules: quantity is renamed, price loses ten digits, the venue's spelling goes, a fee comes.
const tradesRules = `from: raw-trades
to: raw-trades.v2
fields:
  - rename: {from: quantity, to: size}
  - rescale: {field: price}
  - drop: {field: venue_symbol, down: ""}
  - default: {field: fee, up: "0"}
`

// AddTradesV2 adds the next major version of raw-trades and the migration to it, without the offsets of a cut-over.
func AddTradesV2(t testing.TB, deps *governance.Deps) {
	t.Helper()
	read := func(name string) string {
		text, err := contracts.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dropped := func(text, from, until string) string {
		before, rest, ok := strings.Cut(text, from)
		_, after, found := strings.Cut(rest, until)
		if !ok || !found {
			t.Fatalf("no %q before %q", from, until)
		}
		return before + until + after
	}
	text := strings.NewReplacer(
		"id: raw-trades\n", "id: raw-trades.v2\n", "version: 1.0.0", "version: 2.0.0", "dataProduct: raw-trades\n", "dataProduct: raw-trades.v2\n",
		"value: raw-trades}", "value: raw-trades.v2}", "raw-trades-value", "raw-trades.v2-value", "value: raw_trades}", "value: raw_trades_v2}",
		"- name: raw_trades\n", "- name: raw_trades_v2\n", "physicalName: raw-trades\n", "physicalName: raw-trades.v2\n", "element: raw_trades.", "element: raw_trades_v2.",
		"      - name: quantity\n", `      - name: fee
        description: "What the trade cost."
        logicalType: number
        physicalType: "bytes.decimal(10,4)"
        required: true
      - name: size
`).Replace(dropped(read("market/raw-trades.yaml"), "      - name: venue_symbol\n", "      - name: trade_id\n"))
	text = strings.Replace(text, "bytes.decimal(38,18)", "bytes.decimal(38,8)", 1)
	c, problems := contract.Parse("market/raw-trades.v2.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	v1, err := schemas.Get("raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.NewReplacer(`"streamforge.market"`, `"streamforge.market.v2"`, `"name": "quantity"`, `"name": "size"`,
		`    {"name": "trade_id"`, `    {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 4}, "doc": "What the trade cost."},`+"\n"+`    {"name": "trade_id"`).
		Replace(dropped(v1.Text, `    {"name": "venue_symbol"`, `    {"name": "trade_id"`))
	schema = strings.Replace(schema, `"scale": 18`, `"scale": 8`, 1)
	subject, err := schemas.Parse("market/raw-trades.v2.avsc", []byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	deps.Contracts, deps.Subjects = append(deps.Contracts, c), append(deps.Subjects, subject)
	m, problems := contract.ParseMigration("market/raw-trades.v2.migration.yaml", []byte(tradesRules))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	deps.Migrations = []contract.Migration{m}
}
