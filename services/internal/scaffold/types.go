package scaffold

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// spelling is how a language writes what a schema describes.
type spelling interface {
	// spell returns the type of a value. It is told of named types before they are used.
	spell(t *types, s *avro.Schema) string
	// convert returns the expression that makes the type of what the language's library hands over as value.
	convert(t *types, s *avro.Schema, value string) string
	// identifier names a field, constant a symbol of an enum.
	identifier(name string) string
	constant(symbol string) string
	// sample returns an expression of a value of the type, for a test.
	sample(t *types, field string, s *avro.Schema) string
}

// types are the named types of all products of a consumer, each once.
type types struct {
	// Named in the order of their definition, a type before its users.
	Named []*namedType
	// names by full name.
	names map[string]string
	taken map[string]bool
	spelling
}

// namedType is a record or an enum; a fixed is spelled where it is used.
type namedType struct {
	Name, FullName, Doc string
	Record              bool
	Fields              []field
	Symbols             []symbol
}

type field struct {
	// Name of Avro, and the identifier in the language.
	Name, Identifier, Doc string
	Type, Convert, Sample string
}

type symbol struct{ Name, Identifier string }

func newTypes(s spelling) *types {
	return &types{names: map[string]string{}, taken: map[string]bool{}, spelling: s}
}

// add learns a schema's named types and returns the name of its record. prefix tells two types of one short name apart.
func (t *types) add(s *avro.Schema, prefix string) (string, error) {
	if err := t.visit(s, prefix, map[string]bool{}); err != nil {
		return "", err
	}
	return t.names[s.FullName()], nil
}

func (t *types) visit(s *avro.Schema, prefix string, open map[string]bool) error {
	if s.Type == avro.Record || s.Type == avro.Enum {
		return t.define(s, prefix, open)
	}
	if s.Items != nil {
		return t.visit(s.Items, prefix, open)
	}
	for _, b := range s.Branches {
		if err := t.visit(b, prefix, open); err != nil {
			return err
		}
	}
	return nil
}

func (t *types) define(s *avro.Schema, prefix string, open map[string]bool) error {
	full := s.FullName()
	if open[full] {
		return fmt.Errorf("type %s contains itself: typed events cannot be made of it; read such a topic with a program written by hand", full)
	}
	if _, known := t.names[full]; known {
		return nil
	}
	open[full] = true
	defer delete(open, full)
	for _, f := range s.Fields {
		if err := t.visit(f.Type, prefix, open); err != nil {
			return err
		}
	}
	name := camel(s.Name)
	if t.taken[name] {
		name = prefix + name
	}
	t.names[full], t.taken[name] = name, true
	n := &namedType{Name: name, FullName: full, Doc: s.Doc, Record: s.Type == avro.Record}
	for _, f := range s.Fields {
		n.Fields = append(n.Fields, field{
			Name: f.Name, Identifier: t.identifier(f.Name), Doc: f.Doc,
			Type: t.spell(t, f.Type), Convert: t.convert(t, f.Type, "value["+strconv.Quote(f.Name)+"]"), Sample: t.sample(t, f.Name, f.Type),
		})
	}
	for _, symbolName := range s.Symbols {
		n.Symbols = append(n.Symbols, symbol{Name: symbolName, Identifier: t.constant(symbolName)})
	}
	t.Named = append(t.Named, n)
	return nil
}

func (t *types) named(s *avro.Schema) string { return t.names[s.FullName()] }

// record finds a record by its name in the language.
func (t *types) record(name string) *namedType {
	for _, n := range t.Named {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// initialisms are written in capitals, as Go's readers expect.
var initialisms = map[string]string{"id": "ID", "url": "URL", "uuid": "UUID", "http": "HTTP", "json": "JSON"}

// camel writes raw-trades as RawTrades and trade_id as TradeID.
func camel(s string) string {
	var out strings.Builder
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == '_' || r == '-' || r == '.' }) {
		if initialism, ok := initialisms[strings.ToLower(word)]; ok {
			out.WriteString(initialism)
			continue
		}
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

// snake writes raw-trades as raw_trades.
func snake(s string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(s) }

// nullable returns what a ["null", X] union holds, and whether it is one.
func nullable(s *avro.Schema) (*avro.Schema, bool) {
	if s.Type != avro.Union || len(s.Branches) != 2 {
		return nil, false
	}
	for i, b := range s.Branches {
		if b.Type == avro.Null && s.Branches[1-i].Type != avro.Null {
			return s.Branches[1-i], true
		}
	}
	return nil, false
}

// exact says whether a decimal is the platform's decimal(38,18) or fits it.
func exact(s *avro.Schema) bool {
	scale, _ := s.Property("scale")
	precision, _ := s.Property("precision")
	return s.Type == avro.Bytes && s.LogicalType() == "decimal" && scale == "18" && len(precision) <= 2 && precision <= "38"
}

// leaves are the dotted paths of the values that a record holds, as a declaration of readers names them.
func leaves(s *avro.Schema, path string) []string {
	if inner, ok := nullable(s); ok {
		return leaves(inner, path)
	}
	switch s.Type {
	case avro.Array:
		return leaves(s.Items, path+"[]")
	case avro.Record:
		var all []string
		for _, f := range s.Fields {
			name := f.Name
			if path != "" {
				name = path + "." + f.Name
			}
			all = append(all, leaves(f.Type, name)...)
		}
		return all
	}
	return []string{path}
}
