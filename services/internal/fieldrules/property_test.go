package fieldrules

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// drawn is a type with what a contract says about it and a way to draw a value of it, as goavro takes them. bare is the
// type without logical types: goavro then leaves numbers and bytes alone, and the oracle understands them by itself.
type drawn struct {
	full, bare any
	field      contract.Field
	value      func() any
	// of a number: its kind for the oracle, and units a bound's unit has.
	kind  string
	scale int
	per   *big.Rat
	// items of an array or a map, members of a record, branches of a union by goavro's tag ("" for none).
	items   *drawn
	members []drawn
	tags    []string
}

// drawer makes names that do not repeat.
type drawer struct {
	t     *rapid.T
	names int
}

func (d *drawer) name(prefix string) string {
	d.names++
	return fmt.Sprintf("%s%d", prefix, d.names)
}

func (d *drawer) draw(depth int) drawn {
	kinds := []string{"whole", "whole", "decimal", "decimal", "fixedDecimal", "time", "date", "float", "double", "plain", "plain"}
	if depth > 0 {
		kinds = append(kinds, "record", "record", "array", "array", "map", "nullable", "nullable", "nullable", "union")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(d.t, "kind"); kind {
	case "record":
		return d.record(depth)
	case "array", "map":
		return d.list(kind, depth)
	case "nullable":
		return d.nullable(depth)
	case "union":
		u := drawn{full: []any{"null", "int", "string"}, tags: []string{"", "int", "string"}}
		u.field.Required, u.field.OnViolation = rapid.Bool().Draw(d.t, "required"), "count"
		u.value = func() any {
			return rapid.SampledFrom([]any{nil, goavro.Union("int", 7), goavro.Union("string", "text")}).Draw(d.t, "union")
		}
		u.bare, u.members = u.full, make([]drawn, 3)
		return u
	case "plain":
		return d.plain()
	default:
		return d.number(kind)
	}
}

func (d *drawer) plain() drawn {
	enum := map[string]any{"type": "enum", "name": d.name("E"), "symbols": []string{"X", "Y"}}
	fixed := map[string]any{"type": "fixed", "name": d.name("F"), "size": 3}
	type plain struct {
		schema any
		value  any
	}
	p := rapid.SampledFrom([]plain{
		{"string", strings.Repeat("text", 40)}, {"bytes", []byte{1, 2}}, {"boolean", true}, {"null", nil}, {"float", float32(1)}, {"long", int64(1) << 50}, {enum, "Y"}, {fixed, []byte("abc")},
	}).Draw(d.t, "plain")
	return drawn{full: p.schema, bare: p.schema, value: func() any { return p.value }}
}

func (d *drawer) number(kind string) drawn {
	n := drawn{kind: kind, per: big.NewRat(1, 1)}
	small := rapid.IntRange(-6, 6)
	bound := func() float64 { return float64(small.Draw(d.t, "bound")) }
	switch kind {
	case "whole":
		n.full = rapid.SampledFrom([]any{"int", "long"}).Draw(d.t, "width")
		n.bare = n.full
		n.value = func() any {
			if n.full == "long" && small.Draw(d.t, "extreme") > 4 {
				return rapid.SampledFrom([]any{int64(math.MinInt64), int64(math.MaxInt64)}).Draw(d.t, "value")
			}
			return small.Draw(d.t, "value")
		}
	case "decimal", "fixedDecimal":
		n.scale = rapid.IntRange(0, 18).Draw(d.t, "scale")
		logical := map[string]any{"logicalType": "decimal", "precision": 38, "scale": n.scale}
		size := 0
		if n.bare = any("bytes"); kind == "fixedDecimal" {
			size = 17
			n.bare = map[string]any{"type": "fixed", "name": d.name("D"), "size": size}
			maps.Copy(logical, n.bare.(map[string]any))
		} else {
			logical["type"] = "bytes"
		}
		n.full = logical
		bound = func() float64 {
			return float64(small.Draw(d.t, "bound")) * rapid.SampledFrom([]float64{1, 0.5, 1e-9, 1e-18, 1e19, 0.1}).Draw(d.t, "unit")
		}
		n.value = func() any { return d.decimal(n.scale, size) }
	case "time":
		units := map[string]int64{"timestamp-millis": 1e3, "timestamp-micros": 1e6, "timestamp-nanos": 1e9, "local-timestamp-millis": 1e3}
		logical := rapid.SampledFrom(slices.Sorted(maps.Keys(units))).Draw(d.t, "unit")
		n.per = big.NewRat(units[logical], 1e6)
		n.full, n.bare = map[string]any{"type": "long", "logicalType": logical}, "long"
		bound = func() float64 { return float64(rapid.IntRange(-6000, 6000).Draw(d.t, "bound")) }
		n.value = func() any { return int64(rapid.IntRange(-6000, 6000).Draw(d.t, "value")) }
	case "date":
		n.per = big.NewRat(1, 86_400e6)
		n.full, n.bare = map[string]any{"type": "int", "logicalType": "date"}, "int"
		bound = func() float64 {
			return float64(rapid.IntRange(-6, 6).Draw(d.t, "bound"))*86_400e6 + float64(small.Draw(d.t, "more"))
		}
		n.value = func() any { return small.Draw(d.t, "value") }
	case "float", "double":
		n.full, n.bare = kind, kind
		n.value = func() any {
			v := rapid.SampledFrom([]float64{-7, -0.5, 0, 0.5, 3, 7, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(d.t, "value")
			if kind == "float" {
				return float32(v)
			}
			return v
		}
	}
	d.rules(&n.field, bound)
	return n
}

func (d *drawer) rules(f *contract.Field, bound func() float64) {
	f.OnViolation = rapid.SampledFrom([]string{"", "count", "divert", "block"}).Draw(d.t, "action")
	if rapid.Bool().Draw(d.t, "minimum") {
		b := bound()
		f.Minimum = &b
	}
	if rapid.Bool().Draw(d.t, "maximum") {
		b := bound()
		f.Maximum = &b
	}
}

// decimal draws the bytes of one, sometimes longer than it must be; of a fixed length where size is not 0.
func (d *drawer) decimal(scale, size int) []byte {
	n := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(rapid.IntRange(0, scale+19).Draw(d.t, "magnitude"))), nil)
	n.Mul(n, big.NewInt(int64(rapid.IntRange(-6, 6).Draw(d.t, "digits"))))
	n.Add(n, big.NewInt(int64(rapid.IntRange(-1, 1).Draw(d.t, "off"))))
	b := twosComplement(n)
	for len(b) < size || size == 0 && rapid.IntRange(0, 4).Draw(d.t, "padding") == 4 {
		b = append([]byte{byte(int8(b[0]) >> 7)}, b...)
	}
	return b
}

func (d *drawer) record(depth int) drawn {
	name := d.name("R")
	full, bare := []any{}, []any{}
	r := drawn{field: contract.Field{}}
	for range rapid.IntRange(0, 4).Draw(d.t, "fields") {
		m := d.draw(depth - 1)
		m.field.Name = d.name("f")
		full = append(full, map[string]any{"name": m.field.Name, "type": m.full})
		bare = append(bare, map[string]any{"name": m.field.Name, "type": m.bare})
		r.members = append(r.members, m)
		r.field.Fields = append(r.field.Fields, m.field)
	}
	r.full, r.bare = map[string]any{"type": "record", "name": name, "fields": full}, map[string]any{"type": "record", "name": name, "fields": bare}
	r.tags, r.kind = []string{name}, "record"
	r.value = func() any {
		v := map[string]any{}
		for _, m := range r.members {
			v[m.field.Name] = m.value()
		}
		return v
	}
	return r
}

func (d *drawer) list(kind string, depth int) drawn {
	items := d.draw(depth - 1)
	l := drawn{items: &items, kind: kind}
	if kind == "array" {
		l.full, l.bare = map[string]any{"type": "array", "items": items.full}, map[string]any{"type": "array", "items": items.bare}
		l.field.Items = &items.field
		l.value = func() any {
			list := []any{}
			for range rapid.IntRange(0, 3).Draw(d.t, "items") {
				list = append(list, items.value())
			}
			return list
		}
		return l
	}
	// Of a map a contract says something only where its values are records.
	l.full, l.bare = map[string]any{"type": "map", "values": items.full}, map[string]any{"type": "map", "values": items.bare}
	l.field.Fields = items.field.Fields
	l.value = func() any {
		if rapid.Bool().Draw(d.t, "empty") {
			return map[string]any{}
		}
		return map[string]any{"key": items.value()}
	}
	return l
}

func (d *drawer) nullable(depth int) drawn {
	inner := d.draw(depth - 1)
	if _, isUnion := inner.full.([]any); isUnion || inner.full == "null" {
		return inner
	}
	n := inner
	n.full, n.bare = []any{"null", inner.full}, []any{"null", inner.bare}
	first := rapid.Bool().Draw(d.t, "null last")
	if first {
		slices.Reverse(n.full.([]any))
		slices.Reverse(n.bare.([]any))
	}
	n.field.Required = rapid.Bool().Draw(d.t, "required")
	if n.field.Required && n.field.OnViolation == "" {
		n.field.OnViolation = "count"
	}
	tag := fmt.Sprint(inner.bare)
	if m, ok := inner.bare.(map[string]any); ok {
		tag = fmt.Sprint(m["type"])
		if name, ok := m["name"]; ok {
			tag = fmt.Sprint(name)
		}
	}
	field := n.field
	n = drawn{full: n.full, bare: n.bare, field: field, tags: []string{tag}, members: []drawn{inner}, kind: "nullable"}
	n.value = func() any {
		if rapid.Bool().Draw(d.t, "null") {
			return nil
		}
		return goavro.Union(tag, inner.value())
	}
	return n
}

// oracle finds the rules that a value breaks, slowly and in rational numbers: rule to the path of the first value.
type oracle map[string]string

func (o oracle) tell(rule, kind, path string) {
	if _, known := o[rule+":"+kind]; !known {
		o[rule+":"+kind] = path
	}
}

func (o oracle) judge(d *drawn, f *contract.Field, v any, rule, path string) {
	switch d.kind {
	case "record":
		for i := range d.members {
			m := &d.members[i]
			dot := "."
			if rule == "" {
				dot = ""
			}
			o.judge(m, &m.field, v.(map[string]any)[m.field.Name], rule+dot+m.field.Name, path+dot+m.field.Name)
		}
	case "array":
		for i, item := range v.([]any) {
			o.judge(d.items, f.Items, item, rule+"[]", fmt.Sprintf("%s[%d]", path, i))
		}
	case "map":
		inner := d.items
		for _, item := range v.(map[string]any) {
			if inner.kind == "nullable" { // the contract lists the fields of the record that may be null
				if item == nil {
					return
				}
				item, inner = item.(map[string]any)[inner.tags[0]], &inner.members[0]
			}
			if inner.kind == "record" {
				o.judge(inner, &inner.field, item, rule+"{}", path+"{}")
			}
			if inner.kind == "map" && len(inner.field.Fields) > 0 { // and those of a map's map
				o.judge(inner, &inner.field, item, rule+"{}", path+"{}")
			}
		}
	case "nullable":
		if v == nil {
			if f.Required {
				o.tell(rule, "required", path)
			}
			return
		}
		o.judge(&d.members[0], f, v.(map[string]any)[d.tags[0]], rule, path)
	case "":
		if v == nil && f.Required && len(d.tags) > 0 {
			o.tell(rule, "required", path)
		}
	default:
		o.number(d, f, v, rule, path)
	}
}

func (o oracle) number(d *drawn, f *contract.Field, v any, rule, path string) {
	var exact *big.Rat
	switch n := v.(type) {
	case int32:
		exact = new(big.Rat).SetInt64(int64(n))
	case int64:
		exact = new(big.Rat).SetInt64(n)
	case []byte:
		whole := new(big.Int).SetBytes(n)
		if n[0]&0x80 != 0 {
			whole.Sub(whole, new(big.Int).Lsh(big.NewInt(1), uint(len(n)*8)))
		}
		exact = new(big.Rat).SetFrac(whole, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.scale)), nil))
	default:
		x, _ := n.(float64)
		if n, ok := n.(float32); ok {
			x = float64(n)
		}
		if f.Minimum != nil && (math.IsNaN(x) || x < *f.Minimum) {
			o.tell(rule, "minimum", path)
		}
		if f.Maximum != nil && (math.IsNaN(x) || x > *f.Maximum) {
			o.tell(rule, "maximum", path)
		}
		return
	}
	bound := func(b *float64) *big.Rat {
		text, _ := json.Marshal(*b)
		r, _ := new(big.Rat).SetString(string(text))
		return r.Mul(r, d.per)
	}
	if f.Minimum != nil && exact.Cmp(bound(f.Minimum)) < 0 {
		o.tell(rule, "minimum", path)
	}
	if f.Maximum != nil && exact.Cmp(bound(f.Maximum)) > 0 {
		o.tell(rule, "maximum", path)
	}
}

func TestACheckerFindsWhatASlowOracleFinds(t *testing.T) {
	broken, kept := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t: t}
		root := d.record(3)
		full, _ := json.Marshal(root.full)
		bare, _ := json.Marshal(root.bare)
		checker, err := Compile(contract.Contract{ID: "p", Fields: root.field.Fields}, string(full))
		if err != nil {
			t.Fatalf("%v\n%s", err, full)
		}
		codec, err := goavro.NewCodec(string(bare))
		if err != nil {
			t.Fatalf("%v\n%s", err, bare)
		}
		body, err := codec.BinaryFromNative(nil, root.value())
		if err != nil {
			t.Fatalf("%v\n%s", err, bare)
		}
		native, _, err := codec.NativeFromBinary(body)
		if err != nil {
			t.Fatal(err)
		}
		want := oracle{}
		want.judge(&root, &root.field, native, "", "")
		got := oracle{}
		found, err := checker.Check(body, nil)
		if err != nil {
			t.Fatalf("%v\n%s\n%x", err, full, body)
		}
		for _, v := range found {
			got[v.Rule.Name()] = v.Path
		}
		if !maps.Equal(got, want) || len(found) != len(got) {
			t.Fatalf("found %v, want %v\n%s\n%v", got, want, full, native)
		}
		if len(want) > 0 {
			broken++
		} else {
			kept++
		}
	})
	t.Logf("%d records broke rules, %d kept them all", broken, kept)
	if broken == 0 || kept == 0 {
		t.Errorf("%d records broke rules, %d kept them all: the test tells little", broken, kept)
	}
}
