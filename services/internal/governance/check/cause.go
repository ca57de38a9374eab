package check

import (
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// cause is one reason why a reader cannot read what a writer wrote, with its place by name.
type cause struct {
	// reported is the type that a registry gives, and kind what is really wrong: they differ inside a union, where a
	// registry only says that a branch is missing.
	reported, kind avro.IncompatibilityType
	path           string
	// reader and writer are the parts that do not fit.
	reader, writer *avro.Schema
	message        string
}

// maxNesting bounds how deep unions are entered to look for a cause.
const maxNesting = 16

// causes finds the place of an incompatibility, and inside a union what really does not fit: the branch of the same name,
// or else of the same kind, is compared by itself.
func causes(root *avro.Schema, found avro.Incompatibility) []cause {
	l := looker{seen: map[[2]*avro.Schema]bool{}}
	all := l.causes(root, "", found, 0)
	for i := range all {
		all[i].reported = found.Type
	}
	return all
}

type looker struct {
	seen map[[2]*avro.Schema]bool
}

func (l looker) causes(root *avro.Schema, prefix string, found avro.Incompatibility, depth int) []cause {
	path := locate(root, prefix, found.Location)
	itself := cause{kind: found.Type, path: path, reader: found.Reader, writer: found.Writer, message: found.Message}
	if found.Type != avro.MissingUnionBranch {
		return []cause{itself}
	}
	branch := lackingBranch(found)
	itself.writer = branch
	partner := counterpart(found.Reader, branch)
	key := [2]*avro.Schema{partner, branch}
	if partner == nil || depth >= maxNesting || l.seen[key] {
		return []cause{itself}
	}
	l.seen[key] = true
	inner, err := avro.Incompatibilities(partner, branch)
	if err != nil || len(inner) == 0 {
		return []cause{itself}
	}
	if step := branchStep(partner, found.Reader.Branches); step != "" {
		path += step
	}
	var all []cause
	for _, f := range inner {
		all = append(all, l.causes(partner, path, f, depth+1)...)
	}
	return all
}

// lackingBranch is the writer's type that no branch of the reader takes.
func lackingBranch(found avro.Incompatibility) *avro.Schema {
	if found.Writer.Type != avro.Union {
		return found.Writer
	}
	last := found.Location[strings.LastIndexByte(found.Location, '/')+1:]
	i, err := strconv.Atoi(last)
	if err != nil || i < 0 || i >= len(found.Writer.Branches) {
		return found.Writer
	}
	return found.Writer.Branches[i]
}

// counterpart is the branch that a person would compare with: of the same full name, of the same name, of the same kind
// when it is the only one of it.
func counterpart(union, branch *avro.Schema) *avro.Schema {
	if union.Type != avro.Union {
		return nil
	}
	tests := []func(b *avro.Schema) bool{
		func(b *avro.Schema) bool { return b.FullName() == branch.FullName() },
		func(b *avro.Schema) bool { return b.Named() && b.Name == branch.Name },
		func(b *avro.Schema) bool { return true },
	}
	var kin []*avro.Schema
	for _, b := range union.Branches {
		if b.Type == branch.Type {
			kin = append(kin, b)
		}
	}
	for i, test := range tests {
		if j := slices.IndexFunc(kin, test); j >= 0 && (i < len(tests)-1 || len(kin) == 1) {
			return kin[j]
		}
	}
	return nil
}

// branchStep is how a path names a branch: not at all when the union has no other besides null.
func branchStep(branch *avro.Schema, among []*avro.Schema) string {
	others := 0
	name := branch.Type.Name()
	if branch.Named() {
		name = branch.Name
	}
	for _, b := range among {
		if b.Type != avro.Null {
			others++
		}
		if b != branch && b.Named() && b.Name == name {
			name = branch.FullName()
		}
	}
	if others < 2 {
		return ""
	}
	return "<" + name + ">"
}

// locate translates a JSON pointer over positions in the reader's schema into names: "/fields/2/type/items/fields/0" is
// "bids[].price".
func locate(s *avro.Schema, path, pointer string) string {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := 0; i < len(tokens) && s != nil; i++ {
		switch tokens[i] {
		case "fields":
			i++
			n := -1
			if i < len(tokens) {
				n, _ = strconv.Atoi(tokens[i])
			}
			if n < 0 || n >= len(s.Fields) {
				return path
			}
			path = joinPath(path, s.Fields[n].Name)
			s = s.Fields[n].Type
		case "items":
			path, s = path+"[]", s.Items
		case "values":
			path, s = path+"{}", s.Items
		default:
			// "type" names the field's type, which s is already; "name", "size" and "symbols" end the pointer; a number is a
			// branch of the writer's union, which the reader's schema does not have.
		}
	}
	return path
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
