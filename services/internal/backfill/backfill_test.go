package backfill_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/backfill"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// tables is a database with raw-trades' table and its candles, as apply makes them, and what makes them again.
type tables struct {
	t      *testing.T
	store  *clickhouse.Client
	layout backfill.Layout
}

func newTables(t *testing.T) *tables {
	t.Helper()
	address := clickhousetest.Start(t) + "/" + clickhousetest.Database(t)
	all := must[[]contract.Contract](t)(contract.Load(contracts.FS))
	views := must[[]contract.View](t)(contract.LoadViews(contracts.FS, all))
	c, _ := contract.Find(all, "raw-trades")
	text := must[string](t)(schemas.SelfContained(must[schemas.Subject](t)(schemas.Get(c.Subject))))
	s := &tables{t: t, store: must[*clickhouse.Client](t)(clickhouse.New(clickhouse.Config{URL: address}))}
	t.Cleanup(func() { s.store.Close() })
	s.layout = must[backfill.Layout](t)(backfill.LayoutOf(c, views, text, s.store.Database(), ddl.Options{}))
	s.do(must[string](t)(ddl.CreateTable(c, text, s.store.Database(), ddl.Options{})))
	for _, v := range views {
		made := must[[]ddl.ViewTables](t)(ddl.Views(v, c, text, s.store.Database(), ddl.Options{}))
		for _, m := range made {
			s.do(m.CreateTarget(ddl.Options{}))
		}
		for _, m := range slices.Backward(made) {
			s.do(m.CreateFill(ddl.Options{}))
		}
	}
	return s
}

func (s *tables) do(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		if err := s.store.Exec(context.Background(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *tables) trades(table string, n int) {
	s.do(fmt.Sprintf("INSERT INTO %s (venue, symbol, price, quantity, received_at, _offset) SELECT 'binance', 'BTC-USDT', 1, 1, now(), number FROM numbers(%d)", table, n))
}

// shape is every table and view with what would make it, and how many rows it has.
func (s *tables) shape() map[string]string {
	s.t.Helper()
	rows := must[interface {
		Next() bool
		Scan(...any) error
		Close() error
	}](s.t)(s.store.Query(context.Background(), "SELECT name, create_table_query, toString(total_rows) FROM system.tables WHERE database = currentDatabase()"))
	defer rows.Close()
	shape := map[string]string{}
	for rows.Next() {
		var name, created string
		var count *string
		if err := rows.Scan(&name, &created, &count); err != nil {
			s.t.Fatal(err)
		}
		if shape[name] = created; count != nil {
			shape[name] += " rows=" + *count
		}
	}
	return shape
}

// never is behind an exchange's last statement.
const never = 1000

// Broken off before a statement of each kind, an exchange is finished by the same call, with the same result.
func TestAnExchangeThatIsBrokenOffIsFinished(t *testing.T) {
	t.Parallel()
	const stamp = "20260102T030405"
	s := newTables(t)
	before := s.shape()
	said := s.exchange(never, stamp)
	want := withoutDatabase(s.shape(), s.store.Database())
	s.check(before, stamp)
	// The last drop, the first exchange, one in the middle, the first view, the first name, and the first comment.
	for i, statement := range said {
		first := i == 0 || strings.Fields(said[i-1])[0] != strings.Fields(statement)[0]
		if i > 14 || !first && i != 5 && i != 8 {
			continue
		}
		t.Run(fmt.Sprintf("%d %.20s", i, statement), func(t *testing.T) {
			t.Parallel()
			s := newTables(t)
			s.exchange(i, stamp)
			if diff := cmp.Diff(want, withoutDatabase(s.shape(), s.store.Database())); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// exchange makes a backfill and exchanges it, broken off before a statement and called again. It returns what the first call said.
func (s *tables) exchange(stop int, stamp string) (said []string) {
	t := s.t
	t.Helper()
	s.trades("raw_trades", 3)
	look := func(want backfill.State) {
		t.Helper()
		if state := must[backfill.State](t)(s.layout.Look(t.Context(), s.store)); state != want {
			t.Errorf("state %s, want %s", state, want)
		}
	}
	look(backfill.None)
	s.do(s.layout.Create...)
	s.do(s.layout.Create...)
	s.trades("raw_trades_backfill", 5)
	look(backfill.Filling)
	if foreign := must[[]string](t)(s.layout.Foreign(t.Context(), s.store)); len(foreign) > 0 {
		t.Fatalf("foreign views: %v", foreign)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	exchanged := false
	err := s.layout.Exchange(ctx, s.store, stamp, func(text string) {
		if len(said) == stop {
			cancel()
		} else if strings.HasPrefix(text, "EXCHANGE") {
			exchanged = true
		}
		said = append(said, text)
	})
	if (err == nil) != (len(said) <= stop) {
		t.Fatalf("broken off before statement %d: %v", stop, err)
	}
	switch {
	case err == nil:
		look(backfill.None)
	case exchanged:
		look(backfill.Exchanged)
	default:
		look(backfill.Filling)
	}
	if err := s.layout.Exchange(t.Context(), s.store, stamp, func(string) {}); err != nil {
		t.Fatalf("broken off before statement %d: %v", stop, err)
	}
	look(backfill.None)
	s.trades("raw_trades", 1)
	return said
}

// check holds the live tables against how they were made, and the old ones' rows.
func (s *tables) check(before map[string]string, stamp string) {
	s.t.Helper()
	s.t.Helper()
	shape := s.shape()
	for name, was := range before {
		was, _, _ = strings.Cut(was, " rows=")
		if now, _, _ := strings.Cut(shape[name], " rows="); now != was {
			s.t.Errorf("%s is made by\n%s\nand was by\n%s", name, now, was)
		}
	}
	count := func(query string) (n uint64) {
		rows, err := s.store.Query(context.Background(), query)
		if err != nil {
			s.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				s.t.Fatal(err)
			}
		}
		return n
	}
	for query, want := range map[string]uint64{
		"SELECT count() FROM raw_trades":                            6,
		"SELECT sum(trades) FROM candles_1s_states":                 6,
		"SELECT sum(trades) FROM candles_1h_states":                 6,
		"SELECT count() FROM raw_trades_before_" + stamp:            3,
		"SELECT sum(trades) FROM candles_1m_states_before_" + stamp: 3,
	} {
		if n := count(query); n != want {
			s.t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	old := must[[]string](s.t)(s.layout.Old(context.Background(), s.store))
	if len(old) != 4 {
		s.t.Errorf("old tables: %v", old)
	}
	if err := s.layout.Drop(context.Background(), s.store, old, false); err != nil {
		s.t.Fatal(err)
	}
	if after := s.shape(); len(after) != len(before) {
		s.t.Errorf("%d tables, there were %d", len(after), len(before))
	}
}

func withoutDatabase(shape map[string]string, database string) map[string]string {
	for name, text := range shape {
		shape[name] = strings.ReplaceAll(text, database, "db")
	}
	return shape
}

// A view over the table that no contract says is named before anything is done.
func TestAForeignViewIsNamed(t *testing.T) {
	t.Parallel()
	s := newTables(t)
	s.do("CREATE TABLE mine (n UInt64) ENGINE = MergeTree ORDER BY n", "CREATE MATERIALIZED VIEW by_hand TO mine AS SELECT count() AS n FROM raw_trades")
	if foreign := must[[]string](t)(s.layout.Foreign(t.Context(), s.store)); len(foreign) != 1 || !strings.HasSuffix(foreign[0], ".by_hand") {
		t.Errorf("foreign views: %v", foreign)
	}
}

// A backfill that is given up leaves the live table and its views as they were, also when its swap was broken off before anything
// had changed places.
func TestABackfillThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newTables(t)
	before := s.shape()
	s.do(s.layout.Create...)
	ctx, cancel := context.WithCancel(t.Context())
	_ = s.layout.Exchange(ctx, s.store, "x", func(text string) {
		if strings.HasPrefix(text, "EXCHANGE") {
			cancel()
		}
	})
	if err := s.layout.Drop(t.Context(), s.store, nil, true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, s.shape()); diff != "" {
		t.Error(diff)
	}
}
