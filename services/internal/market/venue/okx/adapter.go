// Package okx is the adapter of OKX's public v5 WebSocket: spot, perpetual swaps and dated futures on one connection.
//
// Quantities of swaps and futures are contracts, as the venue sends them; what a contract is worth is the instrument's.
//
// Sources: the venue's v5 documentation (3 connections a second and address, 480 subscribe calls an hour and connection,
// 30 s without a subscription or a message closes, text ping and pong, notice 64008 before an upgrade, error 60018 for an
// instrument that does not exist), and its notice that the books' checksum is 0 from 23 June 2026.
package okx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Name is the venue's name in topics.
const Name = "okx"

// instrumentsPerMessage keeps a refusal's harm small and leaves most of the 480 calls an hour to resubscriptions.
const instrumentsPerMessage = 10

// Adapter is OKX.
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Name is the venue's name in topics.
func (Adapter) Name() string { return Name }

// WebSocketURL is the live endpoint; the public service is the plan's path.
func (Adapter) WebSocketURL() string { return "wss://ws.okx.com:8443" }

// RESTURL is the live endpoint; nothing is fetched from it.
func (Adapter) RESTURL() string { return "https://www.okx.com" }

// Limits are the published ones.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{MessagesPerSecond: 3, ConnectionsPerMinute: 180}
}

// Liveness: the venue closes what was silent for 30 s, so a ping goes out before that; its pong is a sign of life.
func (Adapter) Liveness() venue.Liveness {
	return venue.Liveness{IdleTimeout: 30 * time.Second, Ping: []byte("ping"), PingAfter: 15 * time.Second}
}

// Instrument finds the venue's spelling of a canonical symbol: BTC-USDT-PERP is BTC-USDT-SWAP, BTC-USD-20261225 is
// BTC-USD-261225.
func (Adapter) Instrument(symbol string) (market.Instrument, error) {
	s, err := market.ParseSymbol(symbol)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", Name, err)
	}
	venueSymbol := s.Base + "-" + s.Quote
	switch s.Contract {
	case "":
	case market.Perpetual:
		venueSymbol += "-SWAP"
	default:
		venueSymbol += "-" + s.Contract[2:]
	}
	return fromVenue(venueSymbol)
}

// FromVenue finds the canonical symbol of the venue's spelling.
func (Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	return fromVenue(venueSymbol)
}

func fromVenue(venueSymbol string) (market.Instrument, error) {
	parts := strings.Split(venueSymbol, "-")
	canonical := venueSymbol
	if len(parts) == 3 {
		switch {
		case parts[2] == "SWAP":
			canonical = parts[0] + "-" + parts[1] + "-" + market.Perpetual
		case len(parts[2]) == 6:
			canonical = parts[0] + "-" + parts[1] + "-20" + parts[2]
		default:
			return market.Instrument{}, fmt.Errorf("%s: instrument %.64q is neither SWAP nor dated as 261225", Name, venueSymbol)
		}
	}
	if _, err := market.ParseSymbol(canonical); err != nil || strings.ToUpper(venueSymbol) != venueSymbol {
		return market.Instrument{}, fmt.Errorf("%s: instrument %.64q is not of the form BTC-USDT, BTC-USDT-SWAP or BTC-USD-261225", Name, venueSymbol)
	}
	return market.Instrument{Venue: Name, Symbol: canonical, VenueSymbol: venueSymbol}, nil
}

type arg struct {
	Channel string `json:"channel"`
	InstID  string `json:"instId"`
}

// message makes a subscribe or unsubscribe message.
func message(op, id string, symbols []string, channels []string) (venue.Message, error) {
	args := make([]arg, 0, len(symbols)*len(channels))
	for _, symbol := range symbols {
		for _, channel := range channels {
			args = append(args, arg{channel, symbol})
		}
	}
	payload, err := json.Marshal(struct {
		ID   string `json:"id"`
		Op   string `json:"op"`
		Args []arg  `json:"args"`
	}{id, op, args})
	if err != nil {
		return venue.Message{}, fmt.Errorf("%s: making a %s of %d instruments: %w", Name, op, len(symbols), err)
	}
	return venue.Message{Payload: payload, Text: true, RequestID: id, VenueSymbols: symbols}, nil
}

// Connect subscribes ten instruments a message.
func (Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	plan := venue.Plan{Path: "/ws/v5/public"}
	var channels []string
	for _, channel := range s.Channels {
		switch channel {
		case venue.Trades:
			channels = append(channels, "trades")
		case venue.Book:
			channels = append(channels, "books")
		default:
			return plan, fmt.Errorf("%s has no channel %q; it has trades and book", Name, channel)
		}
	}
	symbols := make([]string, 0, len(s.Instruments))
	for _, instrument := range s.Instruments {
		symbols = append(symbols, instrument.VenueSymbol)
	}
	for batch := range slices.Chunk(symbols, instrumentsPerMessage) {
		m, err := message("subscribe", strconv.Itoa(len(plan.Messages)+1), batch, channels)
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

// Resubscribe drops the book of one instrument and subscribes it anew: a snapshot follows. The venue allows letters and
// digits in an id, so the dashes of the symbol are left out.
func (Adapter) Resubscribe(instrument market.Instrument, _ venue.Subscription) []venue.Message {
	name := strings.ReplaceAll(instrument.VenueSymbol, "-", "")
	name = name[:min(len(name), 28)]
	symbols := []string{instrument.VenueSymbol}
	drop, err1 := message("unsubscribe", "drop"+name, symbols, []string{"books"})
	again, err2 := message("subscribe", "sub"+name, symbols, []string{"books"})
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
