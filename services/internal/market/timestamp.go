package market

import "time"

// ParseTimestamp reads an RFC 3339 time in UTC ("2026-08-02T03:35:51.302928Z") as µs since 1970; digits beyond the
// microsecond are cut off. It does not allocate, and it is strict: anything else is false.
func ParseTimestamp(text []byte) (micros int64, ok bool) {
	if len(text) < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return 0, false
	}
	year, ok1 := twoDigits(text[0:])
	century := year
	year, ok2 := twoDigits(text[2:])
	month, ok3 := twoDigits(text[5:])
	day, ok4 := twoDigits(text[8:])
	hour, ok5 := twoDigits(text[11:])
	minute, ok6 := twoDigits(text[14:])
	second, ok7 := twoDigits(text[17:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	at := time.Date(century*100+year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// time.Date carries an impossible day over into the next month; that shows here.
	if at.Day() != day || int(at.Month()) != month {
		return 0, false
	}
	fraction, rest, ok := parseFraction(text[19:])
	if !ok || len(rest) != 1 || rest[0] != 'Z' {
		return 0, false
	}
	return at.Unix()*1e6 + fraction, true
}

func twoDigits(text []byte) (int, bool) {
	tens, ones := text[0]-'0', text[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// parseFraction reads ".302928" as µs and returns what follows it.
func parseFraction(text []byte) (micros int64, rest []byte, ok bool) {
	if text[0] != '.' {
		return 0, text, true
	}
	text = text[1:]
	digits := 0
	for digits < len(text) && text[digits]-'0' <= 9 {
		if digits < 6 {
			micros = micros*10 + int64(text[digits]-'0')
		}
		digits++
	}
	for i := digits; i < 6; i++ {
		micros *= 10
	}
	return micros, text[digits:], digits > 0
}

// AppendTimestamp writes µs since 1970 as RFC 3339 in UTC with six digits of a second.
func AppendTimestamp(dst []byte, micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
}
