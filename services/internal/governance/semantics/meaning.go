package semantics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// meaning compares what the bytes stand for: the logical type with its parameters, and attributes that are not Avro's own.
func (w *walk) meaning(n *node, base, next *avro.Schema, path string) {
	from, to := base.LogicalType(), next.LogicalType()
	switch {
	case from == "decimal" && to == "decimal":
		w.decimals(n, base, next, path)
	case from == to:
	case sameClock(from, to):
		n.add(rule.UnitChanged, path, from, to, says("counts %s instead of %s: the same number is now another moment, off by a factor of %s",
			unitName(to), unitName(from), factor(from, to)), w.besides(path, "%s with the unit in its name"))
	default:
		n.add(rule.LogicalTypeChanged, path, from, to, says("is a %s instead of a %s: the same %s now means something else", orPlain(to, next), orPlain(from, base), base.Type.Name()),
			w.besides(path, "%s"))
	}
	var own []string
	if from != to {
		own = append(own, "logicalType")
	}
	if from == "decimal" || to == "decimal" {
		own = append(own, "precision", "scale")
	}
	w.attributes(n, path, base, next, own...)
}

func orPlain(logical string, s *avro.Schema) string {
	if logical == "" {
		return "plain " + s.Type.Name()
	}
	return logical
}

// unitsOfTime by the ends of the logical types' names, with their share of a second.
var unitsOfTime = []struct {
	suffix, name string
	perSecond    int64
}{
	{"-millis", "milliseconds", 1e3}, {"-micros", "microseconds", 1e6}, {"-nanos", "nanoseconds", 1e9},
}

// clock takes a logical type apart: timestamp-millis is the clock "timestamp" in thousandths of a second.
func clock(logical string) (name, unit string, perSecond int64) {
	for _, u := range unitsOfTime {
		if name, ok := strings.CutSuffix(logical, u.suffix); ok {
			return name, u.name, u.perSecond
		}
	}
	return "", "", 0
}

func sameClock(from, to string) bool {
	a, _, _ := clock(from)
	b, _, _ := clock(to)
	return a != "" && a == b
}

func unitName(logical string) string {
	_, unit, _ := clock(logical)
	return unit
}

func factor(from, to string) string {
	_, _, a := clock(from)
	_, _, b := clock(to)
	return fmt.Sprint(max(a, b) / min(a, b))
}

func (w *walk) decimals(n *node, base, next *avro.Schema, path string) {
	number := func(s *avro.Schema, name string) string {
		if v, ok := s.Property(name); ok {
			return canonical(v)
		}
		return "0" // a scale that is not written is 0
	}
	if from, to := number(base, "scale"), number(next, "scale"); from != to {
		n.add(rule.ScaleChanged, path, from, to, says("has %s digits after the point instead of %s: what was written before reads with its point moved", to, from),
			w.besides(path, "%s with the other scale"))
	}
	if from, to := number(base, "precision"), number(next, "precision"); from != to {
		n.add(rule.PrecisionChanged, path, from, to, says("has up to %s digits instead of %s: one side's values do not fit the other's columns", to, from),
			w.besides(path, "%s with the other precision"))
	}
}

// attributed is a type or a field.
type attributed interface {
	Properties() []string
	Property(name string) (string, bool)
}

// attributes that are not Avro's own, but for those that have been compared already. Those named unit say what a number
// counts.
func (w *walk) attributes(n *node, path string, base, next attributed, compared ...string) {
	all := map[string]bool{}
	for _, name := range slices.Concat(base.Properties(), next.Properties()) {
		all[name] = !slices.Contains(compared, name)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !all[name] {
			continue
		}
		b, hadIt := base.Property(name)
		t, hasIt := next.Property(name)
		from, to := canonical(b), canonical(t)
		if hadIt == hasIt && from == to {
			continue
		}
		r := rule.AttributeChanged
		do := plain("leave the attribute as it was, unless nobody uses it")
		if name == "unit" || name == "units" {
			r, do = rule.UnitChanged, w.besides(path, "%s with the unit in its name")
		}
		n.add(r, path, name+"="+from, name+"="+to, says("has the attribute %s %s instead of %s", name, orNone(to), orNone(from)), do)
	}
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// canonical writes a JSON value so that equal values have one text: members in order, numbers by their value.
func canonical(text string) string {
	if text == "" {
		return ""
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return text // Java's NaN, which is no JSON
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(plainNumbers(v)) != nil {
		return text
	}
	return strings.TrimSpace(b.String())
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if text, ok := plainNumber(v.String()); ok {
			return json.RawMessage(text)
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// plainNumber writes a number without an exponent and without zeros that say nothing. Numbers for which that would be long
// or not exact keep their text.
func plainNumber(text string) (string, bool) {
	const longest = 64
	i := strings.IndexAny(text, "eE")
	if len(text) > longest || i >= 0 && len(strings.TrimLeft(text[i+1:], "+-0")) > 2 {
		return "", false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	plain := r.FloatString(longest)
	if again, ok := new(big.Rat).SetString(plain); !ok || again.Cmp(r) != 0 {
		return "", false
	}
	return strings.TrimSuffix(strings.TrimRight(plain, "0"), "."), true
}
