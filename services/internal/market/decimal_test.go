package market

import (
	"encoding/binary"
	"errors"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	bigScale = new(big.Int).Exp(big.NewInt(10), big.NewInt(Scale), nil)
	bigLimit = new(big.Int).Exp(big.NewInt(10), big.NewInt(Precision), nil)
	grammar  = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

func (d Decimal) big() *big.Int {
	v := big.NewInt(d.Hi)
	v.Lsh(v, 64)
	return v.Or(v, new(big.Int).SetUint64(d.Lo))
}

func fromBig(v *big.Int) Decimal {
	m := new(big.Int).And(v, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	lo := new(big.Int).And(m, new(big.Int).SetUint64(^uint64(0)))
	hi := new(big.Int).Rsh(m, 64)
	return Decimal{Hi: int64(hi.Uint64()), Lo: lo.Uint64()}
}

// oracle computes with math/big what ParseDecimal must answer: the scaled integer, and nil where it must refuse.
func oracle(text string) *big.Int {
	if !grammar.MatchString(text) || len(text) > maxDecimalText {
		return nil
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		exponent, ok := new(big.Int).SetString(strings.TrimPrefix(text[at+1:], "+"), 10)
		if !ok || new(big.Int).Abs(exponent).Cmp(big.NewInt(maxDecimalExponent)) > 0 {
			return nil
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil
	}
	r.Mul(r, new(big.Rat).SetInt(bigScale))
	if !r.IsInt() || new(big.Int).Abs(r.Num()).Cmp(bigLimit) >= 0 {
		return nil
	}
	return r.Num()
}

func checkParse(t interface {
	Fatalf(format string, args ...any)
	Helper()
}, text string,
) {
	t.Helper()
	want := oracle(text)
	d, scale, err := ParseDecimal([]byte(text))
	if (err == nil) != (want != nil) {
		t.Fatalf("ParseDecimal(%q) = %v, %v; math/big says %v", text, d, err, want)
	}
	if err != nil {
		return
	}
	if d.big().Cmp(want) != 0 {
		t.Fatalf("ParseDecimal(%q) = %v; math/big says %v", text, d.big(), want)
	}
	if scale < 0 || scale > maxDecimalText+maxDecimalExponent {
		t.Fatalf("ParseDecimal(%q) has scale %d", text, scale)
	}
	again, scale2, err := ParseDecimal(d.AppendText(nil, scale))
	if err != nil || again != d || scale2 != scale {
		t.Fatalf("%q written as %q reads back as %v, scale %d, %v; want %v, scale %d", text, d.AppendText(nil, scale), again, scale2, err, d, scale)
	}
}

func TestDecimalReadsNumbersAsMathBigDoes(t *testing.T) {
	for _, text := range []string{
		"", "-", "+", ".", "-.", "1.", ".5", "0", "-0", "+0.00", "00012.50", "61837.63000000", "1e3", "1E-8", "1e-18", "1e-19", "10e-19",
		"1e", "1e+", "e5", "1.5e400", "0e-99", "0e99", "1e19", "1e20", "99999999999999999999.999999999999999999",
		"100000000000000000000", "-99999999999999999999.999999999999999999", "0.0000000000000000001", "0.1000000000000000000",
		"1.2.3", "1,2", "0x10", "NaN", "Infinity", "1 ", " 1", "12345678901234567890", "0.1234567890123456789", "1e99", "123e-2",
		"0.00000000000000000000000000000000000000000000000", "18446744073709551616", "9999999999999999999", "99999999999999999990",
		strings.Repeat("0", 255) + "1", strings.Repeat("0", 256) + "1", strings.Repeat("9", 40), "0." + strings.Repeat("1", 40),
	} {
		checkParse(t, text)
	}
	rapid.Check(t, func(r *rapid.T) {
		checkParse(r, rapid.StringMatching(`[+-]?[0-9]{0,24}\.?[0-9]{0,24}([eE][+-]?[0-9]{1,2})?`).Draw(r, "text"))
	})
	rapid.Check(t, func(r *rapid.T) {
		checkParse(r, rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{1,18}0{0,6})?`).Draw(r, "text"))
	})
}

func TestDecimalFaultsCarryTheValueAndTheReason(t *testing.T) {
	for text, want := range map[string]error{
		"12a":                          ErrDecimalSyntax,
		"0.1234567890123456789":        ErrDecimalFraction,
		"100000000000000000000":        ErrDecimalTooLarge,
		strings.Repeat("9", 45):        ErrDecimalTooLarge,
		"0." + strings.Repeat("9", 45): ErrDecimalFraction,
	} {
		_, _, err := ParseDecimal([]byte(text))
		if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("ParseDecimal(%q): %v; want %v", text, err, want)
		}
	}
}

func TestDecimalTextIsAsSent(t *testing.T) {
	for _, text := range []string{"61837.63000000", "0.00005100", "63388.7", "0", "30261", "-1.50", "0.10", "12345678901234567890.000000000000000001", "1.000000000000000000000"} {
		d, scale, err := ParseDecimal([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(d.AppendText(nil, scale)); got != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	if got := string(NewDecimal(12345, 4).AppendText(nil, 1)); got != "1.2345" {
		t.Errorf("a scale below the value's own must not round: %q", got)
	}
}

func drawDecimal(r *rapid.T, label string) Decimal {
	text := rapid.StringMatching(`-?[0-9]{1,20}\.[0-9]{0,18}`).Draw(r, label)
	d, _, err := ParseDecimal([]byte(text))
	if err != nil {
		r.Fatal(err)
	}
	return d
}

func TestDecimalArithmeticIsThatOfMathBig(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a, b := drawDecimal(r, "a"), drawDecimal(r, "b")
		if a.Cmp(b) != a.big().Cmp(b.big()) || a.Sign() != a.big().Sign() || a.IsZero() != (a.big().Sign() == 0) {
			r.Fatalf("comparing %v and %v", a, b)
		}
		if a.Neg().big().Cmp(new(big.Int).Neg(a.big())) != 0 {
			r.Fatalf("-%v = %v", a, a.Neg())
		}
		for name, pair := range map[string]struct {
			got  func() (Decimal, bool)
			want *big.Int
		}{
			"sum":        {func() (Decimal, bool) { return a.Add(b) }, new(big.Int).Add(a.big(), b.big())},
			"difference": {func() (Decimal, bool) { return a.Sub(b) }, new(big.Int).Sub(a.big(), b.big())},
		} {
			got, ok := pair.got()
			if fits := new(big.Int).Abs(pair.want).Cmp(bigLimit) < 0; ok != fits || ok && got.big().Cmp(pair.want) != 0 {
				r.Fatalf("%s of %v and %v = %v, %v; want %v", name, a, b, got, ok, pair.want)
			}
		}
	})
	rapid.Check(t, func(r *rapid.T) {
		m, s := rapid.Int64().Draw(r, "mantissa"), rapid.Int32Range(0, 18).Draw(r, "scale")
		want := new(big.Int).Mul(big.NewInt(m), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(18-s)), nil))
		if got := NewDecimal(m, s); got.big().Cmp(want) != 0 || fromBig(want) != got {
			r.Fatalf("NewDecimal(%d, %d) = %v, want %v", m, s, got.big(), want)
		}
	})
}

// avroOracle is the minimal two's complement by math/big.
func avroOracle(v *big.Int) []byte {
	for n := uint(1); ; n++ {
		half := new(big.Int).Lsh(big.NewInt(1), 8*n-1)
		if v.Cmp(new(big.Int).Neg(half)) < 0 || v.Cmp(half) >= 0 {
			continue
		}
		m := new(big.Int).Set(v)
		if v.Sign() < 0 {
			m.Add(m, new(big.Int).Lsh(big.NewInt(1), 8*n))
		}
		return m.FillBytes(make([]byte, n))
	}
}

func TestDecimalAvroIsTheMinimalTwosComplement(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, d Decimal) {
		want := avroOracle(d.big())
		got := d.AppendAvro(nil)
		length, n := binary.Varint(got)
		if int(length) != len(want) || string(got[n:]) != string(want) {
			t.Fatalf("%v: %x, want %x", d, got, want)
		}
		back, err := DecimalFromAvro(got[n:])
		if err != nil || back != d {
			t.Fatalf("%x reads as %v, %v; want %v", got[n:], back, err, d)
		}
		fill := byte(0)
		if d.Sign() < 0 {
			fill = 0xff
		}
		long := append([]byte(strings.Repeat(string([]byte{fill}), 20)), got[n:]...)
		if back, err = DecimalFromAvro(long); err != nil || back != d {
			t.Fatalf("%x reads as %v, %v; want %v", long, back, err, d)
		}
	}
	for shift := uint(0); shift < 126; shift++ {
		for delta := int64(-2); delta <= 2; delta++ {
			v := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), shift), big.NewInt(delta))
			check(t, fromBig(v))
			check(t, fromBig(v.Neg(v)))
		}
	}
	rapid.Check(t, func(r *rapid.T) { check(r, drawDecimal(r, "d")) })
	top := new(big.Int).Sub(bigLimit, big.NewInt(1))
	check(t, fromBig(top))
	for _, bad := range [][]byte{nil, avroOracle(bigLimit), avroOracle(new(big.Int).Neg(bigLimit)), append([]byte{1}, make([]byte, 16)...), append([]byte{0x7f}, make([]byte, 16)...)} {
		if d, err := DecimalFromAvro(bad); !errors.Is(err, ErrDecimalAvroBytes) {
			t.Errorf("%x reads as %v, %v", bad, d, err)
		}
	}
}

func TestDecimalsDoNotAllocate(t *testing.T) {
	text, buffer := []byte("61837.63000000"), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		d, scale, _ := ParseDecimal(text)
		buffer = d.AppendText(buffer[:0], scale)
		buffer = d.AppendAvro(buffer[:0])
		_, _ = DecimalFromAvro(buffer[1:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, text := range []string{"61837.63000000", "-0.1e-5", "1e99", "99999999999999999999.999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkParse(t, text) })
}

func FuzzDecimalFromAvro(f *testing.F) {
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := DecimalFromAvro(content)
		if err != nil {
			return
		}
		if back, err := DecimalFromAvro(d.AppendAvro(nil)[1:]); err != nil || back != d {
			t.Fatalf("%x: %v, then %v, %v", content, d, back, err)
		}
	})
}

func BenchmarkParseDecimal(b *testing.B) {
	text := []byte("61837.63000000")
	for b.Loop() {
		_, _, _ = ParseDecimal(text)
	}
}

func BenchmarkDecimalAppendAvro(b *testing.B) {
	d, _, _ := ParseDecimal([]byte("61837.63000000"))
	buffer := make([]byte, 0, 32)
	for b.Loop() {
		buffer = d.AppendAvro(buffer[:0])
	}
}

func BenchmarkDecimalAppendText(b *testing.B) {
	d, _, _ := ParseDecimal([]byte("61837.63000000"))
	buffer := make([]byte, 0, 32)
	for b.Loop() {
		buffer = d.AppendText(buffer[:0], 8)
	}
}
