package synthetic

import (
	"math"
	"math/rand/v2"
)

// Style is how a venue's market publishes: what one frame of it stands for.
type Style uint8

// Styles of markets.
const (
	// Batched markets publish each trade on its own and book changes every 100 ms (Binance).
	Batched Style = iota
	// Immediate markets publish an order's trades together and each book change at once (Kraken).
	Immediate
)

// Side of a book or of a trade.
type Side uint8

// Sides. A trade's side is the taker's.
const (
	Bid Side = iota
	Ask
)

// Level of a book: price in ticks, quantity in lots. Decimal text is the integer with a point put in.
type Level struct {
	Price, Quantity int64
}

// Change is a level whose quantity is new; Quantity 0 removes it.
type Change struct {
	Side Side
	Level
}

// Trade is one fill.
type Trade struct {
	ID              int64
	Price, Quantity int64
	TakerSide       Side // Bid: the taker bought
}

// Instrument is one market at one venue. Its fields may be read between calls of Market.Advance, and in a Sink.
type Instrument struct {
	Index      int // among the market's instruments
	Venue      string
	Symbol     string // the venue's spelling
	Style      Style
	PriceDigit int // digits after the point of the tick
	LotDigit   int // digits after the point of the lot
	// Bids and Asks are best first. They never cross and neither is ever empty.
	Bids, Asks []Level
	// UpdateID counts changes; the frame last published ended with PublishedID.
	UpdateID, PublishedID int64

	random  *rand.Rand
	asset   *path
	process arrivals
	signs   signs

	meanFills   float64
	bookRate    float64 // book events a second of market time
	offset      float64 // of this venue's price from the asset's, in ticks, decaying
	offsetAt    int64
	start       float64 // price at the start, ticks
	gap         float64 // mean distance of levels, ticks
	spread      float64 // wanted spread, ticks
	levelLots   float64 // typical quantity of a level
	fillLots    float64 // typical quantity of a fill
	tradeID     int64
	changes     []Change
	trades      []Trade
	nextOrder   int64
	nextBook    int64
	nextPublish int64 // never when nothing is to be published
}

const (
	never        = math.MaxInt64
	minLevels    = 56
	initLevels   = 64
	maxLevels    = 72
	publishEvery = 100_000_000 // ns: the cadence of Binance's depth@100ms
	// offsetDecay: a venue's price returns to the asset's within seconds, by arbitrage.
	offsetDecay = 3e9
)

// levels returns a side's levels.
func (in *Instrument) levels(side Side) *[]Level {
	if side == Bid {
		return &in.Bids
	}
	return &in.Asks
}

// target is the price that the book gathers around, in ticks.
func (in *Instrument) target(now int64) float64 {
	if in.offset != 0 {
		in.offset *= math.Exp(-float64(now-in.offsetAt) / offsetDecay)
		in.offsetAt = now
	}
	t := in.start*in.asset.factor + in.offset
	return max(t, 100) // far from a price of zero, where levels would have no room
}

// fill builds the first book.
func (in *Instrument) fill() {
	mid := int64(in.start)
	bid, ask := mid, mid+max(1, int64(in.spread))
	for range initLevels {
		// A cheap asset has fewer levels below its price than above: none stands at zero or less.
		if bid > 0 {
			in.Bids = append(in.Bids, Level{bid, in.quantity(in.levelLots)})
		}
		in.Asks = append(in.Asks, Level{ask, in.quantity(in.levelLots)})
		bid -= in.distance()
		ask += in.distance()
	}
	in.UpdateID = 1_000_000_000 + int64(in.random.Uint32())
	in.PublishedID = in.UpdateID
	in.tradeID = 1_000_000 + int64(in.random.Uint32()>>4)
}

func (in *Instrument) distance() int64 { return 1 + int64(in.random.ExpFloat64()*(in.gap-1)) }

// quantity draws around a typical one: exponential with a heavier tail, at least one lot.
func (in *Instrument) quantity(typical float64) int64 {
	e := in.random.ExpFloat64()
	return 1 + int64(typical*e*(0.4+0.3*e))
}

// set changes a level, keeping the side sorted. It notes the change and gives it an update id.
func (in *Instrument) set(side Side, price, quantity int64) {
	levels := in.levels(side)
	i, found := find(*levels, side, price)
	switch {
	case quantity == 0 && found:
		*levels = append((*levels)[:i], (*levels)[i+1:]...)
	case quantity == 0:
		return
	case found:
		(*levels)[i].Quantity = quantity
	default:
		*levels = append(*levels, Level{})
		copy((*levels)[i+1:], (*levels)[i:])
		(*levels)[i] = Level{price, quantity}
	}
	in.note(side, price, quantity)
}

// note remembers the newest quantity of a level for the next publication.
func (in *Instrument) note(side Side, price, quantity int64) {
	in.UpdateID++
	for i := range in.changes {
		if c := &in.changes[i]; c.Price == price && c.Side == side {
			c.Quantity = quantity
			return
		}
	}
	in.changes = append(in.changes, Change{side, Level{price, quantity}})
}

// find returns where price is or would be.
func find(levels []Level, side Side, price int64) (int, bool) {
	low, high := 0, len(levels)
	for low < high {
		mid := (low + high) / 2
		p := levels[mid].Price
		if p == price {
			return mid, true
		}
		if (p > price) == (side == Bid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, false
}

// burst is what happens within one millisecond: the fills of one or more market orders, which take what stands at the
// touch and so move it.
func (in *Instrument) burst(now int64) {
	in.trades = in.trades[:0]
	for more := true; more; more = in.random.Float64() >= 1/in.meanFills {
		in.trades = append(in.trades, in.take(now, in.signs.next(in.random)))
	}
}

// take fills at the best price of the other side.
func (in *Instrument) take(now int64, taker Side) Trade {
	side := Ask
	if taker == Ask {
		side = Bid
	}
	levels := in.levels(side)
	if len(*levels) < minLevels/2 {
		in.deepen(side)
	}
	best := (*levels)[0]
	wanted := in.quantity(in.fillLots)
	if in.random.Float64() < 0.18 {
		wanted = max(1, int64(in.fillLots/16)) // the one small size that a large share of real trades has
	}
	quantity := min(wanted, best.Quantity)
	in.set(side, best.Price, best.Quantity-quantity)
	if quantity == best.Quantity {
		// The venue's price follows its flow and returns later.
		in.target(now)
		step := float64((*levels)[0].Price-best.Price) / 2
		limit := in.start * 0.002
		in.offset, in.offsetAt = max(-limit, min(limit, in.offset+step)), now
	}
	in.tradeID++
	return Trade{ID: in.tradeID, Price: best.Price, Quantity: quantity, TakerSide: taker}
}

// quote is one event of the makers: they follow the price, and change, add and take away levels.
func (in *Instrument) quote(now int64) {
	in.follow(in.target(now))
	for n := 1 + in.random.IntN(3); n > 0; n-- {
		side := Side(in.random.IntN(2))
		levels := *in.levels(side)
		i := min(int(in.random.ExpFloat64()*6), len(levels)-1)
		switch action := in.random.IntN(8); {
		case action < 4:
			in.set(side, levels[i].Price, in.quantity(in.levelLots))
		case action < 6 && i > 0 && len(levels) < maxLevels:
			if price, ok := in.between(levels[i-1].Price, levels[i].Price); ok {
				in.set(side, price, in.quantity(in.levelLots))
			}
		case action >= 6 && i > 0 && len(levels) > minLevels:
			in.set(side, levels[i].Price, 0)
		}
	}
	in.shape(Bid)
	in.shape(Ask)
}

// follow moves the touch towards the target: orders on the wrong side of it are withdrawn, and the side that was left
// behind is quoted closer. At most a few levels an event, so that a jump takes several.
func (in *Instrument) follow(target float64) {
	for n := 0; n < 8 && len(in.Asks) > 2 && float64(in.Asks[0].Price) <= target; n++ {
		in.set(Ask, in.Asks[0].Price, 0)
	}
	for n := 0; n < 8 && len(in.Bids) > 2 && float64(in.Bids[0].Price) >= target; n++ {
		in.set(Bid, in.Bids[0].Price, 0)
	}
	half := in.spread / 2
	if bid := int64(math.Floor(target - half)); float64(in.Bids[0].Price) < target-in.spread-1 && bid < in.Asks[0].Price && bid > in.Bids[0].Price {
		in.set(Bid, bid, in.quantity(in.levelLots))
	}
	if ask := int64(math.Ceil(target + half)); float64(in.Asks[0].Price) > target+in.spread+1 && ask > in.Bids[0].Price && ask < in.Asks[0].Price {
		in.set(Ask, ask, in.quantity(in.levelLots))
	}
}

// between finds a free price strictly between two.
func (in *Instrument) between(a, b int64) (int64, bool) {
	if a > b {
		a, b = b, a
	}
	if b-a < 2 {
		return 0, false
	}
	return a + 1 + in.random.Int64N(b-a-1), true
}

// shape keeps a side's number of levels within its bounds.
func (in *Instrument) shape(side Side) {
	levels := in.levels(side)
	if len(*levels) < minLevels {
		in.deepen(side)
	}
	if len(*levels) > maxLevels {
		in.set(side, (*levels)[len(*levels)-1].Price, 0)
	}
}

// deepen adds levels behind the worst: a few at a time, more when a jump of the price has taken most of them.
func (in *Instrument) deepen(side Side) {
	missing := minLevels - len(*in.levels(side))
	for range min(max(2, missing/2), missing+1) {
		levels := *in.levels(side)
		price := levels[len(levels)-1].Price
		if side == Bid {
			price -= in.distance()
		} else {
			price += in.distance()
		}
		if price <= 0 {
			return
		}
		in.set(side, price, in.quantity(in.levelLots))
	}
}
