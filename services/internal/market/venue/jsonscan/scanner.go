// Package jsonscan reads JSON in one pass over the bytes: no reflection, no tree, no allocation. The venues' decoders and
// inspectors pull what they need from it, field by field, in whatever order the venue sends them.
//
// There are two kinds of trouble. A syntax error (Err) means that the bytes are not JSON: every later call does nothing
// and every loop ends. A fault (TakeFault) means that a value is valid JSON of another kind than was asked for: the value
// is passed over and reading goes on, so that one bad item of a frame does not spoil its siblings.
package jsonscan

import (
	"fmt"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds nesting, so that a hostile frame cannot exhaust the stack. No venue nests deeper than six.
const maxDepth = 64

// Kind is the kind of the next value.
type Kind uint8

// Kinds of values. None means the end of the data or something that begins no value.
const (
	None Kind = iota
	Object
	Array
	String
	Number
	Bool
	Null
)

var kindNames = [...]string{"nothing", "an object", "an array", "a string", "a number", "a boolean", "null"}

// String names the kind as in "found a number".
func (k Kind) String() string { return kindNames[k] }

// kinds maps a value's first byte to its kind.
var kinds = [256]Kind{
	'{': Object, '[': Array, '"': String, 't': Bool, 'f': Bool, 'n': Null, '-': Number,
	'0': Number, '1': Number, '2': Number, '3': Number, '4': Number, '5': Number, '6': Number, '7': Number, '8': Number, '9': Number,
}

// plain marks the bytes that stand for themselves inside a string.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return t
}()

// SyntaxError says where data stops being JSON.
type SyntaxError struct {
	Offset int
	Wanted string
}

// Error names the byte offset and what was wanted there.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at byte %d: wanted %s", e.Offset, e.Wanted)
}

// Scanner is the reader. Its zero value is ready for Reset. Byte slices that it returns point into the data, or, where a
// string had escapes, into memory that is never written again.
type Scanner struct {
	data      []byte
	pos       int
	depth     int
	fresh     bool // the object or array just opened has given nothing yet
	err       error
	fault     error
	unescaped []byte
}

// Reset starts on new data.
func (s *Scanner) Reset(data []byte) {
	s.data, s.pos, s.depth, s.fresh, s.err, s.fault = data, 0, 0, false, nil, nil
	if len(s.unescaped) > 0 {
		// Who kept a slice of it keeps it whole; escapes are so rare that the memory is not worth saving.
		s.unescaped = nil
	}
}

// Err returns the syntax error, if any.
func (s *Scanner) Err() error { return s.err }

// TakeFault returns the first fault since the last call, and forgets it.
func (s *Scanner) TakeFault() error {
	fault := s.fault
	s.fault = nil
	return fault
}

func (s *Scanner) fail(wanted string) {
	if s.err == nil {
		s.err = &SyntaxError{Offset: s.pos, Wanted: wanted}
	}
	s.pos = len(s.data)
}

// mismatch records a fault and passes over the value.
func (s *Scanner) mismatch(wanted string) {
	offset, found := s.pos, s.Kind()
	if s.Skip(); s.err == nil && s.fault == nil {
		s.fault = fmt.Errorf("wanted %s at byte %d, found %v", wanted, offset, found)
	}
}

func (s *Scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// Kind looks at the next value without reading it.
func (s *Scanner) Kind() Kind {
	s.space()
	if s.pos >= len(s.data) {
		return None
	}
	return kinds[s.data[s.pos]]
}

// End checks that nothing but white space follows and returns the syntax error, if any.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.data) && s.err == nil {
		s.fail("the end")
	}
	return s.err
}

// Object enters an object; NextKey walks it. Of another kind of value it makes a fault, passes over it and returns false.
func (s *Scanner) Object() bool { return s.open(Object, "an object") }

// Array enters an array; NextItem walks it. Of another kind of value it makes a fault, passes over it and returns false.
func (s *Scanner) Array() bool { return s.open(Array, "an array") }

func (s *Scanner) open(k Kind, wanted string) bool {
	if s.Kind() != k {
		s.mismatch(wanted)
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("less nesting")
		return false
	}
	s.pos++
	s.fresh = true
	return true
}

// NextKey returns the next key of the object that was entered, or false at its end. Exactly one value must be read or
// skipped after each key.
func (s *Scanner) NextKey() ([]byte, bool) {
	if !s.next('}') {
		return nil, false
	}
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		s.fail("a key")
		return nil, false
	}
	key := s.quoted()
	if s.pos < len(s.data) && s.data[s.pos] == ':' {
		s.pos++
		return key, true
	}
	if s.space(); s.pos >= len(s.data) || s.data[s.pos] != ':' {
		s.fail("':'")
		return nil, false
	}
	s.pos++
	return key, s.err == nil
}

// NextItem says whether another item of the array that was entered follows. Exactly one value must be read or skipped
// after each.
func (s *Scanner) NextItem() bool { return s.next(']') }

// next passes the comma before the next entry, or the closing byte.
func (s *Scanner) next(closing byte) bool {
	s.space()
	if s.pos >= len(s.data) {
		s.fail("more")
		return false
	}
	c := s.data[s.pos]
	switch {
	case c == closing:
		s.pos++
		s.depth--
		s.fresh = false
		return false
	case s.fresh:
		s.fresh = false
		return true
	case c == ',':
		s.pos++
		if s.space(); s.pos < len(s.data) && s.data[s.pos] != closing {
			return true
		}
		s.fail("an entry after ','")
	default:
		s.fail("',' or the end of the list")
	}
	return false
}

// String reads a string's content.
func (s *Scanner) String() []byte {
	if s.Kind() != String {
		s.mismatch("a string")
		return nil
	}
	return s.quoted()
}

// quoted reads from the opening quote on; the caller has seen it.
func (s *Scanner) quoted() []byte {
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		if c := s.data[i]; !plain[c] {
			if c == '"' {
				s.pos = i + 1
				return s.data[start:i:i]
			}
			break
		}
	}
	return s.escaped(start)
}

// escaped reads a string that holds an escape, or is not well formed.
func (s *Scanner) escaped(start int) []byte {
	from := len(s.unescaped)
	out := s.unescaped
	s.pos = start
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			s.unescaped = out
			return out[from:len(out):len(out)]
		case c == '\\':
			out = s.escape(out)
			if s.err != nil {
				return nil
			}
		case c < 0x20:
			s.fail("no control character in a string")
			return nil
		default:
			out = append(out, c)
			s.pos++
		}
	}
	s.fail("the end of a string")
	return nil
}

// escape reads one escape sequence, or a pair of them that makes one character.
func (s *Scanner) escape(out []byte) []byte {
	if s.pos+1 >= len(s.data) {
		s.fail("the end of an escape")
		return out
	}
	s.pos++
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return append(out, c)
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'u':
		r, ok := s.hex4(s.pos)
		if !ok {
			s.fail("four hexadecimal digits")
			return out
		}
		s.pos += 4
		if utf16.IsSurrogate(r) {
			r = s.lowSurrogate(r)
		}
		return utf8.AppendRune(out, r)
	}
	s.pos--
	s.fail("an escape")
	return out
}

// lowSurrogate reads the second half of a pair; without one the character is the replacement character.
func (s *Scanner) lowSurrogate(high rune) rune {
	if s.pos+1 < len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
		if low, ok := s.hex4(s.pos + 2); ok {
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				s.pos += 6
				return r
			}
		}
	}
	return utf8.RuneError
}

func (s *Scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.data) {
		return 0, false
	}
	var r rune
	for _, c := range s.data[at : at+4] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// Number reads a number's text as it was sent.
func (s *Scanner) Number() []byte {
	if s.Kind() != Number {
		s.mismatch("a number")
		return nil
	}
	return s.number()
}

func (s *Scanner) number() []byte {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if first := s.pos; s.digits() == 0 || s.data[first] == '0' && s.pos > first+1 {
		s.fail("a number")
		return nil
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		if s.pos++; s.digits() == 0 {
			s.fail("a digit after the point")
			return nil
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			s.fail("a digit of the exponent")
			return nil
		}
	}
	return s.data[start:s.pos:s.pos]
}

func (s *Scanner) digits() int {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos - start
}

// Text reads a string's content or a number's text: venues send numbers in both ways.
func (s *Scanner) Text() []byte {
	switch s.Kind() {
	case String:
		return s.quoted()
	case Number:
		return s.number()
	}
	s.mismatch("a number or a string")
	return nil
}

// Int reads an integer of 64 bits, quoted or not. Anything else is a fault.
func (s *Scanner) Int() int64 {
	offset := s.pos
	text := s.Text()
	if s.err != nil || s.fault != nil && text == nil {
		return 0
	}
	v, ok := ParseInt(text)
	if !ok && s.fault == nil {
		s.fault = fmt.Errorf("wanted an integer of 64 bits at byte %d, found %.40q", offset, text)
	}
	return v
}

// ParseInt reads an integer of 64 bits: digits with an optional minus sign.
func ParseInt(text []byte) (int64, bool) {
	digits := text
	if len(text) > 0 && text[0] == '-' {
		digits = text[1:]
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	if len(digits) < len(text) {
		return -int64(v), v <= -math.MinInt64
	}
	return int64(v), v <= math.MaxInt64
}

// Bool reads true or false.
func (s *Scanner) Bool() bool {
	if s.Kind() != Bool {
		s.mismatch("a boolean")
		return false
	}
	value := s.data[s.pos] == 't'
	s.literal()
	return value
}

// literal passes over true, false or null.
func (s *Scanner) literal() {
	word := "null"
	switch s.data[s.pos] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	}
	if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
		s.pos = end
		return
	}
	s.fail(word)
}

// Skip passes over one value, and checks that it is well formed.
func (s *Scanner) Skip() {
	switch s.Kind() {
	case Object:
		if s.Object() {
			for _, more := s.NextKey(); more; _, more = s.NextKey() {
				s.Skip()
			}
		}
	case Array:
		if s.Array() {
			for s.NextItem() {
				s.Skip()
			}
		}
	case String:
		s.quoted()
	case Number:
		s.number()
	case Bool, Null:
		s.literal()
	default:
		s.fail("a value")
	}
}

// Raw passes over one value and returns its bytes, to be read once it is known what they mean.
func (s *Scanner) Raw() []byte {
	s.space()
	start := s.pos
	if s.Skip(); s.err != nil {
		return nil
	}
	return s.data[start:s.pos:s.pos]
}
