package check

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestMergedKeepsBothSides: what one side alone has touched is in the result, and what both have is named.
func TestMergedKeepsBothSides(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	texts := rapid.SampledFrom([]string{"1", "2", "2\r\n", "2\n"})
	files := rapid.MapOf(names, texts)
	rapid.Check(t, func(t *rapid.T) {
		ours, fork, theirs := files.Draw(t, "ours"), files.Draw(t, "fork"), files.Draw(t, "theirs")
		if got, both := merged(fork, fork, theirs); !maps.Equal(got, theirs) || len(both) != 0 {
			t.Errorf("nothing done here: %v %v", got, both)
		}
		if got, both := merged(ours, fork, fork); !maps.EqualFunc(got, ours, sameText) || len(both) != 0 {
			t.Errorf("nothing done there: %v %v", got, both)
		}
		got, both := merged(ours, fork, theirs)
		named := map[string]bool{}
		for _, name := range both {
			named[name] = true
		}
		for name := range allNames(ours, fork, theirs) {
			changedHere, changedThere := differs(ours, fork, name), differs(theirs, fork, name)
			want := ours
			if !changedHere {
				want = theirs
			}
			if differs(got, want, name) {
				t.Errorf("%s: %v", name, got)
			}
			if conflict := changedHere && changedThere && differs(ours, theirs, name); conflict != named[name] {
				t.Errorf("%s: named %v, changed on both sides %v", name, named[name], conflict)
			}
		}
	})
}

func differs(a, b map[string]string, name string) bool {
	x, inA := a[name]
	y, inB := b[name]
	return inA != inB || !sameText(x, y)
}
