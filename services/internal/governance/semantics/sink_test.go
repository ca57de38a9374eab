package semantics_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

func TestTheTableOfAChange(t *testing.T) {
	const at = `"fields":[`
	withDefault := func(text, value string) string {
		return strings.Replace(text, at, at+`{"name":"fee","doc":"Fee.","type":"long","default":`+value+`},`, 1)
	}
	for name, c := range map[string]struct {
		base, next        func(string) string
		statements, stays []string
		refused           string
	}{
		"nothing": {},
		"a field more": {
			next:       func(s string) string { return withDefault(s, "7") },
			statements: []string{"ALTER TABLE `default`.`raw_trades` ADD COLUMN IF NOT EXISTS `fee` Int64 DEFAULT 7 COMMENT 'Fee.' FIRST"},
		},
		"another default": {
			base: func(s string) string { return withDefault(s, "7") }, next: func(s string) string { return withDefault(s, "8") },
			statements: []string{
				"ALTER TABLE `default`.`raw_trades` MATERIALIZE COLUMN `fee` SETTINGS mutations_sync = 2",
				"ALTER TABLE `default`.`raw_trades` MODIFY COLUMN `fee` DEFAULT 8",
			},
		},
		"a symbol more": {
			next:       func(s string) string { return strings.Replace(s, `"BUY"`, `"BUY","NONE"`, 1) },
			statements: []string{"ALTER TABLE `default`.`raw_trades` MODIFY COLUMN `taker_side` Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2, 'NONE' = 3)"},
		},
		"another scale": {
			next:    func(s string) string { return strings.Replace(s, `"scale":18`, `"scale":8`, 1) },
			refused: "column price is Decimal(38, 18) in the table and Decimal(38, 8) by the schema",
		},
		"a field less": {base: func(s string) string { return withDefault(s, "7") }, stays: []string{"fee"}},
	} {
		t.Run(name, func(t *testing.T) {
			base, next := product(t, "raw-trades"), product(t, "raw-trades")
			text := realSchemas(t)["raw-trades-value"]
			if c.base != nil {
				base.Schema = mustParse(t, c.base(text))
			}
			if c.next != nil {
				next.Schema = mustParse(t, c.next(text))
			}
			got, err := semantics.Table(&base, next, ddl.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Statements, c.statements) || !slices.Equal(got.Stays, c.stays) {
				t.Errorf("%+v", got)
			}
			if refused := strings.Join(got.Refused, "\n"); !strings.Contains(refused, c.refused) || (refused == "") != (c.refused == "") {
				t.Errorf("refused %q, want %q", refused, c.refused)
			}
		})
	}
}

func TestTheTableOfAContractsChange(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	next.Contract.Sink.OrderBy = []string{"symbol"}
	next.Contract.Sink.PartitionBy = "toYYYYMM(received_at)"
	next.Contract.Sink.TTLDays = 7
	got, err := semantics.Table(&base, next, ddl.Options{Cluster: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Refused) != 2 || !slices.Equal(got.Statements, []string{"ALTER TABLE `default`.`raw_trades` ON CLUSTER `main` MODIFY TTL toDateTime(`received_at`) + INTERVAL 7 DAY"}) {
		t.Errorf("%+v", got)
	}
	created, err := semantics.Table(nil, base, ddl.Options{})
	if err != nil || len(created.Statements) != 1 || !strings.HasPrefix(created.Statements[0], "CREATE TABLE IF NOT EXISTS `default`.`raw_trades`") {
		t.Errorf("%v %+v", err, created)
	}
	next.Contract.Sink = nil
	if got, err := semantics.Table(&base, next, ddl.Options{}); err != nil || len(got.Statements)+len(got.Refused) > 0 {
		t.Errorf("%v %+v", err, got)
	}
}

// TestWhatNoTableCanHoldIsFoundBeforeItIsBuilt: the new schema has no column for something.
func TestWhatNoTableCanHoldIsFoundBeforeItIsBuilt(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	next.Contract.Version = "1.1.0"
	base.Contract.Version = "1.0.0"
	next.Schema = mustParse(t, strings.Replace(realSchemas(t)["raw-trades-value"], `"fields":[`, `"fields":[{"name":"either","doc":"Two types.","type":["int","string"],"default":0},`, 1))
	found := semantics.Compare(base, next, nil)
	if len(found) != 1 || found[0].Rule != rule.ColumnTypeChanged || !strings.Contains(found[0].Reason, "field either: a union of 2 types has no column") {
		t.Errorf("%+v", found)
	}
	if _, err := semantics.Table(&base, next, ddl.Options{}); err == nil {
		t.Error("a table was made of it")
	}
}
