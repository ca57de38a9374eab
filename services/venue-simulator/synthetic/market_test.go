package synthetic_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/venue-simulator/synthetic"
)

var start = time.Unix(1_700_000_000, 0)

func newMarket(t testing.TB, change func(*synthetic.Config)) *synthetic.Market {
	t.Helper()
	config := synthetic.DefaultConfig()
	config.Start = start
	if change != nil {
		change(&config)
	}
	m, err := synthetic.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tape records what a market publishes.
type tape struct {
	trades, books int64
	onTrades      func(in *synthetic.Instrument, trades []synthetic.Trade)
	onBook        func(in *synthetic.Instrument, first int64, changes []synthetic.Change)
}

func (s *tape) Trades(in *synthetic.Instrument, trades []synthetic.Trade) {
	s.trades++
	if s.onTrades != nil {
		s.onTrades(in, trades)
	}
}

func (s *tape) Book(in *synthetic.Instrument, first int64, changes []synthetic.Change) {
	s.books++
	if s.onBook != nil {
		s.onBook(in, first, changes)
	}
}

func run(m *synthetic.Market, until time.Duration, sink synthetic.Sink) {
	for !m.Advance(start.Add(until), 1<<20, sink) {
	}
}

func TestTheDefaultRateIsThatOfTheRecordingsAndMultiplies(t *testing.T) {
	for _, rate := range []float64{1, 20} {
		m := newMarket(t, func(c *synthetic.Config) { c.Rate = rate })
		var s tape
		seconds := 400 / rate
		run(m, time.Duration(seconds*1e9), &s)
		frames := float64(s.trades+s.books) / seconds
		t.Logf("rate %g: %.0f frames/s, of which trades %.0f", rate, frames, float64(s.trades)/seconds)
		if frames < 800*rate*0.85 || frames > 800*rate*1.15 {
			t.Errorf("rate %g: %.0f frames/s, expected %.0f ± 15 %%", rate, frames, 800*rate)
		}
	}
}

func TestTheRatesAreZipfDistributed(t *testing.T) {
	m := newMarket(t, nil)
	counts := make([]float64, len(m.Instruments))
	count := func(in *synthetic.Instrument) { counts[in.Index]++ }
	run(m, 400*time.Second, &tape{
		onTrades: func(in *synthetic.Instrument, _ []synthetic.Trade) { count(in) },
		onBook:   func(in *synthetic.Instrument, _ int64, _ []synthetic.Change) { count(in) },
	})
	var total, harmonic float64
	for r := range 210 {
		total += counts[r]
		harmonic += 1 / float64(r+1)
	}
	for _, r := range []int{0, 1, 4, 9} {
		got, want := counts[r]/total, 1/float64(r+1)/harmonic
		if math.Abs(got-want) > 0.35*want {
			t.Errorf("rank %d has %.3f of the frames, expected %.3f ± 35 %%", r+1, got, want)
		}
	}
}

func TestTheSameSeedAndClockGiveTheSameEventsInWhateverSteps(t *testing.T) {
	digest := func(seed uint64, step time.Duration) string {
		m := newMarket(t, func(c *synthetic.Config) { c.Seed = seed })
		h := fnv.New64a()
		s := tape{
			onTrades: func(in *synthetic.Instrument, trades []synthetic.Trade) {
				fmt.Fprint(h, in.Symbol, m.Now(), trades)
			},
			onBook: func(in *synthetic.Instrument, first int64, changes []synthetic.Change) {
				fmt.Fprint(h, in.Symbol, m.Now(), first, in.UpdateID, changes)
			},
		}
		for at := step; at <= 6*time.Second; at += step {
			run(m, at, &s)
		}
		return fmt.Sprint(h.Sum64(), s.trades, s.books)
	}
	whole := digest(7, 6*time.Second)
	if steps := digest(7, 3*time.Millisecond); steps != whole {
		t.Errorf("in steps of 3 ms %s, at once %s", steps, whole)
	}
	if digest(8, 6*time.Second) == whole {
		t.Error("another seed gives the same events")
	}
}

// Whatever the market, its books never cross, are sorted, and can be rebuilt from the published changes; every trade is
// at the price that was the best of its side, and takes at most what stood there.
func TestBooksNeverCrossAndTradesTakeFromTheTouch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := synthetic.DefaultConfig()
		config.Start = start
		config.Seed = rapid.Uint64().Draw(t, "seed")
		config.Symbols = rapid.IntRange(1, 8).Draw(t, "symbols")
		config.Rate = rapid.Float64Range(0.1, 200).Draw(t, "rate")
		m, err := synthetic.New(config)
		if err != nil {
			t.Fatal(err)
		}
		built := make([]book, len(m.Instruments))
		last := make([]int64, len(m.Instruments))
		snapshot := make([]int64, len(m.Instruments)) // the id of a book taken after the last publication
		for i, in := range m.Instruments {
			built[i] = newBook(in)
			last[i], snapshot[i] = in.PublishedID, in.UpdateID
		}
		lastID := make([]int64, len(m.Instruments))
		s := tape{
			onTrades: func(in *synthetic.Instrument, trades []synthetic.Trade) {
				for _, trade := range trades {
					if lastID[in.Index] != 0 && trade.ID != lastID[in.Index]+1 {
						t.Fatalf("%s: trade %d after %d", in.Symbol, trade.ID, lastID[in.Index])
					}
					lastID[in.Index] = trade.ID
					if trade.Quantity < 1 || trade.Price < 1 {
						t.Fatalf("%s: trade %+v", in.Symbol, trade)
					}
					if in.Style == synthetic.Immediate {
						built[in.Index].take(t, in.Symbol, trade)
					}
				}
			},
			onBook: func(in *synthetic.Instrument, first int64, changes []synthetic.Change) {
				if first != last[in.Index]+1 || in.UpdateID < first {
					t.Fatalf("%s: ids %d to %d after %d", in.Symbol, first, in.UpdateID, last[in.Index])
				}
				checkBridge(t, in, snapshot[in.Index], first)
				last[in.Index], snapshot[in.Index] = in.UpdateID, in.UpdateID
				if in.Venue == "binance-usdm" {
					snapshot[in.Index]++
				}
				built[in.Index].apply(changes)
				checkBook(t, in)
				if !slices.Equal(built[in.Index].levels(synthetic.Bid), in.Bids) || !slices.Equal(built[in.Index].levels(synthetic.Ask), in.Asks) {
					t.Fatalf("%s: the book cannot be rebuilt from the changes", in.Symbol)
				}
			},
		}
		for !m.Advance(start.Add(time.Duration(5/config.Rate*1e9)), 1<<20, &s) {
		}
	})
}

// checkBridge holds the venues' rules for the first update after a snapshot that nothing has followed yet, the hardest
// case: the update before it is not the bridge, so this one has to be.
func checkBridge(t interface{ Fatalf(string, ...any) }, in *synthetic.Instrument, snapshot, first int64) {
	ok := first <= snapshot+1 && in.UpdateID > snapshot
	if in.Venue == "binance-usdm" {
		ok = first <= snapshot && snapshot <= in.UpdateID
	}
	if !ok {
		t.Fatalf("%s: the update %d to %d does not bridge to the snapshot %d", in.Symbol, first, in.UpdateID, snapshot)
	}
}

type book [2]map[int64]int64

func newBook(in *synthetic.Instrument) book {
	b := book{{}, {}}
	for _, l := range in.Bids {
		b[0][l.Price] = l.Quantity
	}
	for _, l := range in.Asks {
		b[1][l.Price] = l.Quantity
	}
	return b
}

func (b book) apply(changes []synthetic.Change) {
	for _, c := range changes {
		if c.Quantity == 0 {
			delete(b[c.Side], c.Price)
		} else {
			b[c.Side][c.Price] = c.Quantity
		}
	}
}

// take checks that a trade is at the best price of the side that it takes from, and not more than stands there. It works
// on a book as it was published before the burst, so only where every change is published at once.
func (b book) take(t interface{ Fatalf(string, ...any) }, symbol string, trade synthetic.Trade) {
	side := synthetic.Ask
	if trade.TakerSide == synthetic.Ask {
		side = synthetic.Bid
	}
	best := b.levels(side)[0]
	if trade.Price != best.Price || trade.Quantity > best.Quantity {
		t.Fatalf("%s: trade %+v, the touch is %+v", symbol, trade, best)
	}
	b.apply([]synthetic.Change{{Side: side, Level: synthetic.Level{Price: best.Price, Quantity: best.Quantity - trade.Quantity}}})
}

func (b book) levels(side synthetic.Side) []synthetic.Level {
	var list []synthetic.Level
	for p, q := range b[side] {
		list = append(list, synthetic.Level{Price: p, Quantity: q})
	}
	slices.SortFunc(list, func(x, y synthetic.Level) int {
		if side == synthetic.Bid {
			x, y = y, x
		}
		return int(x.Price - y.Price)
	})
	return list
}

func checkBook(t interface{ Fatalf(string, ...any) }, in *synthetic.Instrument) {
	if len(in.Bids) < 10 || len(in.Asks) < 10 {
		t.Fatalf("%s: %d bids, %d asks", in.Symbol, len(in.Bids), len(in.Asks))
	}
	if in.Bids[0].Price >= in.Asks[0].Price {
		t.Fatalf("%s: crossed, %d >= %d", in.Symbol, in.Bids[0].Price, in.Asks[0].Price)
	}
	for i := range in.Bids {
		if in.Bids[i].Quantity < 1 || in.Bids[i].Price < 1 || i > 0 && in.Bids[i].Price >= in.Bids[i-1].Price {
			t.Fatalf("%s: bids %v", in.Symbol, in.Bids)
		}
	}
	for i := range in.Asks {
		if in.Asks[i].Quantity < 1 || i > 0 && in.Asks[i].Price <= in.Asks[i-1].Price {
			t.Fatalf("%s: asks %v", in.Symbol, in.Asks)
		}
	}
}

// The stated bands; the README names the sources of the figures.
func TestStylisedFactsOfTheBusiestInstrument(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { checkStylisedFacts(t, seed) })
	}
}

func checkStylisedFacts(t *testing.T, seed uint64) {
	t.Helper()
	m := newMarket(t, func(c *synthetic.Config) {
		c.Seed, c.Symbols, c.Venues, c.FramesPerSecond = seed, 1, []string{"binance"}, 40
	})
	var times []int64
	var signs []float64
	run(m, 3000*time.Second, &tape{onTrades: func(_ *synthetic.Instrument, trades []synthetic.Trade) {
		for _, trade := range trades {
			times = append(times, m.MarketTime()/1e6)
			signs = append(signs, 1-2*float64(trade.TakerSide))
		}
	}})
	for _, c := range []struct {
		lag       int
		low, high float64
	}{{1, 0.74, 0.84}, {10, 0.51, 0.63}, {100, 0.05, 0.20}} {
		if got := autocorrelation(signs, c.lag); got < c.low || got > c.high {
			t.Errorf("sign autocorrelation at lag %d is %.3f, expected %.2f to %.2f", c.lag, got, c.low, c.high)
		} else {
			t.Logf("sign autocorrelation at lag %d: %.3f", c.lag, got)
		}
	}
	same := 0
	for i := 1; i < len(times); i++ {
		if times[i] == times[i-1] {
			same++
		}
	}
	if share := float64(same) / float64(len(times)); share < 0.60 || share > 0.72 {
		t.Errorf("%.2f of the trades share a millisecond with the one before, expected 0.60 to 0.72", share)
	}
	for _, window := range []int64{5000, 10000} {
		if got := branchingRatio(slices.Compact(slices.Clone(times)), window); got < 0.71 || got > 0.86 {
			t.Errorf("branching ratio by counts in %d ms is %.3f, expected 0.71 to 0.86", window, got)
		} else {
			t.Logf("branching ratio by counts in %d ms: %.3f", window, got)
		}
	}
}

func autocorrelation(x []float64, lag int) float64 {
	var mean, variance, covariance float64
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for i, v := range x {
		variance += (v - mean) * (v - mean)
		if i+lag < len(x) {
			covariance += (v - mean) * (x[i+lag] - mean)
		}
	}
	return covariance / variance
}

// branchingRatio is 1 - sqrt(mean/variance) of the counts in windows (Hardiman and Bouchaud 2014).
func branchingRatio(times []int64, window int64) float64 {
	counts := make([]float64, (times[len(times)-1]-times[0])/window)
	for _, at := range times {
		if i := (at - times[0]) / window; int(i) < len(counts) {
			counts[i]++
		}
	}
	var mean, variance float64
	for _, c := range counts {
		mean += c
	}
	mean /= float64(len(counts))
	for _, c := range counts {
		variance += (c - mean) * (c - mean)
	}
	variance /= float64(len(counts) - 1)
	return 1 - math.Sqrt(mean/variance)
}

func TestPricesAreCorrelatedAndTheirVolatilityClusters(t *testing.T) {
	m := newMarket(t, func(c *synthetic.Config) { c.Symbols, c.Venues, c.FramesPerSecond = 4, []string{"binance"}, 40 })
	const minutes = 360
	returns := make([][]float64, 4)
	previous := make([]float64, 4)
	for minute := range minutes {
		run(m, time.Duration(minute+1)*time.Minute, &tape{})
		for i, in := range m.Instruments {
			mid := math.Log(float64(in.Bids[0].Price+in.Asks[0].Price) / 2)
			if minute > 0 {
				returns[i] = append(returns[i], mid-previous[i])
			}
			previous[i] = mid
		}
	}
	var sum float64
	for i := range returns {
		for j := range i {
			sum += correlation(returns[i], returns[j])
		}
	}
	if mean := sum / 6; mean < 0.35 || mean > 0.8 {
		t.Errorf("the mean correlation of one-minute returns is %.2f, expected 0.35 to 0.8", mean)
	} else {
		t.Logf("mean correlation of one-minute returns: %.2f", mean)
	}
	absolute := make([]float64, len(returns[0]))
	for i, r := range returns[0] {
		absolute[i] = math.Abs(r)
	}
	if clustering := autocorrelation(absolute, 1); clustering < 0.03 {
		t.Errorf("absolute one-minute returns have autocorrelation %.2f, expected more than 0.03", clustering)
	} else {
		t.Logf("autocorrelation of absolute one-minute returns: %.2f", clustering)
	}
	var square float64
	for _, r := range returns[0] {
		square += r * r
	}
	if annual := math.Sqrt(square / minutes * 525960); annual < 0.2 || annual > 1.2 {
		t.Errorf("volatility a year is %.2f, expected 0.2 to 1.2", annual)
	} else {
		t.Logf("volatility a year: %.2f", annual)
	}
}

func correlation(x, y []float64) float64 {
	var xy, xx, yy float64
	for i := range x {
		xy += x[i] * y[i]
		xx += x[i] * x[i]
		yy += y[i] * y[i]
	}
	return xy / math.Sqrt(xx*yy)
}

func TestAWrongConfigNamesItsField(t *testing.T) {
	for _, change := range []func(*synthetic.Config){
		func(c *synthetic.Config) { c.Symbols = 0 },
		func(c *synthetic.Config) { c.Rate = -1 },
		func(c *synthetic.Config) { c.Venues = []string{"nyse"} },
		func(c *synthetic.Config) { c.Venues = nil },
		func(c *synthetic.Config) { c.FramesPerSecond = math.NaN() },
	} {
		config := synthetic.DefaultConfig()
		change(&config)
		if _, err := synthetic.New(config); err == nil {
			t.Errorf("%+v was accepted", config)
		}
	}
}

func BenchmarkEvents(b *testing.B) {
	m := newMarket(b, func(c *synthetic.Config) { c.Rate = 145 })
	var s tape
	at := time.Duration(0)
	for b.Loop() {
		at += 10 * time.Millisecond
		run(m, at, &s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(s.trades+s.books), "ns/frame")
}
