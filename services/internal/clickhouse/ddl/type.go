package ddl

import (
	"fmt"
	"strconv"
	"strings"
)

// Type is a ClickHouse data type taken apart, so that two spellings of one type compare equal and the columnar decoder
// can be compiled from what system.columns says.
type Type struct {
	// Name is the family: String, UUID, Int64, Decimal, DateTime64, Enum8, LowCardinality, Nullable, Array, Map, Tuple, …
	Name string
	// Args are the types inside: one for LowCardinality, Nullable and Array, two for Map, the elements of a Tuple.
	Args []Type
	// Names of a Tuple's elements.
	Names []string
	// Params are the numbers: precision and scale of a Decimal, digits of a DateTime64, bytes of a FixedString.
	Params []int
	// Zone is the time zone of a DateTime64.
	Zone string
	// Enum lists the values of Enum8 and Enum16.
	Enum []EnumValue
}

// EnumValue is one name of an Enum and the number it is stored as.
type EnumValue struct {
	Name  string
	Value int
}

// Simple makes a type without parameters.
func Simple(name string) Type { return Type{Name: name} }

// Wrap makes Name(inner).
func Wrap(name string, inner ...Type) Type { return Type{Name: name, Args: inner} }

// String writes the type as system.columns does.
func (t Type) String() string {
	var b strings.Builder
	t.write(&b)
	return b.String()
}

func (t Type) write(b *strings.Builder) {
	b.WriteString(t.Name)
	var parts []string
	for i, a := range t.Args {
		text := a.String()
		if t.Name == "Tuple" && len(t.Names) == len(t.Args) {
			text = tupleName(t.Names[i]) + " " + text
		}
		parts = append(parts, text)
	}
	for _, p := range t.Params {
		parts = append(parts, strconv.Itoa(p))
	}
	if t.Zone != "" {
		parts = append(parts, QuoteString(t.Zone))
	}
	for _, e := range t.Enum {
		parts = append(parts, QuoteString(e.Name)+" = "+strconv.Itoa(e.Value))
	}
	if len(parts) > 0 {
		b.WriteByte('(')
		b.WriteString(strings.Join(parts, ", "))
		b.WriteByte(')')
	}
}

// Equal says whether two types are the same, however they were spelled.
func (t Type) Equal(other Type) bool { return t.String() == other.String() }

// tupleName writes an element's name as ClickHouse prints it: bare where it can be.
func tupleName(name string) string {
	if isBareWord(name) {
		return name
	}
	return QuoteName(name)
}

func isBareWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isWordByte(s[i]) || (i == 0 && s[i] >= '0' && s[i] <= '9') {
			return false
		}
	}
	return s != ""
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// ParseType reads a type as system.columns writes it.
func ParseType(text string) (Type, error) {
	p := typeParser{text: text}
	t, err := p.parse(0)
	if err == nil && p.skip() < len(text) {
		err = fmt.Errorf("%q is left over", text[p.at:])
	}
	if err != nil {
		return Type{}, fmt.Errorf("reading ClickHouse type %q: %w", text, err)
	}
	return t, nil
}

type typeParser struct {
	text string
	at   int
}

// maxTypeDepth bounds the recursion on a hostile text.
const maxTypeDepth = 32

func (p *typeParser) skip() int {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\n' || p.text[p.at] == '\t') {
		p.at++
	}
	return p.at
}

func (p *typeParser) word() string {
	from := p.skip()
	for p.at < len(p.text) && isWordByte(p.text[p.at]) {
		p.at++
	}
	return p.text[from:p.at]
}

func (p *typeParser) take(c byte) bool {
	if p.skip() < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// quoted reads 'text' or `text` with backslash escapes and doubled quotes.
func (p *typeParser) quoted(quote byte) (string, error) {
	if !p.take(quote) {
		return "", fmt.Errorf("expected %c at %d", quote, p.at)
	}
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '\\' && p.at < len(p.text):
			b.WriteByte(unescape(p.text[p.at]))
			p.at++
		case c == quote && p.at < len(p.text) && p.text[p.at] == quote:
			b.WriteByte(quote)
			p.at++
		case c == quote:
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("no closing %c", quote)
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case '0':
		return 0
	}
	return c
}

func (p *typeParser) parse(depth int) (Type, error) {
	t := Type{Name: p.word()}
	if t.Name == "" || depth > maxTypeDepth {
		return t, fmt.Errorf("no type name at %d", p.at)
	}
	if !p.take('(') {
		return t, nil
	}
	for {
		if err := p.argument(&t, depth); err != nil {
			return t, err
		}
		if p.take(')') {
			return t, nil
		}
		if !p.take(',') {
			return t, fmt.Errorf("expected , or ) at %d", p.at)
		}
	}
}

func (p *typeParser) argument(t *Type, depth int) error {
	p.skip()
	if p.at >= len(p.text) {
		return fmt.Errorf("ends inside %s(", t.Name)
	}
	switch c := p.text[p.at]; {
	case c == '\'':
		name, err := p.quoted('\'')
		if err != nil {
			return err
		}
		if !p.take('=') {
			t.Zone = name
			return nil
		}
		value, err := p.number()
		t.Enum = append(t.Enum, EnumValue{name, value})
		return err
	case c == '-' || c >= '0' && c <= '9':
		value, err := p.number()
		t.Params = append(t.Params, value)
		return err
	}
	if t.Name == "Tuple" {
		if err := p.elementName(t); err != nil {
			return err
		}
	}
	inner, err := p.parse(depth + 1)
	t.Args = append(t.Args, inner)
	return err
}

// elementName takes the name of a Tuple's element, if there is one before its type.
func (p *typeParser) elementName(t *Type) error {
	if p.text[p.at] == '`' {
		name, err := p.quoted('`')
		t.Names = append(t.Names, name)
		return err
	}
	start := p.at
	name := p.word()
	if p.skip() < len(p.text) && isWordByte(p.text[p.at]) {
		t.Names = append(t.Names, name)
		return nil
	}
	p.at = start
	return nil
}

func (p *typeParser) number() (int, error) {
	from := p.skip()
	if p.at < len(p.text) && p.text[p.at] == '-' {
		p.at++
	}
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return strconv.Atoi(p.text[from:p.at])
}

// QuoteString writes a string literal.
func QuoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\x00", `\0`).Replace(s) + "'"
}

// QuoteName writes an identifier.
func QuoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
