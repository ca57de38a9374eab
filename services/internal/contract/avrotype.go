package contract

import (
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// avroField is a field of a schema, reduced to what a contract says about it.
type avroField struct {
	name          string
	logicalType   string
	physicalTypes []string // accepted spellings, the preferred first
	nullable      bool
	fields        []avroField // of a record, or of a map's records
	items         *avroField  // of an array
}

// avroFields lists the fields of a record.
func avroFields(s *avro.Schema) ([]avroField, error) {
	if s.Type != avro.Record {
		return nil, fmt.Errorf("the schema is a %s and no record", s.Type.Name())
	}
	return avroReader{}.record(s), nil
}

// avroReader holds the records around the place being read: a record within itself is named there and not listed again.
type avroReader []*avro.Schema

func (r avroReader) record(s *avro.Schema) []avroField {
	for _, outer := range r {
		if outer == s {
			return nil
		}
	}
	inside := append(r[:len(r):len(r)], s)
	fields := make([]avroField, 0, len(s.Fields))
	for _, f := range s.Fields {
		field := inside.typeOf(f.Type)
		field.name = f.Name
		fields = append(fields, field)
	}
	return fields
}

func (r avroReader) typeOf(s *avro.Schema) avroField {
	switch s.Type {
	case avro.Record:
		return avroField{logicalType: "object", physicalTypes: []string{"record(" + s.FullName() + ")", "record(" + s.Name + ")"}, fields: r.record(s)}
	case avro.Union:
		return r.union(s)
	case avro.Array:
		items := r.typeOf(s.Items)
		return avroField{logicalType: "array", physicalTypes: []string{"array"}, items: &items}
	case avro.Map:
		values := r.typeOf(s.Items)
		return avroField{logicalType: "object", physicalTypes: []string{"map(" + values.physicalTypes[0] + ")"}, fields: values.fields}
	}
	return plainField(s)
}

func (r avroReader) union(s *avro.Schema) avroField {
	var others []avroField
	nullable := false
	for _, branch := range s.Branches {
		if branch.Type == avro.Null {
			nullable = true
			continue
		}
		others = append(others, r.typeOf(branch))
	}
	if len(others) == 1 {
		others[0].nullable = nullable
		return others[0]
	}
	names := make([]string, len(others))
	for i, o := range others {
		names[i] = o.physicalTypes[0]
	}
	return avroField{logicalType: "object", physicalTypes: []string{"union(" + strings.Join(names, ",") + ")"}, nullable: nullable}
}

// plainField writes a type without others inside, and adds its logical type: "long.timestamp-micros", "bytes.decimal(38,18)".
func plainField(s *avro.Schema) avroField {
	f := avroField{logicalType: "string", physicalTypes: []string{s.Type.Name()}, nullable: s.Type == avro.Null}
	switch s.Type {
	case avro.Boolean:
		f.logicalType = "boolean"
	case avro.Int, avro.Long:
		f.logicalType = "integer"
	case avro.Float, avro.Double:
		f.logicalType = "number"
	case avro.Enum:
		f.physicalTypes[0] = "enum(" + strings.Join(s.Symbols, ",") + ")"
	case avro.Fixed:
		f.physicalTypes[0] = fmt.Sprintf("fixed(%d)", s.Size)
	}
	logical := s.LogicalType()
	switch {
	case logical == "":
		return f
	case logical == "decimal":
		f.logicalType = "number"
		logical = fmt.Sprintf("decimal(%s,%s)", propertyOr(s, "precision", "0"), propertyOr(s, "scale", "0"))
	case strings.Contains(logical, "timestamp-"):
		f.logicalType = "timestamp"
	case logical == "date":
		f.logicalType = "date"
	case strings.HasPrefix(logical, "time-"):
		f.logicalType = "time"
	}
	f.physicalTypes[0] += "." + logical
	return f
}

func propertyOr(s *avro.Schema, name, otherwise string) string {
	if v, ok := s.Property(name); ok {
		return v
	}
	return otherwise
}
