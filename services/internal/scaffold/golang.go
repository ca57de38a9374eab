package scaffold

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// goSpelling is Go, as the codec of package subscription reads it.
type goSpelling struct{}

func (goSpelling) identifier(name string) string { return camel(name) }

func (goSpelling) constant(symbol string) string { return camel(strings.ToLower(symbol)) }

// convert has nothing to do: the codec makes the types itself.
func (goSpelling) convert(_ *types, _ *avro.Schema, value string) string { return value }

var goPrimitives = map[avro.Type]string{
	avro.String: "string", avro.Bytes: "[]byte", avro.Int: "int32", avro.Long: "int64", avro.Float: "float32", avro.Double: "float64", avro.Boolean: "bool",
}

// goLogical are logical types of Avro with a Go type of their own.
var goLogical = map[string]string{
	"timestamp-millis": "time.Time", "timestamp-micros": "time.Time", "timestamp-nanos": "time.Time", "date": "time.Time",
	"local-timestamp-millis": "time.Time", "local-timestamp-micros": "time.Time", "local-timestamp-nanos": "time.Time",
	"time-millis": "time.Duration", "time-micros": "time.Duration",
}

func (g goSpelling) spell(t *types, s *avro.Schema) string {
	if inner, ok := nullable(s); ok {
		spelled := g.spell(t, inner)
		if spelled == "*big.Rat" {
			return spelled
		}
		return "*" + spelled
	}
	switch s.Type {
	case avro.Record, avro.Enum:
		return t.named(s)
	case avro.Array:
		return "[]" + g.spell(t, s.Items)
	case avro.Map:
		return "map[string]" + g.spell(t, s.Items)
	case avro.Union, avro.Null:
		return "any"
	}
	if s.LogicalType() == "decimal" {
		if exact(s) {
			return "market.Decimal"
		}
		return "*big.Rat"
	}
	if spelled, ok := goLogical[s.LogicalType()]; ok && (s.Type == avro.Long || s.Type == avro.Int) {
		return spelled
	}
	if s.Type == avro.Fixed {
		return fmt.Sprintf("[%d]byte", s.Size)
	}
	return goPrimitives[s.Type]
}

func (g goSpelling) sample(t *types, name string, s *avro.Schema) string {
	if inner, ok := nullable(s); ok {
		spelled := g.sample(t, name, inner)
		if g.spell(t, inner) == "*big.Rat" {
			return spelled
		}
		return "new(" + spelled + ")"
	}
	switch s.Type {
	case avro.Record:
		return "sample" + t.named(s) + "()"
	case avro.Enum:
		symbols := t.record(t.named(s)).Symbols
		return t.named(s) + symbols[len(symbols)-1].Identifier
	case avro.Array:
		return "[]" + g.spell(t, s.Items) + "{" + g.sample(t, name, s.Items) + "}"
	case avro.Map:
		return "map[string]" + g.spell(t, s.Items) + "{\"key\": " + g.sample(t, name, s.Items) + "}"
	case avro.Union, avro.Null:
		return "nil"
	case avro.Boolean:
		return "true"
	case avro.Fixed:
		if s.LogicalType() != "decimal" {
			return fmt.Sprintf("[%d]byte{1}", s.Size)
		}
	}
	switch spelled := g.spell(t, s); spelled {
	case "market.Decimal":
		return "market.NewDecimal(6183763, 2)"
	case "*big.Rat":
		return "big.NewRat(1, 2)"
	case "time.Time":
		if s.LogicalType() == "date" {
			return "time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)"
		}
		return "time.UnixMilli(1_764_000_000_123).UTC()"
	case "time.Duration":
		return "time.Second"
	case "string":
		return strconv.Quote(sampleText(name, s))
	case "[]byte":
		return "[]byte(" + strconv.Quote(sampleText(name, s)) + ")"
	default:
		return spelled + "(7)"
	}
}

// sampleText is what a test writes into a text.
func sampleText(name string, s *avro.Schema) string {
	if s.LogicalType() == "uuid" {
		return "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	}
	if name == "symbol" {
		return "BTC-USDT"
	}
	return "some " + name
}
