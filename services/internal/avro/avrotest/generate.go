// Package avrotest draws Avro schemas for property tests: few names and symbols, so that two schemas meet often, and
// mutations of one into another, so that they differ in one thing. Some are invalid on purpose.
package avrotest

import (
	"encoding/json"
	"fmt"

	"pgregory.net/rapid"
)

// generator keeps what is defined already while one schema is drawn.
type generator struct {
	t       *rapid.T
	defined []string
	sloppy  bool // also what Avro refuses
}

var (
	typeWords  = []string{"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
	names      = []string{"A", "B", "C", "D"}
	namespaces = []string{"", "", "", "n", "n.m", "other"}
	fieldNames = []string{"a", "b", "c", "d"}
	symbols    = []string{"X", "Y", "Z", "W"}
	logicals   = []string{"timestamp-millis", "timestamp-micros", "date", "uuid", "time-millis", "duration", "made-up"}
)

// uniform draws one of 0…n-1, each as likely as the other: rapid's own ranges prefer small numbers, which would make most
// schemas a single word. It still shrinks towards 0.
func uniform(t *rapid.T, n int) int {
	drawn := 0
	for range 10 {
		drawn *= 2
		if rapid.Bool().Draw(t, "bit") {
			drawn++
		}
	}
	return drawn * n / 1024
}

func pick[T any](t *rapid.T, from []T) T { return from[uniform(t, len(from))] }

func (g *generator) chance(percent int) bool { return uniform(g.t, 100) >= 100-percent }

func (g *generator) schema(depth int) any {
	n := uniform(g.t, 100)
	switch {
	case depth <= 0 || n < 35:
		return g.leaf()
	case n < 45:
		return g.attributes(map[string]any{"type": "array", "items": g.schema(depth - 1)})
	case n < 52:
		return g.attributes(map[string]any{"type": "map", "values": g.schema(depth - 1)})
	case n < 68:
		return g.union(depth)
	case n < 76:
		return g.enum()
	case n < 82:
		return g.fixed()
	default:
		return g.record(depth)
	}
}

func (g *generator) leaf() any {
	if len(g.defined) > 0 && g.chance(25) {
		return pick(g.t, g.defined)
	}
	if g.sloppy && g.chance(3) {
		return pick(g.t, []any{"A", "n.B", "unknown", "", 7, nil, map[string]any{"type": "error"}, map[string]any{"type": []any{"int"}}})
	}
	word := pick(g.t, typeWords)
	if !g.chance(20) {
		return word
	}
	typed := map[string]any{"type": word}
	if g.chance(70) {
		typed["logicalType"] = pick(g.t, logicals)
	}
	if word == "bytes" {
		typed["logicalType"], typed["precision"], typed["scale"] = "decimal", rapid.IntRange(1, 38).Draw(g.t, "precision"), rapid.IntRange(0, 4).Draw(g.t, "scale")
	}
	return typed
}

func (g *generator) attributes(s map[string]any) map[string]any {
	if g.chance(10) {
		s["custom"] = pick(g.t, []any{1, 1.5, 1e10, "text", true, nil, []any{1, "x"}, map[string]any{"z": 1, "a": 2}})
	}
	return s
}

func (g *generator) union(depth int) any {
	var branches []any
	seen := map[string]bool{}
	for range uniform(g.t, 5) {
		branch := g.schema(depth - 1)
		if _, nested := branch.([]any); nested && !g.sloppy {
			continue
		}
		key := branchKey(branch)
		if seen[key] && !g.sloppy {
			continue
		}
		seen[key] = true
		branches = append(branches, branch)
	}
	if branches == nil {
		branches = []any{"null"}
	}
	return branches
}

func branchKey(branch any) string {
	if s, ok := branch.(map[string]any); ok {
		if name, ok := s["name"]; ok {
			return fmt.Sprint(s["namespace"], ".", name)
		}
		return fmt.Sprint(s["type"])
	}
	return fmt.Sprint(branch)
}

func (g *generator) named(kind string) map[string]any {
	s := map[string]any{"type": kind, "name": pick(g.t, names)}
	if namespace := pick(g.t, namespaces); namespace != "" || g.chance(5) {
		s["namespace"] = namespace
	}
	full := fmt.Sprint(s["name"])
	if namespace, _ := s["namespace"].(string); namespace != "" {
		full = namespace + "." + full
	}
	if !g.sloppy {
		for _, known := range g.defined {
			if known == full {
				full += fmt.Sprint(len(g.defined))
				s["name"] = fmt.Sprint(s["name"], len(g.defined))
			}
		}
	}
	g.defined = append(g.defined, full)
	if g.chance(15) {
		s["aliases"] = []any{pick(g.t, []any{"A", "B", "n.A", "n.B", "n.m.C", "other.A", ".A", "D"})}
	}
	if g.chance(20) {
		s["doc"] = pick(g.t, []any{"a doc", "", "ünï \"quoted\"\n", 5})
	}
	return g.attributes(s)
}

func (g *generator) enum() any {
	s := g.named("enum")
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(symbols), 1, 4, rapid.ID).Draw(g.t, "symbols")
	s["symbols"] = list
	if g.chance(40) {
		s["default"] = pick(g.t, list)
	}
	if g.sloppy && g.chance(10) {
		s["default"] = pick(g.t, []any{"X", "Q", 1, nil})
	}
	if g.sloppy && g.chance(5) {
		s["symbols"] = pick(g.t, []any{[]any{}, []any{"X", "X"}, []any{"9"}, []any{"ä"}, "X", []any{1}})
	}
	return s
}

func (g *generator) fixed() any {
	s := g.named("fixed")
	s["size"] = pick(g.t, []any{4, 8, 12, 16})
	if g.sloppy && g.chance(10) {
		s["size"] = pick(g.t, []any{0, -1, 4.0, 4.5, "4", nil, 3000000000})
	}
	if g.chance(20) {
		s["logicalType"] = pick(g.t, logicals)
	}
	return s
}

func (g *generator) record(depth int) any {
	s := g.named(pick(g.t, []string{"record", "record", "record", "error"}))
	var fields []any
	taken := map[string]bool{}
	for range uniform(g.t, 6) {
		name := pick(g.t, fieldNames)
		if taken[name] && !(g.sloppy && g.chance(3)) {
			continue
		}
		taken[name] = true
		f := map[string]any{"name": name, "type": g.schema(depth - 1)}
		if g.chance(45) {
			f["default"] = g.fallback(f["type"])
		}
		if g.chance(15) {
			f["aliases"] = []any{pick(g.t, append(fieldNames, "e", "f"))}
		}
		if g.chance(10) {
			f["doc"] = "what it is"
		}
		if g.chance(10) {
			f["order"] = pick(g.t, []any{"ascending", "descending", "ignore", "DESCENDING"})
		}
		fields = append(fields, g.attributes(f))
	}
	if fields == nil {
		fields = []any{}
	}
	s["fields"] = fields
	return s
}

// fallback draws a default that mostly fits.
func (g *generator) fallback(of any) any {
	if g.sloppy && g.chance(15) {
		return pick(g.t, []any{nil, 1, 1.0, 1.5, 3000000000, "x", "NaN", true, []any{}, map[string]any{}, []any{1}, map[string]any{"a": 1}})
	}
	switch s := of.(type) {
	case string:
		switch s {
		case "null":
			return nil
		case "boolean":
			return true
		case "int", "long":
			return rapid.IntRange(-5, 5).Draw(g.t, "number")
		case "float", "double":
			return pick(g.t, []any{0, 1, 1.5, 1e10, -0.00001, 12345678.5})
		default:
			return "x"
		}
	case []any:
		if len(s) == 0 {
			return nil
		}
		return g.fallback(pick(g.t, s))
	case map[string]any:
		switch s["type"] {
		case "array":
			if g.chance(50) {
				return []any{g.fallback(s["items"])}
			}
			return []any{}
		case "map":
			return map[string]any{"k": g.fallback(s["values"])}
		case "enum", "fixed":
			return "X"
		case "record", "error":
			value := map[string]any{}
			fields, _ := s["fields"].([]any)
			for _, f := range fields {
				field := f.(map[string]any)
				value[fmt.Sprint(field["name"])] = g.fallback(field["type"])
			}
			return value
		}
		return g.fallback(s["type"])
	}
	return nil
}

// mutate changes one thing somewhere in the schema.
func (g *generator) mutate(s any) any {
	switch n := s.(type) {
	case map[string]any:
		if g.chance(45) {
			for _, inner := range []string{"items", "values"} {
				if v, ok := n[inner]; ok {
					n[inner] = g.mutate(v)
					return n
				}
			}
			if fields, ok := n["fields"].([]any); ok && len(fields) > 0 {
				f := pick(g.t, fields).(map[string]any)
				f["type"] = g.mutate(f["type"])
				return n
			}
		}
		return g.mutateNamed(n)
	case []any:
		if len(n) > 0 && g.chance(50) {
			i := rapid.IntRange(0, len(n)-1).Draw(g.t, "branch")
			n[i] = g.mutate(n[i])
			return n
		}
		if g.chance(50) {
			return append(n, g.schema(1))
		}
		if len(n) > 1 {
			return n[1:]
		}
		return g.schema(1)
	}
	return pick(g.t, []any{g.schema(1), []any{"null", s}, "long", "double", "string", "bytes"})
}

func (g *generator) mutateNamed(n map[string]any) any {
	switch uniform(g.t, 8) {
	case 0:
		if _, ok := n["name"]; ok {
			n["aliases"] = []any{n["name"]}
			n["name"] = pick(g.t, names)
		}
	case 1:
		n["symbols"] = rapid.SliceOfNDistinct(rapid.SampledFrom(symbols), 1, 4, rapid.ID).Draw(g.t, "symbols")
		delete(n, "default")
	case 2:
		n["size"] = 8
	case 3:
		if fields, ok := n["fields"].([]any); ok {
			n["fields"] = append(fields, map[string]any{"name": "new", "type": g.schema(1)})
		}
	case 4:
		if fields, ok := n["fields"].([]any); ok && len(fields) > 0 {
			n["fields"] = fields[1:]
		}
	case 5:
		if fields, ok := n["fields"].([]any); ok && len(fields) > 0 {
			f := fields[0].(map[string]any)
			f["aliases"] = []any{f["name"], "a"}
			f["name"] = "renamed"
		}
	case 6:
		n["namespace"] = pick(g.t, namespaces)
	default:
		return []any{"null", n}
	}
	return n
}

// DrawText draws a schema; a sloppy one may be what Avro refuses.
func DrawText(t *rapid.T, sloppy bool) string {
	g := generator{t: t, sloppy: sloppy}
	return text(g.root())
}

// root is a record more often than not, as in a registry.
func (g *generator) root() any {
	if g.chance(70) {
		return g.record(3)
	}
	return g.schema(4)
}

func text(s any) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// DrawPair draws a reader and a writer that are related or not.
func DrawPair(t *rapid.T) (reader, writer string) {
	g := generator{t: t, sloppy: uniform(t, 10) == 9}
	one := g.root()
	reader = text(one)
	if uniform(t, 4) == 3 {
		other := generator{t: t, sloppy: g.sloppy}
		return reader, text(other.root())
	}
	var other any
	_ = json.Unmarshal([]byte(reader), &other)
	for range 1 + uniform(t, 3) {
		other = g.mutate(other)
	}
	if g.chance(50) {
		return text(other), reader
	}
	return reader, text(other)
}

// DrawVersions draws n schemas of one subject, each made from one before it by few changes.
func DrawVersions(t *rapid.T, n int) []string {
	g := generator{t: t, sloppy: uniform(t, 10) == 9}
	all := []string{text(g.record(3))}
	for len(all) < n {
		var next any
		_ = json.Unmarshal([]byte(pick(t, all)), &next)
		for range uniform(t, 3) {
			next = g.mutate(next)
		}
		all = append(all, text(next))
	}
	return all
}
