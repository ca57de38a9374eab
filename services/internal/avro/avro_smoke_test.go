package avro

import (
	"testing"

	"github.com/streamforge/streamforge/schemas"
)

func TestOwnSchemasParseAndRoundTrip(t *testing.T) {
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		text, err := schemas.SelfContained(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(text, nil)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		again, err := Parse(parsed.String(), nil)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if again.String() != parsed.String() {
			t.Errorf("%s: %s\n%s", s.Name, parsed, again)
		}
		if found, err := Incompatibilities(parsed, again); err != nil || len(found) > 0 {
			t.Errorf("%s: %v %v", s.Name, found, err)
		}
	}
}
