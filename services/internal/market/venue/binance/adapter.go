// Package binance is the adapter of Binance spot. Its decoder, inspector and renderer speak the JSON dialect that USD-M
// futures share.
//
// Sources: the venue's published WebSocket streams and general REST information (endpoints, 24 h cut, ping every 20 s,
// 5 incoming messages a second, 1,024 streams a connection, 300 connections in 5 minutes, depth weights 5/25/50/250,
// 6,000 weight a minute).
package binance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Name is the venue's name in topics.
const Name = "binance"

// defaultDepth of a snapshot. The stream carries the whole book, so the depth only says how much is known at once; 5,000
// levels would cost five times the weight.
const defaultDepth = 1000

// streamsPerMessage keeps a SUBSCRIBE small, so that a refusal is blamed on few symbols.
const streamsPerMessage = 100

// Quote assets, to find where a symbol's base ends. One that is missing here makes a clear error in the loader's
// configuration check, never a wrong symbol.
var quotes = []string{
	"USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USD1", "USDS", "USDE", "BFUSD", "RLUSD", "XUSD", "PAX", "DAI", "UST", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL",
	"EUR", "EURI", "GBP", "AUD", "TRY", "BRL", "JPY", "ARS", "MXN", "PLN", "RON", "UAH", "ZAR", "NGN", "RUB", "CZK", "COP", "IDR", "IDRT", "BVND", "BKRW", "VAI",
}

// rareQuotes are also how symbols in EUR and IDR end when their base ends in A or B.
var (
	rareQuotes = []string{"AEUR", "BIDR"}
	majors     = []string{"BTC", "ETH", "BNB", "USDT", "EUR", "SOL", "XRP", "DOGE", "ADA"}
)

// Adapter is Binance spot.
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Name is the venue's name in topics.
func (Adapter) Name() string { return Name }

// WebSocketURL is the live endpoint.
func (Adapter) WebSocketURL() string { return "wss://stream.binance.com:9443" }

// RESTURL is the live endpoint.
func (Adapter) RESTURL() string { return "https://api.binance.com" }

// Limits are the published ones.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{
		MessagesPerSecond:    5,
		ConnectionsPerMinute: 60,
		StreamsPerConnection: 1024,
		MaxConnectionAge:     24 * time.Hour,
		RESTWeightPerMinute:  6000,
	}
}

// Liveness: the server pings every 20 s, whatever the markets do.
func (Adapter) Liveness() venue.Liveness { return venue.Liveness{IdleTimeout: 50 * time.Second} }

// Instrument finds the venue's spelling of a canonical symbol.
func (a Adapter) Instrument(symbol string) (market.Instrument, error) {
	s, err := market.ParseSymbol(symbol)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", Name, err)
	}
	if s.Contract != "" {
		return market.Instrument{}, fmt.Errorf("%s trades spot only: %s is a contract; the venue binance-usdm has those", Name, symbol)
	}
	return RoundTrip(Name, symbol, s.Base+s.Quote, a.FromVenue)
}

// RoundTrip checks that the venue's spelling leads back to the canonical symbol: what does not would be published under
// another name than it was configured under.
func RoundTrip(name, symbol, venueSymbol string, fromVenue func(string) (market.Instrument, error)) (market.Instrument, error) {
	back, err := fromVenue(venueSymbol)
	if err != nil {
		return market.Instrument{}, err
	}
	if back.Symbol != symbol {
		return market.Instrument{}, fmt.Errorf("%s spells %s %s, which reads back as %s: the quote asset is not known to this build (or the symbol is not in capitals)", name, symbol, venueSymbol, back.Symbol)
	}
	return back, nil
}

// FromVenue finds the canonical symbol of the venue's spelling.
func (Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	base, quote, err := Split(Name, venueSymbol)
	if err != nil {
		return market.Instrument{}, err
	}
	return market.Instrument{Venue: Name, Symbol: base + "-" + quote, VenueSymbol: venueSymbol}, nil
}

// Split finds base and quote in a pair such as BTCUSDT.
func Split(name, pair string) (base, quote string, err error) {
	base, quote, ok := market.SplitPair(pair, quotes, rareQuotes, majors)
	if !ok || strings.ToUpper(pair) != pair {
		return "", "", fmt.Errorf("%s: symbol %.64q is not an asset and a known quote asset in capitals; a new quote asset is to be added to the venue's list", name, pair)
	}
	return base, quote, nil
}

// Connect opens the combined stream and subscribes by message, so that the venue answers for each batch.
func (a Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	messages, err := Subscribe(Name, s, a.Limits().StreamsPerConnection)
	return venue.Plan{Path: "/stream", Messages: messages}, err
}

// Subscribe makes the SUBSCRIBE messages of a subscription.
func Subscribe(name string, s venue.Subscription, limit int) ([]venue.Message, error) {
	type stream struct{ name, symbol string }
	var streams []stream
	for _, instrument := range s.Instruments {
		for _, channel := range s.Channels {
			lower := strings.ToLower(instrument.VenueSymbol)
			switch channel {
			case venue.Trades:
				streams = append(streams, stream{lower + "@trade", instrument.VenueSymbol})
			case venue.Book:
				streams = append(streams, stream{lower + "@depth@100ms", instrument.VenueSymbol})
			default:
				return nil, fmt.Errorf("%s has no channel %q; it has trades and book", name, channel)
			}
		}
	}
	if len(streams) > limit {
		return nil, fmt.Errorf("%s allows %d streams a connection, this feed needs %d: divide its %d symbols among several feeds", name, limit, len(streams), len(s.Instruments))
	}
	var messages []venue.Message
	for batch := range slices.Chunk(streams, streamsPerMessage) {
		m := venue.Message{Text: true, RequestID: strconv.Itoa(len(messages) + 1)}
		var params []string
		for _, one := range batch {
			params = append(params, one.name)
			if n := len(m.VenueSymbols); n == 0 || m.VenueSymbols[n-1] != one.symbol {
				m.VenueSymbols = append(m.VenueSymbols, one.symbol)
			}
		}
		var err error
		m.Payload, err = json.Marshal(struct {
			Method string   `json:"method"`
			Params []string `json:"params"`
			ID     int      `json:"id"`
		}{"SUBSCRIBE", params, len(messages) + 1})
		if err != nil {
			return nil, fmt.Errorf("%s: making a SUBSCRIBE of %d streams: %w", name, len(params), err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// Snapshot is GET /api/v3/depth.
func (Adapter) Snapshot(instrument market.Instrument, s venue.Subscription) (venue.SnapshotRequest, bool) {
	limit := s.Depth
	if limit <= 0 {
		limit = defaultDepth
	}
	limit = min(limit, 5000)
	weight := 250
	switch {
	case limit <= 100:
		weight = 5
	case limit <= 500:
		weight = 25
	case limit <= 1000:
		weight = 50
	}
	return venue.SnapshotRequest{
		Path:   "/api/v3/depth?symbol=" + url.QueryEscape(instrument.VenueSymbol) + "&limit=" + strconv.Itoa(limit),
		Weight: weight,
	}, true
}

// UsedWeight reads what this address has used in the running minute.
func (Adapter) UsedWeight(h http.Header) (int, bool) { return UsedWeight(h) }

// UsedWeight reads X-MBX-USED-WEIGHT-1M.
func UsedWeight(h http.Header) (int, bool) {
	used, err := strconv.Atoi(h.Get("X-MBX-USED-WEIGHT-1M"))
	return used, err == nil && used >= 0
}

// Resubscribe is nil: a fresh book comes by REST.
func (Adapter) Resubscribe(market.Instrument, venue.Subscription) []venue.Message { return nil }

// NewInspector makes an inspector for one connection.
func (Adapter) NewInspector() venue.Inspector { return NewInspector(false) }

// NewDecoder makes a decoder for one goroutine.
func (a Adapter) NewDecoder() venue.Decoder { return NewDecoder(a.FromVenue) }

// NewRenderer speaks as the venue.
func NewRenderer() venue.Renderer { return &Renderer{} }
