package market

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

// Scale is the number of digits after the point that a Decimal holds: Avro's decimal(38,18).
const Scale = 18

// Precision is the number of digits that a Decimal holds altogether.
const Precision = 38

// Bounds of what ParseDecimal reads. They keep a hostile number from costing time, or AppendText from writing megabytes.
const (
	maxDecimalText     = 256
	maxDecimalExponent = 99
)

// Decimal is an exact number: a 128-bit two's complement integer, the value times 10^18.
type Decimal struct {
	Hi int64
	Lo uint64
}

// Faults of ParseDecimal and of the arithmetic. They are wrapped with the value.
var (
	ErrDecimalSyntax    = errors.New("not a decimal number")
	ErrDecimalFraction  = errors.New("more than 18 digits after the point")
	ErrDecimalTooLarge  = errors.New("more than 38 digits at scale 18")
	ErrDecimalAvroBytes = errors.New("not an Avro decimal(38,18)")
)

var pow10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// limitHi and limitLo are 10^38, the first magnitude that a decimal(38,18) does not hold.
const (
	limitHi = 0x4b3b4ca85a86c47a
	limitLo = 0x098a224000000000
)

// NewDecimal returns mantissa × 10^-scale. The scale must be from 0 to 18; every int64 fits then.
func NewDecimal(mantissa int64, scale int32) Decimal {
	if scale < 0 || scale > Scale {
		panic(fmt.Sprintf("BUG: decimal scale %d is not in 0..%d", scale, Scale))
	}
	magnitude := uint64(mantissa)
	if mantissa < 0 {
		magnitude = -magnitude
	}
	hi, lo := bits.Mul64(magnitude, pow10[Scale-scale])
	return signed(mantissa < 0, hi, lo)
}

// signed makes a Decimal of a sign and a magnitude below 2^127.
func signed(negative bool, hi, lo uint64) Decimal {
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return Decimal{Hi: int64(hi), Lo: lo}
}

// magnitude returns the sign and the absolute value.
func (d Decimal) magnitude() (negative bool, hi, lo uint64) {
	if d.Hi >= 0 {
		return false, uint64(d.Hi), d.Lo
	}
	lo, borrow := bits.Sub64(0, d.Lo, 0)
	hi, _ = bits.Sub64(0, uint64(d.Hi), borrow)
	return true, hi, lo
}

// ParseDecimal reads a number as a venue writes it: digits with an optional sign, point and exponent. It never rounds: a
// number with more than 18 digits after the point (trailing zeros aside), or of more than 38 digits at that scale, is an
// error that carries the text. The scale is the count of digits after the point as sent, trailing zeros included, so that
// AppendText can write the number again as the venue did. It does not allocate unless it fails.
func ParseDecimal(text []byte) (d Decimal, scale int32, err error) {
	i := 0
	negative := false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		negative = text[i] == '-'
		i++
	}
	// Up to 19 digits are gathered in one word; nearly every number that a venue sends ends here.
	var mantissa uint64
	digits, fraction, point := 0, 0, false
	for ; i < len(text); i++ {
		c := text[i] - '0'
		if c > 9 {
			if text[i] != '.' || point {
				break
			}
			point = true
			continue
		}
		if digits == 19 {
			return parseLong(text)
		}
		mantissa = mantissa*10 + uint64(c)
		if mantissa != 0 {
			digits++
		}
		if point {
			fraction++
		}
	}
	if i < len(text) || i > maxDecimalText || fraction > Scale || (mantissa == 0 && !hasDigit(text)) {
		return parseLong(text)
	}
	hi, lo := bits.Mul64(mantissa, pow10[Scale-fraction])
	return signed(negative, hi, lo), int32(fraction), nil
}

func hasDigit(text []byte) bool {
	for _, c := range text {
		if c-'0' <= 9 {
			return true
		}
	}
	return false
}

// parseLong reads every number, also those with an exponent or more than 19 digits.
func parseLong(text []byte) (Decimal, int32, error) {
	n, err := splitNumber(text)
	if err != nil {
		return Decimal{}, 0, decimalError(text, err)
	}
	scale := max(0, n.fraction-n.exponent)
	// The significant digits lie between the first and the last that is not 0; the rest is only a power of ten.
	var hi, lo uint64
	significant, zeros, seen := 0, 0, 0
	for _, c := range n.digits {
		if c == '.' {
			continue
		}
		seen++
		if c == '0' {
			if significant > 0 {
				zeros++
			}
			continue
		}
		if significant += zeros + 1; significant > Precision {
			return Decimal{}, 0, decimalError(text, tooLong(n, seen))
		}
		for ; zeros > 0; zeros-- {
			hi, lo = mulAdd(hi, lo, 10, 0)
		}
		hi, lo = mulAdd(hi, lo, 10, uint64(c-'0'))
	}
	if significant == 0 {
		return Decimal{}, int32(scale), nil
	}
	shift := Scale + n.exponent - n.fraction + zeros
	if shift < 0 {
		return Decimal{}, 0, decimalError(text, ErrDecimalFraction)
	}
	if significant+shift > Precision {
		return Decimal{}, 0, decimalError(text, ErrDecimalTooLarge)
	}
	for ; shift > 0; shift -= min(shift, 19) {
		hi, lo = mulAdd(hi, lo, pow10[min(shift, 19)], 0)
	}
	return signed(n.negative, hi, lo), int32(scale), nil
}

// tooLong says which limit a number with more than 38 significant digits breaks: seen digits were read so far, and the
// last of them is not 0.
func tooLong(n number, seen int) error {
	if seen > n.integer+n.exponent+Scale {
		return ErrDecimalFraction
	}
	return ErrDecimalTooLarge
}

// number is the text of a number taken apart.
type number struct {
	negative bool
	digits   []byte // digits and at most one point
	integer  int    // digits before the point
	fraction int    // digits after the point
	exponent int
}

func splitNumber(text []byte) (number, error) {
	var n number
	if len(text) > maxDecimalText {
		return n, fmt.Errorf("%w of at most %d bytes, but %d", ErrDecimalSyntax, maxDecimalText, len(text))
	}
	rest := text
	if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
		n.negative = rest[0] == '-'
		rest = rest[1:]
	}
	end, point := 0, false
scan:
	for ; end < len(rest); end++ {
		switch c := rest[end]; {
		case c-'0' <= 9 && point:
			n.fraction++
		case c-'0' <= 9:
			n.integer++
		case c == '.' && !point:
			point = true
		default:
			break scan
		}
	}
	n.digits = rest[:end]
	if n.integer+n.fraction == 0 {
		return n, ErrDecimalSyntax
	}
	if rest = rest[end:]; len(rest) == 0 {
		return n, nil
	}
	var err error
	n.exponent, err = parseExponent(rest)
	return n, err
}

// parseExponent reads "e-8", "E+3", "e12".
func parseExponent(text []byte) (int, error) {
	if text[0] != 'e' && text[0] != 'E' {
		return 0, ErrDecimalSyntax
	}
	text = text[1:]
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, ErrDecimalSyntax
	}
	exponent := 0
	for _, c := range text {
		if c-'0' > 9 {
			return 0, ErrDecimalSyntax
		}
		if exponent = exponent*10 + int(c-'0'); exponent > maxDecimalExponent {
			return 0, fmt.Errorf("%w: exponent beyond ±%d", ErrDecimalSyntax, maxDecimalExponent)
		}
	}
	if negative {
		exponent = -exponent
	}
	return exponent, nil
}

func decimalError(text []byte, err error) error {
	shown, more := text, ""
	if len(shown) > 80 {
		shown, more = shown[:80], "…"
	}
	return fmt.Errorf("reading decimal %q%s: %w", shown, more, err)
}

// mulAdd returns (hi,lo)·m + a; the caller knows that it fits 128 bits.
func mulAdd(hi, lo, m, a uint64) (uint64, uint64) {
	carry, low := bits.Mul64(lo, m)
	low, c := bits.Add64(low, a, 0)
	return hi*m + carry + c, low
}

// AppendText writes the number with scale digits after the point, and with more where the value needs them: it never
// rounds. AppendText(dst, s) of what ParseDecimal read from a plain number with scale s gives that number again, leading
// zeros and plus sign aside.
func (d Decimal) AppendText(dst []byte, scale int32) []byte {
	negative, hi, lo := d.magnitude()
	if negative {
		dst = append(dst, '-')
	}
	wholeHi, rest := hi/1e18, hi%1e18
	wholeLo, fraction := bits.Div64(rest, lo, 1e18)
	if wholeHi == 0 {
		dst = strconv.AppendUint(dst, wholeLo, 10)
	} else {
		// The whole part is below 2^68 here, so one division by 10^19 leaves a few digits above nineteen.
		top, low := bits.Div64(wholeHi, wholeLo, 1e19)
		dst = strconv.AppendUint(dst, top, 10)
		dst = appendPadded(dst, low, 19)
	}
	// Trailing zeros beyond the wanted scale are left out; digits that say something stay.
	places, wanted := int(max(scale, 0)), Scale
	for wanted > places && fraction%10 == 0 {
		fraction /= 10
		wanted--
	}
	if wanted == 0 {
		return dst
	}
	dst = append(dst, '.')
	dst = appendPadded(dst, fraction, wanted)
	for ; wanted < places; wanted++ {
		dst = append(dst, '0')
	}
	return dst
}

// appendPadded writes v with leading zeros in width digits.
func appendPadded(dst []byte, v uint64, width int) []byte {
	start := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= start && v > 0; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}

// String writes the number without trailing zeros.
func (d Decimal) String() string { return string(d.AppendText(nil, 0)) }

// AppendAvro writes the number as Avro bytes of a decimal(38,18): a zigzag length, then the minimal two's complement in
// big-endian order.
func (d Decimal) AppendAvro(dst []byte) []byte {
	n := d.avroLength()
	dst = append(dst, byte(n<<1))
	for i := n - 1; i >= 8; i-- {
		dst = append(dst, byte(uint64(d.Hi)>>(8*(i-8))))
	}
	for i := min(n, 8) - 1; i >= 0; i-- {
		dst = append(dst, byte(d.Lo>>(8*i)))
	}
	return dst
}

// avroLength is the count of bytes of the minimal two's complement: one bit more than the magnitude has.
func (d Decimal) avroLength() int {
	hi, lo := uint64(d.Hi), d.Lo
	if d.Hi < 0 {
		hi, lo = ^hi, ^lo
	}
	length := bits.Len64(lo)
	if hi != 0 {
		length = 64 + bits.Len64(hi)
	}
	return length/8 + 1
}

// DecimalFromAvro reads the content of Avro bytes (without their length): two's complement in big-endian order, not
// necessarily minimal. What does not fit decimal(38,18), and empty content, is an error.
func DecimalFromAvro(content []byte) (Decimal, error) {
	n := len(content)
	if n == 0 || n > maxDecimalText {
		return Decimal{}, fmt.Errorf("%w: %d bytes", ErrDecimalAvroBytes, n)
	}
	var fill uint64
	if content[0] >= 0x80 {
		fill = ^uint64(0)
	}
	hi, lo := fill, fill
	for i, b := range content {
		if n-i > 16 {
			if b != byte(fill) {
				return Decimal{}, fmt.Errorf("%w: 0x%x", ErrDecimalAvroBytes, content)
			}
			continue
		}
		hi = hi<<8 | lo>>56
		lo = lo<<8 | uint64(b)
	}
	d := Decimal{Hi: int64(hi), Lo: lo}
	if (d.Hi < 0) != (fill != 0) || !d.fits() {
		return Decimal{}, fmt.Errorf("%w: 0x%x", ErrDecimalAvroBytes, content)
	}
	return d, nil
}

// fits says whether the magnitude is below 10^38.
func (d Decimal) fits() bool {
	_, hi, lo := d.magnitude()
	return hi < limitHi || hi == limitHi && lo < limitLo
}

// IsZero says whether the number is 0.
func (d Decimal) IsZero() bool { return d.Hi == 0 && d.Lo == 0 }

// Sign returns -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.Hi < 0:
		return -1
	case d.IsZero():
		return 0
	}
	return 1
}

// Cmp returns -1 when d < e, 0 when they are equal, 1 when d > e.
func (d Decimal) Cmp(e Decimal) int {
	switch {
	case d.Hi < e.Hi || d.Hi == e.Hi && d.Lo < e.Lo:
		return -1
	case d == e:
		return 0
	}
	return 1
}

// Neg returns -d.
func (d Decimal) Neg() Decimal {
	_, borrow := bits.Sub64(0, d.Lo, 0)
	return Decimal{Hi: -d.Hi - int64(borrow), Lo: -d.Lo}
}

// Add returns d + e, or false when the sum does not fit decimal(38,18). Operands that fit cannot overflow 128 bits.
func (d Decimal) Add(e Decimal) (Decimal, bool) {
	lo, carry := bits.Add64(d.Lo, e.Lo, 0)
	sum := Decimal{Hi: d.Hi + e.Hi + int64(carry), Lo: lo}
	overflow := (d.Hi < 0) == (e.Hi < 0) && (sum.Hi < 0) != (d.Hi < 0)
	return sum, !overflow && sum.fits()
}

// Sub returns d - e, or false when the difference does not fit decimal(38,18).
func (d Decimal) Sub(e Decimal) (Decimal, bool) { return d.Add(e.Neg()) }
