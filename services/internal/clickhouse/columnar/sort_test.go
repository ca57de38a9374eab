package columnar

import (
	"bytes"
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// sortedSchema has a column of every width, and of every kind that may be a key.
const sortedSchema = `{"type": "record", "name": "R", "fields": [
	{"name": "venue", "type": "string"}, {"name": "symbol", "type": "string"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
	{"name": "id", "type": "string"}, {"name": "flag", "type": "boolean"}, {"name": "small", "type": "int"}, {"name": "note", "type": ["null", "string"]},
	{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
	{"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 76, "scale": 2}}]}`

func TestASortedBlockHasItsRowsInTheTablesOrder(t *testing.T) {
	low := ddl.ColumnOptions{LowCardinality: true}
	layout := layoutOf(t, sortedSchema, map[string]ddl.ColumnOptions{"venue": low, "symbol": low})
	plan, err := Compile(layout, 1, sortedSchema)
	if err != nil {
		t.Fatal(err)
	}
	var sorter Sorter
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.SampledFrom([][]string{{"venue", "symbol", "at", "id"}, {"at"}, {"id", "small"}, {"symbol", "flag"}, {"small", "venue"}, {"venue"}}).Draw(t, "order")
		order, ok := layout.Order(columns...)
		if !ok {
			t.Fatal("no order")
		}
		block := NewBlock(layout)
		texts := rapid.SampledFrom([]string{"", "a", "b", "a much longer text than one word, or two", string(bytes.Repeat([]byte("x"), 200))})
		add := func(i int) {
			body := lengthThen(texts.Draw(t, "venue"))
			body = append(body, lengthThen(texts.Draw(t, "symbol"))...)
			body = append(body, zigzag(rapid.Int64Range(-3, 3).Draw(t, "at"))...)
			body = append(body, lengthThen(texts.Draw(t, "id"))...)
			body = append(body, rapid.ByteRange(0, 1).Draw(t, "flag"))
			body = append(body, zigzag(rapid.Int64Range(-2, 2).Draw(t, "small"))...)
			if rapid.Bool().Draw(t, "null") {
				body = append(body, 0)
			} else {
				body = append(append(body, 2), lengthThen(texts.Draw(t, "note"))...)
			}
			body = append(body, lengthThen(string([]byte{byte(i), 1}))...)
			body = append(body, lengthThen(string([]byte{byte(i), 2, 3}))...)
			if err := plan.Append(block, &Origin{Partition: 3, Offset: int64(i)}, body); err != nil {
				t.Fatal(err)
			}
		}
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		for i := range n {
			add(i)
		}
		want := readNative(t, bytes.Join(block.Native(), nil))
		slices.SortStableFunc(want, func(a, b map[string]any) int {
			for _, name := range columns {
				if c := compareValues(name, a[name], b[name]); c != 0 {
					return c
				}
			}
			return 0
		})
		sorter.Sort(block, order)
		got := readNative(t, bytes.Join(block.Native(), nil))
		if diff := gocmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
			t.Fatal(diff)
		}
		// A block takes more rows afterwards, and gives a bad one back.
		if err := plan.Append(block, &Origin{}, []byte{2, 'q'}); err == nil {
			t.Fatal("half a record was taken")
		}
		add(n)
		if got := readNative(t, bytes.Join(block.Native(), nil)); fmt.Sprint(got[:n]) != fmt.Sprint(want) || len(got) != n+1 {
			t.Fatalf("%d rows, and the first %d are others", len(got), n)
		}
	})
}

// compareValues of a column, as readNative gives them: numbers are texts.
func compareValues(name string, a, b any) int {
	if name == "at" || name == "small" {
		x, _ := new(big.Int).SetString(a.(string), 10)
		y, _ := new(big.Int).SetString(b.(string), 10)
		return x.Cmp(y)
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func TestWhatCannotBeSortedIsLeft(t *testing.T) {
	layout := layoutOf(t, sortedSchema, nil)
	for _, columns := range [][]string{{}, {"venue", "note"}, {"price"}, {"toDate(at)"}} {
		if _, ok := layout.Order(columns...); ok {
			t.Errorf("blocks can be sorted by %q", columns)
		}
	}
	subject, err := schemas.Get("raw-orderbooks-value")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := layoutOf(t, schemaOf(t, subject.Name), nil).Order("venue"); ok {
		t.Error("blocks with arrays can be sorted")
	}
}

// BenchmarkSort has blocks as a writer's that catches up.
func BenchmarkSort(b *testing.B) {
	plan, block := tradePlan(b)
	order, ok := plan.Layout().Order("venue", "symbol", "received_at", "trade_id")
	if !ok {
		b.Fatal("no order")
	}
	bodies := tradeBodies(300_000)
	var sorter Sorter
	for b.Loop() {
		b.StopTimer()
		block.Reset()
		for i, body := range bodies {
			if err := plan.Append(block, &Origin{Offset: int64(i)}, body); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		sorter.Sort(block, order)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(bodies)), "ns/row")
}
