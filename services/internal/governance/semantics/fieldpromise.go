package semantics

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// placedField is a field of a contract with its path.
type placedField struct {
	path  string
	field contract.Field
}

// listed gives every field of a contract with its path, those of nested records and of an array's items included.
func listed(fields []contract.Field, prefix string) []placedField {
	var all []placedField
	for _, f := range fields {
		path := join(prefix, f.Name)
		all = append(all, placedField{path, f})
		inside := &f
		for inside.Items != nil {
			path += "[]"
			inside = inside.Items
		}
		if strings.HasPrefix(inside.PhysicalType, "map(") {
			path += "{}"
		}
		all = append(all, listed(inside.Fields, path)...)
	}
	return all
}

// fieldPromises compares what contracts say about single fields: who may see them, and which values they have.
func (c *comparison) fieldPromises(base, next Product) {
	now := map[string]contract.Field{}
	for _, p := range listed(next.Contract.Fields, "") {
		now[p.path] = p.field
	}
	renamed := renames(base.Schema, next.Schema)
	for _, p := range listed(base.Contract.Fields, "") {
		after, ok := now[p.path]
		if !ok {
			if after, ok = now[renamed[p.path]]; !ok {
				continue
			}
		}
		c.classification(p.path, p.field, after)
		c.fieldRules(p.path, p.field, after)
		c.quality(p.path, p.field.Quality, after.Quality)
	}
	c.quality("", base.Contract.Quality, next.Contract.Quality)
}

// quality rules are promises about values; one that is gone, or another one, is no longer what readers rely on.
func (c *comparison) quality(path string, was, is []string) {
	for _, r := range was {
		if slices.Contains(is, r) {
			continue
		}
		ch := change{
			rule: rule.QualityLoosened, scope: "contract", path: path + ".quality", from: r,
			what: fmt.Sprintf("%s loses the quality rule %s", orWhole(path), r), do: "keep the rule, or agree with the readers",
		}
		if path != "" {
			ch.places = []string{path}
		}
		c.add(ch)
	}
}

// renames gives the new path of every field that an alias tells to have a new name.
func renames(base, next *avro.Schema) map[string]string {
	paths := map[string]string{}
	if base == nil || next == nil {
		return paths
	}
	open := map[*avro.Schema]bool{}
	var enter func(b, n *avro.Schema, from, to string)
	enter = func(b, n *avro.Schema, from, to string) {
		b, n = inner(b), inner(n)
		switch {
		case b.Type != n.Type:
		case b.Items != nil:
			enter(b.Items, n.Items, from+itemsStep(b), to+itemsStep(n))
		case b.Type == avro.Record && !open[b]:
			open[b] = true
			defer delete(open, b)
			for _, f := range b.Fields {
				same := n.Field(f.Name)
				if same == nil {
					same = successor(b, n, f.Name)
				}
				if same == nil {
					continue
				}
				if was, is := join(from, f.Name), join(to, same.Name); was != is {
					paths[was] = is
				}
				enter(f.Type, same.Type, join(from, f.Name), join(to, same.Name))
			}
		}
	}
	enter(base, next, "", "")
	return paths
}

// inner is the one type that a union has besides null.
func inner(s *avro.Schema) *avro.Schema {
	if s.Type != avro.Union || countOthers(s.Branches) != 1 {
		return s
	}
	i := slices.IndexFunc(s.Branches, func(b *avro.Schema) bool { return b.Type != avro.Null })
	return s.Branches[i]
}

// classifications from what everybody may see to what few may.
var classifications = []string{"public", "internal", "restricted", "confidential"}

func (c *comparison) classification(path string, was, is contract.Field) {
	if was.Classification == "" || was.Classification == is.Classification {
		return
	}
	to := is.Classification
	what := fmt.Sprintf("%s was classified %s and would be %s", path, was.Classification, to)
	if to == "" {
		to = "unclassified"
		what = fmt.Sprintf("%s was classified %s and would no longer be classified", path, was.Classification)
	} else if slices.Index(classifications, to) > slices.Index(classifications, was.Classification) {
		return
	}
	c.add(change{
		rule: rule.ClassificationLoosened, scope: "contract", path: path + ".classification", places: []string{path}, from: was.Classification, to: to,
		what: what, do: "leave the classification, or have those answer who classified it",
	})
}

// consequences of a violated rule, the mildest first.
var consequences = []string{"count", "divert", "block"}

func (c *comparison) fieldRules(path string, was, is contract.Field) {
	add := func(what, from, to string) {
		c.add(change{
			rule: rule.FieldRuleLoosened, scope: "contract", path: path + "." + what, places: []string{path}, from: from, to: to,
			what: fmt.Sprintf("%s had the %s %s and would have %s", path, what, from, to), do: "leave it, or see that no reader relies on it",
		})
	}
	if was.Minimum != nil && (is.Minimum == nil || *is.Minimum < *was.Minimum) {
		add("minimum", bound(was.Minimum), bound(is.Minimum))
	}
	if was.Maximum != nil && (is.Maximum == nil || *is.Maximum > *was.Maximum) {
		add("maximum", bound(was.Maximum), bound(is.Maximum))
	}
	// A rule against null, which the schema need not have.
	if was.Required && was.OnViolation != "" && !is.Required {
		add("required", "true", "false")
	}
	from, to := orCount(was.OnViolation), orCount(is.OnViolation)
	if slices.Index(consequences, to) < slices.Index(consequences, from) {
		add("onViolation", from, to)
	}
}

func bound(b *float64) string {
	if b == nil {
		return "none"
	}
	return fmt.Sprint(*b)
}

func orCount(onViolation string) string {
	if onViolation == "" {
		return "count"
	}
	return onViolation
}
