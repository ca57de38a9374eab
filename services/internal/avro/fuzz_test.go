package avro_test

import (
	"testing"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

// FuzzParse holds that whatever is accepted can be written, read again, and is then the same; that it reads its own data;
// and that its normal form is accepted and stable.
func FuzzParse(f *testing.F) {
	all, err := schemas.All()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range all {
		f.Add(s.Text)
	}
	for _, text := range smallTypes() {
		f.Add(text)
	}
	f.Add(`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"NaN"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := avro.Parse(text, nil)
		if err != nil {
			return
		}
		written := s.String()
		again, err := avro.Parse(written, nil, avro.KeepInvalidDefaults())
		if err != nil {
			t.Fatalf("%q is accepted, but what is written for it is not: %v\n%s", text, err, written)
		}
		if again.String() != written {
			t.Fatalf("%q:\nwritten %s\n  again %s", text, written, again)
		}
		if found, err := avro.Incompatibilities(s, again); err == nil && len(found) > 0 && len(again.Fields) == len(s.Fields) && readsItself(s) {
			t.Fatalf("%s cannot read its own data: %v", written, found)
		}
		normal := s.Normalized()
		if once, twice := normal.String(), normal.Normalized().String(); once != twice {
			t.Fatalf("the normal form of %s is not stable:\n%s\n%s", written, once, twice)
		}
	})
}

// readsItself leaves out what the rules themselves refuse: a schema compared with itself.
func readsItself(s *avro.Schema) bool {
	found, err := avro.Incompatibilities(s, s)
	return err == nil && len(found) == 0
}
