package market

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCanonicalSymbolsAreTakenApartAndPutTogether(t *testing.T) {
	for text, want := range map[string]Symbol{
		"BTC-USDT":          {"BTC", "USDT", ""},
		"BTC-USDT-PERP":     {"BTC", "USDT", Perpetual},
		"BTC-USDT-20261225": {"BTC", "USDT", "20261225"},
		"币安人生-USDT":         {"币安人生", "USDT", ""},
		"TSLAx-USD":         {"TSLAx", "USD", ""},
	} {
		got, err := ParseSymbol(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "BTC", "BTC-", "-USDT", "BTC-USDT-", "BTC-USDT-SWAP", "BTC-USDT-20261301", "BTC-USDT-2026123a", "A-B-PERP-X", "B/C-USD", "B C-USD", "B\xff-USD", "\"-USD"} {
		if got, err := ParseSymbol(bad); err == nil {
			t.Errorf("%q passes as %+v", bad, got)
		}
	}
}

func TestTimestampsAreThoseOfPackageTime(t *testing.T) {
	for _, text := range []string{"2026-08-02T03:35:51.302928Z", "2026-08-02T03:35:51Z", "2024-02-29T23:59:59.1Z", "2021-04-17T16:43:30.244075123Z", "1969-12-31T23:59:59.999999Z"} {
		want, err := time.Parse(time.RFC3339Nano, text)
		got, ok := ParseTimestamp([]byte(text))
		if err != nil || !ok || got != want.UnixMicro() {
			t.Errorf("%s: %d, %v; want %d", text, got, ok, want.UnixMicro())
		}
	}
	for _, bad := range []string{"", "2026-08-02", "2026-08-02T03:35:51", "2026-08-02T03:35:51.Z", "2026-02-30T03:35:51Z", "2026-13-02T03:35:51Z", "2026-08-02T24:35:51Z", "2026-08-02T03:35:51+01:00", "2026-08-02T03:35:51.3Zx", "x026-08-02T03:35:51Z"} {
		if got, ok := ParseTimestamp([]byte(bad)); ok {
			t.Errorf("%q passes as %d", bad, got)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		at := rapid.Int64Range(0, 4e15).Draw(r, "µs")
		if got, ok := ParseTimestamp(AppendTimestamp(nil, at)); !ok || got != at {
			r.Fatalf("%d is written as %s, which reads as %d", at, AppendTimestamp(nil, at), got)
		}
	})
}
