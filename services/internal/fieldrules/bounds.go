package fieldrules

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// kind is how the bytes of a number are to be understood.
type kind uint8

const (
	kindNone    kind = iota
	kindWhole        // int, long
	kindFloat        // float, double
	kindDecimal      // bytes, fixed
	kindTime         // int, long since 1970
)

// unitsADay are the logical types that contracts call timestamp or date.
var unitsADay = map[string]int64{
	"date": 1, "timestamp-millis": 86_400e3, "timestamp-micros": 86_400e6, "timestamp-nanos": 86_400e9,
	"local-timestamp-millis": 86_400e3, "local-timestamp-micros": 86_400e6, "local-timestamp-nanos": 86_400e9,
}

// numberKind says what a type's bounds compare, and its scale: a decimal's digits after the point, a time's units a day.
func numberKind(s *avro.Schema) (k kind, scale int64) {
	logical := s.LogicalType()
	switch s.Type {
	case avro.Bytes, avro.Fixed:
		if logical == "decimal" {
			return kindDecimal, int64(property(s, "scale"))
		}
	case avro.Float, avro.Double:
		return kindFloat, 0
	case avro.Int, avro.Long:
		if scale := unitsADay[logical]; scale != 0 {
			return kindTime, scale
		}
		return kindWhole, 0
	}
	return kindNone, 0
}

// bounds of one number.
type bounds struct {
	kind             kind
	scale            int64
	minimum, maximum limit
}

// clearlyKept tells of most decimals that keep their bounds, by sign and length alone.
func (b *bounds) clearlyKept(content []byte) bool {
	if len(content) == 0 || content[0] == 0 || content[0] >= 0x80 {
		return false // Not above 0, or not as short as possible.
	}
	return (b.minimum.rule == nil || b.minimum.decimal[0] >= 0x80 || len(content) > len(b.minimum.decimal)) &&
		(b.maximum.rule == nil || b.maximum.decimal[0] < 0x80 && len(content) < len(b.maximum.decimal))
}

// limit is one bound in each form that a value may be compared in; rule is nil where there is none.
type limit struct {
	rule  *Rule
	whole int64
	float float64
	// decimal is the unscaled number, big-endian in two's complement, as short as possible.
	decimal []byte
}

// newLimit takes a contract's bound: a number, or for a time the microseconds since 1970. A minimum between two numbers of
// the type becomes the upper of them, a maximum the lower, so that comparing with it is exact.
func newLimit(bound float64, k kind, scale int64, up bool) limit {
	l := limit{float: bound}
	exact := exactly(bound)
	switch k {
	case kindDecimal:
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)))
	case kindTime:
		exact.Mul(exact, big.NewRat(scale, unitsADay["timestamp-micros"]))
	}
	n := round(exact, up)
	l.decimal = twosComplement(n)
	switch {
	case n.IsInt64():
		l.whole = n.Int64()
	case n.Sign() < 0:
		l.whole = math.MinInt64
	default:
		l.whole = math.MaxInt64
	}
	return l
}

// exactly is the number that the author wrote, which the shortest text of the float64 is for up to 15 digits.
func exactly(bound float64) *big.Rat {
	r, _ := new(big.Rat).SetString(strconv.FormatFloat(bound, 'g', -1, 64))
	return r
}

func round(r *big.Rat, up bool) *big.Int {
	// Div rounds down for a positive divisor, which a denominator is.
	n := new(big.Int).Div(r.Num(), r.Denom())
	if up && !r.IsInt() {
		n.Add(n, big.NewInt(1))
	}
	return n
}

func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		return shortest(append([]byte{0}, n.Bytes()...))
	}
	// -n - 1 has the bits of n turned round.
	b := append([]byte{0}, new(big.Int).Not(n).Bytes()...)
	for i := range b {
		b[i] = ^b[i]
	}
	return shortest(b)
}

// shortest drops the leading bytes that only repeat the sign.
func shortest(b []byte) []byte {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

// compare two numbers in two's complement, as short as possible, of any length.
func compare(a, b []byte) int {
	negative := a[0] >= 0x80
	switch {
	case negative != (b[0] >= 0x80):
		if negative {
			return -1
		}
		return 1
	case len(a) == len(b):
		return bytes.Compare(a, b)
	case len(a) > len(b) == negative:
		return -1
	}
	return 1
}

// maxDecimalBytes is the longest decimal that is written out: longer ones are garbage, and turning them into digits would
// take a time that grows with their square.
const maxDecimalBytes = 64

func decimalText(content []byte, scale int64) string {
	if len(content) > maxDecimalBytes {
		return "a decimal of " + strconv.Itoa(len(content)) + " bytes"
	}
	n := new(big.Int).SetBytes(content)
	if content[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(content))))
	}
	digits := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)).FloatString(int(scale))
	if strings.Contains(digits, ".") {
		digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
	}
	return digits
}

func wholeText(v int64, b *bounds) string {
	if b.kind != kindTime {
		return strconv.FormatInt(v, 10)
	}
	perSecond := b.scale / 86_400
	if perSecond == 0 {
		// Years beyond what a calendar writes are told as days.
		if v < -maxDays || v > maxDays {
			return strconv.FormatInt(v, 10) + " days since 1970"
		}
		return time.Unix(v*86_400, 0).UTC().Format(time.DateOnly)
	}
	seconds, rest := v/perSecond, v%perSecond
	if seconds < -maxDays*86_400 || seconds > maxDays*86_400 {
		return strconv.FormatInt(v, 10) + " since 1970 in units of 1/" + strconv.FormatInt(perSecond, 10) + " s"
	}
	return time.Unix(seconds, rest*(1e9/perSecond)).UTC().Format(time.RFC3339Nano)
}

// maxDays from 1970 that are before the year 10000, or after the year -6000.
const maxDays = 2_932_896

// boundText writes a contract's bound as its author may have written it.
func boundText(bound float64, k kind) string {
	if k == kindTime {
		return time.UnixMicro(int64(bound)).UTC().Format(time.RFC3339Nano)
	}
	return strconv.FormatFloat(bound, 'f', -1, 64)
}
