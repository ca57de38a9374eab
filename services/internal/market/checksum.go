package market

import "hash/crc32"

// Depths of the checksums that venues send: fixed, whatever depth is subscribed.
const (
	krakenChecksumDepth = 10
	okxChecksumDepth    = 25
)

// KrakenChecksum is Kraken's CRC32 of a book: the ten best asks from the lowest, then the ten best bids from the highest,
// of each level price and quantity as sent, without the point and without leading zeros. Both sides begin with the best
// level; the scales are the digits after the point that the venue sends for the symbol.
func KrakenChecksum(bids, asks []Level, priceScale, quantityScale int32) uint32 {
	return crc32.ChecksumIEEE(appendKrakenText(make([]byte, 0, 512), bids, asks, priceScale, quantityScale))
}

// appendKrakenText writes what Kraken's checksum is taken of. The text is made in memory that the caller keeps, because
// crc32 makes its argument escape.
func appendKrakenText(dst []byte, bids, asks []Level, priceScale, quantityScale int32) []byte {
	for _, side := range [2][]Level{asks, bids} {
		for i := range side[:min(len(side), krakenChecksumDepth)] {
			dst = appendDigits(dst, side[i].Price, priceScale)
			dst = appendDigits(dst, side[i].Quantity, quantityScale)
		}
	}
	return dst
}

// appendDigits writes a number without its point and without leading zeros.
func appendDigits(dst []byte, d Decimal, scale int32) []byte {
	start := len(dst)
	dst = d.AppendText(dst, scale)
	kept, leading := start, true
	for _, c := range dst[start:] {
		if c == '.' || leading && c == '0' {
			continue
		}
		leading = false
		dst[kept] = c
		kept++
	}
	return dst[:kept]
}

// OKXChecksum is OKX's legacy CRC32 of a book: the 25 best levels of both sides in turn, bid before ask, as "price:size"
// joined by ':'. OKX sends numbers without trailing zeros, so the decimals alone give the text. The venue sends it as a
// signed number of 32 bits.
func OKXChecksum(bids, asks []Level) uint32 {
	return crc32.ChecksumIEEE(appendOKXText(make([]byte, 0, 1024), bids, asks))
}

func appendOKXText(dst []byte, bids, asks []Level) []byte {
	start := len(dst)
	for i := range okxChecksumDepth {
		for _, side := range [2][]Level{bids, asks} {
			if i >= len(side) {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ':')
			}
			dst = side[i].Price.AppendText(dst, 0)
			dst = append(dst, ':')
			dst = side[i].Quantity.AppendText(dst, 0)
		}
	}
	return dst
}
