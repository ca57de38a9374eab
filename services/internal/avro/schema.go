package avro

import "strings"

// Type is one of Avro's types.
type Type uint8

// Avro's types, in the order of the Java library.
const (
	Record Type = iota
	Enum
	Array
	Map
	Union
	Fixed
	String
	Bytes
	Int
	Long
	Float
	Double
	Boolean
	Null
)

var typeNames = [...]string{"record", "enum", "array", "map", "union", "fixed", "string", "bytes", "int", "long", "float", "double", "boolean", "null"}

var primitives = map[string]Type{
	"string": String, "bytes": Bytes, "int": Int, "long": Long, "float": Float, "double": Double, "boolean": Boolean, "null": Null,
}

// Name returns the type as a schema writes it: "record", "long".
func (t Type) Name() string { return typeNames[t] }

// String returns the type as Java's messages write it: "RECORD", "LONG".
func (t Type) String() string { return strings.ToUpper(typeNames[t]) }

// Schema is one node of a parsed schema. A recursive type points back at itself. A Schema must not be changed.
type Schema struct {
	Type Type

	// Name, Namespace, Doc and Aliases (full names) belong to records, enums and fixed.
	Name      string
	Namespace string
	Doc       string
	HasDoc    bool
	Aliases   []string

	Fields      []*Field  // of a record
	IsError     bool      // the record was declared as "error"
	Symbols     []string  // of an enum
	EnumDefault string    // "" for none
	Size        int       // of a fixed, in bytes
	Items       *Schema   // of an array; the values of a map
	Branches    []*Schema // of a union

	properties []jsonMember
	hasFields  bool // false while a record's fields are being read
	references map[string]bool

	placeholder bool   // stands for a type that is defined further down, while parsing
	unresolved  string // and its full name
}

// Field is one field of a record.
type Field struct {
	Name    string
	Doc     string
	HasDoc  bool
	Type    *Schema
	Order   string // "ascending", "descending" or "ignore"
	Aliases []string

	fallback   *jsonValue
	properties []jsonMember
}

// FullName is namespace and name of a named type, and the type's own word for any other.
func (s *Schema) FullName() string {
	if !s.Named() {
		return s.Type.Name()
	}
	return join(s.Namespace, s.Name)
}

// Named tells whether the type has a name of its own.
func (s *Schema) Named() bool { return s.Type == Record || s.Type == Enum || s.Type == Fixed }

// Property returns the JSON text of an attribute that is not Avro's own, for example logicalType, precision or scale.
func (s *Schema) Property(name string) (string, bool) { return property(s.properties, name) }

// Property returns the JSON text of an attribute of the field that is not Avro's own.
func (f *Field) Property(name string) (string, bool) { return property(f.properties, name) }

// Properties lists the names of the attributes that are not Avro's own, in the order of the text.
func (s *Schema) Properties() []string { return memberNames(s.properties) }

// Properties lists the names of the field's attributes that are not Avro's own, in the order of the text.
func (f *Field) Properties() []string { return memberNames(f.properties) }

// Default returns the JSON text of the field's default, and whether it has one.
func (f *Field) Default() (string, bool) {
	if f.fallback == nil {
		return "", false
	}
	return string(appendJSON(nil, f.fallback)), true
}

// Field returns the field of that name, or nil.
func (s *Schema) Field(name string) *Field {
	for _, f := range s.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// LogicalType returns the schema's logicalType attribute, valid or not; "" when there is none.
func (s *Schema) LogicalType() string {
	for i := range s.properties {
		if p := &s.properties[i]; p.name == "logicalType" && p.value.kind == jsonString {
			return p.value.text
		}
	}
	return ""
}

func property(all []jsonMember, name string) (string, bool) {
	for i := range all {
		if all[i].name == name {
			return string(appendJSON(nil, &all[i].value)), true
		}
	}
	return "", false
}

func memberNames(all []jsonMember) []string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name
	}
	return names
}

func join(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "." + name
}
