package schemas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/linkedin/goavro/v2"

	"github.com/streamforge/streamforge/schemas"
)

func all(t *testing.T) []schemas.Subject {
	t.Helper()
	subjects, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func TestASharedTypeStandsBeforeItsUsers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range all(t) {
		for _, r := range s.References {
			if !seen[r.Subject] {
				t.Errorf("%s uses %s, which stands after it", s.Name, r.Subject)
			}
		}
		seen[s.Name] = true
	}
	for _, subject := range []string{"raw-frames-value", "raw-trades-value", "raw-orderbooks-value", "feed-gaps-value", "orderbook-resyncs-value", "dead-letters-value", "group-controls-value", "streamforge.market.PriceLevel"} {
		if !seen[subject] {
			t.Errorf("subject %s is missing", subject)
		}
	}
}

func TestEverySchemaIsValidAvroOnItsOwn(t *testing.T) {
	for _, s := range all(t) {
		text, err := schemas.SelfContained(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := goavro.NewCodec(text); err != nil {
			t.Errorf("%s: %v", s.Path, err)
		}
	}
}

// TestHouseRules: every record and field has a doc, every enum a default, every decimal is (38,18), every time is in
// microseconds, and no float carries anything.
func TestHouseRules(t *testing.T) {
	for _, s := range all(t) {
		var tree any
		if err := json.Unmarshal([]byte(s.Text), &tree); err != nil {
			t.Fatal(err)
		}
		check(t, s.Path, tree)
	}
}

func check(t *testing.T, path string, node any) {
	switch n := node.(type) {
	case string:
		if n == "float" || n == "double" {
			t.Errorf("%s: a %s; prices and quantities are decimals", path, n)
		}
	case []any:
		for _, branch := range n {
			check(t, path, branch)
		}
	case map[string]any:
		checkObject(t, path, n)
	}
}

func checkObject(t *testing.T, path string, n map[string]any) {
	switch n["type"] {
	case "record":
		if n["doc"] == nil {
			t.Errorf("%s: record %v has no doc", path, n["name"])
		}
		for _, f := range n["fields"].([]any) {
			field := f.(map[string]any)
			at := path + "." + field["name"].(string)
			if doc, _ := field["doc"].(string); doc == "" {
				t.Errorf("%s has no doc", at)
			}
			check(t, at, field["type"])
		}
	case "enum":
		symbols := n["symbols"].([]any)
		if n["default"] != symbols[0] {
			t.Errorf("%s: enum %v has default %v; it is the first symbol, for what comes later", path, n["name"], n["default"])
		}
	case "array":
		check(t, path+"[]", n["items"])
	}
	switch n["logicalType"] {
	case "decimal":
		if n["precision"] != 38.0 || n["scale"] != 18.0 {
			t.Errorf("%s: decimal(%v,%v); the platform's is (38,18)", path, n["precision"], n["scale"])
		}
	case "timestamp-millis":
		t.Errorf("%s: times are timestamp-micros", path)
	}
}

func TestAReferenceThatNobodyDefinesIsNamed(t *testing.T) {
	fsys := fstest.MapFS{"market/x.avsc": {Data: []byte(`{"type":"record","name":"X","fields":[{"name":"a","type":"other.Missing"}]}`)}}
	_, err := schemas.Load(fsys)
	if err == nil || !strings.Contains(err.Error(), "other.Missing") || !strings.Contains(err.Error(), "market/x.avsc") {
		t.Fatalf("error %v names neither type nor file", err)
	}
}

func TestSchemasInACircleAreAnError(t *testing.T) {
	fsys := fstest.MapFS{
		"m/A.avsc": {Data: []byte(`{"type":"record","name":"A","namespace":"n","fields":[{"name":"b","type":"n.B"}]}`)},
		"m/B.avsc": {Data: []byte(`{"type":"record","name":"B","namespace":"n","fields":[{"name":"a","type":"n.A"}]}`)},
	}
	if _, err := schemas.Load(fsys); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Fatalf("error %v", err)
	}
}

func TestInlineWritesATypeOutOnce(t *testing.T) {
	lookup := func(name string) (string, bool) {
		return `{"type":"fixed","name":"T","namespace":"n","size":2}`, name == "n.T"
	}
	text, err := schemas.Inline(`{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":"T"},{"name":"b","type":["null","n.T"]}]}`, lookup)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, `"size":2`) != 1 {
		t.Fatalf("%s", text)
	}
	if _, err := goavro.NewCodec(text); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
