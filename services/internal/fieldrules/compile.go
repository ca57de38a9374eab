package fieldrules

import (
	"fmt"
	"math"
	"strconv"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// Checker holds the rules of one contract to bodies of one schema. It is safe for concurrent use.
type Checker struct {
	rules []*Rule
	steps []step
}

// Rules lists the rules that can be broken by a body of the schema, in the contract's order.
func (c *Checker) Rules() []*Rule { return c.rules }

// Compile takes the rules of a contract and the text of a self-contained schema, which need not be the contract's own: a
// field that the schema does not have has no rules, and one that cannot be null in it needs no rule against it. It is an
// error where the contract bounds a field that is no number and no time in the schema.
func Compile(c contract.Contract, schemaText string) (*Checker, error) {
	schema, err := avro.Parse(schemaText, nil, avro.KeepInvalidDefaults())
	if err == nil && schema.Type != avro.Record {
		err = fmt.Errorf("the schema is a %s and no record", schema.Type.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("rules of contract %s: %w", c.ID, err)
	}
	k := compiler{product: c.ID, checker: &Checker{}, skips: map[*avro.Schema]*skip{}}
	steps, err := k.record(schema, c.Fields, "")
	if err != nil {
		return nil, fmt.Errorf("rules of contract %s: %w", c.ID, err)
	}
	// What comes after the last rule is not read: whoever decodes the body judges it.
	for len(steps) > 0 && !steps[len(steps)-1].ruled {
		steps = steps[:len(steps)-1]
	}
	k.checker.steps = steps
	return k.checker, nil
}

// op is what a step does with the next bytes.
type op uint8

const (
	opFixed        op = iota // skip n bytes
	opVarints                // skip n numbers of variable length
	opStrings                // skip n strings or bytes
	opCall                   // a record within itself, which is only skipped
	opArray                  // body is one item
	opMap                    // body is one value; its key is skipped
	opUnion                  // branches; nullRule where branch null breaks a rule
	opVarint                 // hold a number of variable length to the bounds
	opFloat                  // the same of 4 bytes
	opDouble                 // the same of 8 bytes
	opDecimal                // the same of bytes
	opFixedDecimal           // the same of n bytes
)

// step is one move of the walk. Those of a record that is nested stand in their parent's list.
type step struct {
	op    op
	ruled bool
	n     int
	body  []step
	// branches of a union; null is the number of the branch null or -1, and nullRule the rule that it breaks or nil.
	branches [][]step
	null     int
	nullRule *Rule
	call     *skip
	bounds   *bounds
}

// skip is a record that holds itself.
type skip struct {
	steps []step
	// open while its steps are being made; recursive once they have met it.
	open, recursive bool
}

type compiler struct {
	product string
	checker *Checker
	skips   map[*avro.Schema]*skip
}

// record compiles a record whose fields the contract lists, at a path that ends in a dot or is empty.
func (k *compiler) record(s *avro.Schema, fields []contract.Field, path string) ([]step, error) {
	var steps []step
	for _, f := range s.Fields {
		promise := &contract.Field{Name: f.Name}
		for i := range fields {
			if fields[i].Name == f.Name {
				promise = &fields[i]
			}
		}
		more, err := k.value(f.Type, promise, path+f.Name)
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			steps = join(steps, m)
		}
	}
	return steps, nil
}

// value compiles what stands at a path. A type about which the contract says nothing further is skipped.
func (k *compiler) value(s *avro.Schema, f *contract.Field, path string) ([]step, error) {
	if !hasRules(f) {
		return k.skip(s), nil
	}
	switch s.Type {
	case avro.Union:
		return k.union(s, f, path)
	case avro.Record:
		return k.record(s, f.Fields, path+".")
	case avro.Array:
		item := f.Items
		if item == nil {
			item = &contract.Field{}
		}
		return k.items(opArray, s, item, path+"[]")
	case avro.Map:
		// A contract lists the fields of a map's records as the map's own.
		return k.items(opMap, s, &contract.Field{Name: f.Name, Fields: f.Fields}, path+"{}")
	}
	if f.Minimum == nil && f.Maximum == nil {
		return k.skip(s), nil
	}
	return k.number(s, f, path)
}

func hasRules(f *contract.Field) bool {
	if f.Required && f.OnViolation != "" || f.Minimum != nil || f.Maximum != nil || f.Items != nil && hasRules(f.Items) {
		return true
	}
	for i := range f.Fields {
		if hasRules(&f.Fields[i]) {
			return true
		}
	}
	return false
}

func (k *compiler) items(o op, s *avro.Schema, f *contract.Field, path string) ([]step, error) {
	body, err := k.value(s.Items, f, path)
	if err != nil {
		return nil, err
	}
	least := minimal(body)
	if o == opMap {
		least = 1 // Its keys.
	}
	return []step{{op: o, body: body, ruled: anyRuled(body), n: least}}, nil
}

// union compiles what a contract says about the one type that a union has besides null; what is inside a union of several
// is not listed in contracts.
func (k *compiler) union(s *avro.Schema, f *contract.Field, path string) ([]step, error) {
	u := step{op: opUnion, null: -1}
	others := 0
	for i, b := range s.Branches {
		if b.Type == avro.Null {
			u.null = i
		} else {
			others++
		}
	}
	if u.null >= 0 && f.Required && f.OnViolation != "" {
		u.nullRule, u.ruled = k.rule(f, path, Required, ""), true
	}
	for _, b := range s.Branches {
		body := k.skip(b)
		if b.Type != avro.Null && others == 1 {
			var err error
			if body, err = k.value(b, f, path); err != nil {
				return nil, err
			}
		}
		u.ruled = u.ruled || anyRuled(body)
		u.branches = append(u.branches, body)
	}
	return []step{u}, nil
}

// number compiles the bounds of a field.
func (k *compiler) number(s *avro.Schema, f *contract.Field, path string) ([]step, error) {
	st := step{ruled: true}
	kind, scale := numberKind(s)
	switch {
	case kind == kindDecimal && s.Type == avro.Fixed:
		st.op, st.n = opFixedDecimal, s.Size
	case kind == kindDecimal:
		st.op = opDecimal
	case kind == kindNone:
		return nil, fmt.Errorf("%s has minimum or maximum and is of type %s with logical type %q, which is neither number nor time", path, s.Type.Name(), s.LogicalType())
	case s.Type == avro.Float:
		st.op = opFloat
	case s.Type == avro.Double:
		st.op = opDouble
	default:
		st.op = opVarint
	}
	st.bounds = &bounds{kind: kind, scale: scale, minimum: limit{whole: math.MinInt64}, maximum: limit{whole: math.MaxInt64}}
	if f.Minimum != nil {
		st.bounds.minimum = newLimit(*f.Minimum, kind, scale, true)
		st.bounds.minimum.rule = k.rule(f, path, Minimum, boundText(*f.Minimum, kind))
	}
	if f.Maximum != nil {
		st.bounds.maximum = newLimit(*f.Maximum, kind, scale, false)
		st.bounds.maximum.rule = k.rule(f, path, Maximum, boundText(*f.Maximum, kind))
	}
	return []step{st}, nil
}

func (k *compiler) rule(f *contract.Field, path string, kind Kind, bound string) *Rule {
	action := Action(f.OnViolation)
	if action == "" {
		action = Count
	}
	r := &Rule{Product: k.product, Path: path, Kind: kind, Bound: bound, Action: action}
	k.checker.rules = append(k.checker.rules, r)
	return r
}

// skip compiles a type without rules.
func (k *compiler) skip(s *avro.Schema) []step {
	switch s.Type {
	case avro.Null:
		return nil
	case avro.Boolean:
		return []step{{op: opFixed, n: 1}}
	case avro.Float:
		return []step{{op: opFixed, n: 4}}
	case avro.Double:
		return []step{{op: opFixed, n: 8}}
	case avro.Fixed:
		return []step{{op: opFixed, n: s.Size}}
	case avro.Int, avro.Long, avro.Enum:
		return []step{{op: opVarints, n: 1}}
	case avro.String, avro.Bytes:
		return []step{{op: opStrings, n: 1}}
	case avro.Array:
		body := k.skip(s.Items)
		return []step{{op: opArray, body: body, n: minimal(body)}}
	case avro.Map:
		return []step{{op: opMap, body: k.skip(s.Items), n: 1}}
	case avro.Union:
		u := step{op: opUnion, null: -1}
		for _, b := range s.Branches {
			u.branches = append(u.branches, k.skip(b))
		}
		return []step{u}
	}
	return k.skipRecord(s)
}

// skipRecord puts a record's steps where it stands, unless it holds itself.
func (k *compiler) skipRecord(s *avro.Schema) []step {
	known := k.skips[s]
	if known == nil {
		known = &skip{open: true}
		k.skips[s] = known
		for _, f := range s.Fields {
			for _, m := range k.skip(f.Type) {
				known.steps = join(known.steps, m)
			}
		}
		known.open = false
	} else if known.open {
		known.recursive = true
	}
	if known.recursive {
		return []step{{op: opCall, call: known}}
	}
	return known.steps
}

// join adds a step to a list, into the last one where both skip the same kind of thing.
func join(steps []step, s step) []step {
	if n := len(steps); n > 0 && steps[n-1].op == s.op && s.op <= opStrings {
		steps[n-1].n += s.n
		return steps
	}
	return append(steps, s)
}

// minimal is 0 where an item of these steps takes no bytes at all: such items are not walked, for a count of them is no
// evidence that there is anything. Otherwise it is 1.
func minimal(steps []step) int {
	for _, s := range steps {
		if s.op > opFixed || s.n > 0 {
			return 1
		}
	}
	return 0
}

func anyRuled(steps []step) bool {
	for _, s := range steps {
		if s.ruled {
			return true
		}
	}
	return false
}

// property of a schema that is a whole number; 0 without one.
func property(s *avro.Schema, name string) int {
	text, _ := s.Property(name)
	n, _ := strconv.Atoi(text)
	return n
}
