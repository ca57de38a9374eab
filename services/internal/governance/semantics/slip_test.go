package semantics_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

// mutate changes something, anything, somewhere in a schema's JSON. It knows nothing of Avro.
func mutate(t *rapid.T, root map[string]any) {
	type place struct {
		object map[string]any
		list   []any
		key    string
		index  int
	}
	var places []place
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				places = append(places, place{object: v, key: k})
				visit(v[k])
			}
		case []any:
			for i := range v {
				places = append(places, place{list: v, index: i})
				visit(v[i])
			}
		}
	}
	visit(root)
	p := places[rapid.IntRange(0, len(places)-1).Draw(t, "place")]
	words := []any{"long", "int", "string", "bytes", "double", "null", "A", "decimal", "date", "timestamp-millis", "", 0.0, 1.0, 7.0, true, nil, []any{}, map[string]any{}}
	how := rapid.IntRange(0, 3).Draw(t, "how")
	switch {
	case p.object != nil && how == 0:
		delete(p.object, p.key)
	case p.object != nil && how == 1:
		p.object[rapid.SampledFrom([]string{"default", "order", "unit", "x", "logicalType", "scale", "aliases", "doc"}).Draw(t, "key")] = rapid.SampledFrom(words).Draw(t, "value")
	case p.object != nil:
		p.object[p.key] = rapid.SampledFrom(words).Draw(t, "value")
	case how == 0:
		other := rapid.IntRange(0, len(p.list)-1).Draw(t, "other")
		p.list[p.index], p.list[other] = p.list[other], p.list[p.index]
	default:
		p.list[p.index] = rapid.SampledFrom(words).Draw(t, "value")
	}
}

// silent takes out of a schema what may come or change without a word: documentation and aliases. That neither may go is
// tested with the other edits.
func silent(text string) string {
	var tree any
	_ = json.Unmarshal([]byte(text), &tree)
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "doc")
			delete(v, "aliases")
			for _, inner := range v {
				visit(inner)
			}
		case []any:
			for _, inner := range v {
				visit(inner)
			}
		}
	}
	visit(tree)
	return written(tree)
}

// TestNothingSlipsThrough changes schemas blindly. Whatever the compatibility rules accept in both directions and is not the
// same schema for a registry has a finding.
func TestNothingSlipsThrough(t *testing.T) {
	texts := realSchemas(t)
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		subject := rapid.SampledFrom(slices.Sorted(maps.Keys(texts))).Draw(t, "subject")
		tree := treeOf(t, texts[subject])
		base := mustParse(t, written(tree))
		for range rapid.IntRange(1, 2).Draw(t, "times") {
			mutate(t, tree)
		}
		next, err := avro.Parse(written(tree), nil)
		if err != nil {
			t.Skip("no schema any more")
		}
		forth, err := avro.Incompatibilities(next, base)
		back, err2 := avro.Incompatibilities(base, next)
		if err != nil || err2 != nil || len(forth)+len(back) > 0 {
			return
		}
		if silent(base.Normalized().SelfContained()) == silent(next.Normalized().SelfContained()) {
			return
		}
		compared++
		if len(semantics.CompareSchemas(subject, base, next, nil)) == 0 {
			was, is := base.String(), next.String()
			i := 0
			for i < min(len(was), len(is)) && was[i] == is[i] {
				i++
			}
			t.Fatalf("%s: no finding between\n…%.300s\n…%.300s", subject, was[max(0, i-100):], is[max(0, i-100):])
		}
	})
	if compared < 5 {
		t.Errorf("only %d changes were accepted and compared", compared)
	}
}
