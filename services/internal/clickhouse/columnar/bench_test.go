package columnar

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// cpu is the processor time that this process has used: on a machine that others use too, it says what the clock does not.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchmarkBlocks makes blocks of the bodies, encoding included, and reports nanoseconds of the clock and of the processor a row.
func benchmarkBlocks(b *testing.B, plan *Plan, bodies [][]byte) {
	b.Helper()
	block := NewBlock(plan.Layout())
	fill := func() {
		block.Reset()
		origin := Origin{TopicID: [16]byte{9}}
		for i, body := range bodies {
			origin.Offset = int64(i)
			if err := plan.Append(block, &origin, body); err != nil {
				b.Fatal(err)
			}
		}
		block.Native()
	}
	fill() // The block gets its size; the writer uses each again and again.
	size := 0
	for _, body := range bodies {
		size += len(body)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		fill()
	}
	rows := float64(b.N) * float64(len(bodies))
	b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/rows, "cpu-ns/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/row")
	b.ReportMetric(float64(size)/float64(len(bodies)), "B/row")
}

func BenchmarkTrade(b *testing.B) {
	plan, _ := tradePlan(b)
	benchmarkBlocks(b, plan, tradeBodies(100_000))
}

// BenchmarkWide has records of 60 columns and 1.6 kB.
func BenchmarkWide(b *testing.B) {
	var fields []any
	for i := range 60 {
		types := []any{
			"long", "double", "string",
			map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18},
			[]any{"null", "string"},
			logical("long", "timestamp-micros"),
		}
		fields = append(fields, map[string]any{"name": fmt.Sprintf("f%d", i), "type": types[i%len(types)]})
	}
	words := "the quick brown fox jumps over the lazy dog and thinks nothing of it, "
	benchmarkRecords(b, fields, 10_000, func(row, column int) []byte {
		switch column % 6 {
		case 0:
			return zigzag(int64(row) * 1_000_003)
		case 1:
			return []byte{1, 2, 3, 4, 5, 6, 7, byte(row)}
		case 2:
			return lengthThen(words[:40+(row+column)%30])
		case 3:
			return lengthThen("\x01\x02\x03\x04\x05\x06\x07" + string(rune('a'+row%26)))
		case 4:
			return append([]byte{2}, lengthThen(words[:50+(row+column)%20])...)
		}
		return zigzag(1767225600000000 + int64(row)*100)
	})
}

// BenchmarkBook has books of 50 levels a side.
func BenchmarkBook(b *testing.B) {
	amount := map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}
	level := record("Level", []any{map[string]any{"name": "price", "type": amount}, map[string]any{"name": "quantity", "type": amount}})
	fields := []any{
		map[string]any{"name": "symbol", "type": "string"},
		map[string]any{"name": "event_time", "type": logical("long", "timestamp-micros")},
		map[string]any{"name": "bids", "type": map[string]any{"type": "array", "items": level}},
		map[string]any{"name": "asks", "type": map[string]any{"type": "array", "items": "Level"}},
	}
	benchmarkRecords(b, fields, 5_000, func(row, column int) []byte {
		switch column {
		case 0:
			return lengthThen("BTC-USDT")
		case 1:
			return zigzag(1767225600000000 + int64(row)*100)
		}
		body := zigzag(50)
		for range 50 {
			body = append(append(body, lengthThen("\x0a\x11\x02\x03\x04\x05\x06\x07\x08")...), lengthThen("\x01\x02\x03\x04\x05\x06\x07")...)
		}
		return append(body, 0)
	})
}

// BenchmarkKind has ten fields of one kind a record.
func BenchmarkKind(b *testing.B) {
	symbols := []string{"UNKNOWN", "BUY", "SELL"}
	amount := map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}
	for _, kind := range []struct {
		name   string
		schema func(i int) any
		low    bool
		value  func(row int) []byte
	}{
		{"int", func(int) any { return "int" }, false, func(row int) []byte { return zigzag(int64(row % 50)) }},
		{"long", func(int) any { return "long" }, false, func(row int) []byte { return zigzag(4_000_000_000 + int64(row)) }},
		{"timestamp", func(int) any { return logical("long", "timestamp-micros") }, false, func(row int) []byte { return zigzag(1767225600000000 + int64(row)) }},
		{"nullable-timestamp", func(int) any { return []any{"null", logical("long", "timestamp-micros")} }, false, func(row int) []byte { return append([]byte{2}, zigzag(1767225600000000+int64(row))...) }},
		{"double", func(int) any { return "double" }, false, func(row int) []byte { return []byte{1, 2, 3, 4, 5, 6, 7, byte(row)} }},
		{"boolean", func(int) any { return "boolean" }, false, func(row int) []byte { return []byte{byte(row & 1)} }},
		{"decimal38", func(int) any { return amount }, false, func(int) []byte { return lengthThen("\x0a\x11\x02\x03\x04\x05\x06\x07\x08") }},
		{"string", func(int) any { return "string" }, false, func(row int) []byte { return lengthThen(fmt.Sprint(4_000_000_000 + row)) }},
		{"low-cardinality-same", func(int) any { return "string" }, true, func(int) []byte { return lengthThen("binance") }},
		{"low-cardinality-200", func(int) any { return "string" }, true, func(row int) []byte { return lengthThen(fmt.Sprintf("S%03d-USDT", row*7919%200)) }},
		{"enum", func(i int) any {
			return map[string]any{"type": "enum", "name": fmt.Sprintf("E%d", i), "symbols": symbols}
		}, false, func(row int) []byte { return zigzag(int64(1 + row%2)) }},
		{"uuid", func(i int) any {
			return map[string]any{"type": "fixed", "name": fmt.Sprintf("U%d", i), "size": 16, "logicalType": "uuid"}
		}, false, func(int) []byte { return []byte("0123456789abcdef") }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var fields []any
			options := map[string]ddl.ColumnOptions{}
			for i := range 10 {
				name := fmt.Sprintf("f%d", i)
				fields = append(fields, map[string]any{"name": name, "type": kind.schema(i)})
				options[name] = ddl.ColumnOptions{LowCardinality: kind.low}
			}
			schema := recordText(fields)
			plan, err := Compile(layoutOf(b, schema, options), 1, schema)
			if err != nil {
				b.Fatal(err)
			}
			bodies := make([][]byte, 10_000)
			for row := range bodies {
				for range fields {
					bodies[row] = append(bodies[row], kind.value(row)...)
				}
			}
			benchmarkBlocks(b, plan, bodies)
		})
	}
}

func benchmarkRecords(b *testing.B, fields []any, rows int, value func(row, column int) []byte) {
	b.Helper()
	schema := recordText(fields)
	plan, err := Compile(layoutOf(b, schema, nil), 1, schema)
	if err != nil {
		b.Fatal(err)
	}
	bodies := make([][]byte, rows)
	for row := range bodies {
		for column := range fields {
			bodies[row] = append(bodies[row], value(row, column)...)
		}
	}
	benchmarkBlocks(b, plan, bodies)
}

func zigzag(v int64) []byte { return binary.AppendVarint(nil, v) }

func lengthThen(v string) []byte { return append(zigzag(int64(len(v))), v...) }
