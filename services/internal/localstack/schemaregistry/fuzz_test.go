package schemaregistry

import (
	"maps"
	"testing"
)

// Any record of the topic is applied or refused; one that was applied can be taken back by the tombstone of its key.
func FuzzApply(f *testing.F) {
	for _, r := range []record{
		schemaRecord(schemaValue{Subject: "s", Version: 1, ID: 1, Schema: `"string"`, References: []Reference{{"n", "other", 2}}}),
		schemaTombstone("s", 1), levelRecord("", "FULL"), levelRecord("s", ""), modeRecord("s", "READONLY"), deleteSubjectRecord("s", 1), noopRecord(),
	} {
		f.Add(r.key, r.value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := newState()
		for _, before := range []record{
			schemaRecord(schemaValue{Subject: "s", Version: 1, ID: 1, Schema: `"string"`}),
			schemaRecord(schemaValue{Subject: "s", Version: 2, ID: 2, Schema: `"int"`}),
		} {
			if err := s.apply(before); err != nil {
				t.Fatal(err)
			}
		}
		if s.apply(record{key, value}) != nil {
			return
		}
		if err := s.apply(record{key: key}); err != nil {
			t.Fatalf("the tombstone of key %q: %v", key, err)
		}
		once := maps.Clone(s.levels)
		if err := s.apply(record{key: key}); err != nil || !maps.Equal(once, s.levels) {
			t.Fatalf("the second tombstone of key %q changed something, %v", key, err)
		}
	})
}
