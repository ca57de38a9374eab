package contract

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// unchecked are the options of the standard that no service looks at: a promise that nobody keeps is worse than none.
type unchecked struct {
	ExclusiveMinimum, ExclusiveMaximum, MultipleOf *float64
	MinLength, MaxLength, MinItems, MaxItems       *float64
	UniqueItems                                    *bool
	Pattern                                        *string
}

func (u unchecked) names() []string {
	var names []string
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"exclusiveMinimum", u.ExclusiveMinimum != nil},
		{"exclusiveMaximum", u.ExclusiveMaximum != nil},
		{"multipleOf", u.MultipleOf != nil},
		{"minLength", u.MinLength != nil},
		{"maxLength", u.MaxLength != nil},
		{"minItems", u.MinItems != nil},
		{"maxItems", u.MaxItems != nil},
		{"uniqueItems", u.UniqueItems != nil},
		{"pattern", u.Pattern != nil},
	} {
		if o.set {
			names = append(names, o.name)
		}
	}
	return names
}

// fieldRules checks what a contract asks of a field's values: null where the field is required, and a range.
func (d *decoder) fieldRules(f Field, options wireOptions, at string) {
	pointer := at + "/logicalTypeOptions"
	for _, name := range options.names() {
		d.fail(pointer+"/"+name, "write minimum or maximum, or say it in the description", "field %s has %s, which no service checks", f.Name, name)
	}
	bounded := f.Minimum != nil || f.Maximum != nil
	if f.OnViolation != "" && !bounded && !f.Required {
		d.fail(at, "add logicalTypeOptions: {minimum: …, maximum: …}, or required: true", "field %s says onViolation: %s and has no rule that could be violated", f.Name, f.OnViolation)
	}
	if !bounded {
		return
	}
	if f.LogicalType != "integer" && f.LogicalType != "number" {
		d.fail(pointer, "bounds are for numbers", "field %s is a %s and has minimum or maximum", f.Name, f.LogicalType)
		return
	}
	if f.Minimum != nil && f.Maximum != nil && *f.Minimum > *f.Maximum {
		d.fail(pointer, "swap them", "field %s: minimum %g is above maximum %g", f.Name, *f.Minimum, *f.Maximum)
	}
	least, most := rangeOf(f.PhysicalType)
	for i, bound := range []*float64{f.Minimum, f.Maximum} {
		name := []string{"minimum", "maximum"}[i]
		switch {
		case bound == nil:
		case *bound < least || *bound > most:
			d.fail(pointer+"/"+name, "no value could violate it, or none could keep it", "field %s: %s %g is outside of what %s holds", f.Name, name, *bound, f.PhysicalType)
		case boundDigits(*bound) > maxBoundDigits:
			d.fail(pointer+"/"+name, fmt.Sprintf("write at most %d digits: more would be rounded on the way", maxBoundDigits), "field %s has %s %g", f.Name, name, *bound)
		case f.LogicalType == "integer" && *bound != math.Trunc(*bound):
			d.fail(pointer+"/"+name, "write a whole number", "field %s is an integer and has %s %g", f.Name, name, *bound)
		}
	}
}

// forbidsNull tells of a field that is required by a rule that services carry out, whether or not its schema lets it be null.
func (f Field) forbidsNull() bool { return f.Required && f.OnViolation != "" }

// orForbid is the other way out for a field that is required in the contract and nullable in the schema.
func orForbid(nullable bool) string {
	if nullable {
		return ", or add onViolation: services then see that it is not null"
	}
	return ""
}

// maxBoundDigits are the digits that a float64 keeps of any number.
const maxBoundDigits = 15

// boundDigits counts the digits that a bound has from its first to its last that is not 0.
func boundDigits(bound float64) int {
	mantissa, _, _ := strings.Cut(strconv.FormatFloat(math.Abs(bound), 'e', -1, 64), "e")
	return len(strings.Replace(mantissa, ".", "", 1))
}

// rangeOf the numbers that a physical type holds.
func rangeOf(physical string) (least, most float64) {
	switch {
	case physical == "int":
		return math.MinInt32, math.MaxInt32
	case physical == "long":
		return math.MinInt64, math.MaxInt64
	case physical == "float":
		return -math.MaxFloat32, math.MaxFloat32
	}
	_, digits, isDecimal := strings.Cut(physical, "decimal(")
	precision, scale, _ := strings.Cut(strings.TrimSuffix(digits, ")"), ",")
	p, err := strconv.Atoi(precision)
	s, scaleErr := strconv.Atoi(strings.TrimSpace(scale))
	if !isDecimal || err != nil || scaleErr != nil {
		return -math.MaxFloat64, math.MaxFloat64
	}
	most = math.Pow10(p - s)
	return -most, most
}
