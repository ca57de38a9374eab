package clickhouse_test

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// candleTables makes the trades' table and its candles in a database of their own, and runs statements there.
type candleTables struct {
	address, database string
	tables            []ddl.ViewTables
}

func makeCandles(t *testing.T, address, database string) candleTables {
	t.Helper()
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	views, err := contract.LoadViews(contracts.FS, all)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := contract.Find(all, "raw-trades")
	text := schemaText(t, c.Subject)
	k := candleTables{address: address, database: database}
	i := slices.IndexFunc(views, func(v contract.View) bool { return v.Name == "candles" })
	if k.tables, err = ddl.Views(views[i], c, text, database, ddl.Options{}); err != nil {
		t.Fatal(err)
	}
	create, err := ddl.CreateTable(c, text, database, ddl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The trades are of 2026 whenever the test runs: no TTL may take them.
	k.run(t, create)
	k.run(t, "ALTER TABLE raw_trades REMOVE TTL")
	for _, table := range k.tables {
		k.run(t, table.CreateTarget(ddl.Options{}))
		k.run(t, "ALTER TABLE "+table.Target.Table+" REMOVE TTL")
	}
	for _, table := range slices.Backward(k.tables) {
		k.run(t, table.CreateFill(ddl.Options{}))
		k.run(t, "CREATE VIEW "+table.Reader+" AS "+table.ReaderSelect)
	}
	return k
}

func (k candleTables) run(t *testing.T, statement string) string {
	t.Helper()
	return clickhousetest.Exec(t, k.address+"/?database="+k.database, statement)
}

// insertAddress carries the settings that the writer pins.
func (k candleTables) insertAddress(token string) string {
	return k.address + "/?" + url.Values{
		"database": {k.database}, "insert_deduplication_token": {token}, "insert_deduplicate": {"1"}, "async_insert": {"0"},
		"deduplicate_blocks_in_dependent_materialized_views": {"1"}, "wait_end_of_query": {"1"}, "max_partitions_per_insert_block": {"0"},
		"min_insert_block_size_rows": {"16777216"}, "min_insert_block_size_bytes": {"0"}, "max_insert_block_size": {"16777216"},
	}.Encode()
}

func (k candleTables) insert(t *testing.T, token string, trades []aTrade) {
	t.Helper()
	clickhousetest.Exec(t, k.insertAddress(token), insertOf(trades))
}

// aTrade in micros and in units of the 18th digit.
type aTrade struct {
	symbol          string
	event, received int64 // event 0 stands for null
	price, quantity *big.Int
	offset, item    int64
}

func insertOf(trades []aTrade) string {
	var b strings.Builder
	b.WriteString("INSERT INTO raw_trades (venue, symbol, trade_id, price, quantity, event_time, received_at, `frame.offset`, `frame.item`, _partition, _offset) VALUES ")
	for i, r := range trades {
		if i > 0 {
			b.WriteByte(',')
		}
		event := "NULL"
		if r.event != 0 {
			event = fmt.Sprintf("fromUnixTimestamp64Micro(%d, 'UTC')", r.event)
		}
		fmt.Fprintf(&b, "('v', '%s', '%d', toDecimal128('%s', 18), toDecimal128('%s', 18), %s, fromUnixTimestamp64Micro(%d, 'UTC'), %d, %d, 0, %d)",
			r.symbol, i, decimalText(r.price, 18), decimalText(r.quantity, 18), event, r.received, r.offset, r.item, i)
	}
	return b.String()
}

// decimalText writes whole units as ClickHouse shows a decimal: without zeros at the end.
func decimalText(units *big.Int, scale int) string {
	text := new(big.Rat).SetFrac(units, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// candles as the trades' list gives them, a line each, by another way than ClickHouse's.
func candlesOf(trades []aTrade, seconds int64) string {
	const day = 24 * 3600 * 1_000_000
	at := func(r aTrade) int64 {
		if r.event == 0 || r.event-r.received > day || r.received-r.event > day {
			return r.received
		}
		return r.event
	}
	sorted := slices.Clone(trades)
	slices.SortFunc(sorted, func(a, b aTrade) int {
		return cmp.Or(cmp.Compare(a.symbol, b.symbol), cmp.Compare(at(a), at(b)), cmp.Compare(a.offset, b.offset), cmp.Compare(a.item, b.item))
	})
	var lines []string
	for len(sorted) > 0 {
		first := sorted[0]
		begin := at(first) / 1_000_000 / seconds * seconds
		n := slices.IndexFunc(sorted, func(r aTrade) bool { return r.symbol != first.symbol || at(r)/1_000_000/seconds*seconds != begin })
		if n < 0 {
			n = len(sorted)
		}
		high, low, volume, turnover := first.price, first.price, new(big.Int), new(big.Int)
		for _, r := range sorted[:n] {
			if r.price.Cmp(high) > 0 {
				high = r.price
			}
			if r.price.Cmp(low) < 0 {
				low = r.price
			}
			volume.Add(volume, r.quantity)
			turnover.Add(turnover, new(big.Int).Mul(r.price, r.quantity))
		}
		vwap := `\N`
		if volume.Sign() > 0 {
			vwap = decimalText(new(big.Int).Quo(turnover, volume), 18)
		}
		lines = append(lines, strings.Join([]string{
			first.symbol, time.Unix(begin, 0).UTC().Format(time.DateTime), decimalText(first.price, 18), decimalText(high, 18), decimalText(low, 18),
			decimalText(sorted[n-1].price, 18), decimalText(volume, 18), decimalText(turnover, 36), vwap, fmt.Sprint(n),
		}, "\t"))
		sorted = sorted[n:]
	}
	return strings.Join(lines, "\n")
}

// shown are the candles as a user SELECTs them.
func (k candleTables) shown(t *testing.T, reader string) string {
	t.Helper()
	return k.run(t, "SELECT symbol, time, open, high, low, close, volume, turnover, vwap, trades FROM "+reader+" ORDER BY symbol, time")
}

func (k candleTables) expect(t *testing.T, how string, trades []aTrade) {
	t.Helper()
	for reader, seconds := range map[string]int64{"candles_1s": 1, "candles_1m": 60, "candles_1h": 3600} {
		if d := gocmp.Diff(strings.Split(candlesOf(trades, seconds), "\n"), strings.Split(k.shown(t, reader), "\n")); d != "" {
			t.Errorf("%s: %s: (-computed +shown)\n%s", how, reader, d)
		}
	}
}

const firstMicros = 1_795_000_000_000_000 // 2026-11-18, shortly before an hour is full

// someTrades of one symbol: ties in time, late ones, ones without a time or with an absurd one, prices of 38 digits.
func someTrades(symbol string) *rapid.Generator[[]aTrade] {
	wide := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil), big.NewInt(1))
	return rapid.Custom(func(t *rapid.T) []aTrade {
		n := rapid.IntRange(1, 24).Draw(t, "trades")
		trades := make([]aTrade, n)
		for i := range trades {
			r := &trades[i]
			*r = aTrade{symbol: symbol, received: firstMicros + rapid.Int64Range(0, 7_300_000_000).Draw(t, "received"), offset: int64(i / 2), item: int64(i % 2)}
			switch rapid.IntRange(0, 9).Draw(t, "clock") {
			case 0: // none
			case 1:
				r.event = r.received - 25*3600*1_000_000
			case 2, 3, 4:
				r.event = firstMicros + 1_000*rapid.Int64Range(0, 3).Draw(t, "tie")
			default:
				r.event = r.received - rapid.Int64Range(0, 90_000_000).Draw(t, "late")
			}
			r.price = big.NewInt(rapid.Int64Range(1, 1<<62).Draw(t, "price"))
			r.quantity = big.NewInt(rapid.Int64Range(0, 1<<62).Draw(t, "quantity"))
			if rapid.IntRange(0, 19).Draw(t, "wide") == 0 {
				r.price, r.quantity = wide, new(big.Int).Div(wide, big.NewInt(32))
			}
		}
		return rapid.Permutation(trades).Draw(t, "order")
	})
}

// TestCandlesAreRightWhateverTheOrder: 200 drawn lists of trades, each spread over four inserts of which some are repeated, give
// the candles that a list sorted by time gives, at every resolution and to the last digit.
func TestCandlesAreRightWhateverTheOrder(t *testing.T) {
	t.Parallel()
	k := makeCandles(t, clickhousetest.Start(t), clickhousetest.Database(t))
	var all []aTrade
	var batches [4][]aTrade
	seed := int(time.Now().UnixNano() & 0xffffff)
	t.Logf("seed %d", seed)
	for i := range 200 {
		trades := someTrades(fmt.Sprintf("S%03d", i)).Example(seed + i)
		all = append(all, trades...)
		for j, r := range trades {
			batches[j*4/len(trades)] = append(batches[j*4/len(trades)], r)
		}
	}
	for i, batch := range batches {
		k.insert(t, fmt.Sprint("token ", i), batch)
		if i > 1 {
			k.insert(t, fmt.Sprint("token ", i-1), batches[i-1])
		}
	}
	k.expect(t, "inserted", all)
	for _, table := range k.tables {
		k.run(t, "OPTIMIZE TABLE "+table.Target.Table+" FINAL")
	}
	k.expect(t, "merged", all)
}

// TestARepetitionHealsWhatAViewMissed: at each of the three steps the rows got no further (which is what a kill between two parts
// leaves), and the same insert under the same token brings them in, once.
func TestARepetitionHealsWhatAViewMissed(t *testing.T) {
	t.Parallel()
	k := makeCandles(t, clickhousetest.Start(t), clickhousetest.Database(t))
	trades := someTrades("S").Example(7)
	k.insert(t, "all well", trades)
	for i, table := range k.tables {
		missed := slices.Clone(trades)
		for j := range missed {
			missed[j].symbol = fmt.Sprint("M", i)
		}
		k.run(t, "DETACH TABLE "+table.Fill)
		k.insert(t, "stopped before "+table.Fill, missed)
		k.run(t, "ATTACH TABLE "+table.Fill)
		if got := k.run(t, "SELECT count() FROM "+table.Reader+" WHERE symbol = '"+missed[0].symbol+"'"); got != "0" {
			t.Fatalf("%s has %s candles of what it did not get", table.Reader, got)
		}
		trades = append(trades, missed...)
		for range 3 {
			k.insert(t, "stopped before "+table.Fill, missed)
		}
		k.expect(t, "missed by "+table.Fill, trades)
	}
	if got := k.run(t, "SELECT count() FROM raw_trades"); got != fmt.Sprint(len(trades)) {
		t.Errorf("%s rows of %d trades", got, len(trades))
	}
}

// TestFillsAreFoundWithTheirWindows: through views over views, and where a view hides its target.
func TestFillsAreFoundWithTheirWindows(t *testing.T) {
	t.Parallel()
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	k := makeCandles(t, address, database)
	c, err := clickhouse.New(clickhouse.Config{URL: address + "/" + database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	lines := func(table string) string {
		t.Helper()
		fills, err := c.Fills(t.Context(), database, table)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range fills {
			fmt.Fprintf(&b, "%d %s: %s → %s, %s %d\n", f.Depth, f.View, f.Source, f.Target, f.Setting, f.Window)
		}
		return strings.ReplaceAll(b.String(), database+".", "")
	}
	const setting = "non_replicated_deduplication_window"
	chain := "1 candles_1s_fill: raw_trades → candles_1s_states, " + setting + " 10000\n" +
		"2 candles_1m_fill: candles_1s_states → candles_1m_states, " + setting + " %d\n" +
		"3 candles_1h_fill: candles_1m_states → candles_1h_states, " + setting + " 10000\n"
	if d := gocmp.Diff(fmt.Sprintf(chain, 10000), lines("raw_trades")); d != "" {
		t.Error(d)
	}
	k.run(t, "ALTER TABLE candles_1m_states MODIFY SETTING "+setting+" = 0")
	if d := gocmp.Diff(fmt.Sprintf(chain, 0), lines("raw_trades")); d != "" {
		t.Errorf("without a window: %s", d)
	}
	if got := lines("candles_1h_states"); got != "" {
		t.Errorf("at the chain's end: %s", got)
	}
	k.run(t, "CREATE TABLE `odd ``one` (a Int64) ENGINE = MergeTree ORDER BY a")
	k.run(t, "CREATE TABLE `to` (a Int64) ENGINE = MergeTree ORDER BY a")
	k.run(t, "CREATE MATERIALIZED VIEW inner_one ENGINE = MergeTree ORDER BY a SETTINGS "+setting+" = 7 AS SELECT a FROM `odd ``one`")
	k.run(t, "CREATE MATERIALIZED VIEW other TO `to` AS SELECT a FROM `odd ``one`")
	if got := lines("odd `one"); !strings.Contains(got, "1 inner_one: odd `one → .inner_id.") || !strings.Contains(got, setting+" 7\n") || !strings.Contains(got, "1 other: odd `one → to, "+setting+" 0\n") {
		t.Errorf("views of other kinds:\n%s", got)
	}
}

// TestAKilledEngineLeavesNoCandleWrong: SIGKILL at a random moment of an insert, and the same insert again under the same token. What
// the kill left (nothing, the row's part alone, parts of some views) is logged; in the end everything is there once.
func TestAKilledEngineLeavesNoCandleWrong(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, clickhousetest.Options{})
	clickhousetest.Exec(t, server.URL, "CREATE DATABASE killed")
	k := makeCandles(t, server.URL, "killed")
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	var all []aTrade
	var took time.Duration
	for round := range 4 {
		var trades []aTrade
		for i := range 100 {
			trades = append(trades, someTrades(fmt.Sprintf("K%d-%02d", round, i)).Example(1000*round+i)...)
		}
		all = append(all, trades...)
		token := fmt.Sprint("killed ", round)
		if round == 0 { // How long an insert takes here, and the tables' first parts.
			begin := time.Now()
			k.insert(t, token, trades)
			took = time.Since(begin)
			continue
		}
		answered := make(chan error, 1)
		go func() {
			_, err := clickhousetest.Query(t.Context(), k.insertAddress(token), insertOf(trades))
			answered <- err
		}()
		select {
		case <-time.After(time.Duration(random.Int63n(int64(took)))):
		case err := <-answered:
			answered <- err
		}
		server.Kill()
		err := <-answered
		server.Restart(t)
		symbol := fmt.Sprintf(" WHERE startsWith(symbol, 'K%d-')", round)
		t.Logf("round %d: the insert ended with %v; of %d trades there are %s, in candles_1s %s, in candles_1h %s", round, err != nil, len(trades),
			k.run(t, "SELECT count() FROM raw_trades"+symbol), k.run(t, "SELECT sum(trades) FROM candles_1s"+symbol), k.run(t, "SELECT sum(trades) FROM candles_1h"+symbol))
		for range 2 {
			k.insert(t, token, trades)
		}
	}
	k.expect(t, "after kills", all)
	if got := k.run(t, "SELECT count() FROM raw_trades"); got != fmt.Sprint(len(all)) {
		t.Errorf("%s rows of %d trades", got, len(all))
	}
}
