package clickhouse_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
)

func TestEachErrorHasItsVerdict(t *testing.T) {
	for _, c := range []struct {
		err  error
		want clickhouse.Action
	}{
		{&clickhouse.Error{Code: 252, Status: 500}, clickhouse.Retry},
		{&clickhouse.Error{Code: 60, Status: 404}, clickhouse.Apply},
		{&clickhouse.Error{Code: 516, Status: 403}, clickhouse.Refuse},
		{&clickhouse.Error{Code: 469, Status: 500}, clickhouse.Split},
		{&clickhouse.Error{Code: 243, Status: 500}, clickhouse.Alarm},
		{&clickhouse.Error{Code: 98765, Status: 500}, clickhouse.Alarm},
		{&clickhouse.Error{Status: 404, Text: "<html>"}, clickhouse.Alarm},
		{&clickhouse.Error{Status: 503}, clickhouse.Retry},
		{fmt.Errorf("inserting: %w", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), clickhouse.Retry},
	} {
		verdict := clickhouse.Classify(fmt.Errorf("wrapped: %w", c.err))
		if verdict.Action != c.want || verdict.Reason == "" {
			t.Errorf("%v: %s because %q, want %s", c.err, verdict.Action, verdict.Reason, c.want)
		}
	}
}

func TestASecretIsNeverShown(t *testing.T) {
	c, err := clickhouse.New(clickhouse.Config{URL: "http://someone:hush@127.0.0.1:1/db"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Insert(t.Context(), clickhouse.Block{Database: "db", Table: "t", Columns: []string{"a"}})
	if err == nil || strings.Contains(err.Error()+c.Address(), "hush") {
		t.Errorf("the error shows the password, or there is none: %v", err)
	}
	if _, err := clickhouse.New(clickhouse.Config{URL: "tcp://someone:hush@h:9000"}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error shows the password, or there is none: %v", err)
	}
}
