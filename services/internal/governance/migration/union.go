package migration

import (
	"fmt"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// branches of a union; any other type is its own only one.
func branches(s *avro.Schema) []*avro.Schema {
	if s.Type == avro.Union {
		return s.Branches
	}
	return []*avro.Schema{s}
}

// union pairs the branches: those of one type and name first, then the only ones that are left on both sides.
func (c *compiler) union(p *pair, fields [2]*avro.Field) {
	p.kind = union
	all := [2][]*avro.Schema{branches(p.schema[earlier]), branches(p.schema[later])}
	partner := [2][]int{unpaired(len(all[earlier])), unpaired(len(all[later]))}
	connect := func(i, j int) { partner[earlier][i], partner[later][j] = j, i }
	for i, a := range all[earlier] {
		for j, b := range all[later] {
			if partner[later][j] < 0 && a.Type == b.Type && a.Name == b.Name && partner[earlier][i] < 0 {
				connect(i, j)
			}
		}
	}
	if i, j := onlyLeft(all[earlier], partner[earlier]), onlyLeft(all[later], partner[later]); i >= 0 && j >= 0 {
		connect(i, j)
	}
	for i, j := range partner[earlier] {
		if j < 0 {
			continue
		}
		inner := c.pair([2]*avro.Schema{all[earlier][i], all[later][j]},
			[2]string{p.path[earlier] + branchStep(all[earlier], i), p.path[later] + branchStep(all[later], j)}, [2]*avro.Field{})
		connectBranch(p, later, i, branch{index: j, inner: inner}, len(all[earlier]))
		connectBranch(p, earlier, j, branch{index: i, inner: inner}, len(all[later]))
	}
	for version := range all {
		for i, at := range partner[1-version] {
			if at < 0 {
				connectBranch(p, version, i, branch{constant: c.without(p, version, all[1-version][i], fields[version])}, len(all[1-version]))
			}
		}
	}
}

func connectBranch(p *pair, version, at int, b branch, of int) {
	if p.branches[version] == nil {
		p.branches[version] = make([]branch, of)
	}
	p.branches[version][at] = b
}

func unpaired(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = -1
	}
	return all
}

// onlyLeft is the position of the only branch but null that has no partner.
func onlyLeft(all []*avro.Schema, partner []int) int {
	found := -1
	for i, s := range all {
		if partner[i] >= 0 || s.Type == avro.Null {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// branchStep is the step of a path that names a branch; none where null is the only other one.
func branchStep(all []*avro.Schema, i int) string {
	others := 0
	for j, s := range all {
		if j != i && s.Type != avro.Null {
			others++
		}
	}
	switch {
	case others == 0:
		return ""
	case all[i].Named():
		return "<" + all[i].Name + ">"
	}
	return "<" + all[i].Type.Name() + ">"
}

// without is what a version gets where the other has a type that it does not have: for null a default, for anything else
// there is nothing that would be right.
func (c *compiler) without(p *pair, version int, s *avro.Schema, f *avro.Field) []byte {
	key := [2]string{"down", "up"}[version]
	if s.Type != avro.Null {
		c.fault(-1, fmt.Sprintf("%s may be %s in %s and not in %s", place(p.path[later]), describe(s), c.product(1-version), c.product(version)),
			fmt.Sprintf("no rule turns one type into another: say drop: {field: %s} and default: {field: %s}, or keep the type", written(p.path[earlier]), written(p.path[later])))
		return nil
	}
	constant, ok := c.given(version, p.path[later], p.schema[version], f)
	if !ok {
		c.fault(-1, fmt.Sprintf("%s may be null in %s and not in %s", place(p.path[later]), c.product(1-version), c.product(version)),
			fmt.Sprintf("say default: {field: %s, %s: …}", written(p.path[later]), key))
	}
	return constant
}
