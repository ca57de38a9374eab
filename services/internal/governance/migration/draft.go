package migration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// Draft is a first migration file between two schemas. Renames are guessed (by alias, else by type and place, which a comment
// says), rescales follow from the types, and what nobody can guess is a `decide` that lint refuses.
type Draft struct {
	Text []byte
	// Renamed are the fields of the record itself that have another name: the earlier's by the later's.
	Renamed map[string]string
	// Undecided counts the decisions that are left.
	Undecided int
}

// NewDraft drafts the file; name is its path below contracts/, from and to the products' ids, and the texts their
// self-contained schemas.
func NewDraft(name, from, to, fromText, toText string) (Draft, error) {
	a, err := avro.Parse(fromText, nil, avro.KeepInvalidDefaults())
	if err != nil {
		return Draft{}, err
	}
	b, err := avro.Parse(toText, nil, avro.KeepInvalidDefaults())
	if err != nil {
		return Draft{}, err
	}
	d := drafter{renamed: map[string]string{}, seen: map[[2]*avro.Schema]bool{}}
	d.place([2]*avro.Schema{a, b}, [2]string{})
	write := func() []byte {
		var out bytes.Buffer
		fmt.Fprintf(&out, "# How records of %s become those of %s, and back. The rules: contracts/README.md, \"Migrations\".\nfrom: %s\nto: %s\nfields:", from, to, from, to)
		if len(d.rules) == 0 {
			out.WriteString(" []")
		}
		out.WriteByte('\n')
		for _, rule := range d.rules {
			out.WriteString("  - " + rule + "\n")
		}
		return out.Bytes()
	}
	m, problems := contract.ParseMigration(name, write())
	if len(problems) > 0 {
		return Draft{}, problems
	}
	_, err = Compile(m, fromText, toText)
	var faults Faults
	if err != nil && !errors.As(err, &faults) {
		return Draft{}, err
	}
	for _, f := range faults {
		d.rules = append(d.rules, "decide: "+quoted(strings.TrimSuffix(f.What+"; "+f.Do, "; ")))
	}
	return Draft{Text: write(), Renamed: d.renamed, Undecided: len(faults)}, nil
}

// quoted writes a text for YAML, which takes what JSON writes.
func quoted(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// A string always encodes.
	_ = encoder.Encode(text)
	return strings.TrimSuffix(out.String(), "\n")
}

type drafter struct {
	rules   []string
	renamed map[string]string
	seen    map[[2]*avro.Schema]bool
}

func (d *drafter) add(format string, args ...any) {
	d.rules = append(d.rules, fmt.Sprintf(format, args...))
}

func (d *drafter) place(s [2]*avro.Schema, at [2]string) {
	for i := range s {
		if s[i].Type == avro.Union {
			others := slices.DeleteFunc(slices.Clone(s[i].Branches), func(b *avro.Schema) bool { return b.Type == avro.Null })
			if len(others) != 1 {
				return
			}
			s[i] = others[0]
		}
	}
	if d.seen[s] {
		return
	}
	d.seen[s] = true
	defer delete(d.seen, s)
	a, b := s[earlier], s[later]
	switch {
	case at[later] == "" && a.Type != avro.Record: // No rule has a path for it.
	case isNumber(a) && isNumber(b):
		if _, do := factorOf(a, b, ""); do == "" && (describe(nameless(a)) != describe(nameless(b)) || a.Size != b.Size) {
			d.add("rescale: {field: %s}", written(at[later]))
		}
	case isFloat(a) && isFloat(b) && a.Type != b.Type:
		d.add("rescale: {field: %s}", written(at[later]))
	case a.Type != b.Type:
	case a.Type == avro.Record:
		d.record(a, b, at)
	case a.Type == avro.Enum:
		gone, come := without(a.Symbols, b.Symbols), without(b.Symbols, a.Symbols)
		if len(gone) == 1 && len(come) == 1 {
			d.add("rename: {from: %s, to: %s} # guessed: the only symbol that went, and the only one that came", written(below(at[earlier], gone[0])), written(below(at[later], come[0])))
		}
	case a.Items != nil:
		step := "[]"
		if a.Type == avro.Map {
			step = "{}"
		}
		d.place([2]*avro.Schema{a.Items, b.Items}, [2]string{at[0] + step, at[1] + step})
	}
}

func without(all, other []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(other, s) })
}

func (d *drafter) record(a, b *avro.Schema, at [2]string) {
	goes := func(f *avro.Field) bool { return b.Field(f.Name) == nil }
	comes := func(f *avro.Field) bool { return a.Field(f.Name) == nil }
	for j, g := range b.Fields {
		f, why := a.Field(g.Name), ""
		if f == nil {
			if f, why = predecessor(a, b, j, goes, comes); f == nil {
				continue
			}
			d.add("rename: {from: %s, to: %s}%s", written(below(at[earlier], f.Name)), written(below(at[later], g.Name)), why)
			if at[later] == "" {
				d.renamed[g.Name] = f.Name
			}
		}
		d.place([2]*avro.Schema{f.Type, g.Type}, [2]string{below(at[earlier], f.Name), below(at[later], g.Name)})
	}
}

// predecessor guesses which field that goes a field that comes was: the one that its aliases name, else one of the same kind
// in the same place, else the only one of the same type where no other of that type comes.
func predecessor(a, b *avro.Schema, j int, goes, comes func(*avro.Field) bool) (*avro.Field, string) {
	g := b.Fields[j]
	for _, alias := range g.Aliases {
		if f := a.Field(alias); f != nil && goes(f) {
			return f, ""
		}
	}
	aliased := func(f *avro.Field) bool {
		return slices.ContainsFunc(b.Fields, func(o *avro.Field) bool { return slices.Contains(o.Aliases, f.Name) })
	}
	if j < len(a.Fields) && goes(a.Fields[j]) && !aliased(a.Fields[j]) && alike(a.Fields[j].Type, g.Type) {
		return a.Fields[j], " # guessed from type and place"
	}
	var like []*avro.Field
	for i, f := range a.Fields {
		inPlace := i < len(b.Fields) && comes(b.Fields[i]) && alike(f.Type, b.Fields[i].Type)
		if goes(f) && !aliased(f) && !inPlace && describe(f.Type) == describe(g.Type) {
			like = append(like, f)
		}
	}
	rivals := 0
	for i, o := range b.Fields {
		inPlace := i < len(a.Fields) && goes(a.Fields[i]) && alike(a.Fields[i].Type, o.Type)
		if comes(o) && len(o.Aliases) == 0 && !inPlace && describe(o.Type) == describe(g.Type) {
			rivals++
		}
	}
	if len(like) == 1 && rivals == 1 {
		return like[0], " # guessed from the type"
	}
	return nil, ""
}

// alike tells whether a rule could turn one type into the other.
func alike(a, b *avro.Schema) bool {
	return describe(a) == describe(b) || isNumber(a) && isNumber(b) || a.Type == b.Type && a.Type != avro.Union && a.LogicalType() == b.LogicalType()
}
