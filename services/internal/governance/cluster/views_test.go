package cluster_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// TestAViewJoinsTwoMajorVersions: none before the cut-over; made after it, with no difference left; what is changed by hand
// is named and mended; and a new column is in the view as soon as it is in the table.
func TestAViewJoinsTwoMajorVersions(t *testing.T) {
	t.Parallel()
	s := wantedThings(t)
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	s.connectTables(t, address, database)
	migrationtest.AddTradesV2(t, &s.deps)
	const view, v1Topic = "raw_trades_v2_joined", "6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab"
	run := func(statement string) string {
		t.Helper()
		return strings.TrimSpace(clickhousetest.Exec(t, address+"/?database="+database, statement))
	}
	mine := func(p governance.Plan) (steps []governance.Step) {
		for _, step := range p.Steps {
			if step.Object == view {
				steps = append(steps, step)
			}
		}
		return steps
	}

	p := apply(t, govern(t, s))
	if len(mine(p)) > 0 || !strings.Contains(p.String(), "note view "+view+": it is made after the cut-over, which writes joinAt into contracts/market/raw-trades.v2.migration.yaml") {
		t.Fatalf("before the cut-over:\n%s", p)
	}
	insert := "INSERT INTO raw_trades (venue, symbol, trade_id, price, quantity, received_at, _topic_id, _partition, _offset) VALUES "
	run(insert + "('v', 's', 'moved', 1, 1, now64(6), '" + v1Topic + "', 1, 7), ('v', 's', 'old', 1.5, 2, now64(6), '" + v1Topic + "', 1, 6)," +
		"('v', 's', 'digits', 0.123456789, 2, now64(6), '" + v1Topic + "', 1, 5), ('v', 's', 'recreated', 3, 4, now64(6), generateUUIDv4(), 1, 9)")
	run("INSERT INTO raw_trades_v2 (venue, symbol, trade_id, price, size, fee, received_at, _topic_id, _partition, _offset) VALUES ('v', 's', 'moved', 1, 1, 0.5, now64(6), generateUUIDv4(), 1, 0)")

	join := &contract.Join{TopicID: v1Topic, Offsets: make([]int64, 64)}
	join.Offsets[1] = 7
	s.deps.Migrations[0].JoinAt = join
	if p = apply(t, govern(t, s)); len(p.Steps) != 1 || len(mine(p)) != 1 || p.Steps[0].Action != governance.ActionCreate {
		t.Fatalf("after the cut-over:\n%s", p)
	}
	want := "moved\t1\t1\t0.5\nold\t1.5\t2\t0\nrecreated\t3\t4\t0"
	if d := cmp.Diff(want, run("SELECT trade_id, price, size, fee FROM "+view+" ORDER BY trade_id")); d != "" {
		t.Errorf("rows of the view:\n%s", d)
	}

	// A question for one symbol must find it in both tables by their keys.
	if explained := run("EXPLAIN indexes = 1 SELECT count() FROM " + view + " WHERE venue = 'v' AND symbol = 's'"); strings.Count(explained, "(venue in [") != 2 || strings.Count(explained, "(symbol in [") != 2 {
		t.Errorf("the view hides the tables' keys:\n%s", explained)
	}

	for name, c := range map[string]struct{ by, want string }{
		"another query":   {"CREATE OR REPLACE VIEW " + view + " AS SELECT venue, symbol FROM raw_trades_v2", "query: "},
		"another offset":  {"CREATE OR REPLACE VIEW " + view + " AS " + strings.Replace(p.Steps[0].SQL[strings.Index(p.Steps[0].SQL, "SELECT"):], "[0, 7,", "[0, 8,", 1), "[0, 8, 0, 0, 0, 0, 0, 0, 0,"},
		"another comment": {"ALTER TABLE " + view + " MODIFY COMMENT 'mine'", "comment: mine → Rows of raw_trades up to the cut-over"},
		"no view":         {"DROP VIEW " + view, "create"},
	} {
		run(c.by)
		p := plan(t, govern(t, s))
		if len(p.Steps) != 1 || len(mine(p)) != 1 || !strings.Contains(p.Steps[0].What, c.want) {
			t.Errorf("%s: want %q in the one step of\n%s", name, c.want, p)
		}
		apply(t, govern(t, s))
	}
	run("CREATE VIEW somebodys AS SELECT 1 AS one")
	if p := plan(t, govern(t, s)); !p.Empty() || !strings.Contains(p.String(), "somebodys: no contract names it; it is left alone") {
		t.Errorf("a view that no contract names:\n%s", p)
	}
	run("DROP VIEW " + view)
	run("CREATE TABLE " + view + " (a Int8) ENGINE = Memory")
	if p := plan(t, govern(t, s)); len(p.Refused) != 1 || !strings.Contains(p.Refused[0].Reason, "it is a Memory and no view") {
		t.Errorf("a table in the view's place:\n%s", p)
	}
	run("DROP TABLE " + view)

	grown := s.deps.Subjects[len(s.deps.Subjects)-1]
	grown.Text = strings.Replace(grown.Text, `"fields": [`, `"fields": [{"name": "flag", "type": "boolean", "default": true},`, 1)
	s.deps.Subjects[len(s.deps.Subjects)-1] = grown
	c := &s.deps.Contracts[len(s.deps.Contracts)-1]
	c.Fields = append(c.Fields, contract.Field{Name: "flag", LogicalType: "boolean", PhysicalType: "boolean", Required: true})
	if p := apply(t, govern(t, s)); len(p.Steps) != 2 || p.Steps[0].Kind != governance.KindTable || p.Steps[1].Kind != governance.KindView {
		t.Errorf("a new column:\n%s", p)
	}
	run("ALTER TABLE raw_trades_v2 MODIFY COLUMN taker_side Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2, 'X' = 3)")
	if p := apply(t, govern(t, s)); len(p.Steps) != 1 || len(mine(p)) != 1 || !strings.Contains(p.Steps[0].What, "taker_side") {
		t.Errorf("a symbol more in the table than in its schema, which may be:\n%s", p)
	}
	if got := run("SELECT count(), countIf(flag), uniq(_topic_id) FROM " + view); got != "3\t3\t3" {
		t.Errorf("with a new column the view shows %s", got)
	}
}
