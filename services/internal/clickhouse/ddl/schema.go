package ddl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind is an Avro type's kind.
type Kind string

// The kinds of Avro.
const (
	Null    Kind = "null"
	Boolean Kind = "boolean"
	Int     Kind = "int"
	Long    Kind = "long"
	Float   Kind = "float"
	Double  Kind = "double"
	Bytes   Kind = "bytes"
	String  Kind = "string"
	Record  Kind = "record"
	Enum    Kind = "enum"
	Array   Kind = "array"
	Map     Kind = "map"
	Fixed   Kind = "fixed"
	Union   Kind = "union"
)

// Schema is an Avro type with what a sink has to know of it.
type Schema struct {
	Kind             Kind
	Name             string // full name of a record, enum or fixed
	Logical          string
	Precision, Scale int
	Size             int
	Symbols          []string
	Fields           []Field
	Items            *Schema   // of an array, or the values of a map
	Branches         []*Schema // of a union
}

// Field of a record.
type Field struct {
	Name       string
	Aliases    []string
	Doc        string
	Type       *Schema
	HasDefault bool
	// Default is the JSON value; numbers are json.Number.
	Default any
}

// ParseSchema reads a self-contained Avro schema.
func ParseSchema(text string) (*Schema, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("reading Avro schema: %w", err)
	}
	p := schemaParser{named: map[string]*Schema{}, open: map[*Schema]bool{}}
	s, err := p.parse(tree, "", 0)
	if err != nil {
		return nil, fmt.Errorf("reading Avro schema: %w", err)
	}
	return s, nil
}

type schemaParser struct {
	named map[string]*Schema
	open  map[*Schema]bool
}

const maxSchemaDepth = 64

var errDeep = errors.New("nested deeper than 64 levels")

func (p *schemaParser) parse(tree any, namespace string, depth int) (*Schema, error) {
	if depth > maxSchemaDepth {
		return nil, errDeep
	}
	switch t := tree.(type) {
	case string:
		return p.byName(t, namespace)
	case []any:
		u := &Schema{Kind: Union}
		for i, branch := range t {
			b, err := p.parse(branch, namespace, depth+1)
			if err != nil {
				return nil, fmt.Errorf("branch %d: %w", i, err)
			}
			u.Branches = append(u.Branches, b)
		}
		return u, nil
	case map[string]any:
		return p.object(t, namespace, depth)
	}
	return nil, fmt.Errorf("a %T is no type", tree)
}

func (p *schemaParser) byName(name, namespace string) (*Schema, error) {
	switch Kind(name) {
	case Null, Boolean, Int, Long, Float, Double, Bytes, String:
		return &Schema{Kind: Kind(name)}, nil
	}
	full := name
	if !strings.Contains(name, ".") && namespace != "" {
		full = namespace + "." + name
	}
	s, ok := p.named[full]
	if !ok {
		s, ok = p.named[name]
	}
	if !ok {
		return nil, fmt.Errorf("type %s is not defined; the schema has to be self-contained", full)
	}
	if p.open[s] {
		return nil, fmt.Errorf("type %s contains itself, which no table can", full)
	}
	return s, nil
}

func (p *schemaParser) object(t map[string]any, namespace string, depth int) (*Schema, error) {
	kind, ok := t["type"].(string)
	if !ok {
		return p.parse(t["type"], namespace, depth+1)
	}
	s := &Schema{Kind: Kind(kind)}
	s.Logical, _ = t["logicalType"].(string)
	s.Precision = number(t["precision"])
	s.Scale = number(t["scale"])
	s.Size = number(t["size"])
	switch s.Kind {
	case Null, Boolean, Int, Long, Float, Double, Bytes, String:
		return s, nil
	case Array, Map:
		items := t["items"]
		if s.Kind == Map {
			items = t["values"]
		}
		inner, err := p.parse(items, namespace, depth+1)
		s.Items = inner
		return s, err
	case Fixed, Enum, Record, "error":
		return s, p.namedType(s, t, namespace, depth)
	}
	return p.byName(kind, namespace)
}

func (p *schemaParser) namedType(s *Schema, t map[string]any, namespace string, depth int) error {
	name, _ := t["name"].(string)
	if name == "" {
		return fmt.Errorf("a %s without a name", s.Kind)
	}
	if own, ok := t["namespace"].(string); ok {
		namespace = own
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		namespace = name[:i]
	} else if namespace != "" {
		name = namespace + "." + name
	}
	s.Name = name
	if _, twice := p.named[name]; twice {
		return fmt.Errorf("type %s is defined twice", name)
	}
	p.named[name] = s
	switch s.Kind {
	case Fixed:
		if s.Size <= 0 {
			return fmt.Errorf("fixed %s of %d bytes", name, s.Size)
		}
	case Enum:
		s.Symbols = stringList(t["symbols"])
	default:
		s.Kind = Record
		p.open[s] = true
		defer delete(p.open, s)
		return p.fields(s, t, namespace, depth)
	}
	return nil
}

func (p *schemaParser) fields(s *Schema, t map[string]any, namespace string, depth int) error {
	list, _ := t["fields"].([]any)
	for i, item := range list {
		f, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("field %d of %s is no object", i, s.Name)
		}
		field := Field{Aliases: stringList(f["aliases"])}
		field.Name, _ = f["name"].(string)
		field.Doc, _ = f["doc"].(string)
		field.Default, field.HasDefault = f["default"]
		var err error
		if field.Type, err = p.parse(f["type"], namespace, depth+1); err != nil {
			return fmt.Errorf("field %s: %w", field.Name, err)
		}
		s.Fields = append(s.Fields, field)
	}
	return nil
}

func number(v any) int {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return int(i)
}

func stringList(v any) []string {
	var list []string
	items, _ := v.([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// Optional takes a union of null and one other type apart: the other type and the position of null. Any other type is
// returned as it is, with position -1.
func (s *Schema) Optional() (inner *Schema, null int) {
	if s.Kind != Union || len(s.Branches) != 2 {
		return s, -1
	}
	for i, b := range s.Branches {
		if b.Kind == Null {
			return s.Branches[1-i], i
		}
	}
	return s, -1
}
