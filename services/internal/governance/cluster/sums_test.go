package cluster_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// TestViewsAreAddedUpFromTheFilesInTheRepository: made in the order in which no resolution misses a row; storage and words that
// somebody changed are mended; another definition is refused, with another name as the way out, which then works.
func TestViewsAreAddedUpFromTheFilesInTheRepository(t *testing.T) {
	t.Parallel()
	s := wantedThings(t)
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	s.connectTables(t, address, database)
	run := func(statement string) string {
		t.Helper()
		return strings.TrimSpace(clickhousetest.Exec(t, address+"/?database="+database, statement))
	}
	steps := func(p governance.Plan) (lines []string) {
		for _, step := range p.Steps {
			if strings.HasPrefix(step.Object, "candles") {
				lines = append(lines, step.Object+" "+step.What)
			}
		}
		return lines
	}
	want := []string{
		"candles_1s_states create", "candles_1m_states create", "candles_1h_states create",
		"candles_1h_fill create", "candles_1m_fill create", "candles_1s_fill create", "candles_1s create", "candles_1m create", "candles_1h create",
	}
	if p := apply(t, govern(t, s)); !slices.Equal(steps(p), want) {
		t.Fatalf("made in the order %q", steps(p))
	}
	insert := "INSERT INTO raw_trades (venue, symbol, trade_id, price, quantity, received_at) VALUES ('v', 's', '1', 2, 3, now64(6))"
	run(insert)

	for by, want := range map[string]string{
		"ALTER TABLE candles_1m_states MODIFY TTL toDateTime(time) + INTERVAL 3 DAY":           "candles_1m_states TTL: toDateTime(time) + toIntervalDay(3) → 730 days after time",
		"ALTER TABLE candles_1m_states MODIFY SETTING non_replicated_deduplication_window = 0": "candles_1m_states non_replicated_deduplication_window: 0 → 10000",
		"ALTER TABLE candles_1h_states MODIFY COMMENT 'mine'":                                  "candles_1h_states comment: mine → ",
		"ALTER TABLE candles_1h_states COMMENT COLUMN high 'mine'":                             "candles_1h_states comment of high: mine → Highest price.",
		"CREATE OR REPLACE VIEW candles_1s AS SELECT venue, symbol FROM candles_1s_states":     "candles_1s query: ",
		"DROP VIEW candles_1h":         "candles_1h create",
		"DROP VIEW candles_1m_fill":    "candles_1m_fill create: from now on; what is in candles_1s_states already is not added up",
		"DROP TABLE candles_1h_states": "candles_1h_states create",
	} {
		run(by)
		if got := steps(plan(t, govern(t, s))); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: want %q, got %q", by, want, got)
		}
		apply(t, govern(t, s))
	}
	run(insert)
	if got := run("SELECT trades, vwap FROM candles_1s WHERE symbol = 's' ORDER BY time LIMIT 1"); !strings.HasSuffix(got, "\t2") {
		t.Errorf("candles after all: %s", got)
	}

	refused := func(how, want string) {
		t.Helper()
		p := plan(t, govern(t, s))
		if len(p.Refused) == 0 || !strings.Contains(p.String(), want) || !strings.Contains(p.Refused[0].Do, "under another name") {
			t.Errorf("%s: want %q in\n%s", how, want, p)
		}
	}
	before := s.deps.Views[0]
	changed := before
	changed.Columns = slices.Clone(before.Columns)
	changed.Columns[1] = contract.ViewColumn{Name: "high", Description: "Highest price.", Minimum: "price"}
	s.deps.Views = []contract.View{changed}
	refused("another function", "its columns are ")
	changed.Columns, changed.Order = before.Columns, []string{"frame.offset", "frame.partition"}
	s.deps.Views = []contract.View{changed}
	refused("another order", "candles_1s_fill: its query says ")
	changed.Name = "candles_v2"
	s.deps.Views = []contract.View{before, changed}
	if p := apply(t, govern(t, s)); len(p.Steps) != 9 {
		t.Errorf("beside the old one:\n%s", p)
	}
	run("DROP VIEW candles_1s_fill")
	run("CREATE TABLE candles_1s_fill (a Int8) ENGINE = Memory")
	if p := plan(t, govern(t, s)); len(p.Refused) != 1 || !strings.Contains(p.Refused[0].Reason, "it is a Memory and no MaterializedView") {
		t.Errorf("a table in the view's place:\n%s", p)
	}
}
