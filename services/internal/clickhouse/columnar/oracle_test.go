package columnar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// shape is a random Avro type with a generator of goavro's native values and the canonical text that a column of it
// should read as.
type shape struct {
	schema any
	value  func(*rapid.T) any
	canon  func(native any) any
}

func same(v any) any { return v }

func scalarShape(t *rapid.T, name string) shape {
	kinds := []func() shape{
		func() shape {
			return shape{"int", func(t *rapid.T) any { return rapid.Int32().Draw(t, "int") }, func(v any) any { return fmt.Sprint(v) }}
		},
		func() shape {
			return shape{"long", func(t *rapid.T) any { return rapid.Int64().Draw(t, "long") }, func(v any) any { return fmt.Sprint(v) }}
		},
		func() shape {
			return shape{"boolean", func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }, same}
		},
		func() shape {
			return shape{"double", func(t *rapid.T) any { return rapid.Float64().Draw(t, "double") }, same}
		},
		func() shape {
			return shape{"float", func(t *rapid.T) any { return rapid.Float32().Draw(t, "float") }, same}
		},
		func() shape {
			return shape{"string", func(t *rapid.T) any { return rapid.StringN(0, 40, 200).Draw(t, "string") }, same}
		},
		func() shape {
			return shape{"bytes", func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes") }, func(v any) any { return string(v.([]byte)) }}
		},
		func() shape {
			n := rapid.IntRange(1, 20).Draw(t, "size")
			return shape{map[string]any{"type": "fixed", "name": "F" + name, "size": n}, func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "fixed") }, func(v any) any { return string(v.([]byte)) }}
		},
		func() shape {
			return shape{map[string]any{"type": "fixed", "name": "U" + name, "size": 16, "logicalType": "uuid"}, func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid") }, func(v any) any { return uuid.UUID(v.([]byte)).String() }}
		},
		func() shape {
			symbols := []string{"A", "B", "C"}
			return shape{map[string]any{"type": "enum", "name": "E" + name, "symbols": symbols}, func(t *rapid.T) any { return rapid.SampledFrom(symbols).Draw(t, "enum") }, same}
		},
		func() shape {
			return shape{map[string]any{"type": "long", "logicalType": "timestamp-micros"}, func(t *rapid.T) any {
				return time.UnixMicro(rapid.Int64Range(-2e15, 1e16).Draw(t, "time")).UTC()
			}, func(v any) any { return fmt.Sprint(v.(time.Time).UnixMicro()) }}
		},
		func() shape {
			return decimalShape(rapid.SampledFrom([]int{5, 9, 15, 18, 30, 38, 60, 76}).Draw(t, "precision"))
		},
	}
	return rapid.SampledFrom(kinds).Draw(t, "kind")()
}

func decimalShape(precision int) shape {
	scale := precision / 2
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return shape{
		map[string]any{"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale},
		func(t *rapid.T) any {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "decimal"))
			n.Mod(n, limit)
			if rapid.Bool().Draw(t, "negative") {
				n.Neg(n)
			}
			return new(big.Rat).SetFrac(n, unit)
		},
		func(v any) any {
			r := new(big.Rat).Mul(v.(*big.Rat), new(big.Rat).SetInt(unit))
			return r.Num().String()
		},
	}
}

// anyShape adds unions with null, arrays and maps.
func anyShape(t *rapid.T, name string) shape {
	s := scalarShape(t, name)
	switch rapid.IntRange(0, 5).Draw(t, "wrap") {
	case 0:
		return optional(s)
	case 1:
		items := s
		return shape{
			map[string]any{"type": "array", "items": items.schema},
			func(t *rapid.T) any { return listOf(t, items) },
			func(v any) any {
				out := []any{}
				for _, item := range v.([]any) {
					out = append(out, items.canon(item))
				}
				return out
			},
		}
	case 2:
		values := s
		return shape{
			map[string]any{"type": "map", "values": values.schema},
			func(t *rapid.T) any {
				m := map[string]any{}
				for _, k := range rapid.SliceOfNDistinct(rapid.StringN(0, 8, -1), 0, 4, rapid.ID[string]).Draw(t, "keys") {
					m[k] = values.value(t)
				}
				return m
			},
			func(v any) any {
				out := map[string]any{}
				for k, item := range v.(map[string]any) {
					out[k] = values.canon(item)
				}
				return out
			},
		}
	case 3:
		a, b := scalarShape(t, name+"x"), optional(scalarShape(t, name+"y"))
		record := map[string]any{"type": "record", "name": "R" + name, "fields": []any{map[string]any{"name": "a", "type": a.schema}, map[string]any{"name": "b", "type": b.schema}}}
		one := shape{record, func(t *rapid.T) any { return map[string]any{"a": a.value(t), "b": b.value(t)} }, func(v any) any {
			m := v.(map[string]any)
			return map[string]any{"a": a.canon(m["a"]), "b": b.canon(m["b"])}
		}}
		return shape{map[string]any{"type": "array", "items": record}, func(t *rapid.T) any { return listOf(t, one) }, func(v any) any {
			out := []any{}
			for _, item := range v.([]any) {
				out = append(out, one.canon(item))
			}
			return out
		}}
	}
	return s
}

func listOf(t *rapid.T, items shape) any {
	list := []any{}
	for range rapid.IntRange(0, 5).Draw(t, "length") {
		list = append(list, items.value(t))
	}
	return list
}

// optional makes a union with null; goavro wraps the value in a map under the branch's name.
func optional(s shape) shape {
	branches := []any{"null", s.schema}
	return shape{
		branches,
		func(t *rapid.T) any {
			if rapid.Bool().Draw(t, "null") {
				return nil
			}
			return map[string]any{branchName(s.schema): s.value(t)}
		},
		func(v any) any {
			if v == nil {
				return nil
			}
			for _, inner := range v.(map[string]any) {
				return s.canon(inner)
			}
			return nil
		},
	}
}

func branchName(schema any) string {
	m, ok := schema.(map[string]any)
	if !ok {
		return schema.(string)
	}
	if name, named := m["name"]; named {
		return name.(string)
	}
	return m["type"].(string) + "." + m["logicalType"].(string)
}

// TestColumnsEqualGoavrosReading compares random values of random schemas: what the columns hold against what goavro
// reads from the same bytes. Between good bodies it puts broken ones, which must leave no trace.
func TestColumnsEqualGoavrosReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shapes := map[string]shape{}
		var fields []any
		options := map[string]ddl.ColumnOptions{}
		for i := range rapid.IntRange(1, 8).Draw(t, "fields") {
			name := fmt.Sprintf("f%d", i)
			shapes[name] = anyShape(t, name)
			fields = append(fields, map[string]any{"name": name, "type": shapes[name].schema})
			text := fmt.Sprint(shapes[name].schema)
			if (text == "string" || text == "[null string]") && rapid.Bool().Draw(t, "low") {
				options[name] = ddl.ColumnOptions{LowCardinality: true}
			}
		}
		schema, _ := json.Marshal(map[string]any{"type": "record", "name": "Row", "fields": fields})
		codec, err := goavro.NewCodec(string(schema))
		if err != nil {
			t.Skip(err)
		}
		columns, err := ddl.ColumnsOf(string(schema), options)
		if err != nil {
			t.Fatalf("%v\n%s", err, schema)
		}
		layout, err := NewLayout("t", columns, asExisting(columns))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Compile(layout, 1, string(schema))
		if err != nil {
			t.Fatal(err)
		}
		block := NewBlock(layout)
		var want []map[string]any
		for range rapid.IntRange(1, 12).Draw(t, "rows") {
			native := map[string]any{}
			for _, name := range slices.Sorted(maps.Keys(shapes)) {
				native[name] = shapes[name].value(t)
			}
			body, err := codec.BinaryFromNative(nil, native)
			if err != nil {
				t.Fatalf("goavro: %v", err)
			}
			if len(body) > 0 {
				_ = plan.Append(NewBlock(layout), &Origin{}, mutated(t, body))
				if err := plan.Append(block, &Origin{}, body[:rapid.IntRange(0, len(body)-1).Draw(t, "cut")]); err == nil {
					t.Fatal("a body cut short was taken")
				}
			}
			if err := plan.Append(block, &Origin{}, body); err != nil {
				t.Fatalf("%v\nschema %s\nvalue %v", err, schema, native)
			}
			read, _, err := codec.NativeFromBinary(body)
			if err != nil {
				t.Fatal(err)
			}
			row := map[string]any{}
			for name, s := range shapes {
				row[name] = s.canon(read.(map[string]any)[name])
			}
			want = append(want, row)
		}
		got := readNative(&quiet{t}, bytes.Join(block.Native(), nil))
		for i, row := range want {
			for name, value := range row {
				if a, b := fmt.Sprintf("%#v", got[i][name]), fmt.Sprintf("%#v", value); a != b && !strings.Contains(a, "NaN") {
					t.Fatalf("row %d field %s\nschema %s\n got %s\nwant %s", i, name, schema, a, b)
				}
			}
		}
	})
}

func mutated(t *rapid.T, body []byte) []byte {
	m := bytes.Clone(body)
	m[rapid.IntRange(0, len(m)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	return m
}

// quiet lets the reader of the tests fail a rapid check.
type quiet struct{ *rapid.T }

func (q *quiet) Helper() {}

// FuzzBodies holds that no bytes make the decoder panic, keep a trace of a bad row, or take memory out of proportion.
func FuzzBodies(f *testing.F) {
	schema := schemaOf(f, "raw-orderbooks-value")
	layout := layoutOf(f, schema, map[string]ddl.ColumnOptions{"venue": {LowCardinality: true}, "gap_reason": {LowCardinality: true}})
	plan, err := Compile(layout, 1, schema)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		block := NewBlock(layout)
		empty := bytes.Join(block.Native(), nil)
		err := plan.Append(block, &Origin{}, body)
		if block.Bytes() > 64*len(body)+4096 {
			t.Fatalf("%d bytes of columns from a body of %d", block.Bytes(), len(body))
		}
		if err != nil && !bytes.Equal(empty, bytes.Join(block.Native(), nil)) {
			t.Fatal("a bad body left a trace")
		}
	})
}
