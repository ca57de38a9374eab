package avrotest

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// A tangle is a schema of another shape than Draw makes: a handful of named types that are all used everywhere, before and
// after their definition, through namespaces that are inherited, unions of many of them, and chains of containers that are
// dozens of levels deep. Where the other generator builds a tree from its root, this one draws the types first and then
// decides where each is written out: at the place where a walk first meets it, or later.
type tangle struct {
	t     *rapid.T
	types []map[string]any // by number, without their namespace's spelling
	full  []string
	// sloppy ones also have what Avro refuses.
	sloppy bool
	// written tells which are written out already in the text under way.
	written []bool
}

var tangleSpaces = []string{"", "x", "x.y", "z"}

func newTangle(t *rapid.T) *tangle {
	g := &tangle{t: t, sloppy: uniform(t, 4) == 3}
	n := 2 + uniform(t, 5)
	for i := range n {
		space, name := pick(t, tangleSpaces), fmt.Sprintf("T%d", i)
		if uniform(t, 4) == 3 {
			name = fmt.Sprintf("T%d", uniform(t, i+1)) // the same short name in two namespaces
		}
		full := name
		if space != "" {
			full = space + "." + name
		}
		if contains(g.full, full) {
			full = fmt.Sprintf("q%d.%s", i, name)
		}
		g.full = append(g.full, full)
	}
	for i := range n {
		g.types = append(g.types, g.define(i))
	}
	return g
}

func contains(all []string, s string) bool {
	for _, one := range all {
		if one == s {
			return true
		}
	}
	return false
}

// reference stands for a type in a definition until it is spelled.
type reference int

func (g *tangle) define(i int) map[string]any {
	s := map[string]any{}
	if uniform(g.t, 4) == 0 {
		s["aliases"] = []any{pick(g.t, g.full), pick(g.t, []string{"T0", "T1", "x.T1", "x.y.T0", ".T2", "z.T3", "T9"})}
	}
	kind := uniform(g.t, 5)
	if i == 0 {
		kind = 4
	}
	switch kind {
	case 0:
		all := []any{"P", "Q", "R", "S", "U"}
		from := uniform(g.t, 4)
		s["type"], s["symbols"] = "enum", all[from:from+1+uniform(g.t, 5-from)]
		if uniform(g.t, 2) == 1 {
			s["default"] = pick(g.t, s["symbols"].([]any))
		}
	case 1:
		s["type"], s["size"] = "fixed", pick(g.t, []any{1, 2, 8, 12, 16})
		if uniform(g.t, 2) == 1 {
			s["logicalType"], s["precision"], s["scale"] = "decimal", pick(g.t, []any{1, 2, 4, 18, 38, 0, -1, "4", 4.0}), pick(g.t, []any{0, 2, 4, 39, -1, "2"})
		}
	default:
		s["type"] = "record"
		fields := []any{}
		for f := range uniform(g.t, 7) {
			fields = append(fields, g.field(f))
		}
		s["fields"] = fields
	}
	return s
}

func (g *tangle) field(i int) map[string]any {
	f := map[string]any{"name": fmt.Sprintf("f%d", i), "type": g.usage(3)}
	if uniform(g.t, 5) == 4 {
		f["type"] = g.chain(5 + uniform(g.t, 40))
	}
	if uniform(g.t, 3) == 2 {
		f["aliases"] = []any{fmt.Sprintf("f%d", uniform(g.t, 9))}
	}
	if uniform(g.t, 3) == 2 {
		f["default"] = g.value(f["type"], 4)
	}
	return f
}

// chain nests containers deeply.
func (g *tangle) chain(depth int) any {
	s := g.usage(1)
	for range depth {
		switch uniform(g.t, 3) {
		case 0:
			s = map[string]any{"type": "array", "items": s}
		case 1:
			s = map[string]any{"type": "map", "values": s}
		default:
			if _, union := s.([]any); !union && s != "null" {
				s = []any{"null", s}
			}
		}
	}
	return s
}

func (g *tangle) usage(depth int) any {
	n := uniform(g.t, 12)
	switch {
	case n < 4 || depth <= 0:
		return reference(uniform(g.t, len(g.full)))
	case n < 6:
		return pick(g.t, typeWords)
	case n < 8:
		// A logical type on a type that may not have it.
		return map[string]any{
			"type": pick(g.t, typeWords), "logicalType": pick(g.t, []string{"decimal", "uuid", "date", "time-micros", "timestamp-nanos", "local-timestamp-millis", "duration"}),
			"precision": 9, "scale": pick(g.t, []any{0, 3, 10}),
		}
	case n < 9:
		return map[string]any{"type": "array", "items": g.usage(depth - 1)}
	case n < 10:
		return map[string]any{"type": "map", "values": g.usage(depth - 1)}
	}
	var branches []any
	seen := map[string]bool{}
	for range 1 + uniform(g.t, 6) {
		b := g.usage(0)
		if uniform(g.t, 2) == 1 {
			b = pick(g.t, typeWords)
		}
		if key := fmt.Sprint(b); !seen[key] {
			seen[key] = true
			branches = append(branches, b)
		}
	}
	return branches
}

// value draws a default: of a union's first branch, of another one, or of none.
func (g *tangle) value(of any, depth int) any {
	if depth < 0 || g.sloppy && uniform(g.t, 12) == 11 {
		return pick(g.t, []any{nil, 1, -1.5, "P", "", true, []any{}, map[string]any{}, 1 << 40, "\u00ff", "\u0100"})
	}
	switch s := of.(type) {
	case reference:
		if int(s) >= len(g.types) {
			return map[string]any{}
		}
		return g.value(g.types[s], depth-1)
	case string:
		switch s {
		case "null":
			return nil
		case "boolean":
			return false
		case "bytes", "string":
			return pick(g.t, []any{"", "\u0000\u00ff", "text"})
		}
		return pick(g.t, []any{0, 7, -3, 2147483647})
	case []any:
		if !g.sloppy || uniform(g.t, 3) > 0 {
			return g.value(s[0], depth)
		}
		return g.value(s[len(s)-1], depth)
	case map[string]any:
		switch s["type"] {
		case "array":
			return []any{g.value(s["items"], depth-1)}
		case "map":
			return map[string]any{"k": g.value(s["values"], depth-1)}
		case "enum":
			return pick(g.t, s["symbols"].([]any))
		case "fixed":
			return "\u0001\u0002"
		case "record":
			v := map[string]any{}
			for _, f := range s["fields"].([]any) {
				field := f.(map[string]any)
				// A field that has a default may be left out of its record's.
				if _, has := field["default"]; !has || uniform(g.t, 2) == 1 {
					v[field["name"].(string)] = g.value(field["type"], depth-1)
				}
			}
			return v
		}
		return g.value(s["type"], depth)
	}
	return nil
}

// change alters one thing of one type.
func (g *tangle) change() {
	i := uniform(g.t, len(g.types))
	s := g.types[i]
	fields, _ := s["fields"].([]any)
	if len(fields) == 0 {
		g.types[i] = g.define(i)
		return
	}
	at := uniform(g.t, len(fields))
	f := fields[at].(map[string]any)
	switch uniform(g.t, 9) {
	case 0:
		s["fields"] = append(append([]any{}, fields[:at]...), fields[at+1:]...)
	case 1:
		s["fields"] = append([]any{g.field(7 + uniform(g.t, 3))}, fields...)
	case 2:
		f["aliases"] = []any{f["name"], "f8"}
		f["name"] = "renamed"
	case 3:
		f["type"] = g.usage(2)
		delete(f, "default")
	case 4:
		if branches, ok := f["type"].([]any); ok {
			f["type"] = append(append([]any{}, branches[1:]...), branches[0])
		} else {
			f["type"] = []any{"null", f["type"]}
			delete(f, "default")
		}
	case 5:
		delete(f, "default")
	case 6:
		f["default"] = g.value(f["type"], 4)
	case 7:
		// The type moves to another namespace, with an alias to the old name or without.
		old := g.full[i]
		next := pick(g.t, tangleSpaces) + "." + old[strings.LastIndexByte(old, '.')+1:]
		if next = strings.TrimPrefix(next, "."); !contains(g.full, next) {
			g.full[i] = next
			if uniform(g.t, 2) == 1 {
				s["aliases"] = []any{old}
			}
		}
	default:
		g.types[i] = g.define(i)
	}
}

// text spells the tangle out from a type; a use before the definition and one after it are both the name alone.
func (g *tangle) text(root int) string {
	g.written = make([]bool, len(g.types))
	b, err := json.Marshal(g.spell(reference(root), ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// spell writes a use of a schema in a namespace that is inherited.
func (g *tangle) spell(s any, inherited string) any {
	switch n := s.(type) {
	case reference:
		return g.spellNamed(int(n), inherited)
	case []any:
		all := make([]any, len(n))
		for i, b := range n {
			all[i] = g.spell(b, inherited)
		}
		return all
	case map[string]any:
		out := map[string]any{}
		for k, v := range n {
			if k == "items" || k == "values" {
				v = g.spell(v, inherited)
			}
			out[k] = v
		}
		return out
	}
	return s
}

func (g *tangle) spellNamed(i int, inherited string) any {
	space, short := "", g.full[i]
	if dot := strings.LastIndexByte(short, '.'); dot >= 0 {
		space, short = short[:dot], short[dot+1:]
	}
	if g.written[i] || uniform(g.t, 40) == 39 {
		if space == inherited && uniform(g.t, 2) == 1 {
			return short
		}
		return g.full[i]
	}
	g.written[i] = true
	out := map[string]any{}
	for k, v := range g.types[i] {
		out[k] = v
	}
	out["name"] = short
	switch {
	case space == inherited && uniform(g.t, 2) == 1: // said by what is around it
	case space != "" && uniform(g.t, 2) == 1:
		out["name"] = g.full[i]
		if uniform(g.t, 3) == 2 {
			out["namespace"] = "overruled.by.the.name"
		}
	default:
		out["namespace"] = space
	}
	if fields, ok := out["fields"].([]any); ok {
		spelled := make([]any, len(fields))
		for at, f := range fields {
			field := map[string]any{}
			for k, v := range f.(map[string]any) {
				field[k] = v
			}
			field["type"] = g.spell(field["type"], space)
			spelled[at] = field
		}
		out["fields"] = spelled
	}
	return out
}

// DrawTangledPair draws a reader and a writer of a tangle before and after some changes.
func DrawTangledPair(t *rapid.T) (reader, writer string) {
	g := newTangle(t)
	one := g.text(0)
	var copied []map[string]any
	for _, s := range g.types {
		copied = append(copied, clone(s).(map[string]any))
	}
	g.types = copied
	for range uniform(t, 4) {
		g.change()
	}
	other := g.text(0)
	if uniform(t, 2) == 1 {
		return other, one
	}
	return one, other
}

// clone copies a schema so that a change of one leaves the other.
func clone(s any) any {
	switch n := s.(type) {
	case []any:
		all := make([]any, len(n))
		for i, b := range n {
			all[i] = clone(b)
		}
		return all
	case map[string]any:
		out := map[string]any{}
		for k, v := range n {
			out[k] = clone(v)
		}
		return out
	}
	return s
}
