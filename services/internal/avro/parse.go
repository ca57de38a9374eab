package avro

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Option changes how strictly a schema is read.
type Option func(*parser)

// KeepInvalidDefaults accepts defaults that do not fit their type: a registry validates them in a new schema and keeps
// what it accepted earlier.
func KeepInvalidDefaults() Option { return func(p *parser) { p.lenient = true } }

// Parse reads a schema. references are the texts of the schemas whose types it may use without defining them, each before
// its users; they are read as part of the schema's world but are not written by String.
func Parse(text string, references []string, options ...Option) (*Schema, error) {
	p := parser{known: map[string]*Schema{}}
	for _, option := range options {
		option(&p)
	}
	referenced := map[string]bool{}
	for i, reference := range references {
		s, err := p.parse(reference)
		if err != nil {
			return nil, fmt.Errorf("parsing reference %d: %w", i, err)
		}
		referenced[s.FullName()] = true
	}
	s, err := p.parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing schema: %w", err)
	}
	s.references = referenced
	return s, nil
}

type parser struct {
	known   map[string]*Schema
	order   []*Schema // known, in order of definition
	lenient bool
}

func (p *parser) parse(text string) (*Schema, error) {
	tree, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	s, err := p.schema(&tree, "")
	if err != nil {
		return nil, err
	}
	if s.placeholder {
		return nil, fmt.Errorf("undefined schema: %s", s.unresolved)
	}
	return p.resolve(s)
}

func (p *parser) schema(v *jsonValue, namespace string) (*Schema, error) {
	switch v.kind {
	case jsonString:
		return p.find(v.text, namespace), nil
	case jsonArray:
		return p.union(v, namespace)
	case jsonObject:
	default:
		return nil, fmt.Errorf("schema not supported: %s", clip(string(appendJSON(nil, v))))
	}
	word, ok := v.textOf("type")
	if !ok {
		return nil, fmt.Errorf("no type: %s", clip(string(appendJSON(nil, v))))
	}
	if t, ok := primitives[word]; ok {
		return &Schema{Type: t, properties: properties(v, false)}, nil
	}
	switch word {
	case "record", "error":
		return p.record(v, namespace, word == "error")
	case "enum":
		return p.enum(v, namespace)
	case "fixed":
		return p.fixed(v, namespace)
	case "array":
		return p.container(v, namespace, Array, "items")
	case "map":
		return p.container(v, namespace, Map, "values")
	default:
		return p.find(word, namespace), nil
	}
}

// find returns the type of that name. One that is not defined yet becomes a placeholder: Avro's Java library accepts a
// name before its definition since version 1.12.
func (p *parser) find(name, namespace string) *Schema {
	if t, ok := primitives[name]; ok {
		return &Schema{Type: t}
	}
	fullName := name
	if namespace != "" && !strings.Contains(name, ".") {
		fullName = namespace + "." + name
	}
	if s := p.known[fullName]; s != nil {
		return s
	}
	if s := p.known[name]; s != nil {
		return s
	}
	return &Schema{Type: Record, placeholder: true, unresolved: fullName, hasFields: true}
}

func (p *parser) union(v *jsonValue, namespace string) (*Schema, error) {
	s := &Schema{Type: Union}
	for i := range v.items {
		branch, err := p.schema(&v.items[i], namespace)
		if err != nil {
			return nil, err
		}
		s.Branches = append(s.Branches, branch)
	}
	return s, checkUnion(s)
}

func checkUnion(s *Schema) error {
	seen := map[string]bool{}
	for _, branch := range s.Branches {
		if branch.placeholder {
			continue
		}
		if branch.Type == Union {
			return fmt.Errorf("nested union")
		}
		if name := branch.FullName(); seen[name] {
			return fmt.Errorf("duplicate in union: %s", name)
		}
		seen[branch.FullName()] = true
	}
	return nil
}

func (p *parser) container(v *jsonValue, namespace string, t Type, attribute string) (*Schema, error) {
	inner := v.get(attribute)
	if inner == nil {
		return nil, fmt.Errorf("%s has no %s type: %s", t.Name(), attribute, clip(string(appendJSON(nil, v))))
	}
	items, err := p.schema(inner, namespace)
	if err != nil {
		return nil, err
	}
	return &Schema{Type: t, Items: items, properties: properties(v, false)}, nil
}

func (p *parser) record(v *jsonValue, namespace string, isError bool) (*Schema, error) {
	s, err := p.named(v, namespace, Record)
	if err != nil {
		return nil, err
	}
	s.IsError = isError
	if err := p.define(s); err != nil {
		return nil, err
	}
	fields := v.get("fields")
	if fields == nil || fields.kind != jsonArray {
		return nil, fmt.Errorf("record %s has no fields", s.FullName())
	}
	seen := map[string]bool{}
	for i := range fields.items {
		f, err := p.field(&fields.items[i], s.Namespace)
		if err != nil {
			return nil, fmt.Errorf("record %s, field %d: %w", s.FullName(), i, err)
		}
		if seen[f.Name] {
			return nil, fmt.Errorf("duplicate field %s in record %s", f.Name, s.FullName())
		}
		seen[f.Name] = true
		s.Fields = append(s.Fields, f)
	}
	s.hasFields = true
	s.properties = properties(v, false)
	return s, p.aliases(v, s)
}

func (p *parser) field(v *jsonValue, namespace string) (*Field, error) {
	name, ok := v.textOf("name")
	if !ok {
		return nil, fmt.Errorf("no field name: %s", clip(string(appendJSON(nil, v))))
	}
	f := &Field{Name: name, Order: "ascending", properties: fieldProperties(v)}
	f.Doc, f.HasDoc = v.textOf("doc")
	fieldType := v.get("type")
	if fieldType == nil {
		return nil, fmt.Errorf("no field type: %s", clip(string(appendJSON(nil, v))))
	}
	var err error
	if f.Type, err = p.schema(fieldType, namespace); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if order := v.get("order"); order != nil {
		f.Order = strings.ToLower(order.text)
		if order.kind != jsonString || f.Order != "ascending" && f.Order != "descending" && f.Order != "ignore" {
			return nil, fmt.Errorf("%s: order is ascending, descending or ignore, not %s", name, appendJSON(nil, order))
		}
	}
	if f.fallback, err = fieldDefault(v, f.Type); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := p.checkDefault(f, nil); err != nil {
		return nil, err
	}
	f.Aliases, err = aliasList(v)
	return f, err
}

// fieldDefault returns the default as written, except that a string where the type is float or double is read as a
// number, as Java does for "NaN" and "Infinity".
func fieldDefault(v *jsonValue, t *Schema) (*jsonValue, error) {
	fallback := v.get("default")
	if fallback == nil || fallback.kind != jsonString || t.Type != Float && t.Type != Double {
		return fallback, nil
	}
	text, ok := javaDouble(fallback.text)
	if !ok {
		return nil, fmt.Errorf("default %q is not a number", fallback.text)
	}
	return &jsonValue{kind: jsonNumber, text: text}, nil
}

// notANumber is the text of a number that JSON has no text for.
const notANumber = "NaN.0"

// javaDouble reads what Java's Double.parseDouble reads, and returns it in a form that appendJSONNumber can write.
func javaDouble(s string) (string, bool) {
	s = strings.Trim(s, " \t\r\n\f\v\x00")
	switch s {
	case "NaN", "+NaN", "-NaN":
		return notANumber, true
	case "Infinity", "+Infinity":
		return "1e999", true
	case "-Infinity":
		return "-1e999", true
	}
	hex := strings.HasPrefix(strings.ToLower(strings.TrimLeft(s, "+-")), "0x")
	if n := len(s); n > 1 && (!hex || strings.ContainsAny(s, "pP")) && strings.IndexByte("fFdD", s[n-1]) >= 0 {
		s = s[:n-1]
	}
	if s == "" || strings.ContainsAny(s, "_iInN") || hex && !strings.ContainsAny(s, "pP") {
		return "", false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && f == 0 {
		return "", false
	}
	return strconv.FormatFloat(f, 'e', -1, 64), err == nil || f != 0
}

func (p *parser) enum(v *jsonValue, namespace string) (*Schema, error) {
	s, err := p.named(v, namespace, Enum)
	if err != nil {
		return nil, err
	}
	symbols := v.get("symbols")
	if symbols == nil || symbols.kind != jsonArray {
		return nil, fmt.Errorf("enum %s has no symbols", s.FullName())
	}
	seen := map[string]bool{}
	for i := range symbols.items {
		symbol := symbols.items[i].text
		if symbols.items[i].kind != jsonString {
			return nil, fmt.Errorf("enum %s: a symbol is a string, not %s", s.FullName(), appendJSON(nil, &symbols.items[i]))
		}
		if err := checkName(symbol); err != nil {
			return nil, fmt.Errorf("enum %s: %w", s.FullName(), err)
		}
		if seen[symbol] {
			return nil, fmt.Errorf("duplicate enum symbol %s in %s", symbol, s.FullName())
		}
		seen[symbol] = true
		s.Symbols = append(s.Symbols, symbol)
	}
	if fallback, ok := v.textOf("default"); ok {
		if !seen[fallback] {
			return nil, fmt.Errorf("the enum default %s is not in the symbols [%s] of %s", fallback, strings.Join(s.Symbols, ", "), s.FullName())
		}
		s.EnumDefault = fallback
	}
	if err := p.define(s); err != nil {
		return nil, err
	}
	s.properties = properties(v, true)
	return s, p.aliases(v, s)
}

func (p *parser) fixed(v *jsonValue, namespace string) (*Schema, error) {
	s, err := p.named(v, namespace, Fixed)
	if err != nil {
		return nil, err
	}
	const maxFixed = 1<<31 - 9 // the longest array of bytes that Java can make
	size := v.get("size")
	if size == nil || !size.fits(32) {
		return nil, fmt.Errorf("fixed %s: invalid or no size", s.FullName())
	}
	if s.Size, _ = strconv.Atoi(size.text); s.Size < 0 || s.Size > maxFixed {
		return nil, fmt.Errorf("fixed %s: size %d is outside 0…%d", s.FullName(), s.Size, maxFixed)
	}
	if err := p.define(s); err != nil {
		return nil, err
	}
	s.properties = properties(v, false)
	return s, p.aliases(v, s)
}

func (p *parser) named(v *jsonValue, namespace string, t Type) (*Schema, error) {
	s := &Schema{Type: t, Namespace: namespace}
	if own, ok := v.textOf("namespace"); ok {
		s.Namespace = own
	}
	name, ok := v.textOf("name")
	if !ok {
		return nil, fmt.Errorf("no name in schema: %s", clip(string(appendJSON(nil, v))))
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		s.Namespace, name = name[:dot], name[dot+1:]
	}
	s.Name = name
	s.Doc, s.HasDoc = v.textOf("doc")
	if err := checkName(name); err != nil {
		return nil, err
	}
	if _, primitive := primitives[s.FullName()]; primitive {
		return nil, fmt.Errorf("schemas may not be named after primitives: %s", s.FullName())
	}
	return s, nil
}

// define makes a type known by its name. A second definition of a name is accepted only when it says the same, by the
// Java library's idea of it: at this moment neither knows its own attributes, and a record does not know its fields.
func (p *parser) define(s *Schema) error {
	for _, part := range strings.Split(s.Namespace, ".") {
		if s.Namespace == "" {
			break
		}
		if err := checkName(part); err != nil {
			return fmt.Errorf("namespace %s: %w", s.Namespace, err)
		}
	}
	earlier := p.known[s.FullName()]
	if earlier == nil {
		p.known[s.FullName()] = s
		p.order = append(p.order, s)
		return nil
	}
	same := earlier.Type == s.Type && len(earlier.properties) == 0 && !earlier.hasFields &&
		earlier.Size == s.Size && strings.Join(earlier.Symbols, " ") == strings.Join(s.Symbols, " ")
	if !same {
		return fmt.Errorf("can't redefine: %s", s.FullName())
	}
	return nil
}

func (p *parser) aliases(v *jsonValue, s *Schema) error {
	names, err := aliasList(v)
	if err != nil {
		return err
	}
	for _, alias := range names {
		space, name := s.Namespace, alias
		if dot := strings.LastIndexByte(alias, '.'); dot >= 0 {
			space, name = alias[:dot], alias[dot+1:]
		}
		if err := checkName(name); err != nil {
			return fmt.Errorf("alias of %s: %w", s.FullName(), err)
		}
		full := join(space, name)
		if space == "" && s.Namespace != "" {
			full = "." + name // the Java library marks an alias without a namespace so
		}
		if !contains(s.Aliases, full) {
			s.Aliases = append(s.Aliases, full)
		}
	}
	return nil
}

func aliasList(v *jsonValue) ([]string, error) {
	list := v.get("aliases")
	if list == nil {
		return nil, nil
	}
	if list.kind != jsonArray {
		return nil, fmt.Errorf("aliases not an array: %s", clip(string(appendJSON(nil, list))))
	}
	var names []string
	for i := range list.items {
		if list.items[i].kind != jsonString {
			return nil, fmt.Errorf("alias not a string: %s", appendJSON(nil, &list.items[i]))
		}
		if !contains(names, list.items[i].text) {
			names = append(names, list.items[i].text)
		}
	}
	return names, nil
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// checkName applies the Java library's rule for names, which allows letters of any script.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("empty name")
	}
	for i, c := range name {
		letter := c == '_' || c <= 0xFFFF && c != unicode.ReplacementChar && unicode.IsLetter(c)
		if i == 0 && !letter {
			return fmt.Errorf("illegal initial character: %s", name)
		}
		if !letter && !(c <= 0xFFFF && unicode.IsDigit(c)) {
			return fmt.Errorf("illegal character in: %s", name)
		}
	}
	return nil
}

var reserved = map[string]bool{
	"doc": true, "fields": true, "items": true, "name": true, "namespace": true, "size": true, "symbols": true, "values": true, "type": true, "aliases": true,
}

var fieldReserved = map[string]bool{"default": true, "doc": true, "name": true, "order": true, "type": true, "aliases": true}

func properties(v *jsonValue, isEnum bool) []jsonMember {
	var kept []jsonMember
	for _, m := range v.members {
		if !reserved[m.name] && !(isEnum && m.name == "default") {
			kept = append(kept, m)
		}
	}
	return kept
}

func fieldProperties(v *jsonValue) []jsonMember {
	var kept []jsonMember
	for _, m := range v.members {
		if !fieldReserved[m.name] {
			kept = append(kept, m)
		}
	}
	return kept
}
