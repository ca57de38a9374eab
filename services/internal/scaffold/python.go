package scaffold

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// pythonSpelling is Python, as confluent-kafka's AvroDeserializer (fastavro) hands values over.
type pythonSpelling struct{}

// pythonKeywords cannot be names of fields.
var pythonKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except", "finally",
	"for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}

func (pythonSpelling) identifier(name string) string {
	if slices.Contains(pythonKeywords, name) || name == "of" {
		return name + "_"
	}
	return name
}

func (p pythonSpelling) constant(symbol string) string { return p.identifier(symbol) }

var pythonPrimitives = map[avro.Type]string{
	avro.String: "str", avro.Bytes: "bytes", avro.Int: "int", avro.Long: "int", avro.Float: "float", avro.Double: "float", avro.Boolean: "bool", avro.Fixed: "bytes", avro.Null: "None",
}

var pythonLogical = map[string]string{
	"decimal": "Decimal", "uuid": "UUID", "date": "date", "time-millis": "time", "time-micros": "time",
	"timestamp-millis": "datetime", "timestamp-micros": "datetime", "local-timestamp-millis": "datetime", "local-timestamp-micros": "datetime",
}

func (p pythonSpelling) spell(t *types, s *avro.Schema) string {
	if inner, ok := nullable(s); ok {
		return p.spell(t, inner) + " | None"
	}
	switch s.Type {
	case avro.Record, avro.Enum:
		return t.named(s)
	case avro.Array:
		return "tuple[" + p.spell(t, s.Items) + ", ...]"
	case avro.Map:
		return "dict[str, " + p.spell(t, s.Items) + "]"
	case avro.Union:
		return "Any"
	}
	if spelled, ok := pythonLogical[s.LogicalType()]; ok {
		return spelled
	}
	return pythonPrimitives[s.Type]
}

// convert returns the expression that makes the typed value of what the deserializer hands over; "" when it is that.
func (p pythonSpelling) convert(t *types, s *avro.Schema, value string) string {
	if inner, ok := nullable(s); ok {
		if converted := p.convert(t, inner, value); converted != value {
			return "None if " + value + " is None else " + converted
		}
		return value
	}
	switch s.Type {
	case avro.Record:
		return t.named(s) + ".of(" + value + ")"
	case avro.Enum:
		return t.named(s) + "(" + value + ")"
	case avro.Array:
		if converted := p.convert(t, s.Items, "item"); converted != "item" {
			return "tuple(" + converted + " for item in " + value + ")"
		}
		return "tuple(" + value + ")"
	case avro.Map:
		if converted := p.convert(t, s.Items, "item"); converted != "item" {
			return "{key: " + converted + " for key, item in " + value + ".items()}"
		}
	}
	if s.LogicalType() == "uuid" {
		return "_uuid(" + value + ")"
	}
	return value
}

func (p pythonSpelling) sample(t *types, name string, s *avro.Schema) string {
	if inner, ok := nullable(s); ok {
		return p.sample(t, name, inner)
	}
	switch s.Type {
	case avro.Record:
		return "sample_" + t.named(s) + "()"
	case avro.Enum:
		symbols := t.record(t.named(s)).Symbols
		return strconv.Quote(symbols[len(symbols)-1].Name)
	case avro.Array:
		return "[" + p.sample(t, name, s.Items) + "]"
	case avro.Map:
		return "{\"key\": " + p.sample(t, name, s.Items) + "}"
	case avro.Union:
		return p.sample(t, name, s.Branches[0])
	case avro.Boolean:
		return "True"
	case avro.Null:
		return "None"
	}
	switch p.spell(t, s) {
	case "Decimal":
		if exact(s) {
			return `Decimal("61837.63")`
		}
		return `Decimal("7")`
	case "datetime":
		return "datetime(2026, 11, 22, 12, 0, 0, 123000, tzinfo=timezone.utc)"
	case "date":
		return "date(2026, 11, 22)"
	case "time":
		return "time(12, 0)"
	case "UUID":
		if s.Type == avro.Fixed {
			return `bytes(range(16))`
		}
		return `UUID(int=7)`
	case "str":
		return strconv.Quote(sampleText(name, s))
	case "bytes":
		if s.Type == avro.Fixed {
			return fmt.Sprintf("bytes(%d)", s.Size)
		}
		return "b" + strconv.Quote(sampleText(name, s))
	case "float":
		return "0.5"
	}
	return "7"
}
