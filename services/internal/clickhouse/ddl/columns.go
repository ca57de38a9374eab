package ddl

import (
	"errors"
	"fmt"
	"strings"
)

// ColumnOptions is what a contract says about one field.
type ColumnOptions struct {
	// LowCardinality stores a string or enum with a dictionary.
	LowCardinality bool
	// NullAs stands in the column where the record has null; nil makes the column Nullable.
	NullAs *string
}

// Column of a table, and the field that it is made from.
type Column struct {
	Name    string
	Type    Type
	Default string // SQL expression, empty for none
	Codec   string // without CODEC(), empty for the table's own
	Comment string

	// Path of the field in the schema; empty for the columns that the writer adds (see Meta).
	Path []string
	// Aliases of the path's last field: names under which an older writer may have written it.
	Aliases []string
	// Above are the same of the records that the field is nested in, the outermost first.
	Above [][]string
	// Source is the field's type in the schema, the union included.
	Source *Schema
	// Fallback is the field's default as Avro bytes of Source: what stands for a record whose writer knew no such field.
	Fallback []byte
	// NullAs is the contract's nullAs as Avro bytes of the type inside Source's union.
	NullAs []byte
}

// The columns that the writer adds to every table: where in Kafka the row came from, and under which schema.
const (
	MetaTopicID   = "_topic_id"
	MetaPartition = "_partition"
	MetaOffset    = "_offset"
	MetaSchemaID  = "_schema_id"
)

// Meta returns the columns that the writer adds. Partition and offset are signed, as in Kafka and as in the coordinates of
// the schemas: ClickHouse joins no Int64 to a UInt64, and a row is to be joined to the frame that it came from.
func Meta() []Column {
	return []Column{
		{Name: MetaTopicID, Type: Simple("UUID"), Comment: "Kafka's id of the topic that the row was read from; a recreated topic has another."},
		{Name: MetaPartition, Type: Simple("Int32"), Comment: "Partition of the row's record."},
		{Name: MetaOffset, Type: Simple("Int64"), Codec: "Delta(8), LZ4", Comment: "Offset of the row's record."},
		{Name: MetaSchemaID, Type: Simple("UInt32"), Comment: "The registry's id of the schema that the record was written with."},
	}
}

// ColumnsOf maps every field of a schema to columns, the writer's own last. All that cannot be mapped is reported, each
// with the field's path.
//
//   - A nested record is flattened into columns named parent.child: a field added to it later is one ADD COLUMN, which a
//     Tuple could not take, and queries read frame.offset either way.
//   - An array of records is Array(Tuple(…)), because a flattened array would tie the lengths of unrelated arrays.
//   - A union with null is Nullable, or a plain column with the contract's nullAs as DEFAULT.
func ColumnsOf(schemaText string, options map[string]ColumnOptions) ([]Column, error) {
	schema, err := ParseSchema(schemaText)
	if err != nil {
		return nil, err
	}
	if schema.Kind != Record {
		return nil, fmt.Errorf("a table needs a record, the schema is %s", schema.Kind)
	}
	m := mapper{options: options, used: map[string]bool{}, names: map[string]bool{}}
	m.record(schema, nil, nil, false)
	for name := range options {
		if !m.used[name] {
			m.fail(strings.Split(name, "."), errors.New("the contract has column options for it, the schema has no such field"))
		}
	}
	for _, c := range Meta() {
		if m.names[c.Name] {
			m.fail([]string{c.Name}, errors.New("the name belongs to a column that the writer adds"))
		}
	}
	if len(m.errs) > 0 {
		return nil, errors.Join(m.errs...)
	}
	return append(m.columns, Meta()...), nil
}

type mapper struct {
	options map[string]ColumnOptions
	used    map[string]bool
	names   map[string]bool
	columns []Column
	errs    []error
}

func (m *mapper) fail(path []string, err error) {
	m.errs = append(m.errs, fmt.Errorf("field %s: %w", strings.Join(path, "."), err))
}

func (m *mapper) record(s *Schema, path []string, above [][]string, nullable bool) {
	for _, f := range s.Fields {
		m.field(f, append(path[:len(path):len(path)], f.Name), above, nullable)
	}
	if len(s.Fields) == 0 {
		m.fail(append(path, "*"), errors.New("a record without fields has no column"))
	}
}

func (m *mapper) field(f Field, path []string, above [][]string, parentNullable bool) {
	inner, null := f.Type.Optional()
	if inner.Kind == Record {
		if f.HasDefault && !(null >= 0 && f.Default == nil) {
			m.fail(path, errors.New("a default of a nested record is not supported; give its fields defaults"))
		}
		m.record(inner, path, append(above[:len(above):len(above)], f.Aliases), parentNullable || null >= 0)
		return
	}
	name := strings.Join(path, ".")
	options := m.options[name]
	m.used[name] = true
	m.names[name] = true
	c := Column{Name: name, Path: path, Aliases: f.Aliases, Above: above, Source: f.Type, Comment: f.Doc, Codec: codec(inner)}
	t, err := typeOf(inner, options.LowCardinality)
	if err != nil {
		m.fail(path, err)
		return
	}
	if len(path) > 1 && (t.Name == "Array" || t.Name == "Map") {
		m.fail(path, errors.New("an array or map inside a nested record would be tied to the lengths of its neighbours; lift it to the top of the record"))
		return
	}
	if c.Type, err = m.nullability(&c, t, inner, null >= 0 || parentNullable, options); err == nil {
		err = m.defaults(&c, f, inner, null)
	}
	if err != nil {
		m.fail(path, err)
		return
	}
	m.columns = append(m.columns, c)
}

func (m *mapper) nullability(c *Column, t Type, inner *Schema, nullable bool, options ColumnOptions) (Type, error) {
	if !nullable {
		if options.NullAs != nil {
			return t, errors.New("clickhouse.nullAs on a field that is never null")
		}
		return t, nil
	}
	if options.NullAs != nil {
		var err error
		if c.NullAs, err = avroText(inner, *options.NullAs); err != nil {
			return t, fmt.Errorf("clickhouse.nullAs: %w", err)
		}
		c.Default, err = sqlText(inner, *options.NullAs)
		return t, err
	}
	if t.Name == "Array" || t.Name == "Map" {
		return t, fmt.Errorf("ClickHouse has no Nullable(%s); say clickhouse.nullAs (\"[]\" or \"{}\") in the contract", t.Name)
	}
	return Nullable(t), nil
}

// Nullable wraps a type; a dictionary takes the null inside.
func Nullable(t Type) Type {
	if t.Name == "LowCardinality" {
		return Wrap("LowCardinality", Wrap("Nullable", t.Args[0]))
	}
	return Wrap("Nullable", t)
}

// defaults takes the schema's default over, so that rows from before the column read as Avro's resolution reads them.
func (m *mapper) defaults(c *Column, f Field, inner *Schema, null int) error {
	if !f.HasDefault {
		return nil
	}
	var err error
	if c.Fallback, err = avroJSON(f.Type, f.Default); err != nil {
		return fmt.Errorf("default: %w", err)
	}
	if f.Default == nil || c.Default != "" {
		return nil
	}
	// A default that has no literal still serves as Fallback; ClickHouse then fills old rows with its own empty value.
	if text, ok := textOf(inner, f.Default); ok {
		c.Default, err = sqlText(inner, text)
	}
	return err
}

func codec(s *Schema) string {
	switch {
	case s.Kind == Bytes && s.Logical != "decimal":
		return "ZSTD(3)"
	case s.Kind == Long && (strings.HasPrefix(s.Logical, "timestamp-") || strings.HasPrefix(s.Logical, "local-timestamp-")):
		return "Delta(8), LZ4"
	}
	return ""
}

// typeOf maps a type that is not a union with null.
func typeOf(s *Schema, lowCardinality bool) (Type, error) {
	t, err := plainType(s, lowCardinality)
	if err != nil || !lowCardinality {
		return t, err
	}
	if t.Name != "String" {
		return t, fmt.Errorf("clickhouse.lowCardinality is for strings and enums, this is %s", t)
	}
	return Wrap("LowCardinality", t), nil
}

func plainType(s *Schema, enumAsString bool) (Type, error) {
	switch s.Kind {
	case Boolean:
		return Simple("Bool"), nil
	case Int:
		if s.Logical == "date" {
			return Simple("Date32"), nil
		}
		return Simple("Int32"), nil
	case Long:
		return longType(s), nil
	case Float:
		return Simple("Float32"), nil
	case Double:
		return Simple("Float64"), nil
	case String:
		if s.Logical == "uuid" {
			return Simple("UUID"), nil
		}
		return Simple("String"), nil
	case Bytes:
		if s.Logical == "decimal" {
			return decimalType(s)
		}
		return Simple("String"), nil
	case Fixed:
		return fixedType(s)
	case Enum:
		return enumType(s, enumAsString)
	case Array, Map:
		return collectionType(s)
	case Record:
		return tupleType(s)
	case Union:
		return Type{}, fmt.Errorf("a union of %d types has no column; only a union of null and one other type has", len(s.Branches))
	}
	return Type{}, fmt.Errorf("type %s has no column", s.Kind)
}

func longType(s *Schema) Type {
	for suffix, digits := range map[string]int{"-millis": 3, "-micros": 6, "-nanos": 9} {
		if s.Logical == "timestamp"+suffix || s.Logical == "local-timestamp"+suffix {
			return Type{Name: "DateTime64", Params: []int{digits}, Zone: "UTC"}
		}
	}
	return Simple("Int64")
}

func decimalType(s *Schema) (Type, error) {
	if s.Precision < 1 || s.Precision > 76 || s.Scale < 0 || s.Scale > s.Precision {
		return Type{}, fmt.Errorf("decimal(%d,%d): ClickHouse has decimals of 1 to 76 digits", s.Precision, s.Scale)
	}
	return Type{Name: "Decimal", Params: []int{s.Precision, s.Scale}}, nil
}

func fixedType(s *Schema) (Type, error) {
	switch {
	case s.Logical == "uuid" && s.Size == 16:
		return Simple("UUID"), nil
	case s.Logical == "decimal":
		return decimalType(s)
	}
	return Type{Name: "FixedString", Params: []int{s.Size}}, nil
}

func enumType(s *Schema, asString bool) (Type, error) {
	if asString {
		return Simple("String"), nil
	}
	if len(s.Symbols) == 0 || len(s.Symbols) > 1<<15 {
		return Type{}, fmt.Errorf("an enum of %d symbols", len(s.Symbols))
	}
	t := Simple("Enum8")
	if len(s.Symbols) > 1<<7 {
		t.Name = "Enum16"
	}
	for i, symbol := range s.Symbols {
		t.Enum = append(t.Enum, EnumValue{symbol, i})
	}
	return t, nil
}

func collectionType(s *Schema) (Type, error) {
	inner, null := s.Items.Optional()
	t, err := typeOf(inner, false)
	if err != nil {
		return t, fmt.Errorf("%s: %w", s.Kind, err)
	}
	if null >= 0 {
		if t.Name == "Tuple" || t.Name == "Array" || t.Name == "Map" {
			return t, fmt.Errorf("%s: ClickHouse has no Nullable(%s)", s.Kind, t.Name)
		}
		t = Nullable(t)
	}
	if s.Kind == Array {
		if MinSize(s.Items) == 0 {
			return t, errors.New("array: items that take no bytes have no bounded length")
		}
		return Wrap("Array", t), nil
	}
	return Wrap("Map", Simple("String"), t), nil
}

// tupleType maps a record inside an array or map.
func tupleType(s *Schema) (Type, error) {
	t := Simple("Tuple")
	for _, f := range s.Fields {
		inner, null := f.Type.Optional()
		element, err := typeOf(inner, false)
		if err == nil && null >= 0 {
			if element.Name == "Tuple" || element.Name == "Array" || element.Name == "Map" {
				err = fmt.Errorf("ClickHouse has no Nullable(%s)", element.Name)
			}
			element = Nullable(element)
		}
		if err != nil {
			return t, fmt.Errorf("%s: %w", f.Name, err)
		}
		t.Names = append(t.Names, f.Name)
		t.Args = append(t.Args, element)
	}
	if len(t.Args) == 0 {
		return t, errors.New("a record without fields has no column")
	}
	return t, nil
}

// MinSize is the fewest bytes that a value of the type takes in Avro. It bounds how many items a body can hold.
func MinSize(s *Schema) int {
	switch s.Kind {
	case Null:
		return 0
	case Float:
		return 4
	case Double:
		return 8
	case Fixed:
		return s.Size
	case Record:
		total := 0
		for _, f := range s.Fields {
			total += MinSize(f.Type)
		}
		return total
	}
	return 1
}
