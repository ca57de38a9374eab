package replayproof

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	twmb "github.com/twmb/avro"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// rewriting makes the body that a producer with the new schema would write for the values of an old one: the same moment
// in the new unit, the same number at the new scale.
type rewriting func(body []byte) ([]byte, error)

// newRewriting takes the way of a plain reader, names, defaults and promotions included, and then brings the numbers whose
// unit or scale has changed to the new one.
func newRewriting(w, n *avro.Schema, toNew avro.Projection) (rewriting, error) {
	if _, err := avro.NewProjection(w.SelfContained(), n.SelfContained()); err == nil {
		return func(body []byte) ([]byte, error) { return toNew(nil, body) }, nil
	}
	codec, err := twmb.Parse(n.Bare())
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", n.FullName(), err)
	}
	return func(body []byte) ([]byte, error) {
		projected, err := toNew(nil, body)
		if err != nil {
			return nil, err
		}
		var value any
		if _, err := codec.Decode(projected, &value, twmb.TaggedUnions()); err != nil {
			return nil, fmt.Errorf("writing with %s: %w", n.FullName(), err)
		}
		if value, err = revalue(w, n, value, ""); err != nil {
			return nil, err
		}
		return codec.AppendEncode(nil, value, twmb.TaggedUnions())
	}, nil
}

// revalue walks a value of the new schema beside the schema that it was written with.
func revalue(w, n *avro.Schema, v any, path string) (any, error) {
	if n.Type == avro.Union {
		return revalueUnion(w, n, v, path)
	}
	if w = writtenAs(w, n); w == nil {
		return v, nil
	}
	var err error
	switch members := v.(type) {
	case map[string]any:
		for name, member := range members {
			from, to, here := w.Items, n.Items, path+"{}"
			if n.Type == avro.Record {
				if from, to = fieldTypes(w, n, name); from == nil {
					continue
				}
				here = dotted(path, name)
			}
			if members[name], err = revalue(from, to, member, here); err != nil {
				return nil, err
			}
		}
		return v, nil
	case []any:
		for i := range members {
			if members[i], err = revalue(w.Items, n.Items, members[i], path+"[]"); err != nil {
				return nil, err
			}
		}
		return v, nil
	}
	if v, err = rescaled(w, n, v); err != nil {
		return nil, fmt.Errorf("%s cannot be written with the new schema: %w", path, err)
	}
	return v, nil
}

// revalueUnion goes into the branch that the library's tag names.
func revalueUnion(w, n *avro.Schema, v any, path string) (any, error) {
	tagged, ok := v.(map[string]any)
	if !ok || len(tagged) != 1 {
		return v, nil
	}
	for tag, inner := range tagged {
		for _, b := range n.Branches {
			if b.FullName() != tag && (!b.Named() || b.Name != tag) {
				continue
			}
			changed, err := revalue(w, b, inner, path)
			if err != nil {
				return nil, err
			}
			return map[string]any{tag: changed}, nil
		}
	}
	return v, nil
}

// writtenAs is the type that a value of n was written as; nil when that cannot be told, or when it is of no matter.
func writtenAs(w, n *avro.Schema) *avro.Schema {
	branches := []*avro.Schema{w}
	if w.Type == avro.Union {
		branches = w.Branches
	}
	for _, b := range branches {
		if b.Type == n.Type && (!b.Named() || b.Name == n.Name || len(branches) <= 2) {
			return b
		}
	}
	for _, b := range branches {
		if b.Type == avro.Int && n.Type == avro.Long {
			return b
		}
	}
	return nil
}

func fieldTypes(w, n *avro.Schema, name string) (from, to *avro.Schema) {
	field := n.Field(name)
	if field == nil {
		return nil, nil
	}
	for _, f := range w.Fields {
		if f.Name == name || slices.Contains(field.Aliases, f.Name) {
			return f.Type, field.Type
		}
	}
	return nil, nil
}

// rescaled brings a number to the new unit or scale. What does not fit is cut off, as a producer would: the difference is
// then found where it is read.
func rescaled(w, n *avro.Schema, v any) (any, error) {
	if from, to := unit(w), unit(n); from.of != "" && from.of == to.of && from.digits != to.digits {
		var number int64
		switch t := v.(type) {
		case int32:
			number = int64(t)
		case int64:
			number = t
		default:
			return v, nil
		}
		scaled := shifted(big.NewInt(number), to.digits-from.digits)
		if !scaled.IsInt64() || n.Type == avro.Int && (scaled.Int64() > math.MaxInt32 || scaled.Int64() < math.MinInt32) {
			return nil, fmt.Errorf("%w: %d in the new unit", errLossy, number)
		}
		if n.Type == avro.Int {
			return int32(scaled.Int64()), nil //nolint:gosec // compared with the bounds above
		}
		return scaled.Int64(), nil
	}
	b, ok := v.([]byte)
	if !ok || w.LogicalType() != "decimal" || n.LogicalType() != "decimal" {
		return v, nil
	}
	from, to := scaleOf(w), scaleOf(n)
	if from == to {
		return v, nil
	}
	return encoded(shifted(decoded(b), to-from), n)
}

// measure is a unit of time: what it measures, and how many digits of a second it counts.
type measure struct {
	of     string
	digits int
}

func unit(s *avro.Schema) measure {
	for suffix, digits := range map[string]int{"-millis": 3, "-micros": 6, "-nanos": 9} {
		if of, ok := strings.CutSuffix(s.LogicalType(), suffix); ok {
			return measure{strings.TrimPrefix(of, "local-"), digits}
		}
	}
	return measure{}
}

// maxScale bounds the scale of a decimal: a schema's text may say anything, and ten to that power has to be computed.
const maxScale = 1000

func scaleOf(s *avro.Schema) int {
	text, _ := s.Property("scale")
	scale, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(scale, 0), maxScale)
}

// shifted moves the decimal point to the right, or to the left and cuts off what is behind it.
func shifted(v *big.Int, digits int) *big.Int {
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(digits, -digits))), nil)
	if digits < 0 {
		return new(big.Int).Quo(v, power)
	}
	return new(big.Int).Mul(v, power)
}

// decoded reads two's complement, big-endian.
func decoded(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return v
}

// encoded writes two's complement, big-endian: the shortest for bytes, the type's size for fixed.
func encoded(v *big.Int, n *avro.Schema) ([]byte, error) {
	size := v.BitLen()/8 + 1
	if n.Type == avro.Fixed {
		if size > n.Size {
			return nil, fmt.Errorf("%w: a decimal of %d bytes in %d", errLossy, size, n.Size)
		}
		size = n.Size
	}
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size)*8)) //nolint:gosec // a size is small and positive
	}
	return v.FillBytes(make([]byte, size)), nil
}
