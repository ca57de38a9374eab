package avro

import (
	"slices"
	"strconv"
	"strings"
)

// Normalized returns the schema in the form that a registry compares under normalize=true: aliases and attributes in
// alphabetical order, empty docs and the word "error" gone, defaults written as their type wants them (1 for a double
// becomes 1.0). Unlike Avro's Parsing Canonical Form it keeps docs, defaults, aliases and logical types.
//
// One habit of the registry is kept on purpose: a union's default is written as the union's first branch wants it, and a
// default that only fits a later branch is lost.
func (s *Schema) Normalized() *Schema {
	n := normalizer{made: map[*Schema]*Schema{}}
	out := n.schema(s)
	out.references = s.references
	return out
}

type normalizer struct {
	made map[*Schema]*Schema
}

func (n *normalizer) schema(s *Schema) *Schema {
	if s == nil {
		return nil
	}
	if known := n.made[s]; known != nil {
		return known
	}
	c := *s
	n.made[s] = &c
	c.IsError = false
	c.HasDoc = s.HasDoc && s.Doc != ""
	c.Aliases = slices.Sorted(slices.Values(s.Aliases))
	c.properties = normalProperties(s)
	c.Items = n.schema(s.Items)
	c.Branches = nil
	for _, branch := range s.Branches {
		c.Branches = append(c.Branches, n.schema(branch))
	}
	c.Fields = nil
	for _, f := range s.Fields {
		field := *f
		field.Type = n.schema(f.Type)
		field.Aliases = slices.Sorted(slices.Values(f.Aliases))
		field.properties = sortedMembers(f.properties)
		field.fallback = normalDefault(f.fallback, f.Type)
		c.Fields = append(c.Fields, &field)
	}
	return &c
}

// normalProperties puts a valid logical type and its parameters first and the rest in alphabetical order.
func normalProperties(s *Schema) []jsonMember {
	sorted := sortedMembers(s.properties)
	if s.Type != Fixed && (s.Named() || s.Items != nil) || !s.validLogicalType() {
		return sorted
	}
	first := []string{"logicalType"}
	if s.LogicalType() == "decimal" {
		first = append(first, "precision")
		if scale, ok := s.Property("scale"); ok && scale != "0" {
			first = append(first, "scale")
		}
	}
	slices.SortStableFunc(sorted, func(a, b jsonMember) int { return rank(first, a.name) - rank(first, b.name) })
	return sorted
}

func rank(first []string, name string) int {
	if i := slices.Index(first, name); i >= 0 {
		return i
	}
	return len(first)
}

func sortedMembers(members []jsonMember) []jsonMember {
	out := make([]jsonMember, 0, len(members))
	for _, m := range members {
		out = append(out, jsonMember{m.name, sortedValue(m.value)})
	}
	slices.SortFunc(out, func(a, b jsonMember) int { return strings.Compare(a.name, b.name) })
	return out
}

func sortedValue(v jsonValue) jsonValue {
	items := make([]jsonValue, 0, len(v.items))
	for _, item := range v.items {
		items = append(items, sortedValue(item))
	}
	v.items = items
	v.members = sortedMembers(v.members)
	return v
}

// normalDefault writes a default as its type wants it; nil when the registry would lose it.
func normalDefault(v *jsonValue, s *Schema) *jsonValue {
	if v == nil {
		return nil
	}
	for s != nil && s.Type == Union {
		if len(s.Branches) == 0 {
			return nil
		}
		s = s.Branches[0]
	}
	out := *v
	switch v.kind {
	case jsonNumber:
		return normalNumber(v, s)
	case jsonString:
		if s != nil && s.Type != String && s.Type != Enum && s.Type != Bytes && s.Type != Fixed {
			return nil
		}
	case jsonArray:
		out.items = make([]jsonValue, 0, len(v.items))
		for i := range v.items {
			out.items = append(out.items, normalOrSame(&v.items[i], itemsOf(s)))
		}
	case jsonObject:
		out.members = nil
		for i := range v.members {
			out.members = append(out.members, jsonMember{v.members[i].name, normalOrSame(&v.members[i].value, memberOf(s, v.members[i].name))})
		}
		slices.SortFunc(out.members, func(a, b jsonMember) int { return strings.Compare(a.name, b.name) })
	}
	return &out
}

func normalOrSame(v *jsonValue, s *Schema) jsonValue {
	if n := normalDefault(v, s); n != nil {
		return *n
	}
	return *v
}

func itemsOf(s *Schema) *Schema {
	if s == nil {
		return nil
	}
	return s.Items
}

func memberOf(s *Schema, name string) *Schema {
	switch {
	case s == nil:
	case s.Type == Map:
		return s.Items
	case s.Type == Record:
		if f := s.Field(name); f != nil {
			return f.Type
		}
	}
	return nil
}

func normalNumber(v *jsonValue, s *Schema) *jsonValue {
	if s == nil {
		return v
	}
	f, _ := strconv.ParseFloat(v.text, 64)
	switch {
	case s.Type == Float && v.text != notANumber:
		return &jsonValue{kind: jsonNumber, text: javaFloat(float64(float32(f)), 32)}
	case s.Type == Double && v.text != notANumber:
		return &jsonValue{kind: jsonNumber, text: javaFloat(f, 64)}
	case (s.Type == Int || s.Type == Long) && v.isIntegral(), v.text == notANumber:
		return v
	}
	return nil
}

// validLogicalType tells whether the Java library honours the schema's logicalType attribute.
func (s *Schema) validLogicalType() bool {
	switch s.LogicalType() {
	case "date", "time-millis":
		return s.Type == Int
	case "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
		"local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		return s.Type == Long
	case "uuid":
		return s.Type == String || s.Type == Fixed && s.Size == 16
	case "big-decimal":
		return s.Type == Bytes
	case "decimal":
		return s.validDecimal()
	}
	return false
}

func (s *Schema) validDecimal() bool {
	if s.Type != Bytes && s.Type != Fixed {
		return false
	}
	precision, ok := s.intProperty("precision")
	scale, hasScale := s.intProperty("scale")
	_, writtenScale := s.Property("scale")
	if !ok || precision <= 0 || writtenScale && !hasScale || scale < 0 || scale > precision {
		return false
	}
	if s.Type == Bytes {
		return true
	}
	// A fixed of n bytes holds numbers up to 2^(8n-1)-1.
	return float64(precision) <= float64(8*s.Size-1)*0.30102999566398120
}

func (s *Schema) intProperty(name string) (int, bool) {
	text, ok := s.Property(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err == nil
}
