package market

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Perpetual is the contract of a perpetual future, as in "BTC-USDT-PERP".
const Perpetual = "PERP"

// maxSymbolBytes bounds a symbol: it becomes a Kafka key and a column's dictionary entry.
const maxSymbolBytes = 64

// Symbol is a canonical symbol taken apart.
type Symbol struct {
	Base, Quote string
	// Contract is empty for spot, Perpetual, or the day of delivery as YYYYMMDD.
	Contract string
}

// ParseSymbol reads a canonical symbol: BASE-QUOTE, BASE-QUOTE-PERP or BASE-QUOTE-YYYYMMDD.
func ParseSymbol(text string) (Symbol, error) {
	s := Symbol{}
	parts := strings.Split(text, "-")
	switch {
	case len(text) > maxSymbolBytes:
		return s, fmt.Errorf("symbol %.64q… is longer than %d bytes", text, maxSymbolBytes)
	case len(parts) == 3 && !validContract(parts[2]):
		return s, fmt.Errorf("symbol %q: the contract is %q; it must be PERP or a day such as 20261225", text, parts[2])
	case len(parts) != 2 && len(parts) != 3:
		return s, fmt.Errorf("symbol %q is not BASE-QUOTE, BASE-QUOTE-PERP or BASE-QUOTE-YYYYMMDD", text)
	case !ValidAsset(parts[0]) || !ValidAsset(parts[1]):
		return s, fmt.Errorf("symbol %q: base and quote must be letters and digits", text)
	}
	s.Base, s.Quote = parts[0], parts[1]
	if len(parts) == 3 {
		s.Contract = parts[2]
	}
	return s, nil
}

// String is the canonical spelling.
func (s Symbol) String() string {
	if s.Contract == "" {
		return s.Base + "-" + s.Quote
	}
	return s.Base + "-" + s.Quote + "-" + s.Contract
}

// ValidAsset says whether text can name an asset. Letters of any script count: Binance lists assets with Chinese names.
func ValidAsset(text string) bool {
	if text == "" || len(text) > maxSymbolBytes || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' {
			return false
		}
	}
	return true
}

// validContract accepts PERP and a plausible day YYYYMMDD.
func validContract(text string) bool {
	if text == Perpetual {
		return true
	}
	if len(text) != 8 || strings.Trim(text, "0123456789") != "" {
		return false
	}
	month, day := text[4:6], text[6:8]
	return text >= "20000101" && month >= "01" && month <= "12" && day >= "01" && day <= "31"
}

// SplitPair finds where the base ends in a venue's spelling without a separator ("BTCUSDT"). quotes are the venue's
// quote assets; rare lists those of them that also occur as the end of other symbols ("ADAEUR" is ADA and EUR, although
// AEUR is a quote asset): they count only with a base asset of majors. The longest quote that fits wins.
func SplitPair(pair string, quotes, rare, majors []string) (base, quote string, ok bool) {
	for _, candidate := range rare {
		if rest, found := strings.CutSuffix(pair, candidate); found && slices.Contains(majors, rest) {
			return rest, candidate, true
		}
	}
	for _, candidate := range quotes {
		if rest, found := strings.CutSuffix(pair, candidate); found && len(candidate) > len(quote) && ValidAsset(rest) {
			base, quote, ok = rest, candidate, true
		}
	}
	return base, quote, ok
}
