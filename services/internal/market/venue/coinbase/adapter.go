// Package coinbase is the adapter of Coinbase Exchange: the channels matches, level2_batch and heartbeat.
//
// Sources: the venue's WebSocket overview, channels and rate limits (subscribe within 5 s, 8 requests a second and address
// with bursts of 20, 100 messages a second; level2_batch every 50 ms; one invalid product refuses the whole message).
package coinbase

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Name is the venue's name in topics.
const Name = "coinbase"

// Adapter is Coinbase Exchange.
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Name is the venue's name in topics.
func (Adapter) Name() string { return Name }

// WebSocketURL is the live endpoint.
func (Adapter) WebSocketURL() string { return "wss://ws-feed.exchange.coinbase.com" }

// RESTURL is the live endpoint; nothing is fetched from it.
func (Adapter) RESTURL() string { return "https://api.exchange.coinbase.com" }

// Limits are the published ones.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{MessagesPerSecond: 8, ConnectionsPerMinute: 60}
}

// Liveness: the heartbeat channel, always subscribed, sends one a second and product.
func (Adapter) Liveness() venue.Liveness { return venue.Liveness{IdleTimeout: 10 * time.Second} }

// Instrument finds the venue's spelling of a canonical symbol; they are the same.
func (Adapter) Instrument(symbol string) (market.Instrument, error) { return fromVenue(symbol) }

// FromVenue finds the canonical symbol of the venue's spelling.
func (Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	return fromVenue(venueSymbol)
}

func fromVenue(product string) (market.Instrument, error) {
	s, err := market.ParseSymbol(product)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", Name, err)
	}
	if s.Contract != "" || strings.ToUpper(product) != product {
		return market.Instrument{}, fmt.Errorf("%s trades spot only, spelled in capitals as BTC-USD: %q", Name, product)
	}
	return market.Instrument{Venue: Name, Symbol: product, VenueSymbol: product}, nil
}

// message makes a subscribe or unsubscribe message of one product. The venue's answers carry no id.
func message(kind, product string, channels []string) (venue.Message, error) {
	payload, err := json.Marshal(struct {
		Type     string   `json:"type"`
		Products []string `json:"product_ids"`
		Channels []string `json:"channels"`
	}{kind, []string{product}, channels})
	if err != nil {
		return venue.Message{}, fmt.Errorf("%s: making a %s of %s: %w", Name, kind, product, err)
	}
	return venue.Message{Payload: payload, Text: true, VenueSymbols: []string{product}}, nil
}

// Connect subscribes one product a message: an invalid one refuses its whole message.
func (Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	var plan venue.Plan
	channels := []string{"heartbeat"}
	for _, channel := range s.Channels {
		switch channel {
		case venue.Trades:
			channels = append(channels, "matches")
		case venue.Book:
			channels = append(channels, "level2_batch")
		default:
			return plan, fmt.Errorf("%s has no channel %q; it has trades and book", Name, channel)
		}
	}
	for _, instrument := range s.Instruments {
		m, err := message("subscribe", instrument.VenueSymbol, channels)
		if err != nil {
			return plan, err
		}
		plan.Messages = append(plan.Messages, m)
	}
	return plan, nil
}

// Snapshot is false: snapshots come on the WebSocket.
func (Adapter) Snapshot(market.Instrument, venue.Subscription) (venue.SnapshotRequest, bool) {
	return venue.SnapshotRequest{}, false
}

// UsedWeight is false: nothing is fetched by REST.
func (Adapter) UsedWeight(http.Header) (int, bool) { return 0, false }

// Resubscribe drops the book of one product and subscribes it anew: a snapshot follows.
func (Adapter) Resubscribe(instrument market.Instrument, _ venue.Subscription) []venue.Message {
	drop, err1 := message("unsubscribe", instrument.VenueSymbol, []string{"level2_batch"})
	again, err2 := message("subscribe", instrument.VenueSymbol, []string{"level2_batch"})
	if err1 != nil || err2 != nil {
		return nil
	}
	return []venue.Message{drop, again}
}

// NewInspector makes an inspector for one connection.
func (Adapter) NewInspector() venue.Inspector { return NewInspector() }

// NewDecoder makes a decoder for one goroutine.
func (Adapter) NewDecoder() venue.Decoder { return NewDecoder() }

// NewRenderer speaks as the venue.
func NewRenderer() venue.Renderer { return &Renderer{} }
