package venue

import (
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// maxKindBytes bounds the name of an unknown kind: it becomes a metric's label.
const maxKindBytes = 40

// KindName makes a bounded, printable name of a kind that a frame carries.
func KindName(kind []byte) string {
	if len(kind) == 0 {
		return "unnamed"
	}
	name := make([]byte, 0, min(len(kind), maxKindBytes))
	for _, c := range kind[:min(len(kind), maxKindBytes)] {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			c = '?'
		}
		name = append(name, c)
	}
	return string(name)
}

// errNegative refuses a price or a quantity below zero, which no venue means.
var errNegative = errors.New("below zero")

// ParseAmount reads a price or a quantity and remembers the most digits after the point in scale.
func ParseAmount(text []byte, scale *int32) (market.Decimal, error) {
	d, digits, err := market.ParseDecimal(text)
	if err != nil {
		return d, err
	}
	if d.Hi < 0 {
		return d, fmt.Errorf("%q: %w", text, errNegative)
	}
	*scale = max(*scale, digits)
	return d, nil
}

// maxMillis is the year 5138: a larger number is not a time in milliseconds.
const maxMillis = 100_000_000_000_000

// FromMillis converts a venue's time in ms since 1970 to µs.
func FromMillis(ms int64) (int64, error) {
	if ms < 0 || ms > maxMillis {
		return market.NoTime, fmt.Errorf("%d is not a time in milliseconds since 1970", ms)
	}
	return ms * 1000, nil
}

// Timestamp reads an RFC 3339 time in UTC as µs since 1970.
func Timestamp(text []byte) (int64, error) {
	micros, ok := market.ParseTimestamp(text)
	if !ok {
		return market.NoTime, fmt.Errorf("%.40q is not a time such as 2026-08-02T03:35:51.302928Z", text)
	}
	return micros, nil
}
