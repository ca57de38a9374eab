package migration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// literal writes a value of a migration file as the body of a type. Decimals are text or integers ("0.01"), times text in
// RFC 3339 or the type's own number; all else is as a schema writes its defaults.
func literal(s *avro.Schema, value []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return literalOf(s, v)
}

func literalOf(s *avro.Schema, v any) ([]byte, error) {
	if s.Type == avro.Union {
		var errs []error
		for i, b := range s.Branches {
			body, err := literalOf(b, v)
			if err == nil {
				return append(appendLong(nil, int64(i)), body...), nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
	text, isText := v.(string)
	kind, power := clock(s)
	switch {
	case s.LogicalType() == "decimal" && isNumber(s):
		if written, ok := v.(json.Number); ok && strings.ContainsAny(written.String(), ".eE") {
			return nil, errors.New("a number with a point may have been rounded already; write it as text")
		}
		return decimalLiteral(s, fmt.Sprint(v))
	case isText && (kind == "timestamp" || kind == "local-timestamp") && power > 0:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, err
		}
		units := new(big.Rat).SetFrac(big.NewInt(int64(t.Nanosecond())), big.NewInt(1e9))
		units.Add(units, new(big.Rat).SetInt64(t.Unix()))
		if units.Mul(units, power10(power)); !units.IsInt() || !units.Num().IsInt64() {
			return nil, fmt.Errorf("%s has more digits than %s", text, describe(s))
		}
		return appendLong(nil, units.Num().Int64()), nil
	case s.Type == avro.Fixed && isText && len([]rune(text)) != s.Size:
		return nil, fmt.Errorf("%d bytes, the type has %d", len([]rune(text)), s.Size)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return defaultBody(s, string(encoded))
}

// plainNumber has no exponent, which could ask for more digits than there is memory.
var plainNumber = regexp.MustCompile(`^[+-]?[0-9]{1,200}(\.[0-9]{1,200})?$`)

func decimalLiteral(s *avro.Schema, text string) ([]byte, error) {
	if !plainNumber.MatchString(text) {
		return nil, fmt.Errorf("%q is no number", text)
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is no number", text)
	}
	_, scale := digits(s)
	if v.Mul(v, power10(scale)); !v.IsInt() {
		return nil, fmt.Errorf("it has more than %d digits after the point", scale)
	}
	body, ok := appendNumber(nil, s, v.Num())
	if !ok {
		return nil, errors.New("it is too large")
	}
	return body, nil
}

// defaultBody writes a schema's default as a body: what a reader makes of a record that lacks the field.
func defaultBody(s *avro.Schema, value string) ([]byte, error) {
	const nothing = `{"type":"record","name":"DefaultHolder","fields":[]}`
	holder := `{"type":"record","name":"DefaultHolder","fields":[{"name":"value","type":` + s.SelfContained() + `,"default":` + value + `}]}`
	if _, err := avro.Parse(holder, nil); err != nil {
		return nil, err
	}
	project, err := avro.NewProjection(nothing, holder)
	if err != nil {
		return nil, err
	}
	return project(nil, nil)
}
