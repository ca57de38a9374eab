package migration

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// isNumber tells whether the type is an exact number: an integer, a decimal or a time.
func isNumber(s *avro.Schema) bool {
	return s.Type == avro.Int || s.Type == avro.Long || s.LogicalType() == "decimal" && (s.Type == avro.Bytes || s.Type == avro.Fixed)
}

func isFloat(s *avro.Schema) bool { return s.Type == avro.Float || s.Type == avro.Double }

// digits are precision and scale of a decimal.
func digits(s *avro.Schema) (precision, scale int) {
	number := func(name string) int {
		text, _ := s.Property(name)
		n, _ := strconv.Atoi(text)
		return n
	}
	return number("precision"), number("scale")
}

// clock takes a time apart: what kind of time it is, and its units in a second as a power of ten. Any other number is of
// no kind.
func clock(s *avro.Schema) (kind string, power int) {
	kind, unit := s.LogicalType(), ""
	if i := strings.LastIndexByte(kind, '-'); i >= 0 {
		kind, unit = kind[:i], kind[i+1:]
	}
	switch unit {
	case "millis":
		return kind, 3
	case "micros":
		return kind, 6
	case "nanos":
		return kind, 9
	}
	if kind == "decimal" {
		kind = ""
	}
	return kind, 0
}

func power10(n int) *big.Rat {
	v := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), v)
	}
	return new(big.Rat).SetInt(v)
}

// number compiles two exact numbers: the same without a rule, or another scale, unit or width with one.
func (c *compiler) number(p *pair) {
	a, b := p.schema[earlier], p.schema[later]
	r, i := c.find(func(r contract.MigrationRule) bool { return r.Rescale != nil && r.Rescale.Field == p.path[later] })
	if i < 0 {
		if describe(nameless(a)) == describe(nameless(b)) && a.Size == b.Size {
			return
		}
		p.kind = invalid
		c.fault(-1, fmt.Sprintf("%s is %s in %s and %s in %s", place(p.path[later]), describe(a), c.product(earlier), describe(b), c.product(later)),
			fmt.Sprintf("say rescale: {field: %s}", written(p.path[later])))
		return
	}
	p.kind = number
	by, do := factorOf(a, b, string(r.Rescale.By))
	if do != "" {
		c.fault(i, fmt.Sprintf("rescale of %s from %s to %s", p.path[later], describe(a), describe(b)), do)
		return
	}
	_, scaleA := digits(a)
	_, scaleB := digits(b)
	by.Mul(by, power10(scaleB-scaleA))
	p.factor = [2]*big.Rat{new(big.Rat).Inv(by), by}
}

// nameless is a fixed without the name that two versions may spell differently.
func nameless(s *avro.Schema) *avro.Schema {
	if s.Type != avro.Fixed {
		return s
	}
	copied := *s
	copied.Name = ""
	return &copied
}

// factorOf is the later number divided by the earlier, or what to do about it.
func factorOf(a, b *avro.Schema, by string) (*big.Rat, string) {
	kindA, powerA := clock(a)
	kindB, powerB := clock(b)
	given, ok := new(big.Rat).SetString(by)
	switch {
	case by != "" && (!ok || given.Sign() <= 0):
		return nil, fmt.Sprintf("by %q is not a number above 0", by)
	case kindA == kindB && kindA != "":
		if of := power10(powerB - powerA); by == "" || given.Cmp(of) == 0 {
			return of, ""
		}
		return nil, "their types say by how much; leave by out"
	case kindA != kindB && by == "":
		return nil, "say by: how many of the later's units one of the earlier's is"
	case by == "":
		return big.NewRat(1, 1), ""
	}
	return given, ""
}

func (p *pair) number(version int, dst, src []byte) ([]byte, []byte, error) {
	v, rest, err := readNumber(p.schema[1-version], src)
	if err != nil {
		return dst, src, p.at(version, err)
	}
	by := p.factor[version]
	if !by.IsInt() {
		remainder := new(big.Int)
		v.Mul(v, by.Num())
		if v.QuoRem(v, by.Denom(), remainder); remainder.Sign() != 0 {
			return dst, src, p.at(version, fmt.Errorf("%s does not fit %s without rounding", shown(p.schema[1-version], src), describe(p.schema[version])))
		}
	} else {
		v.Mul(v, by.Num())
	}
	out, ok := appendNumber(dst, p.schema[version], v)
	if !ok {
		return dst, src, p.at(version, fmt.Errorf("%s is too large for %s", shown(p.schema[1-version], src), describe(p.schema[version])))
	}
	return out, rest, nil
}

// shown is a number that was read, for a message.
func shown(s *avro.Schema, src []byte) string {
	v, _, err := readNumber(s, src)
	if err != nil {
		return "?"
	}
	_, scale := digits(s)
	return new(big.Rat).Mul(new(big.Rat).SetInt(v), power10(-scale)).FloatString(scale)
}

// maxNumberBytes is more than any decimal of 76 digits takes: multiplying whatever somebody sends would cost without bound.
const maxNumberBytes = 64

// readNumber reads the unscaled number.
func readNumber(s *avro.Schema, src []byte) (*big.Int, []byte, error) {
	var raw, rest []byte
	var err error
	switch s.Type {
	case avro.Int, avro.Long:
		read := long
		if s.Type == avro.Int {
			read = integer
		}
		v, rest, err := read(src)
		return big.NewInt(v), rest, err
	case avro.Bytes:
		raw, rest, err = sized(src)
	default:
		rest, err = fixed(src, s.Size)
		raw = src[:len(src)-len(rest)]
	}
	if err != nil {
		return nil, src, err
	}
	if len(raw) > maxNumberBytes && s.Type == avro.Bytes {
		return nil, src, fmt.Errorf("a decimal of %d bytes", len(raw))
	}
	v := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(raw)*8)))
	}
	return v, rest, nil
}

// appendNumber writes the unscaled number, bytes in as few as it takes; false when the type cannot hold it.
func appendNumber(dst []byte, s *avro.Schema, v *big.Int) ([]byte, bool) {
	switch s.Type {
	case avro.Int, avro.Long:
		if !v.IsInt64() || s.Type == avro.Int && int64(int32(v.Int64())) != v.Int64() {
			return dst, false
		}
		return appendLong(dst, v.Int64()), true
	}
	if precision, _ := digits(s); new(big.Int).Abs(v).Cmp(power10(precision).Num()) >= 0 {
		return dst, false
	}
	size := v.BitLen()/8 + 1 // with a bit for the sign
	if v.Sign() < 0 {
		size = new(big.Int).Not(v).BitLen()/8 + 1 // -128 takes one byte, as 127 does
	}
	if s.Type == avro.Fixed {
		if size > s.Size {
			return dst, false
		}
		size = s.Size
	} else {
		dst = appendLong(dst, int64(size))
	}
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size*8)))
	}
	return append(dst, v.FillBytes(make([]byte, size))...), true
}

// float compiles float and double: wider is exact, and back is where it was.
func (c *compiler) float(p *pair) {
	if p.schema[earlier].Type == p.schema[later].Type {
		return
	}
	p.kind = float
	if _, i := c.find(func(r contract.MigrationRule) bool {
		return r.Rescale != nil && r.Rescale.Field == p.path[later] && r.Rescale.By == ""
	}); i < 0 {
		c.fault(-1, fmt.Sprintf("%s is %s in %s and %s in %s", place(p.path[later]), describe(p.schema[earlier]), c.product(earlier), describe(p.schema[later]), c.product(later)),
			fmt.Sprintf("say rescale: {field: %s}", written(p.path[later])))
	}
}

func (p *pair) float(version int, dst, src []byte) ([]byte, []byte, error) {
	size := 8
	if p.schema[1-version].Type == avro.Float {
		size = 4
	}
	rest, err := fixed(src, size)
	if err != nil {
		return dst, src, p.at(version, err)
	}
	if size == 4 {
		wide := float64(math.Float32frombits(binary.LittleEndian.Uint32(src)))
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(wide)), rest, nil
	}
	wide := math.Float64frombits(binary.LittleEndian.Uint64(src))
	if narrow := float32(wide); float64(narrow) == wide || wide != wide {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(narrow)), rest, nil
	}
	return dst, src, p.at(version, fmt.Errorf("%v does not fit a float without rounding", wide))
}
