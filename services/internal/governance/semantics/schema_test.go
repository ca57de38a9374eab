package semantics_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

func rulesOf(found []semantics.Finding) []rule.Rule {
	var rules []rule.Rule
	for _, f := range found {
		rules = append(rules, f.Rule)
	}
	slices.Sort(rules)
	return rules
}

// TestEverySingleEditIsFoundWithItsPath makes every kind of edit that the generator knows anywhere in the repository's own
// schemas: exactly its rules are raised, at its path, with a reason that names the place.
func TestEverySingleEditIsFoundWithItsPath(t *testing.T) {
	texts := realSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawEdit(t, texts, allEdits())
		base, next := mustParse(t, written(d.base)), mustParse(t, written(d.next))
		var readers []contract.Consumer
		want := d.rules
		if len(want) == 2 && (want[0] == rule.FieldRemoved || want[0] == rule.FieldRenamed) {
			if rapid.Bool().Draw(t, "read") {
				readers, want = []contract.Consumer{{Group: "model", Reads: []contract.Read{{Product: d.subject, Fields: []string{d.path}}}}}, want[1:]
			} else {
				want = want[:1]
			}
		}
		found := semantics.CompareSchemas(d.subject, base, next, readers)
		slices.Sort(want)
		if got := rulesOf(found); !slices.Equal(got, want) {
			t.Fatalf("%s: %s at %s raises %v, want %v: %+v", d.subject, d.edit, d.path, got, want, found)
		}
		for _, f := range found {
			if f.Path != d.path {
				t.Errorf("%s: %s is found at %q, not at %q", d.subject, d.edit, f.Path, d.path)
			}
			if !strings.Contains(f.Reason, d.path) || f.Do == "" || f.Hash == "" || strings.Contains(f.Reason+f.Do, "%!") {
				t.Errorf("%s: %s at %s says %q; %q", d.subject, d.edit, d.path, f.Reason, f.Do)
			}
			if len(readers) > 0 && !slices.Equal(f.Readers, []string{"model"}) {
				t.Errorf("%s at %s breaks %v, not the model", d.edit, d.path, f.Readers)
			}
		}
	})
}

func TestAReformattedCopyHasNoFinding(t *testing.T) {
	texts := realSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawEdit(t, texts, allEdits())
		base := mustParse(t, written(d.next))
		again := mustParse(t, scrambled(t, d.next))
		if found := semantics.CompareSchemas(d.subject, base, again, nil); len(found) > 0 {
			t.Fatalf("%s differs from itself: %+v", d.subject, found)
		}
	})
}

// TestAHashNamesTheChangeAndNothingElse: the hash is the same however the files are written and whatever else changes, and
// differs between changes.
func TestAHashNamesTheChangeAndNothingElse(t *testing.T) {
	texts := realSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawEdit(t, texts, allEdits())
		found := semantics.CompareSchemas(d.subject, mustParse(t, written(d.base)), mustParse(t, written(d.next)), nil)
		// Something else happens to the root: a field more, another one documented away, in front of everything.
		fields := d.next["fields"].([]any)
		added := map[string]any{"name": "unrelated", "doc": "A field more.", "type": "string", "default": ""}
		d.next["fields"] = append([]any{added}, fields...)
		other := semantics.CompareSchemas(d.subject, mustParse(t, scrambled(t, d.base)), mustParse(t, scrambled(t, d.next)), nil)
		for _, f := range found {
			// The order of the root's fields is the one thing that the new field is part of.
			if f.Rule == rule.FieldOrderChanged && f.Path == "" {
				continue
			}
			if !slices.ContainsFunc(other, func(o semantics.Finding) bool { return o.Hash == f.Hash && o.Rule == f.Rule }) {
				t.Errorf("%s at %s has the hash %s, and with another change beside it none of %+v", f.Rule, f.Path, f.Hash, other)
			}
		}
	})
}

// TestEveryEditEverywhere goes through every kind of edit at every place: each raises its rules at its path, and no two
// changes have one hash.
func TestEveryEditEverywhere(t *testing.T) {
	texts := realSchemas(t)
	seen := map[string]string{}
	places := map[string]int{}
	for subject, text := range texts {
		tree := treeOf(t, text)
		count := len(sites(tree, tree))
		for _, kind := range allEdits() {
			for i := range count {
				base, next := treeOf(t, text), treeOf(t, text)
				s := sites(base, next)[i]
				want := kind.apply(s)
				if want == nil {
					continue
				}
				places[kind.name]++
				if want[0] == rule.FieldRemoved || want[0] == rule.FieldRenamed {
					readers := []contract.Consumer{{Group: "model", Reads: []contract.Read{{Product: subject, Fields: []string{s.path}}}}}
					if got := rulesOf(semantics.CompareSchemas(subject, mustParse(t, written(base)), mustParse(t, written(next)), readers)); !slices.Equal(got, want[1:]) {
						t.Errorf("%s: %s at %s, which is read, raises %v, want %v", subject, kind.name, s.path, got, want[1:])
					}
					want = want[:1] // and now nobody reads it
				}
				found := semantics.CompareSchemas(subject, mustParse(t, written(base)), mustParse(t, written(next)), nil)
				slices.Sort(want)
				if got := rulesOf(found); !slices.Equal(got, want) {
					t.Errorf("%s: %s at %s raises %v, want %v", subject, kind.name, s.path, got, want)
				}
				for _, f := range found {
					if f.Path != s.path {
						t.Errorf("%s: %s is found at %q, not at %q", subject, kind.name, f.Path, s.path)
					}
					what := strings.Join([]string{subject, string(f.Rule), f.Path, f.Reason}, " ")
					if other, taken := seen[f.Hash]; taken && other != what {
						t.Errorf("%s is the hash of\n%s\n%s", f.Hash, other, what)
					}
					seen[f.Hash] = what
				}
			}
		}
	}
	for _, kind := range allEdits() {
		// An edit that finds no place tests nothing.
		if places[kind.name] == 0 {
			t.Errorf("%s is possible nowhere", kind.name)
		}
	}
	if len(seen) < 500 {
		t.Errorf("only %d changes were compared", len(seen))
	}
}

func TestAHashDoesNotDependOnWhereElseATypeIsUsed(t *testing.T) {
	level := func(scale string) string {
		return `{"type":"record","name":"L","namespace":"t","fields":[{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":` + scale + `}}]}`
	}
	book := func(scale string) string {
		return `{"type":"record","name":"B","namespace":"t","fields":[{"name":"bids","type":{"type":"array","items":` + level(scale) + `}},{"name":"asks","type":{"type":"array","items":"L"}}]}`
	}
	half := func(scale string) string {
		return `{"type":"record","name":"B","namespace":"t","fields":[{"name":"asks","type":{"type":"array","items":` + level(scale) + `}}]}`
	}
	both := semantics.CompareSchemas("p", mustParse(t, book("2")), mustParse(t, book("4")), nil)
	if len(both) != 1 || both[0].Path != "bids[].price" || !slices.Equal(both[0].Paths, []string{"bids[].price", "asks[].price"}) || !strings.Contains(both[0].Reason, "(also asks[].price)") {
		t.Fatalf("%+v", both)
	}
	if !strings.HasSuffix(both[0].Do, "or make a new type beside p") {
		t.Errorf("a shared type has no major versions: %s", both[0].Do)
	}
	one := semantics.CompareSchemas("p", mustParse(t, half("2")), mustParse(t, half("4")), nil)
	if len(one) != 1 || one[0].Hash != both[0].Hash {
		t.Errorf("%+v has another hash than %+v", one, both)
	}
	if other := semantics.CompareSchemas("q", mustParse(t, half("2")), mustParse(t, half("4")), nil); other[0].Hash == one[0].Hash {
		t.Error("a waiver of one product would let another's change pass")
	}
}

// TestAWideTypeEnds: every record uses the next one twice, so there are a million paths to the last.
func TestAWideTypeEnds(t *testing.T) {
	text := func(logical string) string {
		inner := `{"type":"record","name":"R20","fields":[{"name":"at","type":{"type":"long","logicalType":"` + logical + `"}},{"name":"self","type":["null","R20"],"default":null}]}`
		for i := 19; i >= 0; i-- {
			name := "R" + string(rune('0'+i/10)) + string(rune('0'+i%10))
			next := "R" + string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10))
			inner = `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":` + inner + `},{"name":"b","type":"` + next + `"},{"name":"up","type":["null","` + name + `"],"default":null}]}`
		}
		return inner
	}
	found := semantics.CompareSchemas("p", mustParse(t, text("timestamp-millis")), mustParse(t, text("timestamp-micros")), nil)
	if len(found) != 1 || found[0].Rule != rule.UnitChanged || found[0].Path != strings.Repeat("a.", 20)+"at" || len(found[0].Paths) < 2 || len(found[0].Paths) > 16 {
		t.Errorf("%+v", found)
	}
}

func TestOddChanges(t *testing.T) {
	record := func(fields string) string {
		return `{"type":"record","name":"R","namespace":"t","fields":[` + fields + `]}`
	}
	for name, c := range map[string]struct {
		base, next string
		want       []string // rule path
	}{
		"a default written otherwise":     {`{"name":"f","type":"double","default":1}`, `{"name":"f","type":"double","default":1.00e0}`, nil},
		"a scale of 0 written out":        {`{"name":"f","type":{"type":"bytes","logicalType":"decimal","precision":4}}`, `{"name":"f","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":0}}`, nil},
		"a default's members":             {`{"name":"f","type":{"type":"map","values":"int"},"default":{"a":1,"b":2}}`, `{"name":"f","type":{"type":"map","values":"int"},"default":{"b":2,"a":1}}`, nil},
		"a very small default":            {`{"name":"f","type":"double","default":1e-99}`, `{"name":"f","type":"double","default":0}`, []string{"default-changed f"}},
		"a day becomes a moment":          {`{"name":"f","type":{"type":"int","logicalType":"date"}}`, `{"name":"f","type":{"type":"long","logicalType":"timestamp-millis"}}`, []string{"type-promoted f", "logical-type-changed f"}},
		"a unit that grows with its type": {`{"name":"f","type":{"type":"int","logicalType":"time-millis"}}`, `{"name":"f","type":{"type":"long","logicalType":"time-micros"}}`, []string{"type-promoted f", "unit-changed f"}},
		"a unit inside of null":           {`{"name":"f","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null}`, `{"name":"f","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}`, []string{"unit-changed f"}},
		"a unit that came with null":      {`{"name":"f","type":{"type":"long","logicalType":"timestamp-millis"}}`, `{"name":"f","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}`, []string{"unit-changed f", "nullability-changed f", "default-added f"}},
		"what only the registry refuses":  {`{"name":"f","type":"int"}`, `{"name":"f","type":"string"}`, nil},
		"an added record, half documented": {
			`{"name":"f","type":"int"}`, `{"name":"f","type":"int"},{"name":"g","doc":"G.","type":{"type":"array","items":{"type":"record","name":"G","fields":[{"name":"h","type":"int"},{"name":"again","doc":"More.","type":{"type":"map","values":"G"}}]}}}`,
			[]string{"field-undocumented g[].h"},
		},
		"a name taken over by a field of before": {`{"name":"a","type":"int"},{"name":"b","type":"int"}`, `{"name":"b","aliases":["a"],"type":"int"}`, []string{"field-removed a"}},
		"a rename and a change":                  {`{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}}`, `{"name":"b","aliases":["a"],"type":{"type":"long","logicalType":"timestamp-micros"}}`, []string{"field-renamed a", "unit-changed a"}},
		"a branch's field":                       {`{"name":"u","type":["int",{"type":"record","name":"A","fields":[{"name":"x","doc":"X.","type":"int"}]},"string"]}`, `{"name":"u","type":["int",{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},"string"]}`, []string{"doc-removed u<A>.x"}},
		"a branch promoted":                      {`{"name":"u","type":["int","string"]}`, `{"name":"u","type":["long","string"]}`, []string{"type-promoted u<int>"}},
		"branches of one name": {
			`{"name":"u","type":[{"type":"enum","name":"p.E","symbols":["A","B"]},{"type":"enum","name":"q.E","symbols":["A","B"]}]}`,
			`{"name":"u","type":[{"type":"enum","name":"p.E","symbols":["A","B"]},{"type":"enum","name":"q.E","symbols":["B","A"]}]}`,
			[]string{"enum-order-changed u<q.E>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := semantics.CompareSchemas("p", mustParse(t, record(c.base)), mustParse(t, record(c.next)), nil)
			var got []string
			for _, f := range found {
				got = append(got, string(f.Rule)+" "+f.Path)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// FuzzCompare: whatever two schemas come in, the comparison ends, and a schema has no finding with itself.
func FuzzCompare(f *testing.F) {
	texts := realSchemas(f)
	for _, text := range texts {
		f.Add(text, oddSchema)
		f.Add(text, text)
	}
	f.Add(`{"type":"record","name":"A","fields":[{"name":"a","type":["null","A"]}]}`, `["null",{"type":"array","items":{"type":"map","values":"int"}}]`)
	f.Fuzz(func(t *testing.T, a, b string) {
		base, err := avro.Parse(a, nil)
		if err != nil {
			return
		}
		if found := semantics.CompareSchemas("p", base, base, nil); len(found) > 0 {
			t.Errorf("%s differs from itself: %+v", a, found)
		}
		next, err := avro.Parse(b, nil)
		if err != nil {
			return
		}
		for _, f := range semantics.CompareSchemas("p", base, next, nil) {
			if f.Reason == "" || f.Hash == "" || len(f.Paths) == 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}
