package columnar

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// shape is a random Avro type: as the table's schema has it and as an older writer may have it, a generator of values of
// the writer's, and what a column should read as from either reader's value.
type shape struct {
	reader, writer any
	value          func(*rapid.T) any
	// canon is the text (or, of arrays, maps and tuples, the tree of texts) that the column should read as.
	canon func(value any) any
	// initial draws a JSON default and what it reads as; nil where the type is given none.
	initial func(*rapid.T) (json, canon any)
	// word draws a contract's nullAs and what it reads as; nil where the type is given none.
	word func(*rapid.T) (text string, canon any)
	// plain is true of a string or enum, which may have a dictionary.
	plain bool
}

// numberShape is an int, long, float or double, which an older writer may have written as a narrower one.
func numberShape(t *rapid.T, evolve bool) shape {
	kinds := []string{"int", "long", "float", "double"}
	reader := rapid.IntRange(0, 3).Draw(t, "number")
	writer := reader
	if evolve {
		writer = rapid.IntRange(0, reader).Draw(t, "promoted")
	}
	canon := map[int]func(any) any{0: texts, 1: texts, 2: func(v any) any { return asFloat32(v) }, 3: func(v any) any { return asFloat64(v) }}[reader]
	return shape{
		reader: kinds[reader], writer: kinds[writer], canon: canon,
		value: func(t *rapid.T) any {
			switch writer {
			case 0:
				return rapid.Int32().Draw(t, "int")
			case 1:
				return rapid.Int64().Draw(t, "long")
			case 2:
				return rapid.Float32().Draw(t, "float")
			}
			return rapid.Float64().Draw(t, "double")
		},
		initial: func(t *rapid.T) (any, any) {
			n := rapid.Int32Range(-1000, 1000).Draw(t, "default")
			return n, canon(n)
		},
		word: func(t *rapid.T) (string, any) {
			n := rapid.Int32Range(-1000, 1000).Draw(t, "nullAs")
			return fmt.Sprint(n), canon(n)
		},
	}
}

func texts(v any) any { return fmt.Sprint(v) }

func asFloat64(v any) float64 {
	switch v := v.(type) {
	case int32:
		return float64(v)
	case int64:
		return float64(v)
	case float32:
		return float64(v)
	}
	return v.(float64)
}

func asFloat32(v any) float32 {
	switch v := v.(type) {
	case int32:
		return float32(v)
	case int64:
		return float32(v) // By way of a float64 it would be rounded twice.
	case float64:
		return float32(v)
	}
	return v.(float32)
}

// textShape is a string or bytes; each may have been the other.
func textShape(t *rapid.T, evolve bool) shape {
	names := []string{"string", "bytes"}
	reader := rapid.SampledFrom(names).Draw(t, "text")
	s := shape{reader: reader, writer: reader, plain: reader == "string"}
	if evolve {
		s.writer = rapid.SampledFrom(names).Draw(t, "promoted")
	}
	s.value = func(t *rapid.T) any {
		text := rapid.StringN(0, 40, 200).Draw(t, "text")
		if s.writer == "bytes" {
			return []byte(text)
		}
		return text
	}
	s.canon = func(v any) any {
		if raw, ok := v.([]byte); ok {
			return string(raw)
		}
		return v
	}
	s.initial = func(t *rapid.T) (any, any) {
		text := rapid.StringMatching(`[ -~]{0,9}`).Draw(t, "default")
		return text, text
	}
	s.word = func(t *rapid.T) (string, any) {
		text := rapid.StringMatching(`[ -~]{0,9}`).Draw(t, "nullAs")
		return text, text
	}
	return s
}

func alike(schema any, value func(*rapid.T) any, canon func(any) any) shape {
	return shape{reader: schema, writer: schema, value: value, canon: canon}
}

func same(v any) any { return v }

func uuidText(v any) any {
	switch v := v.(type) {
	case [16]byte:
		return uuid.UUID(v).String()
	case []byte:
		return uuid.UUID(v).String()
	}
	return strings.ToLower(v.(string))
}

func rawText(v any) any {
	return string(v.([]byte))
}

func bytesOf(n int) func(*rapid.T) any {
	return func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "fixed") }
}

func logical(kind, name string) map[string]any {
	return map[string]any{"type": kind, "logicalType": name}
}

// timeShape is a time since 1970 in some unit, within what a DateTime64 or a Date32 can hold.
func timeShape(t *rapid.T) shape {
	name := rapid.SampledFrom([]string{"date", "timestamp-millis", "timestamp-micros", "timestamp-nanos", "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos"}).Draw(t, "unit")
	if name == "date" {
		day := int64(86400)
		return alike(logical("int", name), func(t *rapid.T) any {
			return int32(rapid.Int64Range(minTimeSeconds/day, maxTimeSeconds/day).Draw(t, "date"))
		}, func(v any) any {
			if at, ok := v.(time.Time); ok {
				return fmt.Sprint(at.Unix() / day)
			}
			return fmt.Sprint(v)
		})
	}
	unit := map[string]int64{"illis": 1e3, "icros": 1e6, "nanos": 1e9}[name[len(name)-5:]]
	low, high := minTimeSeconds*unit, (maxTimeSeconds+1)*unit-1
	if unit == 1e9 {
		low, high = -1<<63, 1<<63-1
	}
	return alike(logical("long", name), func(t *rapid.T) any { return rapid.Int64Range(low, high).Draw(t, "time") }, func(v any) any {
		at, ok := v.(time.Time)
		if !ok {
			return fmt.Sprint(v)
		}
		return fmt.Sprint(at.Unix()*unit + int64(at.Nanosecond())/(1e9/unit))
	})
}

// decimalShape is a decimal on bytes, or on a fixed that holds its digits.
func decimalShape(t *rapid.T, name string) shape {
	precision := rapid.SampledFrom([]int{1, 5, 9, 10, 15, 18, 19, 30, 38, 39, 60, 76}).Draw(t, "precision")
	scale := rapid.IntRange(0, precision).Draw(t, "scale")
	schema := map[string]any{"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	if rapid.Bool().Draw(t, "fixed") {
		schema["type"], schema["name"] = "fixed", "D"+name
		schema["size"] = limit.BitLen()/8 + 1 + rapid.IntRange(0, 3).Draw(t, "sign bytes")
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	return alike(schema,
		func(t *rapid.T) any {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 33).Draw(t, "decimal"))
			if rapid.Bool().Draw(t, "edge") {
				// Where a byte or a sign more begins.
				n.Lsh(big.NewInt(1), 8*rapid.UintRange(1, 32).Draw(t, "bytes")-rapid.UintRange(0, 1).Draw(t, "sign bit"))
				n.Sub(n, big.NewInt(rapid.Int64Range(0, 1).Draw(t, "below")))
			}
			n.Mod(n, limit)
			if rapid.Bool().Draw(t, "negative") {
				n.Neg(n)
			}
			return new(big.Rat).SetFrac(n, unit)
		},
		func(v any) any {
			return new(big.Rat).Mul(v.(*big.Rat), new(big.Rat).SetInt(unit)).Num().String()
		})
}

// enumShape has up to 200 symbols (an Enum16 from 129 on); an older writer had fewer.
func enumShape(t *rapid.T, name string, evolve bool) shape {
	count := rapid.SampledFrom([]int{1, 3, 128, 129, 200}).Draw(t, "symbols")
	var symbols []string
	for i := range count {
		symbols = append(symbols, fmt.Sprintf("S%d", i*7%211))
	}
	written := symbols
	if evolve {
		written = slices.Clone(symbols[:rapid.IntRange(1, count).Draw(t, "written")])
		slices.Reverse(written) // Avro matches symbols by name.
	}
	schema := func(symbols []string) any {
		return map[string]any{"type": "enum", "name": "E" + name, "symbols": symbols}
	}
	one := func(t *rapid.T) string { return rapid.SampledFrom(symbols).Draw(t, "symbol") }
	return shape{
		reader: schema(symbols), writer: schema(written), canon: same, plain: true,
		value:   func(t *rapid.T) any { return rapid.SampledFrom(written).Draw(t, "enum") },
		initial: func(t *rapid.T) (any, any) { s := one(t); return s, s },
		word:    func(t *rapid.T) (string, any) { s := one(t); return s, s },
	}
}

func scalarShape(t *rapid.T, name string, evolve bool) shape {
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0, 1:
		return numberShape(t, evolve)
	case 2:
		return textShape(t, evolve)
	case 3:
		s := alike("boolean", func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }, same)
		s.initial = func(t *rapid.T) (any, any) { v := rapid.Bool().Draw(t, "default"); return v, v }
		return s
	case 4:
		n := rapid.IntRange(1, 20).Draw(t, "size")
		return alike(map[string]any{"type": "fixed", "name": "F" + name, "size": n}, bytesOf(n), rawText)
	case 5:
		if rapid.Bool().Draw(t, "text") {
			return alike(logical("string", "uuid"), func(t *rapid.T) any { return uuidText(bytesOf(16)(t)) }, uuidText)
		}
		return alike(map[string]any{"type": "fixed", "name": "U" + name, "size": 16, "logicalType": "uuid"},
			func(t *rapid.T) any { return [16]byte(bytesOf(16)(t).([]byte)) }, uuidText)
	case 6:
		return timeShape(t)
	case 7:
		return decimalShape(t, name)
	}
	return enumShape(t, name, evolve)
}

// optional makes a union with null, which stands before or behind the type.
func optional(t *rapid.T, s shape) shape {
	behind := rapid.Bool().Draw(t, "null behind")
	union := func(inner any) any {
		if behind {
			return []any{inner, "null"}
		}
		return []any{"null", inner}
	}
	o := shape{
		reader: union(s.reader), writer: union(s.writer), plain: s.plain,
		value: func(t *rapid.T) any {
			if rapid.IntRange(0, 2).Draw(t, "null") == 0 {
				return nil
			}
			return s.value(t)
		},
		canon: func(v any) any {
			if v == nil {
				return nil
			}
			return s.canon(v)
		},
		initial: func(*rapid.T) (any, any) { return nil, nil },
		word:    s.word,
	}
	if behind {
		o.initial = s.initial
	}
	return o
}

// itemShape is what stands inside an array, a map or a tuple, up to a depth.
func itemShape(t *rapid.T, name string, depth int) shape {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "inside") {
		case 0:
			return listShape(itemShape(t, name+"i", depth-1))
		case 1:
			return mapShape(itemShape(t, name+"v", depth-1))
		case 2:
			return tupleShape(t, name, depth-1)
		}
	}
	s := scalarShape(t, name, true)
	if rapid.IntRange(0, 2).Draw(t, "optional") == 0 {
		return optional(t, s)
	}
	return s
}

func listShape(item shape) shape {
	schema := func(items any) any { return map[string]any{"type": "array", "items": items} }
	return shape{
		reader: schema(item.reader), writer: schema(item.writer),
		value: func(t *rapid.T) any {
			list := []any{}
			for range rapid.IntRange(0, 4).Draw(t, "length") {
				list = append(list, item.value(t))
			}
			return list
		},
		canon: func(v any) any {
			list := []any{}
			for _, one := range v.([]any) {
				list = append(list, item.canon(one))
			}
			return list
		},
		initial: func(*rapid.T) (any, any) { return []any{}, []any{} },
		word:    func(*rapid.T) (string, any) { return "[]", []any{} },
	}
}

func mapShape(item shape) shape {
	schema := func(values any) any { return map[string]any{"type": "map", "values": values} }
	return shape{
		reader: schema(item.reader), writer: schema(item.writer),
		value: func(t *rapid.T) any {
			m := map[string]any{}
			for _, key := range rapid.SliceOfNDistinct(rapid.StringN(0, 8, -1), 0, 3, rapid.ID[string]).Draw(t, "keys") {
				m[key] = item.value(t)
			}
			return m
		},
		canon: func(v any) any {
			m := map[string]any{}
			for key, one := range v.(map[string]any) {
				m[key] = item.canon(one)
			}
			return m
		},
		initial: func(*rapid.T) (any, any) { return map[string]any{}, map[string]any{} },
		word:    func(*rapid.T) (string, any) { return "{}", map[string]any{} },
	}
}

// tupleShape is a record inside an array or map. Its writer has fields in another order, one more, and may lack those that
// can be null.
func tupleShape(t *rapid.T, name string, depth int) shape {
	kids := map[string]shape{}
	var readers, writers []any
	for i := range rapid.IntRange(1, 3).Draw(t, "elements") {
		n := fmt.Sprintf("e%d", i)
		kid := itemShape(t, name+n, depth)
		kids[n] = kid
		readers = append(readers, map[string]any{"name": n, "type": kid.reader})
		writers = append(writers, map[string]any{"name": n, "type": kid.writer})
	}
	extra := scalarShape(t, name+"x", false)
	if rapid.Bool().Draw(t, "extra") {
		kids["extra"] = extra
		writers = append(writers, map[string]any{"name": "extra", "type": extra.writer})
	}
	slices.Reverse(writers)
	record := func(fields []any) any {
		return map[string]any{"type": "record", "name": "R" + name, "fields": fields}
	}
	return shape{
		reader: record(readers), writer: record(writers),
		value: func(t *rapid.T) any {
			m := map[string]any{}
			for _, f := range writers {
				n := f.(map[string]any)["name"].(string)
				m[n] = kids[n].value(t)
			}
			return m
		},
		canon: func(v any) any {
			m := map[string]any{}
			for _, f := range readers {
				n := f.(map[string]any)["name"].(string)
				m[n] = kids[n].canon(v.(map[string]any)[n])
			}
			return m
		},
	}
}
