package venue

import (
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
)

// maxInstruments bounds what an Instruments remembers. No venue lists as many; garbage in the symbol field could.
const maxInstruments = 16384

// Instruments finds the instrument of a venue's spelling without allocating once it has been seen. Not safe for
// concurrent use; a decoder has one of its own.
type Instruments struct {
	resolve func(venueSymbol string) (market.Instrument, error)
	known   map[string]*market.Instrument
}

// NewInstruments makes an empty one; resolve is the adapter's FromVenue.
func NewInstruments(resolve func(venueSymbol string) (market.Instrument, error)) *Instruments {
	return &Instruments{resolve: resolve, known: make(map[string]*market.Instrument)}
}

// Get returns the instrument, always the same pointer while it is remembered.
func (n *Instruments) Get(venueSymbol []byte) (*market.Instrument, error) {
	if instrument, ok := n.known[string(venueSymbol)]; ok {
		return instrument, nil
	}
	if len(venueSymbol) > 64 {
		return nil, fmt.Errorf("symbol %.64q… is longer than 64 bytes", venueSymbol)
	}
	found, err := n.resolve(string(venueSymbol))
	if err != nil {
		return nil, err
	}
	if len(n.known) >= maxInstruments {
		// Forgetting all of them is rare and harmless: who holds a pointer keeps it.
		clear(n.known)
	}
	n.known[found.VenueSymbol] = &found
	return &found, nil
}
