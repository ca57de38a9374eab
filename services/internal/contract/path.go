package contract

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// A path names a place of a record as a person writes it: "frame.offset", an array's items "bids[].price", a map's values
// "labels{}.text", and where a union has several types besides null the one that is meant: "value<Trade>.price".

// pathSteps takes a path apart: "bids[].price" is bids, [], price.
func pathSteps(path string) []string {
	var steps []string
	for _, word := range strings.Split(path, ".") {
		// A type's name in <> may itself have dots: what was cut inside of it is put together again.
		if n := len(steps); n > 0 && strings.HasPrefix(steps[n-1], "<") && !strings.HasSuffix(steps[n-1], ">") {
			word, steps = steps[n-1]+"."+word, steps[:n-1]
		}
		for word != "" {
			cut := strings.IndexAny(word[1:], "[{<") + 1
			if cut == 0 {
				cut = len(word)
			}
			steps = append(steps, word[:cut])
			word = word[cut:]
		}
	}
	return steps
}

// Touches tells whether what is at one path is part of what is at the other, either way round: who reads frame reads
// frame.offset, and who reads frame.offset feels what happens to frame.
func Touches(a, b string) bool {
	as, bs := pathSteps(a), pathSteps(b)
	n := min(len(as), len(bs))
	return slices.Equal(as[:n], bs[:n])
}

// FieldAt returns the type at a path of a schema. The error names the first step that leads nowhere.
func FieldAt(s *avro.Schema, path string) (*avro.Schema, error) {
	for _, step := range pathSteps(path) {
		next := descend(s, step)
		if next == nil {
			return nil, fmt.Errorf("%s has no %s", s.FullName(), step)
		}
		s = next
	}
	return s, nil
}

func descend(s *avro.Schema, step string) *avro.Schema {
	if name, ok := strings.CutPrefix(step, "<"); ok {
		name = strings.TrimSuffix(name, ">")
		i := slices.IndexFunc(s.Branches, func(b *avro.Schema) bool { return b.FullName() == name || b.Named() && b.Name == name })
		if i < 0 {
			return nil
		}
		return s.Branches[i]
	}
	s = withoutNull(s)
	switch {
	case step == "[]" && s.Type == avro.Array, step == "{}" && s.Type == avro.Map:
		return s.Items
	case s.Type == avro.Record:
		if f := s.Field(step); f != nil {
			return f.Type
		}
	}
	return nil
}

// withoutNull is the one type that a union has besides null, and any other type itself.
func withoutNull(s *avro.Schema) *avro.Schema {
	if s.Type != avro.Union {
		return s
	}
	var only *avro.Schema
	for _, b := range s.Branches {
		if b.Type == avro.Null {
			continue
		}
		if only != nil {
			return s
		}
		only = b
	}
	if only == nil {
		return s
	}
	return only
}

// findField by path in a contract's fields. What is inside a union of several types is not listed in contracts, so a path
// into it ends at the field that holds the union.
func findField(fields []Field, path string) *Field {
	var f *Field
	for _, step := range pathSteps(path) {
		switch {
		case strings.HasPrefix(step, "<") && f != nil:
			return f
		case step == "[]" && f != nil && f.Items != nil:
			f = f.Items
		case step == "{}" && f != nil && strings.HasPrefix(f.PhysicalType, "map("):
			// A map's records are listed as the fields of the map itself.
		default:
			i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == step })
			if i < 0 {
				return nil
			}
			f = &fields[i]
		}
		fields = f.Fields
	}
	return f
}
