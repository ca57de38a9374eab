// Package fieldrules carries out what a contract asks of single fields: that a nullable one is not null, and that a number
// or a time lies in a range. The rules are compiled with a schema into a Checker, which walks an Avro body of that schema
// once and allocates nothing for a record that keeps them. What becomes of one that does not is its caller's business:
// package subscription blocks, diverts or counts, as the rule's action says.
package fieldrules

import (
	"fmt"
	"strings"
)

// Kind of a rule.
type Kind string

// Kinds, as a rule's name has them.
const (
	Required Kind = "required" // not null, though the schema would let it be
	Minimum  Kind = "minimum"
	Maximum  Kind = "maximum"
)

// Action is what a violation leads to.
type Action string

// Actions, the mildest first.
const (
	Count  Action = "count"  // it is counted, and nothing else happens
	Divert Action = "divert" // the record, or the item of a frame, is a dead letter
	Block  Action = "block"  // nothing more is handled until somebody has looked
)

// Rule is one thing that a contract asks of one field.
type Rule struct {
	// Product is the contract's id, Path the field's as contracts write it: "bids[].price".
	Product, Path string
	Kind          Kind
	// Bound as text; empty where Kind is Required.
	Bound  string
	Action Action
}

// Name is stable and unique in its contract: "bids[].price:minimum".
func (r *Rule) Name() string { return r.Path + ":" + string(r.Kind) }

// Violation of a rule by the first value of a record that breaks it.
type Violation struct {
	Rule *Rule
	// Path of the value with the positions in arrays: "bids[3].price". Of a map's values no key is told.
	Path string
	// Value as text, a decimal exactly.
	Value string
}

// Error names the rule, the field and the value.
func (v Violation) Error() string {
	if v.Rule.Kind == Required {
		return fmt.Sprintf("%s is null, which rule %s of contract %s forbids", v.Path, v.Rule.Name(), v.Rule.Product)
	}
	return fmt.Sprintf("%s is %s, which breaks rule %s %s of contract %s", v.Path, v.Value, v.Rule.Name(), v.Rule.Bound, v.Rule.Product)
}

// Broken is an error that holds the violations of one record with the gravest action among them.
type Broken struct {
	Action     Action
	Violations []Violation
}

// Gravest sorts out what one record's violations lead to: the gravest action, and the violations that ask for it.
func Gravest(found []Violation) *Broken {
	b := &Broken{Action: Count}
	for _, action := range []Action{Count, Divert, Block} {
		for i := range found {
			if found[i].Rule.Action == action {
				b.Action = action
			}
		}
	}
	for _, v := range found {
		if v.Rule.Action == b.Action {
			b.Violations = append(b.Violations, v)
		}
	}
	return b
}

func (b *Broken) Error() string {
	texts := make([]string, len(b.Violations))
	for i, v := range b.Violations {
		texts[i] = v.Error()
	}
	return strings.Join(texts, "; ")
}
