package synthetic

import (
	"math"
	"math/rand/v2"
)

// arrivals is a Hawkes process with an exponential kernel: each order raises the rate of those to come, which then
// decays. It is simulated exactly, without thinning (Dassios and Zhao 2013): the next arrival is the earlier of one
// caused by the excitation, which may never come, and one of the background.
type arrivals struct {
	background float64 // arrivals a second
	jump       float64 // rate that one arrival adds
	decay      float64 // of the excitation, 1/s
	excited    float64 // rate above the background, at the last arrival
}

// branching is the share of orders that other orders caused. Of the recorded BTC trades, counted once a millisecond,
// 0.72 to 0.80 by the variance of counts in 1 to 10 s.
const branching = 0.78

// newArrivals makes a process with a mean rate, in orders a second.
func newArrivals(rate float64) arrivals {
	// Busier markets react faster; the quiet ones within seconds.
	decay := min(12, max(0.5, 3*rate))
	return arrivals{background: rate * (1 - branching), jump: branching * decay, decay: decay, excited: rate * branching}
}

// next draws the wait until the next arrival, in seconds, and takes that arrival into account.
func (a *arrivals) next(random *rand.Rand) float64 {
	wait := random.ExpFloat64() / a.background
	if a.excited > 0 {
		if d := 1 - a.decay*random.ExpFloat64()/a.excited; d > 0 {
			wait = min(wait, -math.Log(d)/a.decay)
		}
	}
	a.excited = a.excited*math.Exp(-a.decay*wait) + a.jump
	return wait
}

// signs draws who takes. Large orders are worked off in many small ones, so that the signs of trades have a long
// memory (Lillo, Mike and Farmer 2005). Runs of three kinds with geometric lengths make the autocorrelation
//
//	0.199·exp(-l/5.57) + 0.635·exp(-l/60),
//
// which is 0.79, 0.57 and 0.12 at the lags 1, 10 and 100; the rest of the weight are runs of one trade.
type signs struct {
	side Side
	stay float64 // probability that the run goes on after this trade
}

const (
	shortRunStay = 0.8357 // exp(-1/5.57)
	longRunStay  = 0.9835 // exp(-1/60)
	// Shares of the runs; by trades they are 0.166, 0.199 and 0.635.
	singleRuns = 0.7928
	shortRuns  = 0.1562
)

// next returns the side of the next trade.
func (s *signs) next(random *rand.Rand) Side {
	if s.stay == 0 || random.Float64() >= s.stay {
		s.side = Side(random.IntN(2))
		switch kind := random.Float64(); {
		case kind < singleRuns:
			s.stay = 0
		case kind < singleRuns+shortRuns:
			s.stay = shortRunStay
		default:
			s.stay = longRunStay
		}
	}
	return s.side
}
