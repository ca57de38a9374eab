package avro

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON of a schema is kept as a tree with ordered members and the numbers' own text: a registry writes a schema back
// in the order in which it came, and a default of 1 is not a default of 1.0.

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

type jsonValue struct {
	kind    jsonKind
	text    string // content of a string, digits of a number
	items   []jsonValue
	members []jsonMember
}

type jsonMember struct {
	name  string
	value jsonValue
}

// maxJSONDepth and maxNumberLength are the limits of the JSON reader that Avro's Java library uses.
const (
	maxJSONDepth    = 1000
	maxNumberLength = 1000
)

// get returns the member of that name; a repeated name has the last value, as for Java's reader.
func (v *jsonValue) get(name string) *jsonValue {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}

// textOf returns the member when it is a string.
func (v *jsonValue) textOf(name string) (string, bool) {
	m := v.get(name)
	if m == nil || m.kind != jsonString {
		return "", false
	}
	return m.text, true
}

func (v *jsonValue) isIntegral() bool {
	return v.kind == jsonNumber && !strings.ContainsAny(v.text, ".eE")
}

// fits tells whether an integral number fits a signed integer of that many bits.
func (v *jsonValue) fits(bits int) bool {
	_, err := strconv.ParseInt(v.text, 10, bits)
	return v.isIntegral() && err == nil
}

type jsonReader struct {
	text  string
	at    int
	depth int
}

func parseJSON(text string) (jsonValue, error) {
	r := jsonReader{text: text}
	if err := r.space(); err != nil {
		return jsonValue{}, err
	}
	if r.at == len(r.text) {
		return jsonValue{}, errors.New("no content")
	}
	v, err := r.value()
	if err != nil {
		return jsonValue{}, err
	}
	if rest := strings.TrimSpace(r.text[r.at:]); rest != "" {
		return jsonValue{}, fmt.Errorf("dangling content after end of schema: %s", clip(rest))
	}
	return v, nil
}

func clip(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func (r *jsonReader) fail(what string) error {
	line := 1 + strings.Count(r.text[:r.at], "\n")
	column := r.at - strings.LastIndexByte(r.text[:r.at], '\n')
	return fmt.Errorf("invalid JSON at line %d, column %d: %s", line, column, what)
}

// space skips white space and comments: Avro's Java library accepts both kinds of comment in a schema.
func (r *jsonReader) space() error {
	for r.at < len(r.text) {
		rest := r.text[r.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			r.at++
		case strings.HasPrefix(rest, "//"):
			end := strings.IndexAny(rest, "\r\n")
			if end < 0 {
				end = len(rest)
			}
			r.at += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return r.fail("comment without an end")
			}
			r.at += 2 + end + 2
		default:
			return nil
		}
	}
	return nil
}

func (r *jsonReader) value() (jsonValue, error) {
	if r.at >= len(r.text) {
		return jsonValue{}, r.fail("unexpected end")
	}
	switch c := r.text[r.at]; {
	case c == '{' || c == '[':
		if r.depth++; r.depth > maxJSONDepth {
			return jsonValue{}, r.fail(fmt.Sprintf("nested deeper than %d", maxJSONDepth))
		}
		defer func() { r.depth-- }()
		if c == '{' {
			return r.object()
		}
		return r.array()
	case c == '"':
		s, err := r.stringValue()
		return jsonValue{kind: jsonString, text: s}, err
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	default:
		for word, kind := range map[string]jsonKind{"null": jsonNull, "true": jsonTrue, "false": jsonFalse} {
			if strings.HasPrefix(r.text[r.at:], word) && !r.wordGoesOn(r.at+len(word)) {
				r.at += len(word)
				return jsonValue{kind: kind}, nil
			}
		}
		return jsonValue{}, r.fail("a value was expected")
	}
}

func (r *jsonReader) wordGoesOn(at int) bool {
	return at < len(r.text) && (r.text[at] == '_' || r.text[at] >= '0' && r.text[at] <= '9' || r.text[at]|0x20 >= 'a' && r.text[at]|0x20 <= 'z')
}

func (r *jsonReader) object() (jsonValue, error) {
	v := jsonValue{kind: jsonObject}
	r.at++
	if done, err := r.closes('}'); done || err != nil {
		return v, err
	}
	for {
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return v, r.fail("a name in quotes was expected")
		}
		name, err := r.stringValue()
		if err != nil {
			return v, err
		}
		if err := r.expect(':'); err != nil {
			return v, err
		}
		member, err := r.value()
		if err != nil {
			return v, err
		}
		if known := v.get(name); known != nil {
			*known = member
		} else {
			v.members = append(v.members, jsonMember{name, member})
		}
		if done, err := r.closesOrGoesOn('}'); done || err != nil {
			return v, err
		}
	}
}

func (r *jsonReader) array() (jsonValue, error) {
	v := jsonValue{kind: jsonArray}
	r.at++
	if done, err := r.closes(']'); done || err != nil {
		return v, err
	}
	for {
		item, err := r.value()
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
		if done, err := r.closesOrGoesOn(']'); done || err != nil {
			return v, err
		}
	}
}

func (r *jsonReader) closes(c byte) (bool, error) {
	if err := r.space(); err != nil {
		return false, err
	}
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true, nil
	}
	return false, nil
}

func (r *jsonReader) closesOrGoesOn(c byte) (bool, error) {
	if done, err := r.closes(c); done || err != nil {
		return done, err
	}
	return false, r.expect(',')
}

// expect consumes c, with the white space on both sides.
func (r *jsonReader) expect(c byte) error {
	if err := r.space(); err != nil {
		return err
	}
	if r.at >= len(r.text) || r.text[r.at] != c {
		return r.fail(fmt.Sprintf("%q was expected", c))
	}
	r.at++
	return r.space()
}

func (r *jsonReader) number() (jsonValue, error) {
	start := r.at
	digits := func() int {
		from := r.at
		for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at - from
	}
	if r.text[r.at] == '-' {
		r.at++
	}
	whole := r.at
	if n := digits(); n == 0 || n > 1 && r.text[whole] == '0' {
		return jsonValue{}, r.fail("malformed number")
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		if digits() == 0 {
			return jsonValue{}, r.fail("malformed number")
		}
	}
	if r.at < len(r.text) && r.text[r.at]|0x20 == 'e' {
		r.at++
		if r.at < len(r.text) && (r.text[r.at] == '+' || r.text[r.at] == '-') {
			r.at++
		}
		if digits() == 0 {
			return jsonValue{}, r.fail("malformed number")
		}
	}
	if r.at-start > maxNumberLength || r.wordGoesOn(r.at) {
		return jsonValue{}, r.fail("malformed number")
	}
	return jsonValue{kind: jsonNumber, text: r.text[start:r.at]}, nil
}

func (r *jsonReader) stringValue() (string, error) {
	var b strings.Builder
	r.at++
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '"':
			r.at++
			return b.String(), nil
		case c == '\\':
			if err := r.escape(&b); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", r.fail("control character in a string")
		default:
			char, size := utf8.DecodeRuneInString(r.text[r.at:])
			b.WriteRune(char)
			r.at += size
		}
	}
	return "", r.fail("string without an end")
}

func (r *jsonReader) escape(b *strings.Builder) error {
	if r.at+1 >= len(r.text) {
		return r.fail("unexpected end")
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := r.text[r.at+1]
	if i := strings.IndexByte(from, c); i >= 0 {
		b.WriteByte(to[i])
		r.at += 2
		return nil
	}
	char, ok := r.hexEscape(r.at)
	if !ok {
		return r.fail("unknown escape")
	}
	r.at += 6
	if utf16.IsSurrogate(char) {
		if second, ok := r.hexEscape(r.at); ok {
			if joined := utf16.DecodeRune(char, second); joined != utf8.RuneError {
				r.at += 6
				char = joined
			}
		}
	}
	b.WriteRune(char) // a lone surrogate becomes U+FFFD: UTF-8 cannot say it
	return nil
}

func (r *jsonReader) hexEscape(at int) (rune, bool) {
	if at+6 > len(r.text) || r.text[at] != '\\' || r.text[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(r.text[at+2:at+6], 16, 32)
	return rune(n), err == nil
}

// appendJSON writes v as Java's writer does: no white space, members in order, numbers in Java's own spelling.
func appendJSON(dst []byte, v *jsonValue) []byte {
	switch v.kind {
	case jsonNull:
		return append(dst, "null"...)
	case jsonTrue:
		return append(dst, "true"...)
	case jsonFalse:
		return append(dst, "false"...)
	case jsonNumber:
		return appendJSONNumber(dst, v)
	case jsonString:
		return appendJSONString(dst, v.text)
	case jsonArray:
		dst = append(dst, '[')
		for i := range v.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, &v.items[i])
		}
		return append(dst, ']')
	default:
		dst = append(dst, '{')
		for i := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, v.members[i].name), ':')
			dst = appendJSON(dst, &v.members[i].value)
		}
		return append(dst, '}')
	}
}

func appendJSONNumber(dst []byte, v *jsonValue) []byte {
	if v.isIntegral() {
		if v.text == "-0" {
			return append(dst, '0')
		}
		return append(dst, v.text...)
	}
	if v.text == notANumber {
		return append(dst, javaFloat(math.NaN(), 64)...)
	}
	f, _ := strconv.ParseFloat(v.text, 64) // out of range gives an infinity, as in Java
	return append(dst, javaFloat(f, 64)...)
}

// javaFloat spells a double (or a float, with bits = 32) as Java's Double.toString does.
func javaFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return `"NaN"`
	case math.IsInf(f, 1):
		return `"Infinity"`
	case math.IsInf(f, -1):
		return `"-Infinity"`
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		default:
			if j := strings.IndexByte("\b\f\n\r\t", c); j >= 0 {
				dst = append(dst, '\\', "bfnrt"[j])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
		}
	}
	return append(dst, '"')
}
