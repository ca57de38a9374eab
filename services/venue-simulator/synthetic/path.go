package synthetic

import (
	"math"
	"math/rand/v2"
)

// path is an asset's price relative to its start: exp of a log price that is driven by one factor that all assets share
// and by its own noise, with a volatility that is itself random (a log-normal Ornstein-Uhlenbeck process).
type path struct {
	random  *rand.Rand
	log     float64
	logVol  float64 // deviation of the log volatility from its mean
	volume  float64 // volatility a year
	loading float64 // share of the variance that the common factor has
	factor  float64 // exp(log): what a start price is multiplied with
}

const (
	pathStep       = 100_000_000 // ns of market time, at rates up to 10; beyond, 10 ms of clock time
	secondsPerYear = 365.25 * 86400
	volReversion   = 1.0 / 1800 // 1/s: volatility forgets within half an hour
	volOfVol       = 0.5        // standard deviation of the log volatility
	priceReversion = 1.0 / 36000
	commonShare    = 0.66 // of the variance: the correlation of two assets over long intervals
)

// paths are all assets' prices.
type paths struct {
	random  *rand.Rand
	assets  []path
	market  float64 // log volatility of the common factor
	next    int64
	every   int64   // ns of market time in one step
	seconds float64 // of clock time in one step
}

func newPaths(seed uint64, n int, rate float64) *paths {
	p := &paths{random: rand.New(rand.NewPCG(seed, 1)), assets: make([]path, n)}
	p.every = int64(pathStep * max(1, rate/10))
	p.next, p.seconds = p.every, float64(p.every)/1e9/rate
	for i := range p.assets {
		p.assets[i] = path{
			random: rand.New(rand.NewPCG(seed, 1000+uint64(i))), factor: 1,
			volume: 0.45 + 0.5*float64(i)/float64(max(n, 2)), loading: commonShare,
		}
	}
	return p
}

// advance steps every path up to now.
func (p *paths) advance(now int64) {
	for p.next <= now {
		p.next += p.every
		p.step()
	}
}

func (p *paths) step() {
	dt := p.seconds
	rootDt := math.Sqrt(dt)
	volNoise := volOfVol * math.Sqrt(2*volReversion*dt)
	p.market += -volReversion*dt*p.market + volNoise*p.random.NormFloat64()
	common := math.Exp(p.market) * p.random.NormFloat64()
	for i := range p.assets {
		a := &p.assets[i]
		a.logVol += -volReversion*dt*a.logVol + volNoise*a.random.NormFloat64()
		shock := math.Sqrt(a.loading)*common + math.Sqrt(1-a.loading)*math.Exp(a.logVol)*a.random.NormFloat64()
		a.log += -priceReversion*dt*a.log + a.volume/math.Sqrt(secondsPerYear)*rootDt*shock
		a.factor = math.Exp(a.log)
	}
}
