package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kinds of faults.
const (
	FaultDrop          = "drop"           // a frame is generated and not sent
	FaultDuplicate     = "duplicate"      // a frame is sent twice
	FaultReorder       = "reorder"        // a frame is sent after its successor
	FaultChecksum      = "checksum"       // a Kraken book frame carries a wrong checksum
	FaultGarbage       = "garbage"        // a frame that is no JSON is sent before the frame
	FaultStaleSnapshot = "stale_snapshot" // a REST snapshot is some seconds old
	FaultTooMany       = "429"            // REST answers 429 with Retry-After
	FaultBanned        = "418"            // REST answers 418 with Retry-After
	FaultSilence       = "silence"        // nothing at all is sent, connections stay open
	FaultRefuse        = "refuse"         // subscriptions are refused
	FaultCut           = "cut"            // a connection ends
	FaultHalfOpen      = "half_open"      // a connection neither sends nor answers any more
	FaultGiant         = "giant"          // one frame of so many bytes
	FaultShutdown      = "shutdown"       // Binance announces the end of a connection, which follows after Duration
)

var faultKinds = map[string]bool{
	FaultDrop: true, FaultDuplicate: true, FaultReorder: true, FaultChecksum: true, FaultGarbage: true, FaultStaleSnapshot: true,
	FaultTooMany: true, FaultBanned: true, FaultSilence: true, FaultRefuse: true, FaultCut: true, FaultHalfOpen: true, FaultGiant: true, FaultShutdown: true,
}

// Fault is something that is to go wrong.
type Fault struct {
	Kind string `json:"kind"`
	// Venue and Symbol (the venue's spelling) narrow it; empty: all.
	Venue  string `json:"venue,omitempty"`
	Symbol string `json:"symbol,omitempty"`
	// Rate is the probability a frame or request; 0 means 1.
	Rate float64 `json:"rate,omitempty"`
	// Count ends it after so many times, Duration after so long; 0: never.
	Count    int64         `json:"count,omitempty"`
	Duration faultDuration `json:"duration,omitempty"`
	// After is the age of a connection at which cut, half_open, giant or shutdown strikes it, each once; 0: those that there
	// are, now.
	After faultDuration `json:"after,omitempty"`
	// Bytes of a giant frame; 0: 100 MB.
	Bytes int `json:"bytes,omitempty"`
	// RetryAfter of 429 and 418, seconds; 0: 2.
	RetryAfter int `json:"retry_after,omitempty"`
	// Abrupt makes a cut an RST that loses what is under way, instead of an end after everything was sent.
	Abrupt bool `json:"abrupt,omitempty"`
	// Hits is how often it struck.
	Hits int64 `json:"hits"`

	until time.Time
}

// faultDuration is a duration that JSON shows as text.
type faultDuration time.Duration

// UnmarshalJSON reads "10s".
func (d *faultDuration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("duration is %s, expected text such as \"10s\"", b)
	}
	parsed, err := time.ParseDuration(text)
	*d = faultDuration(parsed)
	return err
}

// MarshalJSON writes "10s".
func (d faultDuration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

const maxGiantBytes = 1 << 30

func (f *Fault) validate() error {
	switch {
	case !faultKinds[f.Kind]:
		return fmt.Errorf("fault kind %q is not known; known are drop, duplicate, reorder, checksum, garbage, stale_snapshot, 429, 418, silence, refuse, cut, half_open, giant and shutdown", f.Kind)
	case !(f.Rate >= 0 && f.Rate <= 1):
		return fmt.Errorf("fault rate is %g, expected 0 to 1", f.Rate)
	case f.Count < 0 || f.Duration < 0 || f.RetryAfter < 0 || f.After < 0:
		return errors.New("fault count, duration, retry_after and after must not be negative")
	case f.After > 0 && !f.strikesConnections():
		return fmt.Errorf("fault after is %s, but only cut, half_open, giant and shutdown strike connections of an age, not %s", time.Duration(f.After), f.Kind)
	case f.Bytes < 0 || f.Bytes > maxGiantBytes:
		return fmt.Errorf("fault bytes is %d, expected 0 to %d", f.Bytes, maxGiantBytes)
	}
	return nil
}

// strikesConnections says that the fault works once on a connection.
func (f *Fault) strikesConnections() bool {
	return f.Kind == FaultCut || f.Kind == FaultHalfOpen || f.Kind == FaultGiant || f.Kind == FaultShutdown
}

// ParseFault reads the form of the flag: `kind=drop,rate=0.001,venue=binance,symbol=BTCUSDT,count=5,duration=10s`.
func ParseFault(text string) (Fault, error) {
	var f Fault
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return f, fmt.Errorf("fault %q: expected name=value, found %q", text, part)
		}
		var err error
		switch name {
		case "kind":
			f.Kind = value
		case "venue":
			f.Venue = value
		case "symbol":
			f.Symbol = value
		case "rate":
			f.Rate, err = strconv.ParseFloat(value, 64)
		case "count":
			f.Count, err = strconv.ParseInt(value, 10, 64)
		case "duration":
			var d time.Duration
			d, err = time.ParseDuration(value)
			f.Duration = faultDuration(d)
		case "after":
			var d time.Duration
			d, err = time.ParseDuration(value)
			f.After = faultDuration(d)
		case "bytes":
			f.Bytes, err = strconv.Atoi(value)
		case "retry_after":
			f.RetryAfter, err = strconv.Atoi(value)
		case "abrupt":
			f.Abrupt, err = strconv.ParseBool(value)
		default:
			err = errors.New("not known; known are kind, venue, symbol, rate, count, duration, after, bytes, retry_after and abrupt")
		}
		if err != nil {
			return f, fmt.Errorf("fault %q: %s: %w", text, name, err)
		}
	}
	return f, f.validate()
}

// maxFaults bounds how many are active at once.
const maxFaults = 64

// faults are those that are active. Safe for concurrent use.
type faults struct {
	any    atomic.Bool // lets the hot path pass without a lock
	mutex  sync.Mutex
	active []*Fault
	random *rand.Rand
	struck func(kind string)
}

func newFaults(seed uint64, struck func(kind string)) *faults {
	return &faults{random: rand.New(rand.NewPCG(seed, 0xfa017)), struck: struck}
}

func (f *faults) add(fault Fault) error {
	if err := fault.validate(); err != nil {
		return err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if len(f.active) >= maxFaults {
		return fmt.Errorf("%d faults are active, the most there may be; DELETE /control/fault clears them", maxFaults)
	}
	fault.Hits = 0
	if fault.Duration > 0 && fault.Kind != FaultShutdown { // whose duration is the connection's, from the announcement on
		fault.until = time.Now().Add(time.Duration(fault.Duration))
	}
	f.active = append(f.active, &fault)
	f.any.Store(true)
	return nil
}

func (f *faults) clear() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.active = nil
	f.any.Store(false)
}

func (f *faults) list() []Fault {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	list := make([]Fault, 0, len(f.active))
	for _, fault := range f.active {
		list = append(list, *fault)
	}
	return list
}

// strikes says whether a fault of this kind hits now, and which.
func (f *faults) strikes(kind, venue, symbol string) (Fault, bool) {
	if !f.any.Load() {
		return Fault{}, false
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for i := 0; i < len(f.active); i++ {
		fault := f.active[i]
		if fault.ended() {
			f.active = append(f.active[:i:i], f.active[i+1:]...)
			f.any.Store(len(f.active) > 0)
			i--
			continue
		}
		if fault.Kind != kind || fault.Venue != "" && fault.Venue != venue || fault.Symbol != "" && fault.Symbol != symbol {
			continue
		}
		if fault.Rate > 0 && f.random.Float64() >= fault.Rate {
			continue
		}
		fault.Hits++
		f.struck(kind)
		return *fault, true
	}
	return Fault{}, false
}

// comeOfAge returns what strikes a connection of this age now. done are the faults that the connection was old enough for
// before, struck or spared.
func (f *faults) comeOfAge(venue string, hears func(symbol string) bool, age time.Duration, done map[*Fault]bool) []Fault {
	if !f.any.Load() {
		return nil
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var strike []Fault
	for _, fault := range f.active {
		switch {
		case !fault.strikesConnections() || done[fault] || age < time.Duration(fault.After) || fault.ended(),
			fault.Venue != "" && fault.Venue != venue, fault.Symbol != "" && !hears(fault.Symbol):
			continue
		}
		done[fault] = true
		if fault.Rate > 0 && f.random.Float64() >= fault.Rate {
			continue
		}
		fault.Hits++
		f.struck(fault.Kind)
		strike = append(strike, *fault)
	}
	return strike
}

func (f *Fault) ended() bool {
	return f.Count > 0 && f.Hits >= f.Count || !f.until.IsZero() && time.Now().After(f.until)
}
