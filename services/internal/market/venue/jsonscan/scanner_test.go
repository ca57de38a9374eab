package jsonscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rebuild reads a document with every method of the Scanner and makes the values that encoding/json makes.
func rebuild(s *Scanner) any {
	switch s.Kind() {
	case Object:
		out := map[string]any{}
		if s.Object() {
			for key, more := s.NextKey(); more; key, more = s.NextKey() {
				// encoding/json replaces what is not UTF-8; the scanner hands it on.
				out[strings.ToValidUTF8(string(key), "\ufffd")] = rebuild(s)
			}
		}
		return out
	case Array:
		out := []any{}
		if s.Array() {
			for s.NextItem() {
				out = append(out, rebuild(s))
			}
		}
		return out
	case String:
		return string(s.String())
	case Number:
		return json.Number(s.Number())
	case Bool:
		return s.Bool()
	}
	s.Skip()
	return nil
}

func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, data []byte,
) {
	t.Helper()
	deep := false
	depth := 0
	for _, c := range data {
		switch c {
		case '{', '[':
			depth++
			deep = deep || depth > maxDepth
		case '}', ']':
			depth--
		}
	}
	var s Scanner
	s.Reset(data)
	got := rebuild(&s)
	err := s.End()
	if valid := json.Valid(data); valid != (err == nil) && !deep {
		t.Fatalf("%q: %v; encoding/json says valid=%v", data, err, valid)
	}
	s.Reset(data)
	raw := s.Raw()
	if (s.End() == nil) != (err == nil) {
		t.Fatalf("%q: Raw says %v, reading it says %v", data, s.Err(), err)
	}
	if err != nil || !validUTF8(data) {
		return
	}
	if !bytes.Equal(bytes.TrimSpace(raw), bytes.Trim(data, " \t\r\n")) {
		t.Fatalf("%q: Raw is %q", data, raw)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Fatalf("%q reads as %#v; encoding/json says %#v", data, got, want)
	}
}

func validUTF8(data []byte) bool { return bytes.Equal(bytes.ToValidUTF8(data, nil), data) }

var documents = []string{
	``, ` `, `{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , 2.50 , -0.1e+5 ] , "b" : null } `, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`,
	`{"a" 1}`, `[1 2]`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `-01`, `0`, `-0`, `tru`, `true`, `nul`, `nulL`, `"`, `"a`, `"\`, `"\u12`, `"\u12zz"`, `"\x"`,
	`"\u0041\n\t\"\\\/\b\f\r"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83d\u0041"`, `"\ude00"`, "\"\x01\"", `{"\u0061":1}`, `[[[[]]]]`, `{"a":{"b":{}}}`, `1 2`, `{}x`,
	strings.Repeat("[", 70) + strings.Repeat("]", 70), strings.Repeat("[", 64) + strings.Repeat("]", 64), `"é"`, "\"\xff\"", `{"a":1,"a":2}`, `[1}`, `{"a":1]`,
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	for _, document := range documents {
		check(t, []byte(document))
	}
	rapid.Check(t, func(r *rapid.T) {
		document := rapid.StringMatching(`[\[\]{}:,"0-9.eE+ntrufalsd\\ -]{0,24}`).Draw(r, "document")
		check(r, []byte(document))
	})
}

func TestAFaultPassesOverTheValueAndReadingGoesOn(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"a":"text","b":{"x":[1]},"c":12,"d":"13","e":1.5,"f":99999999999999999999,"g":-9223372036854775808,"h":true}`))
	faults := 0
	var ints []int64
	s.Object()
	for _, more := s.NextKey(); more; _, more = s.NextKey() {
		v := s.Int()
		if err := s.TakeFault(); err != nil {
			faults++
			continue
		}
		ints = append(ints, v)
	}
	if err := s.End(); err != nil || faults != 5 || fmt.Sprint(ints) != "[12 13 -9223372036854775808]" {
		t.Fatalf("%v, %d faults, %v", err, faults, ints)
	}
	for _, read := range []func(){func() { s.Object() }, func() { s.Array() }, func() { s.String() }, func() { s.Number() }, func() { s.Bool() }, func() { s.Text() }} {
		s.Reset([]byte(`null`))
		read()
		if s.TakeFault() == nil || s.End() != nil {
			t.Fatal("null passed as something else")
		}
	}
}

func TestScanningDoesNotAllocate(t *testing.T) {
	var s Scanner
	document := []byte(`{"stream":"x","data":{"e":"depthUpdate","E":1723161255208,"b":[["61737.63000000","0.0"]]}}`)
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(document)
		s.Skip()
		if s.End() != nil {
			t.Fatal(s.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScanner(f *testing.F) {
	for _, document := range documents {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, data) })
}

func BenchmarkSkip(b *testing.B) {
	document := []byte(`{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":50093239203,"u":50093239207,"b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"],["61844.30000000","0.40163000"],["61862.50000000","0.05019000"],["61862.51000000","0.00000000"]]}}`)
	b.SetBytes(int64(len(document)))
	var s Scanner
	for b.Loop() {
		s.Reset(document)
		s.Skip()
	}
}
