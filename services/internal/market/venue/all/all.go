// Package all lists the venues of this build. Adding a venue takes a folder beside this one and a line here.
package all

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/binance"
	"github.com/streamforge/streamforge/services/internal/market/venue/binanceusdm"
	"github.com/streamforge/streamforge/services/internal/market/venue/bybit"
	"github.com/streamforge/streamforge/services/internal/market/venue/coinbase"
	"github.com/streamforge/streamforge/services/internal/market/venue/kraken"
	"github.com/streamforge/streamforge/services/internal/market/venue/okx"
)

// known is every venue with what speaks as it.
var known = []struct {
	adapter  venue.Adapter
	renderer func() venue.Renderer
}{
	{binance.New(), binance.NewRenderer},
	{binanceusdm.New(), binanceusdm.NewRenderer},
	{kraken.New(), kraken.NewRenderer},
	{coinbase.New(), coinbase.NewRenderer},
	{okx.New(), okx.NewRenderer},
	{bybit.New(), bybit.NewRenderer},
	{bybit.NewLinear(), bybit.NewRenderer},
}

// Names lists the venues, sorted.
func Names() []string {
	names := make([]string, 0, len(known))
	for _, v := range known {
		names = append(names, v.adapter.Name())
	}
	slices.Sort(names)
	return names
}

// Get finds an adapter by the venue's name.
func Get(name string) (venue.Adapter, error) {
	for _, v := range known {
		if v.adapter.Name() == name {
			return v.adapter, nil
		}
	}
	return nil, unknown(name)
}

// NewRenderer makes what speaks as the venue of that name.
func NewRenderer(name string) (venue.Renderer, error) {
	for _, v := range known {
		if v.adapter.Name() == name {
			return v.renderer(), nil
		}
	}
	return nil, unknown(name)
}

func unknown(name string) error {
	return fmt.Errorf("venue %q is not known; this build has %s", name, strings.Join(Names(), ", "))
}
