package migration

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// pair is a place of both schemas, and how a value goes from one to the other. Everything in twos is by version: what is
// written to version v is in the lists' element v.
type pair struct {
	schema [2]*avro.Schema
	path   [2]string
	kind   kind

	// factor that an unscaled number is multiplied with.
	factor [2]*big.Rat
	// fields of a record in the order of the version that is written.
	fields [2][]source
	// inOrder tells that each field comes from the one at the same position, and nothing is left out.
	inOrder [2]bool
	// branches of a union (or the one type that is none) in the order of the version that is read.
	branches [2][]branch
	// symbols of an enum in the order of the version that is read: their position in the other.
	symbols [2][]int
	// items of an array or a map.
	items *pair
}

type kind uint8

const (
	same    kind = iota // the bytes are the same
	number              // integers, decimals and times
	float               // float and double
	enum                // symbols by name
	record              // fields by name
	list                // arrays and maps
	union               // branches by name; one side may be no union
	invalid             // a fault was reported
)

// source of a field that is written: a field of the other version, or a constant.
type source struct {
	index    int // -1 for a constant
	constant []byte
	inner    *pair
}

// branch that was read: what it becomes.
type branch struct {
	index    int // in the union that is written
	constant []byte
	inner    *pair // nil for a constant, which is written without an index
}

type compiler struct {
	migration contract.Migration
	used      []bool
	faults    Faults
	// open holds the pairs around the current one: a type that contains itself is mapped the same at every depth.
	open map[[2]*avro.Schema]*pair
}

func (c *compiler) fault(rule int, what, do string) {
	c.faults = append(c.faults, contract.RuleFault{Rule: rule, What: what, Do: do})
}

// find returns the first rule that matches, and marks it as used.
func (c *compiler) find(match func(contract.MigrationRule) bool) (contract.MigrationRule, int) {
	i := slices.IndexFunc(c.migration.Fields, match)
	if i < 0 {
		return contract.MigrationRule{}, i
	}
	c.used[i] = true
	return c.migration.Fields[i], i
}

func (c *compiler) product(version int) string {
	return [2]string{c.migration.From, c.migration.To}[version]
}

// pair compiles a place. fields are those whose types the schemas are, nil where they are none's.
func (c *compiler) pair(s [2]*avro.Schema, path [2]string, fields [2]*avro.Field) *pair {
	if known := c.open[s]; known != nil {
		return known
	}
	p := &pair{schema: s, path: path}
	c.open[s] = p
	defer delete(c.open, s)
	a, b := s[earlier], s[later]
	switch {
	case a.Type == avro.Union || b.Type == avro.Union:
		c.union(p, fields)
	case isNumber(a) && isNumber(b):
		c.number(p)
	case isFloat(a) && isFloat(b):
		c.float(p)
	case a.Type != b.Type || a.LogicalType() != b.LogicalType() || a.Size != b.Size:
		c.noWay(p)
	case a.Type == avro.Record:
		c.record(p)
	case a.Type == avro.Enum:
		c.enum(p)
	case a.Items != nil:
		step := "[]"
		if a.Type == avro.Map {
			step = "{}"
		}
		p.kind = list
		p.items = c.pair([2]*avro.Schema{a.Items, b.Items}, [2]string{path[0] + step, path[1] + step}, [2]*avro.Field{})
	}
	return p
}

func (c *compiler) noWay(p *pair) {
	p.kind = invalid
	c.fault(-1, fmt.Sprintf("%s is %s in %s and %s in %s", place(p.path[later]), describe(p.schema[earlier]), c.product(earlier), describe(p.schema[later]), c.product(later)),
		fmt.Sprintf("no rule turns one into the other: say drop: {field: %s} and default: {field: %s}, or choose another type", written(p.path[earlier]), written(p.path[later])))
}

// place names a path, and the whole value where the path is empty.
func place(path string) string {
	if path == "" {
		return "the value"
	}
	return "field " + path
}

// written is a path as a rule in one line has it: YAML takes brackets there for its own.
func written(path string) string {
	if strings.ContainsAny(path, "[]{}") {
		return strconv.Quote(path)
	}
	return path
}

func describe(s *avro.Schema) string {
	name := s.Type.Name()
	if s.Type == avro.Union {
		var all []string
		for _, b := range s.Branches {
			all = append(all, describe(b))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	if s.Named() {
		name += " " + s.Name
	}
	switch logical := s.LogicalType(); logical {
	case "":
		return name
	case "decimal":
		precision, scale := digits(s)
		return fmt.Sprintf("%s decimal(%d,%d)", name, precision, scale)
	default:
		return name + " " + logical
	}
}

func (c *compiler) record(p *pair) {
	p.kind = record
	partner := [2][]int{make([]int, len(p.schema[earlier].Fields)), make([]int, len(p.schema[later].Fields))}
	for side := range partner {
		for i := range partner[side] {
			partner[side][i] = -1
		}
	}
	dropped := make([]int, len(p.schema[earlier].Fields)) // the rule, -1 for none
	for i, f := range p.schema[earlier].Fields {
		j := -1
		j, dropped[i] = c.partner(p, f, below(p.path[earlier], f.Name))
		if j < 0 {
			continue
		}
		if taken := partner[later][j]; taken >= 0 {
			c.fault(-1, fmt.Sprintf("fields %s and %s of %s would both become %s", p.schema[earlier].Fields[taken].Name, f.Name, c.product(earlier), below(p.path[later], p.schema[later].Fields[j].Name)), "drop one of them")
			continue
		}
		partner[earlier][i], partner[later][j] = j, i
	}
	p.fields = [2][]source{make([]source, len(partner[earlier])), make([]source, len(partner[later]))}
	for j, f := range p.schema[later].Fields {
		if partner[later][j] < 0 {
			p.fields[later][j] = source{-1, c.added(f, below(p.path[later], f.Name)), nil}
		}
	}
	for i, f := range p.schema[earlier].Fields {
		j := partner[earlier][i]
		if j < 0 {
			p.fields[earlier][i] = source{-1, c.dropped(f, below(p.path[earlier], f.Name), dropped[i]), nil}
			continue
		}
		g := p.schema[later].Fields[j]
		inner := c.pair([2]*avro.Schema{f.Type, g.Type}, [2]string{below(p.path[earlier], f.Name), below(p.path[later], g.Name)}, [2]*avro.Field{f, g})
		p.fields[earlier][i], p.fields[later][j] = source{j, nil, inner}, source{i, nil, inner}
	}
	for version := range p.fields {
		p.inOrder[version] = len(p.fields[0]) == len(p.fields[1])
		for i, s := range p.fields[version] {
			p.inOrder[version] = p.inOrder[version] && s.index == i
		}
	}
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// partner finds what a field of the earlier version becomes, and the rule that drops it.
func (c *compiler) partner(p *pair, f *avro.Field, path string) (position, drop int) {
	if _, i := c.find(func(r contract.MigrationRule) bool { return r.Drop != nil && r.Drop.Field == path }); i >= 0 {
		return -1, i
	}
	r, i := c.find(func(r contract.MigrationRule) bool { return r.Rename != nil && r.Rename.From == path })
	if i < 0 {
		return c.sameName(p, f.Name), -1
	}
	name, within := strings.CutPrefix(r.Rename.To, p.path[later])
	if p.path[later] != "" && within {
		name, within = strings.CutPrefix(name, ".")
	}
	j := slices.IndexFunc(p.schema[later].Fields, func(g *avro.Field) bool { return within && g.Name == name })
	if j < 0 {
		c.fault(i, fmt.Sprintf("rename to %s: %s of %s has no such field", r.Rename.To, recordAt(p.path[later]), c.product(later)), "a field is renamed within its record")
		return -1, i
	}
	return j, -1
}

func recordAt(path string) string {
	if path == "" {
		return "the record"
	}
	return path
}

// sameName is the field of the later version with that name, unless a rename gives it to another.
func (c *compiler) sameName(p *pair, name string) int {
	path := below(p.path[later], name)
	if slices.ContainsFunc(c.migration.Fields, func(r contract.MigrationRule) bool { return r.Rename != nil && r.Rename.To == path }) {
		return -1
	}
	return slices.IndexFunc(p.schema[later].Fields, func(g *avro.Field) bool { return g.Name == name })
}

// added is what a field that only the later version has gets.
func (c *compiler) added(f *avro.Field, path string) []byte {
	constant, ok := c.given(later, path, f.Type, f)
	if !ok {
		c.fault(-1, fmt.Sprintf("field %s of %s gets no value", path, c.product(later)), fmt.Sprintf("say rename: {from: …, to: %s} or default: {field: %s, up: …}", written(path), written(path)))
	}
	return constant
}

// dropped is what a field that only the earlier version has gets back.
func (c *compiler) dropped(f *avro.Field, path string, rule int) []byte {
	if rule < 0 {
		down := ""
		if _, ok := f.Default(); !ok {
			down = ", down: …"
		}
		c.fault(-1, fmt.Sprintf("field %s of %s is not accounted for", path, c.product(earlier)), fmt.Sprintf("say rename: {from: %s, to: …} or drop: {field: %s%s}", written(path), written(path), down))
		return nil
	}
	if drop := c.migration.Fields[rule].Drop; drop != nil && len(drop.Down) > 0 {
		return c.literal(rule, f.Type, drop.Down)
	}
	constant, ok := c.fallback(f)
	if !ok && c.migration.Fields[rule].Drop != nil {
		c.fault(rule, fmt.Sprintf("field %s of %s cannot be given back: its schema has no default", path, c.product(earlier)), fmt.Sprintf("say drop: {field: %s, down: …}", written(path)))
	}
	return constant
}

// given is the value that a rule or the field's schema gives to a version where the other has none.
func (c *compiler) given(version int, path string, s *avro.Schema, f *avro.Field) ([]byte, bool) {
	r, i := c.find(func(r contract.MigrationRule) bool {
		return r.Default != nil && r.Default.Field == path && len(valueFor(r.Default, version)) > 0
	})
	if i >= 0 {
		return c.literal(i, s, valueFor(r.Default, version)), true
	}
	if f == nil {
		return nil, false
	}
	return c.fallback(f)
}

func (c *compiler) literal(rule int, s *avro.Schema, value []byte) []byte {
	body, err := literal(s, value)
	if err != nil {
		c.fault(rule, fmt.Sprintf("%s is no value of type %s: %v", value, describe(s), err), "")
	}
	return body
}

// fallback is the default of the field's own schema.
func (c *compiler) fallback(f *avro.Field) ([]byte, bool) {
	text, ok := f.Default()
	if !ok {
		return nil, false
	}
	body, err := defaultBody(f.Type, text)
	if err != nil {
		c.fault(-1, fmt.Sprintf("the default of field %s: %v", f.Name, err), "mend the schema")
	}
	return body, true
}

func (c *compiler) enum(p *pair) {
	p.kind = enum
	for version := range p.symbols {
		from, to := p.schema[1-version], p.schema[version]
		for _, symbol := range from.Symbols {
			p.symbols[version] = append(p.symbols[version], c.symbol(p, version, symbol, to))
		}
	}
}

// symbol finds the position of what a symbol of the other version becomes in this one.
func (c *compiler) symbol(p *pair, version int, symbol string, to *avro.Schema) int {
	path := below(p.path[1-version], symbol)
	name := symbol
	r, i := c.find(func(r contract.MigrationRule) bool { return r.Rename != nil && nameIn(r.Rename, 1-version) == path })
	if i >= 0 {
		name = strings.TrimPrefix(nameIn(r.Rename, version), p.path[version]+".")
	} else if r, j := c.find(func(r contract.MigrationRule) bool {
		return r.Default != nil && r.Default.Field == below(p.path[later], symbol) && len(valueFor(r.Default, version)) > 0
	}); j >= 0 {
		name, i = strings.Trim(string(valueFor(r.Default, version)), `"`), j
	}
	if at := slices.Index(to.Symbols, name); at >= 0 {
		return at
	}
	if i >= 0 {
		c.fault(i, fmt.Sprintf("%s is no symbol of %s in %s", name, p.path[version], c.product(version)), "it has "+strings.Join(to.Symbols, ", "))
		return -1
	}
	if at := slices.Index(to.Symbols, to.EnumDefault); at >= 0 {
		return at
	}
	c.fault(-1, fmt.Sprintf("symbol %s of %s in %s has no counterpart in %s, and the enum there has no default", symbol, p.path[1-version], c.product(1-version), c.product(version)),
		fmt.Sprintf("say rename: {from: %s, to: %s} or default: {field: %s, %s: …}", written(p.path[earlier]+".…"), written(p.path[later]+".…"), written(below(p.path[later], symbol)), [2]string{"down", "up"}[version]))
	return -1
}

// valueFor is what a default gives to a version.
func valueFor(d *contract.Default, version int) []byte { return [2][]byte{d.Down, d.Up}[version] }

// nameIn is a rename's path in a version.
func nameIn(r *contract.Rename, version int) string { return [2]string{r.From, r.To}[version] }
