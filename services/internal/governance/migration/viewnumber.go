package migration

import (
	"fmt"
	"math/big"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// Numbers are computed as ClickHouse's Int256 of their unscaled values: its casts between decimals round and wrap silently.

// maxUnscaled is the largest number of digits that Int256 surely holds.
const maxUnscaled = 76

// unscaled is a column's number without its scale.
func unscaled(s *avro.Schema, x string) string {
	_, power := clock(s)
	precision, _ := digits(s)
	switch {
	case s.LogicalType() == "decimal":
		return fmt.Sprintf("toInt256(reinterpretAsInt%d(%s))", decimalBits(precision), x)
	case power > 0 && isTimestamp(s):
		return fmt.Sprintf("toInt256(toUnixTimestamp64%s(%s))", unitNames[power], x)
	}
	return "toInt256(" + x + ")"
}

func isTimestamp(s *avro.Schema) bool {
	kind, _ := clock(s)
	return kind == "timestamp" || kind == "local-timestamp"
}

// decimalBits is how wide ClickHouse keeps a decimal of that many digits.
func decimalBits(precision int) int {
	switch {
	case precision <= 9:
		return 32
	case precision <= 18:
		return 64
	case precision <= 38:
		return 128
	}
	return 256
}

// numberSQL makes a column's number of an unscaled one.
func numberSQL(s *avro.Schema, unscaled string) string {
	_, power := clock(s)
	_, scale := digits(s)
	switch {
	case s.LogicalType() == "decimal":
		return fmt.Sprintf("reinterpret(%s, 'Decimal(%d, %d)')", unscaled, maxUnscaled, scale)
	case power > 0 && isTimestamp(s):
		return fmt.Sprintf("fromUnixTimestamp64%s(toInt64(%s), 'UTC')", unitNames[power], unscaled)
	}
	return unscaled
}

// scaled is the later version's unscaled number.
func scaled(p *pair, x string) string {
	by := p.factor[later]
	s := unscaled(p.schema[earlier], x)
	if by.Num().Cmp(big.NewInt(1)) != 0 {
		s = fmt.Sprintf("(%s * toInt256('%s'))", s, by.Num())
	}
	if !by.IsInt() {
		s = fmt.Sprintf("intDiv(%s, toInt256('%s'))", s, by.Denom())
	}
	return s
}

// largest is the greatest unscaled number that a type can hold.
func largest(s *avro.Schema) *big.Int {
	if s.LogicalType() == "decimal" {
		precision, _ := digits(s)
		return new(big.Int).Sub(power10(precision).Num(), big.NewInt(1))
	}
	bits := uint(63)
	if s.Type == avro.Int {
		bits = 31
	}
	return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1))
}

// exactSQL is the condition that nothing would be rounded and nothing is too large; "" where the types say so.
func exactSQL(p *pair, x string) string {
	by, s := p.factor[later], unscaled(p.schema[earlier], x)
	var condition string
	if !by.IsInt() {
		product := s
		if by.Num().Cmp(big.NewInt(1)) != 0 {
			product = fmt.Sprintf("(%s * toInt256('%s'))", s, by.Num())
		}
		condition = fmt.Sprintf("%s %% toInt256('%s') = 0", product, by.Denom())
	}
	switch within := within(p, x); {
	case within == "":
		return condition
	case condition == "":
		return within
	default:
		return "(" + condition + " AND " + within + ")"
	}
}

// within is the condition that a number is not too large; "" where none can be.
func within(p *pair, x string) string {
	limit := largest(p.schema[later])
	reach := new(big.Rat).Mul(new(big.Rat).SetInt(largest(p.schema[earlier])), p.factor[later])
	if reach.Cmp(new(big.Rat).SetInt(limit)) <= 0 {
		return ""
	}
	return fmt.Sprintf("abs(%s) <= toInt256('%s')", scaled(p, x), limit)
}

// guarded is scaled, but 0 where that is too large: ClickHouse may compute the columns of rows that the view leaves out, and
// one that overflows would end the query.
func guarded(p *pair, x string) string {
	s := scaled(p, x)
	if within := within(p, x); within != "" {
		return "if(" + within + ", " + s + ", toInt256(0))"
	}
	return s
}
