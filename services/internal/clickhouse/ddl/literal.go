package ddl

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// avroJSON writes a schema's default as Avro bytes. A union's default is a value of its first branch.
func avroJSON(s *Schema, v any) ([]byte, error) {
	switch s.Kind {
	case Union:
		return unionJSON(s, v)
	case Null:
		if v != nil {
			return nil, fmt.Errorf("%v is not null", v)
		}
		return []byte{}, nil
	case Array:
		items, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("%v is no array", v)
		}
		return blocksJSON(len(items), func(dst []byte, i int) ([]byte, error) { return appendJSON(dst, s.Items, items[i]) })
	case Map:
		return mapJSON(s, v)
	case Record:
		return recordJSON(s, v)
	}
	text, ok := textOf(s, v)
	if !ok {
		return nil, fmt.Errorf("%v (%T) is no default of type %s", v, v, s.Kind)
	}
	return avroText(s, text)
}

func appendJSON(dst []byte, s *Schema, v any) ([]byte, error) {
	b, err := avroJSON(s, v)
	return append(dst, b...), err
}

func unionJSON(s *Schema, v any) ([]byte, error) {
	var first error
	for i, branch := range s.Branches {
		b, err := avroJSON(branch, v)
		if err == nil {
			return append(appendLong(nil, int64(i)), b...), nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func mapJSON(s *Schema, v any) ([]byte, error) {
	entries, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is no map", v)
	}
	var keys []string
	for k := range entries {
		keys = append(keys, k)
	}
	slices.Sort(keys) // The same schema gives the same bytes.
	return blocksJSON(len(keys), func(dst []byte, i int) ([]byte, error) {
		return appendJSON(appendBytes(dst, keys[i]), s.Items, entries[keys[i]])
	})
}

func recordJSON(s *Schema, v any) ([]byte, error) {
	values, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is no record", v)
	}
	dst := []byte{}
	for _, f := range s.Fields {
		value, given := values[f.Name]
		if !given {
			if !f.HasDefault {
				return nil, fmt.Errorf("%s has no value", f.Name)
			}
			value = f.Default
		}
		var err error
		if dst, err = appendJSON(dst, f.Type, value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return dst, nil
}

func blocksJSON(n int, item func(dst []byte, i int) ([]byte, error)) ([]byte, error) {
	dst := []byte{}
	if n > 0 {
		dst = appendLong(dst, int64(n))
		for i := range n {
			var err error
			if dst, err = item(dst, i); err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
		}
	}
	return append(dst, 0), nil
}

// textOf gives the JSON default of a scalar as the text that a contract's nullAs would have. The decimal's bytes become
// its number.
func textOf(s *Schema, v any) (string, bool) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), s.Kind == Boolean
	case json.Number:
		switch s.Kind {
		case Int, Long, Float, Double:
			return v.String(), true
		}
	case string:
		switch s.Kind {
		case String, Enum:
			return v, true
		case Bytes, Fixed:
			raw, ok := latin1(v)
			if !ok {
				return "", false
			}
			if s.Logical == "decimal" {
				return unscaledText(raw, s.Scale), true
			}
			if s.Kind == Fixed && len(raw) != s.Size {
				return "", false
			}
			if s.Logical == "uuid" && len(raw) == 16 {
				return uuid.UUID(raw).String(), true
			}
			return string(raw), true
		}
	case []any:
		return "[]", len(v) == 0 && s.Kind == Array
	case map[string]any:
		return "{}", len(v) == 0 && s.Kind == Map
	}
	return "", false
}

// latin1 turns an Avro JSON default of bytes (one character a byte) into the bytes.
func latin1(s string) ([]byte, bool) {
	var raw []byte
	for _, r := range s {
		if r > 255 {
			return nil, false
		}
		raw = append(raw, byte(r))
	}
	return raw, true
}

func unscaledText(raw []byte, scale int) string {
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(raw)*8)))
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
}

// avroText writes a contract's nullAs as Avro bytes of the type.
func avroText(s *Schema, text string) ([]byte, error) {
	switch s.Kind {
	case Boolean:
		v, err := strconv.ParseBool(text)
		if v {
			return []byte{1}, err
		}
		return []byte{0}, err
	case Int:
		v, err := strconv.ParseInt(text, 10, 32)
		return appendLong(nil, v), err
	case Long:
		v, err := strconv.ParseInt(text, 10, 64)
		return appendLong(nil, v), err
	case Float:
		v, err := strconv.ParseFloat(text, 32)
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v))), err
	case Double:
		v, err := strconv.ParseFloat(text, 64)
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)), err
	case String:
		return appendBytes(nil, text), nil
	case Bytes, Fixed:
		return avroBinary(s, text)
	case Enum:
		for i, symbol := range s.Symbols {
			if symbol == text {
				return appendLong(nil, int64(i)), nil
			}
		}
		return nil, fmt.Errorf("%q is no symbol of the enum", text)
	case Array, Map:
		if text == "[]" || text == "{}" {
			return []byte{0}, nil
		}
	}
	return nil, fmt.Errorf("%q is no value of type %s", text, s.Kind)
}

func avroBinary(s *Schema, text string) ([]byte, error) {
	raw := []byte(text)
	switch {
	case s.Logical == "decimal":
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			return nil, fmt.Errorf("%q is no number", text)
		}
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s.Scale)), nil)))
		if !r.IsInt() {
			return nil, fmt.Errorf("%q has more than %d digits after the point", text, s.Scale)
		}
		raw = twosComplement(r.Num(), s)
	case s.Logical == "uuid" && s.Kind == Fixed:
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, err
		}
		raw = id[:]
	}
	if s.Kind == Fixed {
		if len(raw) != s.Size {
			return nil, fmt.Errorf("%q is not of %d bytes", text, s.Size)
		}
		return raw, nil
	}
	return appendBytes(nil, raw), nil
}

func twosComplement(n *big.Int, s *Schema) []byte {
	size := n.BitLen()/8 + 1
	if s.Kind == Fixed {
		size = max(size, s.Size)
	}
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(size*8)))
	}
	return n.FillBytes(make([]byte, size))
}

// sqlText writes the same value as an SQL expression for DEFAULT.
func sqlText(s *Schema, text string) (string, error) {
	switch s.Kind {
	case Boolean, Int, Float, Double:
		if s.Logical == "date" {
			return "toDate32(" + text + ")", nil
		}
		return text, nil
	case Long:
		t := longType(s)
		if t.Name != "DateTime64" {
			return text, nil
		}
		unit := map[int]string{3: "Milli", 6: "Micro", 9: "Nano"}[t.Params[0]]
		return fmt.Sprintf("fromUnixTimestamp64%s(%s, 'UTC')", unit, text), nil
	case Array:
		return "[]", nil
	case Map:
		return "map()", nil
	}
	if s.Logical == "decimal" && !strings.ContainsAny(text, "'\\") {
		return "'" + text + "'", nil
	}
	return QuoteString(text), nil
}

func appendLong(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

func appendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(appendLong(dst, int64(len(b))), b...)
}
