// Package binanceusdm is the adapter of Binance's USD-M futures: the dialect of package binance with other endpoints,
// limits, depths and a chain of updates by pu.
//
// Sources: the venue's published futures WebSocket and REST information (ping every 3 minutes, 10 incoming messages a
// second, 1,024 streams a connection, 24 h cut, depth limits 5–1000 with weights 2/5/10/20, 2,400 weight a minute), and
// its notice of 6 March 2026: market data is routed, the path /public carries depth, bookTicker and trade; the unrouted
// endpoint was retired on 23 April 2026.
package binanceusdm

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/binance"
)

// Name is the venue's name in topics.
const Name = "binance-usdm"

// depths that the venue answers, with their weights; the whole list is legal, nothing between.
var depths = []struct{ limit, weight int }{{5, 2}, {10, 2}, {20, 2}, {50, 2}, {100, 5}, {500, 10}, {1000, 20}}

// Adapter is Binance USD-M futures.
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Name is the venue's name in topics.
func (Adapter) Name() string { return Name }

// WebSocketURL is the live endpoint of the routed public market data.
func (Adapter) WebSocketURL() string { return "wss://fstream.binance.com/public" }

// RESTURL is the live endpoint.
func (Adapter) RESTURL() string { return "https://fapi.binance.com" }

// Limits are the published ones.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{
		MessagesPerSecond:    10,
		ConnectionsPerMinute: 60,
		StreamsPerConnection: 1024,
		MaxConnectionAge:     24 * time.Hour,
		RESTWeightPerMinute:  2400,
	}
}

// Liveness: the server pings only every 3 minutes, so a silent connection is asked for its subscriptions after 30 s; the
// answer is a sign of life.
func (Adapter) Liveness() venue.Liveness {
	return venue.Liveness{
		IdleTimeout: 60 * time.Second,
		Ping:        []byte(`{"method":"LIST_SUBSCRIPTIONS","id":0}`),
		PingAfter:   30 * time.Second,
	}
}

// Instrument finds the venue's spelling of a canonical symbol: BTC-USDT-PERP is BTCUSDT, BTC-USDT-20261225 is
// BTCUSDT_261225.
func (a Adapter) Instrument(symbol string) (market.Instrument, error) {
	s, err := market.ParseSymbol(symbol)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", Name, err)
	}
	pair := s.Base + s.Quote
	switch s.Contract {
	case "":
		return market.Instrument{}, fmt.Errorf("%s trades contracts only: write %s-PERP or a day of delivery; spot is the venue binance", Name, symbol)
	case market.Perpetual:
	default:
		pair += "_" + s.Contract[2:]
	}
	return binance.RoundTrip(Name, symbol, pair, a.FromVenue)
}

// FromVenue finds the canonical symbol of the venue's spelling.
func (Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	pair, day, dated := strings.Cut(venueSymbol, "_")
	base, quote, err := binance.Split(Name, pair)
	if err != nil {
		return market.Instrument{}, err
	}
	s := market.Symbol{Base: base, Quote: quote, Contract: market.Perpetual}
	if dated {
		s.Contract = "20" + day
	}
	if _, err := market.ParseSymbol(s.String()); err != nil {
		return market.Instrument{}, fmt.Errorf("%s: symbol %.64q: %w", Name, venueSymbol, err)
	}
	return market.Instrument{Venue: Name, Symbol: s.String(), VenueSymbol: venueSymbol}, nil
}

// Connect opens the combined stream and subscribes by message.
func (a Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	messages, err := binance.Subscribe(Name, s, a.Limits().StreamsPerConnection)
	return venue.Plan{Path: "/stream", Messages: messages}, err
}

// Snapshot is GET /fapi/v1/depth with the smallest legal depth that suffices; 0 asks for all of the 1,000 levels.
func (Adapter) Snapshot(instrument market.Instrument, s venue.Subscription) (venue.SnapshotRequest, bool) {
	chosen := depths[len(depths)-1]
	if s.Depth > 0 {
		for i := len(depths) - 1; i >= 0 && depths[i].limit >= s.Depth; i-- {
			chosen = depths[i]
		}
	}
	return venue.SnapshotRequest{
		Path:   "/fapi/v1/depth?symbol=" + url.QueryEscape(instrument.VenueSymbol) + "&limit=" + strconv.Itoa(chosen.limit),
		Weight: chosen.weight,
	}, true
}

// UsedWeight reads what this address has used in the running minute.
func (Adapter) UsedWeight(h http.Header) (int, bool) { return binance.UsedWeight(h) }

// Resubscribe is nil: a fresh book comes by REST.
func (Adapter) Resubscribe(market.Instrument, venue.Subscription) []venue.Message { return nil }

// NewInspector makes an inspector for one connection.
func (Adapter) NewInspector() venue.Inspector { return binance.NewInspector(true) }

// NewDecoder makes a decoder for one goroutine.
func (a Adapter) NewDecoder() venue.Decoder { return binance.NewDecoder(a.FromVenue) }

// NewRenderer speaks as the venue.
func NewRenderer() venue.Renderer { return &binance.Renderer{Futures: true} }
