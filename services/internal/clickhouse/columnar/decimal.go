package columnar

import (
	"encoding/binary"
	"math/big"
)

// decimalLimit returns 10^precision as four words, low first, and how many bytes of two's complement can never reach it.
func decimalLimit(precision int) (limit [4]uint64, safeBytes int64) {
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	mask := new(big.Int).SetUint64(^uint64(0))
	for i := range limit {
		limit[i] = new(big.Int).And(new(big.Int).Rsh(ten, uint(64*i)), mask).Uint64()
	}
	return limit, int64(ten.BitLen() / 8)
}

// appendDecimal writes big-endian two's complement as ClickHouse's little-endian integer of the column's width.
func appendDecimal(s *slot, o *op, raw []byte) fault {
	if len(raw) == 0 {
		return faultDecimalEmpty
	}
	words, fits := widen(raw)
	if !fits || int64(len(raw)) > o.factor && !below(words, o.rest.limit) {
		return faultDecimalRange
	}
	switch o.rest.width {
	case 4:
		s.put4(uint32(words[0]))
	default:
		for i := range o.rest.width / 8 {
			s.put8(words[i])
		}
	}
	return ok
}

// widen extends the sign to 256 bits, low word first. Bytes beyond that must be nothing but sign.
func widen(raw []byte) (words [4]uint64, fits bool) {
	var sign byte
	if raw[0] >= 0x80 {
		sign = 0xff
	}
	for len(raw) > 32 {
		if raw[0] != sign || (raw[1]^sign) >= 0x80 {
			return words, false
		}
		raw = raw[1:]
	}
	var full [32]byte
	for i := range 32 - len(raw) {
		full[i] = sign
	}
	copy(full[32-len(raw):], raw)
	for i := range words {
		words[i] = binary.BigEndian.Uint64(full[24-8*i:])
	}
	return words, true
}

// below says whether the magnitude of a number is less than the limit.
func below(words, limit [4]uint64) bool {
	if words[3]>>63 == 1 {
		carry := uint64(1)
		for i := range words {
			words[i] = ^words[i] + carry
			if words[i] != 0 {
				carry = 0
			}
		}
	}
	for i := 3; i >= 0; i-- {
		if words[i] != limit[i] {
			return words[i] < limit[i]
		}
	}
	return false
}
