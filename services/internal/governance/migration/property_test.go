package migration_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
)

// made is a place of a generated migration: its type in both versions, the rules it needs, and bodies of its first version.
type made struct {
	from, to string
	rules    []string
	body     func(t *rapid.T) []byte
}

// generator makes types that Up takes exactly, so that Down must give every byte back.
type generator struct{ names int }

func (g *generator) name(prefix string) string {
	g.names++
	return fmt.Sprintf("%s%d", prefix, g.names)
}

func long(v int64) []byte { return binary.AppendVarint(nil, v) }

func sized(b []byte) []byte { return append(long(int64(len(b))), b...) }

// simple are types that both versions share.
var simple = map[string]func(*rapid.T) []byte{
	`"null"`:    func(*rapid.T) []byte { return nil },
	`"boolean"`: func(t *rapid.T) []byte { return []byte{byte(rapid.IntRange(0, 1).Draw(t, "bool"))} },
	`"int"`:     func(t *rapid.T) []byte { return long(int64(rapid.Int32().Draw(t, "int"))) },
	`"long"`:    func(t *rapid.T) []byte { return long(rapid.Int64().Draw(t, "long")) },
	`"double"`:  func(t *rapid.T) []byte { return rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "double") },
	`"string"`:  func(t *rapid.T) []byte { return sized([]byte(rapid.String().Draw(t, "string"))) },
	`"bytes"`:   func(t *rapid.T) []byte { return sized(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) },
	`{"type":"long","logicalType":"timestamp-micros"}`: func(t *rapid.T) []byte { return long(rapid.Int64Range(-1e15, 1e15).Draw(t, "time")) },
}

// place draws one; at are its paths in both versions.
func (g *generator) place(t *rapid.T, at [2]string, depth int) made {
	kinds := []string{"simple", "simple", "enum", "decimal", "time", "width", "nullable", "made nullable"}
	if depth > 0 {
		kinds = append(kinds, "record", "array", "map", "union")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "enum":
		return g.enum(t)
	case "decimal", "time", "width":
		return rescaled(t, kind, at)
	case "nullable", "made nullable":
		inner := g.place(t, at, 0)
		for strings.HasPrefix(inner.from, "[") || strings.HasPrefix(inner.to, "[") || inner.from == `"null"` {
			inner = g.place(t, at, 0)
		}
		return nullable(inner, kind == "nullable", at)
	case "record":
		return g.record(t, at, depth)
	case "array", "map":
		return g.list(t, kind, at, depth)
	case "union":
		return union(made{`{"type":"array","items":"int"}`, `{"type":"array","items":"int"}`, nil, func(*rapid.T) []byte { return []byte{0} }}, g.enum(t))
	}
	one := rapid.SampledFrom([]string{`"null"`, `"boolean"`, `"int"`, `"long"`, `"double"`, `"string"`, `"bytes"`, `{"type":"long","logicalType":"timestamp-micros"}`}).Draw(t, "simple")
	return made{one, one, nil, simple[one]}
}

func (g *generator) enum(t *rapid.T) made {
	name := g.name("Enum")
	symbols := []string{`"A"`, `"B"`, `"C"`}
	write := func(all []string, name string) string {
		return fmt.Sprintf(`{"type":"enum","name":%q,"symbols":[%s],"default":"A"}`, name, strings.Join(all, ","))
	}
	return made{
		write(symbols, name), write(append(rapid.Permutation(symbols).Draw(t, "symbols"), `"D"`), "v2."+name), nil,
		func(t *rapid.T) []byte { return long(int64(rapid.IntRange(0, 2).Draw(t, "symbol"))) },
	}
}

// rescaled numbers have room in the later version.
func rescaled(t *rapid.T, kind string, at [2]string) made {
	rule := []string{fmt.Sprintf("rescale: {field: %q}", at[1])}
	switch kind {
	case "time":
		return made{
			`{"type":"long","logicalType":"timestamp-millis"}`, `{"type":"long","logicalType":"timestamp-micros"}`, rule,
			func(t *rapid.T) []byte { return long(rapid.Int64Range(-1e12, 1e12).Draw(t, "millis")) },
		}
	case "width":
		return made{`"int"`, `"long"`, rule, simple[`"int"`]}
	}
	decimal := func(precision, scale int) string {
		return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}`, precision, scale)
	}
	precision := rapid.IntRange(1, 30).Draw(t, "precision")
	scale := rapid.IntRange(0, precision).Draw(t, "scale")
	more := rapid.IntRange(1, 8).Draw(t, "more")
	return made{decimal(precision, scale), decimal(precision+more, scale+more), rule, func(t *rapid.T) []byte {
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
		v := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 14).Draw(t, "unscaled"))
		v.Rem(v, limit)
		raw := v.FillBytes(make([]byte, v.BitLen()/8+1))
		if rapid.Bool().Draw(t, "negative") && v.Sign() > 0 {
			v.Neg(v)
			size := new(big.Int).Not(v).BitLen()/8 + 1
			raw = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size*8))).FillBytes(make([]byte, size))
		}
		return sized(raw)
	}}
}

// nullable has null first in one version and last in the other, or only in the later.
func nullable(inner made, both bool, at [2]string) made {
	if !both {
		rule := fmt.Sprintf("default: {field: %q, down: %s}", at[1], anyValue(inner.from))
		return made{inner.from, `["null",` + inner.to + `]`, append(inner.rules, rule), inner.body}
	}
	return made{`["null",` + inner.from + `]`, `[` + inner.to + `,"null"]`, inner.rules, func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return long(0)
		}
		return append(long(1), inner.body(t)...)
	}}
}

func union(a, b made) made {
	return made{"[" + a.from + `,"null",` + b.from + "]", "[" + b.to + "," + a.to + `,"null"]`, nil, func(t *rapid.T) []byte {
		switch i := rapid.IntRange(0, 2).Draw(t, "branch"); i {
		case 0:
			return append(long(0), a.body(t)...)
		case 1:
			return long(1)
		default:
			return append(long(2), b.body(t)...)
		}
	}}
}

func (g *generator) list(t *rapid.T, kind string, at [2]string, depth int) made {
	step, member := "[]", "items"
	if kind == "map" {
		step, member = "{}", "values"
	}
	inner := g.place(t, [2]string{at[0] + step, at[1] + step}, depth-1)
	write := func(items string) string { return fmt.Sprintf(`{"type":%q,%q:%s}`, kind, member, items) }
	return made{write(inner.from), write(inner.to), inner.rules, func(t *rapid.T) []byte {
		var body []byte
		for range rapid.IntRange(0, 2).Draw(t, "blocks") {
			n := rapid.IntRange(1, 3).Draw(t, "items")
			body = append(body, long(int64(n))...)
			for range n {
				if kind == "map" {
					body = append(body, sized([]byte(rapid.String().Draw(t, "key")))...)
				}
				body = append(body, inner.body(t)...)
			}
		}
		return append(body, 0)
	}}
}

// record has its fields renamed, in another order and with company.
func (g *generator) record(t *rapid.T, at [2]string, depth int) made {
	name := g.name("Record")
	var m made
	var from, to []string
	var bodies []func(*rapid.T) []byte
	join := func(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	for range rapid.IntRange(1, 4).Draw(t, "fields") {
		field := g.name("f")
		renamed := field
		if rapid.Bool().Draw(t, "renamed") {
			renamed = g.name("renamed")
			m.rules = append(m.rules, fmt.Sprintf("rename: {from: %q, to: %q}", join(at[0], field), join(at[1], renamed)))
		}
		inner := g.place(t, [2]string{join(at[0], field), join(at[1], renamed)}, depth-1)
		m.rules = append(m.rules, inner.rules...)
		bodies = append(bodies, inner.body)
		from = append(from, fmt.Sprintf(`{"name":%q,"type":%s}`, field, inner.from))
		to = append(to, fmt.Sprintf(`{"name":%q,"type":%s}`, renamed, inner.to))
	}
	if rapid.Bool().Draw(t, "new field") {
		added := g.name("added")
		to = append(to, fmt.Sprintf(`{"name":%q,"type":["null","string"]}`, added))
		m.rules = append(m.rules, fmt.Sprintf("default: {field: %q, up: x}", join(at[1], added)))
	}
	to = rapid.Permutation(to).Draw(t, "order")
	m.from = fmt.Sprintf(`{"type":"record","name":%q,"fields":[%s]}`, name, strings.Join(from, ","))
	m.to = fmt.Sprintf(`{"type":"record","name":%q,"fields":[%s]}`, "v2."+name, strings.Join(to, ","))
	m.body = func(t *rapid.T) []byte {
		var body []byte
		for _, b := range bodies {
			body = append(body, b(t)...)
		}
		return body
	}
	return m
}

// anyValue is some value of a type that the generator makes.
func anyValue(schema string) string {
	switch {
	case strings.Contains(schema, `"enum"`):
		return "A"
	case schema == `"boolean"`:
		return "true"
	case schema == `"string"` || schema == `"bytes"`:
		return `""`
	}
	return "0"
}

// TestUpThenDownIsTheIdentity: where nothing is dropped, every byte comes back; and what Up wrote is a body of the later
// schema for a reader that knows nothing of this package.
func TestUpThenDownIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{}
		drawn := g.record(t, [2]string{}, 3)
		rules := "  []\n"
		if len(drawn.rules) > 0 {
			rules = "  - " + strings.Join(drawn.rules, "\n  - ") + "\n"
		}
		m, err := compileRules(rules, drawn.from, drawn.to)
		if err != nil {
			t.Fatalf("%v\n%s\n%s\n%s", err, drawn.from, drawn.to, rules)
		}
		body := drawn.body(t)
		up, err := m.Up(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := dynamic.NewReader(drawn.to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Read(up); err != nil {
			t.Fatalf("what Up wrote is no body of the later schema: %v", err)
		}
		down, err := m.Down(nil, up)
		if err != nil || !bytes.Equal(down, body) {
			t.Fatalf("%x became %x and came back as %x, %v\n%s\n%s\n%s", body, up, down, err, drawn.from, drawn.to, rules)
		}
	})
}
