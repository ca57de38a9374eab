package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// candles makes the repository's views over raw_trades, and returns the names of their targets. The writers started from now on know
// them.
func (s *stack) candles() (targets []string) {
	s.t.Helper()
	all := must[[]contract.Contract](s.t)(contract.Load(contracts.FS))
	s.views = must[[]contract.View](s.t)(contract.LoadViews(contracts.FS, all))
	c := s.contracts[0]
	text := must[string](s.t)(schemas.SelfContained(must[schemas.Subject](s.t)(schemas.Get(c.Subject))))
	for _, v := range s.views {
		for _, t := range must[[]ddl.ViewTables](s.t)(ddl.Views(v, c, text, s.client.Database(), ddl.Options{})) {
			for _, statement := range []string{t.CreateTarget(ddl.Options{}), t.CreateFill(ddl.Options{})} {
				if err := s.client.Exec(s.t.Context(), statement); err != nil {
					s.t.Fatal(err)
				}
			}
			targets = append(targets, t.Target.Table)
		}
	}
	return targets
}

// number that a query answers with.
func (s *stack) number(query string) (n int64) {
	s.t.Helper()
	rows := must[interface {
		Next() bool
		Scan(...any) error
		Close() error
	}](s.t)(s.client.Query(s.t.Context(), "SELECT toInt64(n) FROM ("+query+") AS q(n)"))
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			s.t.Fatal(err)
		}
	}
	return n
}

// sums of a view's target and of the table, by symbol; they differ in so many symbols.
func (s *stack) differing(target string) int64 {
	s.t.Helper()
	return s.number(fmt.Sprintf("SELECT count() AS n FROM (SELECT symbol, sum(trades) AS a, sum(volume) AS b, max(high) AS c, argMinMerge(open) AS d, argMaxMerge(close) AS e FROM %s GROUP BY symbol) AS v"+
		" FULL JOIN (SELECT symbol, count() AS a, sum(toDecimal256(quantity, 18)) AS b, max(price) AS c, argMin(price, (received_at, frame.offset)) AS d, argMax(price, (received_at, frame.offset)) AS e FROM raw_trades GROUP BY symbol) AS t"+
		" USING symbol WHERE (v.a, v.b, v.c, v.d, v.e) != (t.a, t.b, t.c, t.d, t.e)", target))
}

// halfDone leaves what a ClickHouse leaves that was killed between the table's part of an insert and the views': of half of the
// partitions the table has nothing, of the rest the views have some.
func (s *stack) halfDone(targets []string) {
	s.t.Helper()
	s.trades(0, 200)
	s.flush()
	_, stop := s.start(Config{})
	s.awaitRows("raw_trades", 200)
	stop()
	for i, target := range targets {
		statement := "ALTER TABLE " + target + " DELETE WHERE symbol IN (SELECT symbol FROM raw_trades WHERE _partition >= 2)"
		if i < 2 { // The coarsest has what the finer lack.
			statement += " OR symbol < 'S050'"
		}
		if err := s.client.Exec(s.t.Context(), statement+" SETTINGS mutations_sync = 1"); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.client.Exec(s.t.Context(), "ALTER TABLE raw_trades DELETE WHERE _partition >= 2 SETTINGS mutations_sync = 1"); err != nil {
		s.t.Fatal(err)
	}
	s.resetGroup()
}

// whole waits until table and views have everything, once.
func (s *stack) whole(w *Writer, targets []string) {
	s.t.Helper()
	s.awaitRows("raw_trades", 200)
	p := w.products[0]
	s.await("the repair's end", func() bool { return testutil.ToFloat64(p.metrics.repaired.WithLabelValues(p.topic)) == 1 })
	for _, target := range targets {
		s.await(target, func() bool { return s.differing(target) == 0 })
	}
	if n := testutil.ToFloat64(p.metrics.rebuilt.WithLabelValues(p.topic)); n == 0 {
		s.t.Error("no bucket was made again")
	}
	if n := testutil.ToFloat64(p.metrics.viewsLeft.WithLabelValues(p.topic)); n != 0 {
		s.t.Errorf("%v views were left as they were", n)
	}
}

func TestViewsAreRebuiltAfterAPlanBehindItsHorizon(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	targets := s.candles()
	s.halfDone(targets)
	s.planned(func(p *blockPlan) { p.Created -= 86400 })
	w, _ := s.start(Config{})
	s.whole(w, targets)
}

// A predecessor began to rebuild, and died: his lease is waited for, and another taken.
func TestALeaseThatIsFoundIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	targets := s.candles()
	s.halfDone(targets)
	l := lease{Created: time.Now().Unix(), Horizon: 4}
	s.plannedAs(func(p *blockPlan) []kafka.Committed {
		p.Created -= 86400
		mine := map[int32]bool{}
		for _, r := range p.Ranges {
			mine[r.Partition] = true
		}
		return p.leased("raw-trades", l, mine)
	})
	w, _ := s.start(Config{})
	s.whole(w, targets)
	if !l.settled(time.Now()) {
		t.Error("the views were rebuilt while the lease was good")
	}
}

// A statement of a rebuild fails behind the deletion, and nobody knows whether it goes on: the next attempt needs a lease of its own.
func TestARebuildThatFailsTakesAnotherLease(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	targets := s.candles()
	s.halfDone(targets)
	for _, table := range append(targets, "raw_trades") {
		// A horizon, and so a lease, of 5 s.
		if err := s.client.Exec(t.Context(), "ALTER TABLE "+table+" MODIFY SETTING non_replicated_deduplication_window = 100"); err != nil {
			t.Fatal(err)
		}
	}
	s.planned(func(p *blockPlan) { p.Created -= 86400 })
	var first atomic.Pointer[string]
	s.through(func(w http.ResponseWriter, statement string, pass func()) {
		// The driver sends a statement again by itself, so that the first attempt is known by its token.
		if _, rest, rebuilds := strings.Cut(statement, "insert_deduplication_token = 'rebuilt-"); rebuilds {
			token, _, _ := strings.Cut(rest, "'")
			first.CompareAndSwap(nil, &token)
			if token == *first.Load() {
				cut(w)
				return
			}
		}
		pass()
	})
	began := time.Now()
	w, _ := s.start(Config{})
	s.whole(w, targets)
	if first.Load() == nil {
		t.Error("no statement made buckets again")
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("the second attempt came %s after the start, within the first one's lease", took)
	}
}

// through makes the writers' statements pass by a function that sees their text.
func (s *stack) through(see func(w http.ResponseWriter, statement string, pass func())) {
	s.t.Helper()
	address := s.clickhouse.URL[:len(s.clickhouse.URL)-len(s.client.Database())-1]
	target := must[*url.URL](s.t)(url.Parse(address))
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		statement := r.URL.Query().Get("query")
		if statement == "" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			statement = string(body)
			r.Body = io.NopCloser(strings.NewReader(statement))
		}
		see(w, statement, func() { proxy.ServeHTTP(w, r) })
	}))
	s.t.Cleanup(front.Close)
	s.clickhouse.URL = front.URL + "/" + s.client.Database()
}
