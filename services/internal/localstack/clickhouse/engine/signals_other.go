//go:build !linux

package engine

import "errors"

// signalActions stands in where libchdb does not exist.
type signalActions struct{}

func saveSignals() (*signalActions, error) {
	return nil, errors.New("the embedded ClickHouse runs on Linux only; set CLICKHOUSE_URL to a server's address")
}

func (*signalActions) restore() error { return nil }
