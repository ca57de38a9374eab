package market

import (
	"testing"
	"time"
)

func FuzzParseSymbol(f *testing.F) {
	for _, text := range []string{"BTC-USDT", "BTC-USDT-PERP", "BTC-USDT-20261225", "币安人生-USDT", "B\xff-USD"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSymbol(text); err == nil && s.String() != text {
			t.Fatalf("%q is written %q", text, s)
		}
	})
}

// What is taken for a time is one for package time too, and the same.
func FuzzParseTimestamp(f *testing.F) {
	for _, text := range []string{"2026-08-02T03:35:51.302928Z", "2024-02-29T00:00:00Z", "0000-01-01T00:00:00.9999999Z", "2026-02-29T00:00:00Z"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		micros, ok := ParseTimestamp(text)
		if !ok {
			return
		}
		at, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil || at.Truncate(time.Microsecond).UnixMicro() != micros {
			t.Fatalf("%q: %d µs, package time says %v, %v", text, micros, at, err)
		}
	})
}
