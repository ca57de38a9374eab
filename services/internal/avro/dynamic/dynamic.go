// Package dynamic reads Avro bodies of any schema for people and tools: as a tree that keeps the schema's order of fields,
// with decimals as exact text, times in UTC and enums by name. Programs that know their schema use package records, or the
// types of package subscription.
package dynamic

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	twmb "github.com/twmb/avro"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// Reader reads the bodies of one schema. It is safe for concurrent use.
type Reader struct {
	schema *avro.Schema
	codec  *twmb.Schema
}

// NewReader compiles the text of a self-contained schema.
func NewReader(text string) (*Reader, error) {
	schema, err := avro.Parse(text, nil, avro.KeepInvalidDefaults())
	if err != nil {
		return nil, err
	}
	codec, err := twmb.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", schema.FullName(), err)
	}
	return &Reader{schema, codec}, nil
}

// Read reads a body, all of it.
func (r *Reader) Read(body []byte) (Value, error) {
	var native any
	rest, err := r.codec.Decode(body, &native, twmb.TaggedUnions())
	if err != nil {
		return Value{}, fmt.Errorf("reading %d bytes of %s: %w", len(body), r.schema.FullName(), err)
	}
	if len(rest) > 0 {
		return Value{}, fmt.Errorf("reading %d bytes of %s: %d bytes too many", len(body), r.schema.FullName(), len(rest))
	}
	return tree(r.schema, native), nil
}

// Fields lists the dotted paths of the schema's values, an array's items with "[]": "bids[].price".
func (r *Reader) Fields() []string { return paths(r.schema, "", nil) }

// maxPathDepth bounds the paths of a type that contains itself.
const maxPathDepth = 8

func paths(s *avro.Schema, path string, found []string) []string {
	if strings.Count(path, ".") > maxPathDepth {
		return found
	}
	switch s.Type {
	case avro.Record:
		for _, f := range s.Fields {
			found = paths(f.Type, join(path, f.Name), found)
		}
		return found
	case avro.Array:
		return paths(s.Items, path+"[]", found)
	case avro.Union:
		for _, b := range s.Branches {
			if b.Type != avro.Null {
				found = paths(b, path, found)
			}
		}
		return found
	}
	return append(found, path)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// tree brings what the library decoded into the schema's order and spells its leaves.
func tree(s *avro.Schema, native any) Value {
	switch s.Type {
	case avro.Union:
		return ofUnion(s, native)
	case avro.Record:
		members, _ := native.(map[string]any)
		v := Value{Kind: Record}
		for _, f := range s.Fields {
			v.Names = append(v.Names, f.Name)
			v.Items = append(v.Items, tree(f.Type, members[f.Name]))
		}
		return v
	case avro.Array:
		items, _ := native.([]any)
		v := Value{Kind: List}
		for _, item := range items {
			v.Items = append(v.Items, tree(s.Items, item))
		}
		return v
	case avro.Map:
		members, _ := native.(map[string]any)
		v := Value{Kind: Record}
		for _, name := range sortedKeys(members) {
			v.Names = append(v.Names, name)
			v.Items = append(v.Items, tree(s.Items, members[name]))
		}
		return v
	}
	return leaf(s, native)
}

// ofUnion reads the branch that the library's tag names.
func ofUnion(s *avro.Schema, native any) Value {
	tagged, ok := native.(map[string]any)
	if !ok || len(tagged) != 1 {
		return Value{Kind: Null, Text: "null"}
	}
	for tag, inner := range tagged {
		var only *avro.Schema
		branches := 0
		for _, b := range s.Branches {
			if b.FullName() == tag || b.Named() && b.Name == tag {
				return tree(b, inner)
			}
			if b.Type != avro.Null {
				only = b
				branches++
			}
		}
		if branches == 1 {
			return tree(only, inner)
		}
		return Value{Kind: Text, Text: fmt.Sprint(inner)}
	}
	return Value{Kind: Null, Text: "null"}
}

func leaf(s *avro.Schema, native any) Value {
	switch v := native.(type) {
	case nil:
		return Value{Kind: Null, Text: "null"}
	case bool:
		return Value{Kind: Plain, Text: strconv.FormatBool(v)}
	case int32, int64:
		return Value{Kind: Plain, Text: fmt.Sprint(v)}
	case float32:
		return floating(float64(v), 32)
	case float64:
		return floating(v, 64)
	case string:
		return Value{Kind: Text, Text: v}
	case time.Time:
		if s.LogicalType() == "date" {
			return Value{Kind: Text, Text: v.UTC().Format(time.DateOnly)}
		}
		return Value{Kind: Text, Text: v.UTC().Format(timeLayout)}
	case time.Duration:
		return Value{Kind: Text, Text: v.String()}
	case *big.Rat:
		return Value{Kind: Text, Text: decimalText(s, v)}
	case [16]byte:
		return Value{Kind: Text, Text: uuid.UUID(v).String()}
	case []byte:
		if s.Type == avro.Fixed && s.Size == 16 && s.LogicalType() == "uuid" {
			return Value{Kind: Text, Text: uuid.UUID(v).String()}
		}
		return Value{Kind: Text, Text: bytesText(v)}
	}
	return Value{Kind: Text, Text: fmt.Sprint(native)}
}

// timeLayout is RFC 3339 with as many digits as there are.
const timeLayout = "2006-01-02T15:04:05.999999999Z07:00"

// floating keeps what JSON has no number for as text.
func floating(v float64, bits int) Value {
	text := strconv.FormatFloat(v, 'g', -1, bits)
	if strings.ContainsAny(text, "IN") {
		return Value{Kind: Text, Text: text}
	}
	return Value{Kind: Plain, Text: text}
}

// decimalText writes a decimal without trailing zeros.
func decimalText(s *avro.Schema, v *big.Rat) string {
	scale := 0
	if text, ok := s.Property("scale"); ok {
		scale, _ = strconv.Atoi(text)
	}
	text := v.FloatString(max(scale, 0))
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// bytesText shows bytes that are text as such, others in hexadecimal.
func bytesText(b []byte) string {
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r' }) {
		return string(b)
	}
	return fmt.Sprintf("0x%x", b)
}
