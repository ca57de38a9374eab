package simulator

import (
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/venue-simulator/synthetic"
)

// appendFixed appends an integer with a point put in before its last digits; pad more zeros follow, because some
// venues always write the same number of them.
func appendFixed(dst []byte, v int64, digits, pad int) []byte {
	var b [32]byte
	i := len(b)
	for n := 0; n < digits; n++ {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
	}
	if digits+pad > 0 {
		i--
		b[i] = '.'
	}
	for {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
		if v == 0 {
			break
		}
	}
	dst = append(dst, b[i:]...)
	for range pad {
		dst = append(dst, '0')
	}
	return dst
}

// numbers is how an instrument's numbers are written.
type numbers struct {
	priceDigits, pricePad int
	lotDigits, lotPad     int
}

func numbersOf(in *synthetic.Instrument) numbers {
	n := numbers{priceDigits: in.PriceDigit, lotDigits: in.LotDigit}
	switch in.Venue {
	case "binance": // spot writes eight digits, whatever the tick
		n.pricePad, n.lotPad = 8-in.PriceDigit, 8-in.LotDigit
	case "binance-usdm": // one more than the tick has
		n.pricePad = 1
	}
	return n
}

func (n numbers) price(dst []byte, v int64) []byte {
	return appendFixed(dst, v, n.priceDigits, n.pricePad)
}

func (n numbers) lots(dst []byte, v int64) []byte { return appendFixed(dst, v, n.lotDigits, n.lotPad) }

// binanceTrade is a trade as the spot or the futures market writes it. m says that the buyer was the maker.
func binanceTrade(dst []byte, in *synthetic.Instrument, n numbers, t *synthetic.Trade, now int64, futures bool) []byte {
	millis := now / 1e6
	dst = append(dst, `{"e":"trade","E":`...)
	dst = strconv.AppendInt(dst, millis, 10)
	if futures {
		dst = append(dst, `,"T":`...)
		dst = strconv.AppendInt(dst, millis, 10)
	}
	dst = append(dst, `,"s":"`...)
	dst = append(dst, in.Symbol...)
	dst = append(dst, `","t":`...)
	dst = strconv.AppendInt(dst, t.ID, 10)
	dst = append(dst, `,"p":"`...)
	dst = n.price(dst, t.Price)
	dst = append(dst, `","q":"`...)
	dst = n.lots(dst, t.Quantity)
	if futures {
		dst = append(dst, `","X":"MARKET","m":`...)
		dst = strconv.AppendBool(dst, t.TakerSide == synthetic.Ask)
		return append(dst, '}')
	}
	dst = append(dst, `","T":`...)
	dst = strconv.AppendInt(dst, millis, 10)
	dst = append(dst, `,"m":`...)
	dst = strconv.AppendBool(dst, t.TakerSide == synthetic.Ask)
	return append(dst, `,"M":true}`...)
}

// binanceDepth is a depthUpdate of the changes since the last one.
func binanceDepth(dst []byte, in *synthetic.Instrument, n numbers, first int64, changes []synthetic.Change, now int64, futures bool) []byte {
	millis := now / 1e6
	dst = append(dst, `{"e":"depthUpdate","E":`...)
	dst = strconv.AppendInt(dst, millis, 10)
	if futures {
		dst = append(dst, `,"T":`...)
		dst = strconv.AppendInt(dst, millis, 10)
	}
	dst = append(dst, `,"s":"`...)
	dst = append(dst, in.Symbol...)
	dst = append(dst, `","U":`...)
	dst = strconv.AppendInt(dst, first, 10)
	dst = append(dst, `,"u":`...)
	dst = strconv.AppendInt(dst, in.UpdateID, 10)
	if futures {
		dst = append(dst, `,"pu":`...)
		dst = strconv.AppendInt(dst, first-1, 10)
	}
	asks := 0
	for asks < len(changes) && changes[asks].Side == synthetic.Bid {
		asks++
	}
	dst = append(dst, `,"b":[`...)
	for i := range changes[:asks] {
		dst = n.pair(dst, changes[i].Level, i > 0)
	}
	dst = append(dst, `],"a":[`...)
	for i := range changes[asks:] {
		dst = n.pair(dst, changes[asks+i].Level, i > 0)
	}
	return append(dst, `]}`...)
}

// pair is a level as Binance writes it.
func (n numbers) pair(dst []byte, l synthetic.Level, comma bool) []byte {
	if comma {
		dst = append(dst, ',')
	}
	dst = append(dst, '[', '"')
	dst = n.price(dst, l.Price)
	dst = append(dst, '"', ',', '"')
	dst = n.lots(dst, l.Quantity)
	return append(dst, '"', ']')
}

// binanceSnapshot is the REST body of a book.
func binanceSnapshot(dst []byte, n numbers, book bookCopy, limit int, now int64, futures bool) []byte {
	dst = append(dst, `{"lastUpdateId":`...)
	dst = strconv.AppendInt(dst, book.updateID, 10)
	if futures {
		dst = append(dst, `,"E":`...)
		dst = strconv.AppendInt(dst, now/1e6, 10)
		dst = append(dst, `,"T":`...)
		dst = strconv.AppendInt(dst, now/1e6, 10)
	}
	dst = append(dst, `,"bids":[`...)
	for i, l := range book.bids[:min(limit, len(book.bids))] {
		dst = n.pair(dst, l, i > 0)
	}
	dst = append(dst, `],"asks":[`...)
	for i, l := range book.asks[:min(limit, len(book.asks))] {
		dst = n.pair(dst, l, i > 0)
	}
	return append(dst, `]}`...)
}

// bookCopy is a book at an update id.
type bookCopy struct {
	updateID   int64
	bids, asks []synthetic.Level
}

// krakenTime appends RFC 3339 with microseconds. The second's text is kept, because most frames share it.
type krakenTime struct {
	second int64
	text   []byte
}

func (k *krakenTime) append(dst []byte, now int64) []byte {
	second := now / 1e9
	if second != k.second || k.text == nil {
		k.second = second
		k.text = time.Unix(second, 0).UTC().AppendFormat(k.text[:0], "2006-01-02T15:04:05.")
	}
	dst = append(dst, k.text...)
	micros := now % 1e9 / 1e3
	for unit := int64(100_000); unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+micros/unit%10))
	}
	return append(dst, 'Z')
}

// krakenLevels appends the levels of one side.
func (n numbers) krakenLevels(dst []byte, levels []synthetic.Level) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"price":`...)
		dst = n.price(dst, levels[i].Price)
		dst = append(dst, `,"qty":`...)
		dst = n.lots(dst, levels[i].Quantity)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// krakenBook is a book frame of one depth.
func krakenBook(dst []byte, in *synthetic.Instrument, n numbers, kind string, bids, asks []synthetic.Level, checksum uint32, clock *krakenTime, now int64) []byte {
	dst = append(dst, `{"channel":"book","type":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `","data":[{"symbol":"`...)
	dst = append(dst, in.Symbol...)
	dst = append(dst, `","bids":`...)
	dst = n.krakenLevels(dst, bids)
	dst = append(dst, `,"asks":`...)
	dst = n.krakenLevels(dst, asks)
	dst = append(dst, `,"checksum":`...)
	dst = strconv.AppendUint(dst, uint64(checksum), 10)
	dst = append(dst, `,"timestamp":"`...)
	dst = clock.append(dst, now)
	return append(dst, `"}]}`...)
}

// krakenChecksum is the CRC32 over the ten best asks, then bids. The text of a number without its point and without its
// leading zeros is the integer that this simulator counts in.
func krakenChecksum(scratch []byte, in *synthetic.Instrument) (uint32, []byte) {
	scratch = scratch[:0]
	for _, side := range [2][]synthetic.Level{in.Asks, in.Bids} {
		for _, l := range side[:min(10, len(side))] {
			scratch = strconv.AppendInt(scratch, l.Price, 10)
			scratch = strconv.AppendInt(scratch, l.Quantity, 10)
		}
	}
	return crc32.ChecksumIEEE(scratch), scratch
}

// krakenTrade is a trade and when it was.
type krakenTrade struct {
	synthetic.Trade
	at int64
}

// krakenTrades is a trade frame.
func krakenTrades(dst []byte, in *synthetic.Instrument, n numbers, kind string, trades []krakenTrade, clock *krakenTime) []byte {
	dst = append(dst, `{"channel":"trade","type":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `","data":[`...)
	for i := range trades {
		t := &trades[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"symbol":"`...)
		dst = append(dst, in.Symbol...)
		dst = append(dst, `","side":"`...)
		if t.TakerSide == synthetic.Bid {
			dst = append(dst, "buy"...)
		} else {
			dst = append(dst, "sell"...)
		}
		dst = append(dst, `","price":`...)
		dst = n.price(dst, t.Price)
		dst = append(dst, `,"qty":`...)
		dst = n.lots(dst, t.Quantity)
		dst = append(dst, `,"ord_type":"market","trade_id":`...)
		dst = strconv.AppendInt(dst, t.ID, 10)
		dst = append(dst, `,"timestamp":"`...)
		dst = clock.append(dst, t.at)
		dst = append(dst, `"}`...)
	}
	return append(dst, `]}`...)
}

// streamSymbol is a symbol as Binance's stream names write it.
func streamSymbol(symbol string) string { return strings.ToLower(symbol) }
