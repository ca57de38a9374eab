package replayproof

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
)

// comparison walks one record's two readings, field by field by name.
type comparison struct {
	tell func(kind Kind, path, was, typed string, before, after dynamic.Value)
	// differs tells whether anything was told.
	differs bool
}

func (c *comparison) found(kind Kind, path, was, typed string, before, after dynamic.Value) {
	c.differs = true
	c.tell(kind, path, was, typed, before, after)
}

func (c *comparison) values(w, r *avro.Schema, before, after dynamic.Value, path string) {
	w, r = branchOf(w, before), branchOf(r, after)
	switch {
	case w == nil || r == nil || before.Kind != after.Kind:
		if !sameLeaf(w, before, after) {
			c.found(Differs, path, "", "", before, after)
		}
	case w.Type == avro.Record && r.Type == avro.Record:
		c.fields(w, r, before, after, path)
	case w.Type == avro.Array && r.Type == avro.Array && len(before.Items) == len(after.Items):
		for i := range before.Items {
			c.values(w.Items, r.Items, before.Items[i], after.Items[i], path+"[]")
		}
	case w.Type == avro.Map && r.Type == avro.Map && slices.Equal(before.Names, after.Names):
		for i := range before.Items {
			c.values(w.Items, r.Items, before.Items[i], after.Items[i], path+"{}")
		}
	case !sameLeaf(w, before, after):
		c.found(Differs, path, "", "", before, after)
	}
}

func (c *comparison) fields(w, r *avro.Schema, before, after dynamic.Value, path string) {
	used := map[string]bool{}
	for i, f := range r.Fields {
		here := dotted(path, f.Name)
		at := slices.IndexFunc(w.Fields, func(o *avro.Field) bool { return o.Name == f.Name || slices.Contains(f.Aliases, o.Name) })
		if at < 0 {
			c.found(Appears, here, "", f.Type.Bare(), dynamic.Value{}, after.Items[i])
			continue
		}
		written := w.Fields[at]
		used[written.Name] = true
		was := ""
		if written.Name != f.Name {
			was = dotted(path, written.Name)
		}
		inner := comparison{tell: func(kind Kind, path, deeper, typed string, x, y dynamic.Value) {
			if deeper == "" && path == here {
				deeper = was
			}
			c.found(kind, path, deeper, typed, x, y)
		}}
		inner.values(written.Type, f.Type, before.Items[at], after.Items[i], here)
	}
	for i, f := range w.Fields {
		if !used[f.Name] {
			c.found(Vanishes, dotted(path, f.Name), "", f.Type.Bare(), before.Items[i], dynamic.Value{})
		}
	}
}

func dotted(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// branchOf is the branch of a union that a value was read from, and any other type itself; nil where several could be it.
func branchOf(s *avro.Schema, v dynamic.Value) *avro.Schema {
	if s.Type != avro.Union {
		return s
	}
	var fitting []*avro.Schema
	for _, b := range s.Branches {
		if fits(b, v) {
			fitting = append(fitting, b)
		}
	}
	if len(fitting) != 1 {
		return nil
	}
	return fitting[0]
}

func fits(s *avro.Schema, v dynamic.Value) bool {
	switch v.Kind {
	case dynamic.Null:
		return s.Type == avro.Null
	case dynamic.List:
		return s.Type == avro.Array
	case dynamic.Record:
		if s.Type == avro.Record {
			return slices.EqualFunc(s.Fields, v.Names, func(f *avro.Field, name string) bool { return f.Name == name })
		}
		return s.Type == avro.Map
	}
	return s.Type != avro.Null && s.Type != avro.Array && s.Type != avro.Record && s.Type != avro.Map
}

// sameLeaf compares what two schemas read: a number that was promoted, or bytes that are read as text, are the same.
func sameLeaf(w *avro.Schema, before, after dynamic.Value) bool {
	if sameJSON(before, after) {
		return true
	}
	if before.Kind == dynamic.Text && after.Kind == dynamic.Text {
		return before.Text == fmt.Sprintf("0x%x", after.Text) || after.Text == fmt.Sprintf("0x%x", before.Text)
	}
	if before.Kind != dynamic.Plain || after.Kind != dynamic.Plain {
		return false
	}
	x, errX := strconv.ParseFloat(before.Text, 64)
	y, errY := strconv.ParseFloat(after.Text, 64)
	if errX != nil || errY != nil {
		return false
	}
	if w != nil && w.Type == avro.Float {
		return float32(x) == float32(y)
	}
	// A long that no float can hold reads as another number.
	if n, err := strconv.ParseInt(before.Text, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == strconv.FormatFloat(y, 'f', 0, 64)
	}
	return x == y
}

func sameJSON(a, b dynamic.Value) bool { return bytes.Equal(a.AppendJSON(nil), b.AppendJSON(nil)) }

// valuesAt returns the values at a path of a declaration: "frame.offset", "bids[].price", "labels{}.text". From a branch
// of a union on ("value.<Name>") it is the whole value.
func valuesAt(v dynamic.Value, path string) []dynamic.Value {
	path, _, _ = strings.Cut(path, ".<")
	found := []dynamic.Value{v}
	for step := range strings.SplitSeq(path, ".") {
		name := strings.TrimRight(step, "[]{}")
		found = descend(found, func(v dynamic.Value) []dynamic.Value {
			if i := slices.Index(v.Names, name); i >= 0 && v.Kind == dynamic.Record {
				return v.Items[i : i+1]
			}
			return nil
		})
		for range (len(step) - len(name)) / 2 {
			found = descend(found, func(v dynamic.Value) []dynamic.Value { return v.Items })
		}
	}
	return found
}

func descend(all []dynamic.Value, into func(dynamic.Value) []dynamic.Value) []dynamic.Value {
	var next []dynamic.Value
	for _, v := range all {
		next = append(next, into(v)...)
	}
	return next
}

func listOf(all []dynamic.Value) dynamic.Value { return dynamic.Value{Kind: dynamic.List, Items: all} }

// only is a list's one value, or the list.
func only(v dynamic.Value) dynamic.Value {
	if len(v.Items) == 1 {
		return v.Items[0]
	}
	return v
}
