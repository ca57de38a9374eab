// Package synthetic makes a market up: seeded, reproducible, and with the habits of a real one. Hundreds of instruments
// at several venues trade as clustered (Hawkes) orders whose signs have a long memory, against books that follow
// correlated prices with stochastic volatility. A book never crosses; a trade happens at the touch and takes from it.
//
// Everything happens in market time, which Advance moves on. The same Config gives the same events at the same market
// times, whatever the steps in which Advance is called and whoever listens.
package synthetic

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Config of a market.
type Config struct {
	Seed    uint64
	Symbols int      // instruments a venue
	Venues  []string // of "binance", "binance-usdm", "kraken"
	// FramesPerSecond is the mean number of frames, of all venues and instruments together, at Rate 1.
	FramesPerSecond float64
	// Rate is how fast market time runs against the clock. Prices do not move faster with it: volatility is per clock time.
	Rate float64
	// Start is the clock time of market time 0.
	Start time.Time
}

// DefaultConfig is a market as busy as the recordings together.
func DefaultConfig() Config {
	return Config{Seed: 1, Symbols: 210, Venues: []string{"binance", "binance-usdm", "kraken"}, FramesPerSecond: 800, Rate: 1}
}

func (c Config) validate() error {
	switch {
	case c.Symbols < 1 || c.Symbols > 2000:
		return fmt.Errorf("symbols is %d, expected 1 to 2000", c.Symbols)
	case c.FramesPerSecond <= 0 || c.FramesPerSecond > 1e6 || math.IsNaN(c.FramesPerSecond):
		return fmt.Errorf("frames per second is %g, expected more than 0 and at most 1,000,000", c.FramesPerSecond)
	case c.Rate <= 0 || c.Rate > 10000 || math.IsNaN(c.Rate):
		return fmt.Errorf("rate is %g, expected more than 0 and at most 10,000", c.Rate)
	case len(c.Venues) == 0:
		return errors.New("venues is empty, expected some of binance, binance-usdm, kraken")
	}
	for _, v := range c.Venues {
		if venueShares[v] == 0 {
			return fmt.Errorf("venue %q cannot be simulated; known are binance, binance-usdm and kraken", v)
		}
	}
	return nil
}

// venueShares are the relative frame rates.
var venueShares = map[string]float64{"binance": 0.45, "binance-usdm": 0.35, "kraken": 0.20}

// zipf is the exponent of the distribution of the rates over the instruments: the r-th has a share ∝ r^-zipf.
const zipf = 1.0

// Sink takes what the market publishes. Slices are valid during the call; the instrument's book is as after it.
type Sink interface {
	// Trades of one order, or each of them on its own where the venue does so.
	Trades(in *Instrument, trades []Trade)
	// Book publishes changes, sorted best first, bids before asks; the update ids are from first to in.UpdateID.
	Book(in *Instrument, first int64, changes []Change)
}

// Market is the whole. Not safe for concurrent use.
type Market struct {
	Instruments []*Instrument
	config      Config
	paths       *paths
	queue       queue
	now         int64
}

// New makes a market, with books filled and nothing published yet.
func New(config Config) (*Market, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("making a synthetic market: %w", err)
	}
	m := &Market{config: config, paths: newPaths(config.Seed, config.Symbols, config.Rate)}
	var shares, harmonic float64
	for _, v := range config.Venues {
		shares += venueShares[v]
	}
	for r := range config.Symbols {
		harmonic += math.Pow(float64(r+1), -zipf)
	}
	names := assets(config.Symbols)
	for _, v := range config.Venues {
		for r, a := range names {
			rate := config.FramesPerSecond * venueShares[v] / shares * math.Pow(float64(r+1), -zipf) / harmonic
			in := m.newInstrument(v, a, rate)
			in.asset = &m.paths.assets[r]
			m.Instruments = append(m.Instruments, in)
			m.queue.push(item{in.due(), in})
		}
	}
	return m, nil
}

func (m *Market) newInstrument(venue string, a asset, rate float64) *Instrument {
	index := len(m.Instruments)
	in := &Instrument{Index: index, Venue: venue, random: rand.New(rand.NewPCG(m.config.Seed, 1<<32+uint64(index))), nextPublish: never, meanFills: 3}
	digits := min(8, max(2, 4-int(math.Floor(math.Log10(a.price)))))
	lots := min(5, max(0, int(math.Ceil(math.Log10(a.price)))))
	var orders float64
	switch venue {
	case "kraken":
		in.Symbol, in.Style = a.name+"/USD", Immediate
		in.PriceDigit, in.LotDigit = max(1, digits-1), 8
		// An order is two frames, its trades and its book change; a quote is one.
		orders = 0.15 * rate
		in.bookRate = 0.7 * rate
	default:
		in.Symbol, in.Style = a.name+"USDT", Batched
		in.PriceDigit, in.LotDigit = digits, lots
		if venue == "binance-usdm" {
			in.PriceDigit, in.LotDigit = max(1, digits-1), max(0, lots-2)
		}
		depth := min(0.4*rate, 0.9*1e9/publishEvery)
		orders = (rate - depth) / in.meanFills
		in.bookRate = depthEvents(depth, orders)
	}
	in.process = newArrivals(orders)
	in.shapePrices(a.price)
	in.fill()
	if venue == "binance-usdm" {
		in.UpdateID++ // see publish
	}
	in.nextOrder, in.nextBook = in.wait(in.process.next(in.random)), in.wait(in.random.ExpFloat64()/in.bookRate)
	return in
}

// depthEvents is the rate of quotes at which depth publications come at the wanted rate, given that orders cause some.
func depthEvents(depth, orders float64) float64 {
	slots := 1e9 / float64(publishEvery)
	events := -slots * math.Log(1-depth/slots)
	return max(events-orders*(1-branching), 0.1*depth)
}

func (in *Instrument) shapePrices(price float64) {
	tick, lot := math.Pow10(-in.PriceDigit), math.Pow10(-in.LotDigit)
	in.start = math.Round(price / tick)
	in.gap = max(3, in.start*1e-5)
	in.spread = max(1, math.Round(in.start*1.5e-6))
	in.levelLots = max(1, 20_000/price/lot)
	in.fillLots = max(1, 700/price/lot)
}

// wait turns seconds into market time from now on.
func (in *Instrument) wait(seconds float64) int64 {
	return int64(min(seconds, 1e6)*1e9) + 1
}

// due is when the instrument has to do something next.
func (in *Instrument) due() int64 { return min(in.nextOrder, in.nextBook, in.nextPublish) }

// Now is the clock time of the event under way, unix nanoseconds.
func (m *Market) Now() int64 { return m.config.Start.UnixNano() + int64(float64(m.now)/m.config.Rate) }

// Shift moves the clock times of all that is to come by d, for a host that could not keep up.
func (m *Market) Shift(d time.Duration) { m.config.Start = m.config.Start.Add(d) }

// MarketTime is the market time of the event under way, nanoseconds since the start.
func (m *Market) MarketTime() int64 { return m.now }

// Advance lets happen what happens until the clock shows until, at most limit events, and says whether it got there.
func (m *Market) Advance(until time.Time, limit int, sink Sink) bool {
	end := int64(float64(until.Sub(m.config.Start)) * m.config.Rate)
	for ; limit > 0; limit-- {
		top := m.queue.top()
		if top.at > end {
			m.now = max(m.now, end)
			return true
		}
		m.now = top.at
		m.paths.advance(m.now)
		m.happen(top.in, sink)
		m.queue.replaceTop(item{top.in.due(), top.in})
	}
	return false
}

func (m *Market) happen(in *Instrument, sink Sink) {
	switch m.now {
	case in.nextPublish:
		in.nextPublish = never
		in.publish(sink)
		return
	case in.nextOrder:
		in.nextOrder += in.wait(in.process.next(in.random))
		in.burst(m.now)
		if in.Style == Batched {
			for i := range in.trades {
				sink.Trades(in, in.trades[i:i+1])
			}
		} else {
			sink.Trades(in, in.trades)
		}
	default:
		in.nextBook += in.wait(in.random.ExpFloat64() / in.bookRate)
		in.quote(m.now)
	}
	if in.Style == Immediate {
		in.publish(sink)
	} else if in.nextPublish == never && len(in.changes) > 0 {
		in.nextPublish = (m.now/publishEvery + 1) * publishEvery
	}
}

// Flush publishes every change that waits for its turn, so that whoever followed a book ends with the book as it is.
func (m *Market) Flush(sink Sink) {
	for _, in := range m.Instruments {
		in.nextPublish = never
		in.publish(sink)
	}
}

func (in *Instrument) publish(sink Sink) {
	if len(in.changes) == 0 {
		return
	}
	slices.SortFunc(in.changes, func(a, b Change) int {
		if a.Side != b.Side {
			return int(a.Side) - int(b.Side)
		}
		if (a.Price < b.Price) == (a.Side == Ask) {
			return -1
		}
		return 1
	})
	first := in.PublishedID + 1
	sink.Book(in, first, in.changes)
	in.PublishedID = in.UpdateID
	in.changes = in.changes[:0]
	if strings.HasSuffix(in.Venue, "-usdm") {
		// The futures' rule is U <= lastUpdateId <= u. An id that changes nothing lets the snapshot of a book that is
		// quiet since its last update be followed by the next one.
		in.UpdateID++
	}
}

// item is an instrument in the queue.
type item struct {
	at int64
	in *Instrument
}

// queue is a binary heap by time; ties go by the instrument's index, so that the order is always the same.
type queue []item

func (q queue) top() item { return q[0] }

func (a item) before(b item) bool { return a.at < b.at || a.at == b.at && a.in.Index < b.in.Index }

func (q *queue) push(x item) {
	*q = append(*q, x)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q queue) replaceTop(x item) {
	i, n := 0, len(q)
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if right := child + 1; right < n && q[right].before(q[child]) {
			child = right
		}
		if !q[child].before(x) {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = x
}
