package migration_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

// compileRules compiles the rules of a file from trades to trades.v2.
func compileRules(rules, from, to string) (*migration.Mapping, error) {
	m, problems := contract.ParseMigration("market/trades.v2.migration.yaml", []byte("from: trades\nto: trades.v2\nfields:\n"+rules))
	if len(problems) > 0 {
		return nil, problems
	}
	return migration.Compile(m, from, to)
}

const (
	tradesV1 = `{"type":"record","name":"Trade","namespace":"streamforge.market","fields":[
		{"name":"symbol","type":"string"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"quantity","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"side","type":{"type":"enum","name":"Side","symbols":["UNKNOWN","BUY","SELL"],"default":"UNKNOWN"}},
		{"name":"event_time","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"note","type":"string"}]}`
	tradesV2 = `{"type":"record","name":"Trade","namespace":"streamforge.market.v2","fields":[
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":8}},
		{"name":"symbol","type":"string"},
		{"name":"size","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"side","type":{"type":"enum","name":"Side","symbols":["BID","ASK","UNKNOWN"]}},
		{"name":"event_time","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"fee","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
		{"name":"kind","type":"string","default":"spot"}]}`
	tradesRules = `
  - rename: {from: quantity, to: size}
  - rename: {from: side.BUY, to: side.BID}
  - rename: {from: side.SELL, to: side.ASK}
  - rescale: {field: price}
  - rescale: {field: event_time}
  - default: {field: fee, up: "0.25"}
  - drop: {field: note, down: ""}
`
)

func compile(t testing.TB, rules, from, to string) *migration.Mapping {
	t.Helper()
	m, err := compileRules(rules, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestATradeIsTheseBytes pins both directions.
func TestATradeIsTheseBytes(t *testing.T) {
	m := compile(t, tradesRules, tradesV1, tradesV2)
	// symbol "BTC", price 1.5, quantity 2, BUY, 1 ms, 5 µs, note "n"
	v1 := "06425443" + "10" + "14d1120d7b160000" + "10" + "1bc16d674ec80000" + "02" + "0202" + "0a" + "026e"
	// price 1.5 at scale 8, symbol, size, BID, 1000 µs, 5 µs, fee 0.25, "spot"
	v2 := "08" + "08f0d180" + "06425443" + "10" + "1bc16d674ec80000" + "00" + "02d00f" + "0a" + "0219" + "0873706f74"
	up, err := m.Up(nil, unhex(t, v1))
	if err != nil || hex.EncodeToString(up) != v2 {
		t.Fatalf("up %x, %v\nwant %s", up, err, v2)
	}
	down, err := m.Down([]byte("x"), up)
	if want := "78" + strings.TrimSuffix(v1, "026e") + "00"; err != nil || hex.EncodeToString(down) != want {
		t.Fatalf("down %x, %v\nwant %s", down, err, want)
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
