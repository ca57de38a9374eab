package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// sink stands before ClickHouse and does to inserts what networks do.
type sink struct {
	t      testing.TB
	server string
	// insert decides what becomes of an insert that has arrived whole; everything else passes.
	insert func(w http.ResponseWriter, in *held)
}

// held is a request with its body.
type held struct {
	token string
	send  func() (status int, answer string)
}

// between makes the stack's writers reach ClickHouse through a sink.
func (s *stack) between(insert func(w http.ResponseWriter, in *held)) {
	s.t.Helper()
	address, database := s.clickhouse.URL[:len(s.clickhouse.URL)-len(s.client.Database())-1], s.client.Database()
	front := httptest.NewServer(&sink{t: s.t, server: address, insert: insert})
	s.t.Cleanup(front.Close)
	s.clickhouse.URL = front.URL + "/" + database
}

func (k *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	query := r.URL.RawQuery
	send := func() (int, []byte, http.Header) {
		// A request of its own: that its sender is gone does not end it.
		request, err := http.NewRequest(r.Method, k.server+r.URL.Path+"?"+query, bytes.NewReader(body))
		if err != nil {
			k.t.Error(err)
			return http.StatusInternalServerError, nil, nil
		}
		request.Header = r.Header.Clone()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return http.StatusBadGateway, nil, nil
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			return http.StatusBadGateway, nil, nil
		}
		return response.StatusCode, answer, response.Header
	}
	token := r.URL.Query().Get("insert_deduplication_token")
	if token != "" {
		in := &held{token: token, send: func() (int, string) {
			status, answer, header := send()
			return status, string(answer) + header.Get("X-ClickHouse-Exception-Code")
		}}
		k.insert(w, in)
		return
	}
	status, answer, header := send()
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// pass answers what ClickHouse answers.
func pass(w http.ResponseWriter, in *held) {
	status, answer := in.send()
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// Each block's insert takes place, and its acknowledgement is lost. WRITER_CUTS is how many.
func TestAnAcknowledgementThatIsLostNeitherLosesNorDoubles(t *testing.T) {
	t.Parallel()
	cuts := 25
	if n, err := strconv.Atoi(os.Getenv("WRITER_CUTS")); err == nil {
		cuts = n
	}
	s := newStack(t, false, "raw-trades")
	var mutex sync.Mutex
	seen := map[string]bool{}
	s.between(func(w http.ResponseWriter, in *held) {
		mutex.Lock()
		again := seen[in.token]
		seen[in.token] = true
		mutex.Unlock()
		if again {
			pass(w, in)
			return
		}
		if status, answer := in.send(); status != http.StatusOK {
			t.Errorf("the first insert of a block: %d %s", status, answer)
		}
		cut(w)
	})
	s.start(Config{FlushInterval: time.Millisecond})
	lost := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return len(seen)
	}
	total := 0
	for lost() < cuts {
		s.trades(total, 50)
		total += 50
		s.flush()
		s.awaitRows("raw_trades", total)
	}
	t.Logf("%d rows in %d blocks, each of which was inserted twice", total, lost())
}

// An insert lies somewhere on its way until its plan is out of the horizon, and has been looked up and completed. When it
// arrives after all, ClickHouse refuses it.
func TestAnInsertThatComesAfterItsHorizonIsRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t, false, "raw-trades")
	// 100 tokens at 20 parts a second: a horizon of 5 s.
	if err := s.client.Exec(t.Context(), "ALTER TABLE raw_trades MODIFY SETTING non_replicated_deduplication_window = 100"); err != nil {
		t.Fatal(err)
	}
	var mutex sync.Mutex
	var first *held
	s.between(func(w http.ResponseWriter, in *held) {
		mutex.Lock()
		if first == nil {
			first = in
		}
		late := in.token == first.token
		mutex.Unlock()
		if late {
			cut(w)
			return
		}
		pass(w, in)
	})
	s.trades(0, 200)
	s.flush()
	w, _ := s.start(Config{})
	s.awaitRows("raw_trades", 200)
	s.trades(200, 100)
	s.flush()
	s.awaitRows("raw_trades", 300)
	if n := testutil.ToFloat64(w.products[0].metrics.repaired.WithLabelValues("raw-trades")); n != 1 {
		t.Errorf("%v plans were completed, want 1", n)
	}
	if status, answer := first.send(); status == http.StatusOK || !strings.Contains(answer, ddl.DeadlineConstraint) {
		t.Errorf("the insert that came late: %d %s", status, answer)
	}
	s.awaitRows("raw_trades", 300)
}
