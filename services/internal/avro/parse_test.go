package avro_test

import (
	"strings"
	"testing"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

func mustParse(t testing.TB, text string, references ...string) *avro.Schema {
	t.Helper()
	s, err := avro.Parse(text, references)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func TestOwnSchemasParseWithTheirReferences(t *testing.T) {
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, s := range all {
		var references []string
		for _, r := range s.References {
			references = append(references, texts[r.Subject])
		}
		parsed := mustParse(t, s.Text, references...)
		texts[s.Name] = s.Text
		inlined, err := schemas.SelfContained(s)
		if err != nil {
			t.Fatal(err)
		}
		whole := mustParse(t, inlined)
		if found, err := avro.Incompatibilities(parsed, whole); err != nil || len(found) > 0 {
			t.Errorf("%s: %v %v", s.Name, found, err)
		}
		for _, r := range s.References {
			if strings.Contains(parsed.String(), `"name":"`+r.Name[strings.LastIndex(r.Name, ".")+1:]+`"`) {
				t.Errorf("%s writes out the referenced %s: %s", s.Name, r.Name, parsed)
			}
		}
		if again := mustParse(t, parsed.SelfContained()); again.SelfContained() != parsed.SelfContained() {
			t.Errorf("%s: the self-contained text is not stable", s.Name)
		}
	}
}

func TestReferencesAreWrittenByNameAsAvroJavaDoes(t *testing.T) {
	o := startOracle(t)
	level := `{"type":"record","name":"Level","namespace":"t","fields":[{"name":"price","type":"long"}]}`
	side := `{"type":"record","name":"Side","namespace":"u","fields":[{"name":"levels","type":{"type":"array","items":"t.Level"}}]}`
	for _, c := range [][]string{
		{`{"type":"record","name":"Book","namespace":"t","fields":[{"name":"bids","type":{"type":"array","items":"Level"}}]}`, level},
		{`{"type":"record","name":"Book","namespace":"x","fields":[{"name":"a","type":"u.Side"},{"name":"b","type":["null","t.Level"],"default":null}]}`, level, side},
		{`["null","t.Level"]`, level},
		{`"t.Level"`, level},
		{`{"type":"array","items":"t.Level"}`, level},
		{`{"type":"record","name":"Level","namespace":"t","fields":[{"name":"price","type":"long"}]}`, level},
		{`{"type":"record","name":"Book","fields":[{"name":"a","type":"t.Missing"}]}`, level},
		{`{"type":"record","name":"Book","fields":[{"name":"a","type":"u.Side"}]}`, side},
	} {
		want := o.ask(t, append([]string{"parse"}, c...)...)
		got, err := avro.Parse(c[0], c[1:])
		if (err == nil) != want.OK {
			t.Errorf("%s: we say %v, Java %q", c[0], err, want.Error)
			continue
		}
		if err == nil && got.String() != want.Text {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, want.Text)
		}
	}
}

func TestNormalForm(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"order of members and white space", `{ "fields":[ {"type":"int", "name":"a"} ], "name":"R", "type":"record" }`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`},
		{"full names are split", `{"type":"record","name":"n.R","fields":[]}`, `{"type":"record","name":"R","namespace":"n","fields":[]}`},
		{"aliases are sorted", `{"type":"record","name":"R","aliases":["C","B"],"fields":[{"name":"a","type":"int","aliases":["z","y"]}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":["y","z"]}],"aliases":["B","C"]}`},
		{"an empty doc goes, a field's stays", `{"type":"record","name":"R","doc":"","fields":[{"name":"a","type":"int","doc":""}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","doc":""}]}`},
		{"error becomes record", `{"type":"error","name":"R","fields":[]}`, `{"type":"record","name":"R","fields":[]}`},
		{"defaults take their type's form", `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":1},{"name":"b","type":"float","default":0.1}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":1.0},{"name":"b","type":"float","default":0.1}]}`},
		{"null defaults stay", `{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"],"default":null}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"],"default":null}]}`},
		{"a default of a later branch is lost", `{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"],"default":"x"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"]}]}`},
		{"attributes are sorted, the logical type first", `{"type":"bytes","z":1,"scale":2,"precision":9,"logicalType":"decimal","a":{"y":1,"x":2}}`, `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2,"a":{"x":2,"y":1},"z":1}`},
		{"an invalid logical type is an attribute like others", `{"type":"string","logicalType":"date","a":1}`, `{"type":"string","a":1,"logicalType":"date"}`},
		{"object defaults are sorted", `{"type":"record","name":"R","fields":[{"name":"m","type":{"type":"map","values":"int"},"default":{"b":1,"a":2}}]}`, `{"type":"record","name":"R","fields":[{"name":"m","type":{"type":"map","values":"int"},"default":{"a":2,"b":1}}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustParse(t, c.text).Normalized().String(); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	v1 := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`)
	v2 := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}`)
	// Reads v2 but not v1: b has lost its default.
	v3 := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}`)
	earlier := []avro.Version{{Number: 1, Schema: v1}, {Number: 2, Schema: v2}}
	for level, allowed := range map[avro.Level]bool{
		avro.LevelNone: true, avro.LevelBackward: true, avro.LevelBackwardTransitive: false, avro.LevelForward: true,
		avro.LevelForwardTransitive: true, avro.LevelFull: true, avro.LevelFullTransitive: false,
	} {
		if messages := level.Check(v3, earlier); (len(messages) == 0) != allowed {
			t.Errorf("%s: %v", level, messages)
		}
	}
	got := avro.LevelFullTransitive.Check(v3, earlier)
	want := []string{
		"{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'b' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'b'}",
		"{oldSchemaVersion: 1}",
		`{oldSchema: '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'}`,
		"{validateFields: 'false', compatibility: 'FULL_TRANSITIVE'}",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	narrowed := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`)
	if all := avro.LevelBackwardTransitive.CheckAll(narrowed, earlier); len(all) != 2 || all[0].Version.Number != 2 || all[1].Backward[0].Location != "/fields/0/type" {
		t.Errorf("every version that fails is reported, the newest first: %+v", all)
	}
}

func TestCanRead(t *testing.T) {
	if err := avro.CanRead(`"long"`, `"int"`); err != nil {
		t.Error(err)
	}
	err := avro.CanRead(`{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`, `{"type":"record","name":"R","fields":[]}`)
	if err == nil || !strings.Contains(err.Error(), "READER_FIELD_MISSING_DEFAULT_VALUE at /fields/0: a") {
		t.Error(err)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"{\"type\":\"int\",\n  oops}": "line 2, column 3",
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}`: `invalid default for field a: "x" not a "int"`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"Nowhere"}]}`:           "undefined schema: Nowhere",
		strings.Repeat("[", 2000): "nested deeper than 1000",
	} {
		if _, err := avro.Parse(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q in it", text, err, want)
		}
	}
}
