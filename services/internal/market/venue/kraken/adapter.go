// Package kraken is the adapter of Kraken's spot market over its WebSocket v2.
//
// Sources: the venue's WebSocket v2 documentation (book depths, acknowledgements a symbol, heartbeat about once a second,
// checksum) and its statement that the message rate is limited dynamically, so that no number is published.
package kraken

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Name is the venue's name in topics.
const Name = "kraken"

// depths that the venue offers; defaultDepth is used when a subscription names none.
var depths = []int{10, 25, 100, 500, 1000}

const defaultDepth = 100

// requests are the envelope's request of a snapshot by its depth; 0, an unknown depth, has none.
var requests = map[int]string{10: "depth=10", 25: "depth=25", 100: "depth=100", 500: "depth=500", 1000: "depth=1000"}

// symbolsPerMessage keeps a message small; the venue answers for every symbol.
const symbolsPerMessage = 50

// Resubscriptions have ids of their own, above those of the first subscriptions.
const (
	unsubscribeID = 1 << 32
	subscribeID   = 2 << 32
)

// requestedDepth reads "depth=25"; anything else is 0.
func requestedDepth(request string) int64 {
	text, ok := strings.CutPrefix(request, "depth=")
	if !ok {
		return 0
	}
	depth, err := strconv.ParseInt(text, 10, 32)
	if err != nil || depth < 0 {
		return 0
	}
	return depth
}

// Adapter is Kraken.
type Adapter struct{}

// New returns the adapter.
func New() Adapter { return Adapter{} }

// Name is the venue's name in topics.
func (Adapter) Name() string { return Name }

// WebSocketURL is the live endpoint; the protocol's version is the plan's path.
func (Adapter) WebSocketURL() string { return "wss://ws.kraken.com" }

// RESTURL is the live endpoint; nothing is fetched from it.
func (Adapter) RESTURL() string { return "https://api.kraken.com" }

// Limits: the venue publishes no message rate; five a second stay clear of its dynamic limit. About 150 connections in 10
// minutes are let in from one address.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{MessagesPerSecond: 5, ConnectionsPerMinute: 15}
}

// Liveness: heartbeats come about once a second whatever the markets do, so 10 s of nothing at all is a dead connection.
func (Adapter) Liveness() venue.Liveness {
	return venue.Liveness{IdleTimeout: 10 * time.Second, Ping: []byte(`{"method":"ping"}`), PingAfter: 5 * time.Second}
}

// Instrument finds the venue's spelling of a canonical symbol: BTC-USD is BTC/USD.
func (Adapter) Instrument(symbol string) (market.Instrument, error) {
	s, err := market.ParseSymbol(symbol)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", Name, err)
	}
	if s.Contract != "" {
		return market.Instrument{}, fmt.Errorf("%s: this adapter speaks to the spot market; %s is a contract", Name, symbol)
	}
	return fromVenue(s.Base + "/" + s.Quote)
}

// FromVenue finds the canonical symbol of the venue's spelling.
func (Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	return fromVenue(venueSymbol)
}

func fromVenue(venueSymbol string) (market.Instrument, error) {
	base, quote, ok := strings.Cut(venueSymbol, "/")
	s := market.Symbol{Base: base, Quote: quote}
	if _, err := market.ParseSymbol(s.String()); !ok || err != nil {
		return market.Instrument{}, fmt.Errorf("%s: symbol %.64q is not of the form BTC/USD", Name, venueSymbol)
	}
	return market.Instrument{Venue: Name, Symbol: s.String(), VenueSymbol: venueSymbol}, nil
}

// legalDepth is the smallest depth that the venue offers and that suffices.
func legalDepth(wanted int) (int, error) {
	if wanted <= 0 {
		return defaultDepth, nil
	}
	for _, depth := range depths {
		if wanted <= depth {
			return depth, nil
		}
	}
	return 0, fmt.Errorf("%s offers book depths up to %d, not %d", Name, depths[len(depths)-1], wanted)
}

type params struct {
	Channel  string   `json:"channel"`
	Symbol   []string `json:"symbol"`
	Depth    int      `json:"depth,omitempty"`
	Snapshot *bool    `json:"snapshot,omitempty"`
}

// message makes a subscribe or unsubscribe message. Trades are subscribed without the snapshot of earlier ones.
func message(method string, channel venue.Channel, symbols []string, depth int, id int64) (venue.Message, error) {
	wantSnapshot := channel == venue.Book
	p := params{Symbol: symbols}
	switch channel {
	case venue.Book:
		p.Channel, p.Depth = "book", depth
	case venue.Trades:
		p.Channel = "trade"
	default:
		return venue.Message{}, fmt.Errorf("%s has no channel %q; it has trades and book", Name, channel)
	}
	if method == "subscribe" {
		p.Snapshot = &wantSnapshot
	}
	payload, err := json.Marshal(struct {
		Method string `json:"method"`
		Params params `json:"params"`
		ReqID  int64  `json:"req_id"`
	}{method, p, id})
	if err != nil {
		return venue.Message{}, fmt.Errorf("%s: making a %s of %d symbols: %w", Name, method, len(symbols), err)
	}
	return venue.Message{Payload: payload, Text: true, RequestID: strconv.FormatInt(id, 10), VenueSymbols: symbols}, nil
}

// Connect subscribes channel by channel, fifty symbols a message.
func (Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	plan := venue.Plan{Path: "/v2"}
	depth, err := legalDepth(s.Depth)
	if err != nil {
		return plan, err
	}
	symbols := make([]string, 0, len(s.Instruments))
	for _, instrument := range s.Instruments {
		symbols = append(symbols, instrument.VenueSymbol)
	}
	for _, channel := range s.Channels {
		for batch := range slices.Chunk(symbols, symbolsPerMessage) {
			m, err := message("subscribe", channel, batch, depth, int64(len(plan.Messages)+1))
			if err != nil {
				return plan, err
			}
			plan.Messages = append(plan.Messages, m)
		}
	}
	return plan, nil
}

// Snapshot is false: snapshots come on the WebSocket.
func (Adapter) Snapshot(market.Instrument, venue.Subscription) (venue.SnapshotRequest, bool) {
	return venue.SnapshotRequest{}, false
}

// UsedWeight is false: nothing is fetched by REST.
func (Adapter) UsedWeight(http.Header) (int, bool) { return 0, false }

// Resubscribe drops the book of one symbol and subscribes it anew: a snapshot follows. The ids are made of the symbol, so
// that the answers of several at once can be told apart.
func (Adapter) Resubscribe(instrument market.Instrument, s venue.Subscription) []venue.Message {
	depth, err := legalDepth(s.Depth)
	if err != nil {
		return nil
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(instrument.VenueSymbol))
	symbols := []string{instrument.VenueSymbol}
	drop, err1 := message("unsubscribe", venue.Book, symbols, depth, unsubscribeID+int64(hash.Sum32()))
	again, err2 := message("subscribe", venue.Book, symbols, depth, subscribeID+int64(hash.Sum32()))
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
