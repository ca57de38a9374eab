package semantics_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// oddSchema has what the repository's own schemas do not: maps, unions of several types, recursion, a type in many places.
const oddSchema = `{"type":"record","name":"Odd","namespace":"t.odd","doc":"Odd shapes.","fields":[
	{"name":"labels","doc":"A map of records.","type":{"type":"map","values":{"type":"record","name":"Label","doc":"A label.","fields":[
		{"name":"text","doc":"Its text.","type":"string"},{"name":"weight","doc":"Its weight.","type":"int"}]}}},
	{"name":"body","doc":"One of several.","type":["null",{"type":"record","name":"Trade","doc":"A trade.","fields":[{"name":"price","doc":"Its price.","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":4}}]},
		{"type":"record","name":"Quote","doc":"A quote.","fields":[{"name":"bid","doc":"The bid.","type":"long"}]},"string"],"default":null},
	{"name":"tree","doc":"A record within itself.","type":{"type":"record","name":"Tree","doc":"A tree.","fields":[
		{"name":"on","doc":"A day.","type":{"type":"int","logicalType":"date"}},{"name":"children","doc":"More of it.","type":{"type":"array","items":"Tree"}}]}},
	{"name":"matrix","doc":"Arrays in arrays.","type":{"type":"array","items":{"type":"array","items":{"type":"long","logicalType":"timestamp-millis"}}}},
	{"name":"twice","doc":"A type used twice.","type":"Label"}]}`

// realSchemas are the repository's own and the odd one, self-contained, by subject.
func realSchemas(t testing.TB) map[string]string {
	t.Helper()
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"odd-value": oddSchema}
	for _, s := range all {
		text, err := schemas.SelfContained(s)
		if err != nil {
			t.Fatal(err)
		}
		texts[s.Name] = text
	}
	return texts
}

func mustParse(t failer, text string) *avro.Schema {
	s, err := avro.Parse(text, nil)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

type failer interface {
	Fatalf(format string, args ...any)
}

// explicit gives every named type its namespace and every use its full name, so that one type can be renamed alone.
func explicit(node any, namespace string) any {
	switch n := node.(type) {
	case string:
		if slices.Contains([]string{"null", "boolean", "int", "long", "float", "double", "bytes", "string"}, n) || strings.Contains(n, ".") {
			return n
		}
		return namespace + "." + n
	case []any:
		for i := range n {
			n[i] = explicit(n[i], namespace)
		}
	case map[string]any:
		switch n["type"] {
		case "record", "enum", "fixed":
			if own, ok := n["namespace"].(string); ok {
				namespace = own
			}
			n["namespace"] = namespace
			fields, _ := n["fields"].([]any)
			for _, f := range fields {
				f.(map[string]any)["type"] = explicit(f.(map[string]any)["type"], namespace)
			}
		case "array":
			n["items"] = explicit(n["items"], namespace)
		case "map":
			n["values"] = explicit(n["values"], namespace)
		default:
			if _, primitive := n["type"].(string); !primitive {
				n["type"] = explicit(n["type"], namespace)
			}
		}
	}
	return node
}

func treeOf(t failer, text string) map[string]any {
	var tree map[string]any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatalf("%v", err)
	}
	return explicit(tree, "").(map[string]any)
}

// site is a place where something can be edited, in two copies of one schema: an edit may have to prepare the base too.
type site struct {
	path       string
	base, next map[string]any // the object: a field, a record, an enum, …
	// baseIn and nextIn are the lists of fields around a field, at its position; holders of a type that is only a word.
	in    *[2]map[string]any
	index int
	roots [2]map[string]any
	field bool
}

// sites lists all places in the order of the text, in both copies at once. It finds its way on its own: it shares no code
// with what it tests.
func sites(base, next map[string]any) []site {
	var all []site
	roots := [2]map[string]any{base, next}
	var visit func(b, n any, path string)
	visit = func(b, n any, path string) {
		switch b := b.(type) {
		case []any:
			n := n.([]any)
			others := 0
			for _, branch := range b {
				if branch != "null" {
					others++
				}
			}
			for i := range b {
				inner := path
				if others > 1 {
					inner += "<" + wordFor(b[i]) + ">"
				}
				visit(b[i], n[i], inner)
			}
		case map[string]any:
			n := n.(map[string]any)
			all = append(all, site{path: path, base: b, next: n, roots: roots})
			switch b["type"] {
			case "record":
				for i, f := range b["fields"].([]any) {
					f, g := f.(map[string]any), n["fields"].([]any)[i].(map[string]any)
					inner := f["name"].(string)
					if path != "" {
						inner = path + "." + inner
					}
					all = append(all, site{path: inner, base: f, next: g, in: &[2]map[string]any{b, n}, index: i, roots: roots, field: true})
					visit(f["type"], g["type"], inner)
				}
			case "array":
				visit(b["items"], n["items"], path+"[]")
			case "map":
				visit(b["values"], n["values"], path+"{}")
			}
		}
	}
	visit(base, next, "")
	return all
}

func wordFor(branch any) string {
	if m, ok := branch.(map[string]any); ok {
		if name, ok := m["name"].(string); ok {
			return name
		}
		return m["type"].(string)
	}
	return branch.(string)
}

func (s site) fullName() string {
	return fmt.Sprintf("%s.%s", s.base["namespace"], s.base["name"])
}

// renameUses writes the new name where the old one is used.
func renameUses(node any, old, new string) {
	switch n := node.(type) {
	case []any:
		for i := range n {
			if n[i] == old {
				n[i] = new
			}
			renameUses(n[i], old, new)
		}
	case map[string]any:
		for _, k := range []string{"type", "items", "values"} {
			if n[k] == old {
				n[k] = new
			}
		}
		for _, v := range n {
			renameUses(v, old, new)
		}
	}
}

// edit is one kind of change of a schema. apply changes the site and says which rules it must raise, nil when the site is of
// another kind.
type edit struct {
	name  string
	apply func(s site) []rule.Rule
}

func one(r rule.Rule) []rule.Rule { return []rule.Rule{r} }

func is(s site, kind string) bool { return !s.field && s.base["type"] == kind }

// plainField is a field whose type is the word itself.
func plainField(s site, kinds ...string) bool {
	word, ok := s.base["type"].(string)
	_, has := s.base["default"]
	return s.field && ok && !has && slices.Contains(kinds, word)
}

func logical(s site, names ...string) bool {
	name, ok := s.base["logicalType"].(string)
	return !s.field && ok && slices.Contains(names, name)
}

func typeEdits() []edit {
	set := func(name, key string, value any, r rule.Rule, when func(site) bool) edit {
		return edit{name, func(s site) []rule.Rule {
			if !when(s) {
				return nil
			}
			if value == nil {
				delete(s.next, key)
			} else {
				s.next[key] = value
			}
			return one(r)
		}}
	}
	decimal := func(s site) bool { return logical(s, "decimal") }
	return []edit{
		set("micros to millis", "logicalType", "timestamp-millis", rule.UnitChanged, func(s site) bool { return logical(s, "timestamp-micros") }),
		set("millis to nanos", "logicalType", "timestamp-nanos", rule.UnitChanged, func(s site) bool { return logical(s, "timestamp-millis") }),
		set("to local time", "logicalType", "local-timestamp-micros", rule.LogicalTypeChanged, func(s site) bool { return logical(s, "timestamp-micros") }),
		set("logical type away", "logicalType", nil, rule.LogicalTypeChanged, func(s site) bool { return logical(s, "uuid", "date", "timestamp-micros", "timestamp-millis") }),
		set("scale", "scale", 2, rule.ScaleChanged, decimal),
		set("precision", "precision", 37, rule.PrecisionChanged, decimal),
		set("int to long", "type", "long", rule.TypePromoted, func(s site) bool { return plainField(s, "int") }),
		set("long to double", "type", "double", rule.TypeChanged, func(s site) bool { return plainField(s, "long") }),
		set("string to bytes", "type", "bytes", rule.TypeChanged, func(s site) bool { return plainField(s, "string") }),
		set("long to int", "type", "int", rule.TypePromoted, func(s site) bool { return plainField(s, "long") }),
		set("unit attribute", "unit", "ms", rule.UnitChanged, func(s site) bool { return s.field }),
		set("foreign attribute", "x-note", map[string]any{"b": 1, "a": 2}, rule.AttributeChanged, func(s site) bool { return s.field || is(s, "enum") || is(s, "array") }),
		set("sort order", "order", "descending", rule.SortOrderChanged, func(s site) bool { return s.field }),
		{"made nullable", func(s site) []rule.Rule {
			if !plainField(s, "string", "int", "long", "double", "boolean") {
				return nil
			}
			s.next["type"] = []any{"null", s.next["type"]}
			return one(rule.NullabilityChanged)
		}},
		{"a branch more", func(s site) []rule.Rule {
			branches, ok := s.next["type"].([]any)
			if !ok || !s.field {
				return nil
			}
			s.next["type"] = append(branches, "boolean")
			return one(rule.UnionChanged)
		}},
		{"branches turned", func(s site) []rule.Rule {
			branches, ok := s.next["type"].([]any)
			if !ok || !s.field {
				return nil
			}
			slices.Reverse(branches)
			return one(rule.UnionOrderChanged)
		}},
	}
}

func fieldEdits() []edit {
	return []edit{
		{"doc away", func(s site) []rule.Rule {
			if s.base["doc"] == nil {
				return nil
			}
			delete(s.next, "doc")
			return one(rule.DocRemoved)
		}},
		{"default changed", func(s site) []rule.Rule {
			if !plainField(s, "int", "long") {
				return nil
			}
			s.base["default"], s.next["default"] = 1, 2
			return one(rule.DefaultChanged)
		}},
		{"default away", func(s site) []rule.Rule {
			if !plainField(s, "string") {
				return nil
			}
			s.base["default"] = "x"
			return one(rule.DefaultRemoved)
		}},
		{"default added", func(s site) []rule.Rule {
			if !plainField(s, "string") {
				return nil
			}
			s.next["default"] = "x"
			return one(rule.DefaultAdded)
		}},
		{"removed", func(s site) []rule.Rule {
			if !s.field || defines(s.base["type"]) {
				return nil
			}
			list := s.in[1]["fields"].([]any)
			s.in[1]["fields"] = slices.Delete(slices.Clone(list), s.index, s.index+1)
			if _, has := s.base["default"]; has {
				return []rule.Rule{rule.FieldRemoved, rule.FieldSilentlyDefaulted}
			}
			return []rule.Rule{rule.FieldRemoved, rule.FieldStillRead}
		}},
		{"renamed", func(s site) []rule.Rule {
			if !s.field || defines(s.base["type"]) {
				return nil
			}
			s.next["aliases"] = []any{s.base["name"]}
			s.next["name"] = "renamed_field"
			if _, has := s.base["default"]; has {
				return []rule.Rule{rule.FieldRenamed, rule.FieldSilentlyDefaulted}
			}
			return []rule.Rule{rule.FieldRenamed, rule.FieldStillRead}
		}},
		{"alias away", func(s site) []rule.Rule {
			if !s.field {
				return nil
			}
			s.base["aliases"] = []any{"old_name"}
			return one(rule.AliasRemoved)
		}},
		{"neighbours swapped", func(s site) []rule.Rule {
			if !is(s, "record") {
				return nil
			}
			list := s.next["fields"].([]any)
			for i := range len(list) - 1 {
				a, b := list[i].(map[string]any), list[i+1].(map[string]any)
				if !defines(a["type"]) && !defines(b["type"]) {
					list[i], list[i+1] = b, a
					return one(rule.FieldOrderChanged)
				}
			}
			return nil
		}},
	}
}

// defines tells whether a type has a definition inside, which others may use by name: it cannot be moved or removed alone.
func defines(t any) bool {
	switch t := t.(type) {
	case []any:
		return slices.ContainsFunc(t, defines)
	case map[string]any:
		return t["name"] != nil || defines(t["items"]) || defines(t["values"])
	}
	return false
}

func namedEdits() []edit {
	namedType := func(s site) bool { return is(s, "record") || is(s, "enum") || is(s, "fixed") }
	symbols := func(s site) []any { return s.base["symbols"].([]any) }
	return []edit{
		{"another namespace", func(s site) []rule.Rule {
			if !namedType(s) {
				return nil
			}
			old := s.fullName()
			s.next["namespace"] = "elsewhere"
			renameUses(s.roots[1], old, "elsewhere."+s.base["name"].(string))
			return one(rule.NameChanged)
		}},
		{"renamed with an alias", func(s site) []rule.Rule {
			if !namedType(s) {
				return nil
			}
			old := s.fullName()
			s.next["name"] = "Renamed"
			renameUses(s.roots[1], old, s.base["namespace"].(string)+".Renamed")
			s.next["aliases"] = []any{old}
			return one(rule.NameAliased)
		}},
		{"symbols swapped", func(s site) []rule.Rule {
			if !is(s, "enum") || len(symbols(s)) < 2 {
				return nil
			}
			slices.Reverse(s.next["symbols"].([]any))
			return one(rule.EnumOrderChanged)
		}},
		{"symbol away", func(s site) []rule.Rule {
			if !is(s, "enum") || s.base["default"] == nil {
				return nil
			}
			list := symbols(s)
			if list[len(list)-1] == s.base["default"] {
				return nil
			}
			s.next["symbols"] = slices.Clone(list[:len(list)-1])
			return one(rule.EnumSymbolRemoved)
		}},
		{"symbol added", func(s site) []rule.Rule {
			if !is(s, "enum") || s.base["default"] == nil {
				return nil
			}
			s.next["symbols"] = append(slices.Clone(symbols(s)), "ADDED")
			return one(rule.EnumSymbolAdded)
		}},
		{"symbol in front", func(s site) []rule.Rule {
			if !is(s, "enum") || s.base["default"] == nil {
				return nil
			}
			s.next["symbols"] = append([]any{"ADDED"}, symbols(s)...)
			return []rule.Rule{rule.EnumOrderChanged, rule.EnumSymbolAdded}
		}},
		{"another enum default", func(s site) []rule.Rule {
			if !is(s, "enum") || s.base["default"] == nil || s.base["default"] == symbols(s)[1] {
				return nil
			}
			s.next["default"] = symbols(s)[1]
			return one(rule.DefaultChanged)
		}},
	}
}

func allEdits() []edit { return slices.Concat(typeEdits(), fieldEdits(), namedEdits()) }

// drawn is one edit of one schema.
type drawn struct {
	subject, edit, path string
	base, next          map[string]any
	rules               []rule.Rule
}

// drawEdit draws a schema, a kind of edit and a place where it can be made.
func drawEdit(t *rapid.T, texts map[string]string, kinds []edit) drawn {
	subject := rapid.SampledFrom(slices.Sorted(maps.Keys(texts))).Draw(t, "subject")
	kind := rapid.SampledFrom(kinds).Draw(t, "edit")
	d := drawn{subject: subject, edit: kind.name}
	first := rapid.IntRange(0, len(sites(treeOf(t, texts[subject]), treeOf(t, texts[subject])))-1).Draw(t, "site")
	for i := first; ; {
		d.base, d.next = treeOf(t, texts[subject]), treeOf(t, texts[subject])
		all := sites(d.base, d.next)
		if d.rules = kind.apply(all[i]); d.rules != nil {
			d.path = all[i].path
			return d
		}
		if i = (i + 1) % len(all); i == first {
			t.Skip("nowhere in " + subject)
		}
	}
}

// scrambled writes a tree with its members in a drawn order, and blanks where JSON allows them.
func scrambled(t *rapid.T, v any) string {
	var b strings.Builder
	var write func(v any)
	write = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			keys := rapid.Permutation(slices.Sorted(maps.Keys(v))).Draw(t, "order")
			b.WriteString("{\n ")
			for i, k := range keys {
				if i > 0 {
					b.WriteString(" ,")
				}
				fmt.Fprintf(&b, "%q :\t", k)
				write(v[k])
			}
			b.WriteString("}")
		case []any:
			b.WriteString("[ ")
			for i := range v {
				if i > 0 {
					b.WriteString(",\n")
				}
				write(v[i])
			}
			b.WriteString("]")
		default:
			text, _ := json.Marshal(v)
			b.Write(text)
		}
	}
	write(v)
	return b.String()
}

func written(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
