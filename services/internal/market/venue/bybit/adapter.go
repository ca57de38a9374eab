// Package bybit is the adapter of Bybit's v5 public WebSocket: spot ("bybit") and the linear contracts ("bybit-linear"),
// which are two endpoints with the same frames.
//
// Sources: the venue's v5 documentation (endpoints, ping every 20 s, 500 connections in 5 minutes, 10 arguments a spot
// subscription, 21,000 characters of arguments a connection, book depths 1, 50, 200 and 1000, u = 1 after a restart of the
// service). It publishes no message rate; ten a second are well within what its own client sends.
package bybit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// Names of the venues in topics.
const (
	Name       = "bybit"
	LinearName = "bybit-linear"
)

// depths that the venue offers; defaultDepth is the one with the most frequent updates (20 ms).
var depths = []int{1, 50, 200, 1000}

const (
	defaultDepth = 50
	maxDepth     = 1000
)

// quotes are the spot market's quote assets.
var quotes = []string{
	"USDT", "USDC", "USDE", "USD1", "USDR", "RLUSD", "XUSD", "DAI", "BTC", "ETH", "SOL", "MNT", "EUR", "GBP", "BRL", "BRZ", "PLN", "TRY", "ARS", "GEL", "KZT",
}

// Adapter is one of Bybit's markets.
type Adapter struct{ linear bool }

// New returns the adapter of the spot market.
func New() Adapter { return Adapter{} }

// NewLinear returns the adapter of the linear contracts.
func NewLinear() Adapter { return Adapter{linear: true} }

// Name is the venue's name in topics.
func (a Adapter) Name() string {
	if a.linear {
		return LinearName
	}
	return Name
}

// WebSocketURL is the live endpoint; the market is the plan's path.
func (Adapter) WebSocketURL() string { return "wss://stream.bybit.com" }

// RESTURL is the live endpoint; nothing is fetched from it.
func (Adapter) RESTURL() string { return "https://api.bybit.com" }

// Limits are the published ones; 500 topics of the longest kind are 20,000 characters.
func (Adapter) Limits() venue.Limits {
	return venue.Limits{MessagesPerSecond: 10, ConnectionsPerMinute: 100, StreamsPerConnection: 500}
}

// Liveness: the venue asks for a ping every 20 s; its pong is the sign of life.
func (Adapter) Liveness() venue.Liveness {
	return venue.Liveness{IdleTimeout: 40 * time.Second, Ping: []byte(`{"op":"ping"}`), PingAfter: 20 * time.Second}
}

// Instrument finds the venue's spelling of a canonical symbol. Linear: BTC-USDT-PERP is BTCUSDT, BTC-USDC-PERP is BTCPERP,
// BTC-USDT-20261225 is BTCUSDT-25DEC26, BTC-USDC-20261225 is BTC-25DEC26.
func (a Adapter) Instrument(symbol string) (market.Instrument, error) {
	s, err := market.ParseSymbol(symbol)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("%s: %w", a.Name(), err)
	}
	spelled := s.Base + s.Quote
	switch {
	case !a.linear && s.Contract != "":
		return market.Instrument{}, fmt.Errorf("%s trades spot only: %s is a contract; the venue %s has those", Name, symbol, LinearName)
	case a.linear && s.Contract == "":
		return market.Instrument{}, fmt.Errorf("%s trades contracts only: write %s-PERP or a day of delivery; spot is the venue %s", LinearName, symbol, Name)
	case a.linear:
		if spelled, err = spellLinear(s); err != nil {
			return market.Instrument{}, err
		}
	}
	back, err := a.FromVenue(spelled)
	if err == nil && back.Symbol != symbol {
		err = fmt.Errorf("%s spells %s %s, which reads back as %s: the quote asset is not known to this build (or the symbol is not in capitals)", a.Name(), symbol, spelled, back.Symbol)
	}
	if err != nil {
		return market.Instrument{}, err
	}
	return back, nil
}

func spellLinear(s market.Symbol) (string, error) {
	pair := s.Base
	switch s.Quote {
	case "USDT":
		pair += "USDT"
	case "USDC":
		if s.Contract == market.Perpetual {
			return s.Base + market.Perpetual, nil
		}
	default:
		return "", fmt.Errorf("%s settles in USDT or USDC, not in %s: %v", LinearName, s.Quote, s)
	}
	if s.Contract == market.Perpetual {
		return pair, nil
	}
	day, err := time.Parse("20060102", s.Contract)
	if err != nil {
		return "", fmt.Errorf("%s: %v: %w", LinearName, s, err)
	}
	return pair + "-" + strings.ToUpper(day.Format("02Jan06")), nil
}

// FromVenue finds the canonical symbol of the venue's spelling.
func (a Adapter) FromVenue(venueSymbol string) (market.Instrument, error) {
	s, ok := market.Symbol{}, false
	if a.linear {
		s, ok = readLinear(venueSymbol)
	} else {
		s.Base, s.Quote, ok = market.SplitPair(venueSymbol, quotes, nil, nil)
	}
	if _, err := market.ParseSymbol(s.String()); !ok || err != nil || strings.ToUpper(venueSymbol) != venueSymbol {
		return market.Instrument{}, fmt.Errorf("%s: symbol %.64q is not an asset and a known quote asset in capitals; a new quote asset is to be added to the venue's list", a.Name(), venueSymbol)
	}
	return market.Instrument{Venue: a.Name(), Symbol: s.String(), VenueSymbol: venueSymbol}, nil
}

func readLinear(venueSymbol string) (market.Symbol, bool) {
	pair, day, dated := strings.Cut(venueSymbol, "-")
	s := market.Symbol{Base: pair, Quote: "USDC", Contract: market.Perpetual}
	if dated {
		at, err := time.Parse("02Jan06", day)
		if err != nil {
			return s, false
		}
		s.Contract = at.Format("20060102")
	}
	if base, ok := strings.CutSuffix(pair, "USDT"); ok {
		s.Base, s.Quote = base, "USDT"
		return s, true
	}
	if dated {
		return s, true
	}
	base, ok := strings.CutSuffix(pair, market.Perpetual)
	s.Base = base
	return s, ok
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
	return 0, fmt.Errorf("bybit offers book depths up to %d, not %d", maxDepth, wanted)
}

func bookTopic(depth int, symbol string) string {
	return "orderbook." + strconv.Itoa(depth) + "." + symbol
}

// message makes a subscribe or unsubscribe message of one symbol.
func message(op, id, symbol string, topics []string) (venue.Message, error) {
	payload, err := json.Marshal(struct {
		ReqID string   `json:"req_id"`
		Op    string   `json:"op"`
		Args  []string `json:"args"`
	}{id, op, topics})
	if err != nil {
		return venue.Message{}, fmt.Errorf("bybit: making a %s of %s: %w", op, symbol, err)
	}
	return venue.Message{Payload: payload, Text: true, RequestID: id, VenueSymbols: []string{symbol}}, nil
}

// Connect subscribes one symbol a message: a topic that does not exist refuses its whole message.
func (a Adapter) Connect(s venue.Subscription) (venue.Plan, error) {
	plan := venue.Plan{Path: "/v5/public/spot"}
	if a.linear {
		plan.Path = "/v5/public/linear"
	}
	depth, err := legalDepth(s.Depth)
	if err != nil {
		return plan, err
	}
	for _, instrument := range s.Instruments {
		var topics []string
		for _, channel := range s.Channels {
			switch channel {
			case venue.Trades:
				topics = append(topics, "publicTrade."+instrument.VenueSymbol)
			case venue.Book:
				topics = append(topics, bookTopic(depth, instrument.VenueSymbol))
			default:
				return plan, fmt.Errorf("%s has no channel %q; it has trades and book", a.Name(), channel)
			}
		}
		m, err := message("subscribe", strconv.Itoa(len(plan.Messages)+1), instrument.VenueSymbol, topics)
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

// Resubscribe drops the book of one symbol and subscribes it anew: a snapshot follows.
func (Adapter) Resubscribe(instrument market.Instrument, s venue.Subscription) []venue.Message {
	depth, err := legalDepth(s.Depth)
	if err != nil {
		return nil
	}
	symbol := instrument.VenueSymbol
	topics := []string{bookTopic(depth, symbol)}
	drop, err1 := message("unsubscribe", "unsubscribe-"+symbol, symbol, topics)
	again, err2 := message("subscribe", "resubscribe-"+symbol, symbol, topics)
	if err1 != nil || err2 != nil {
		return nil
	}
	return []venue.Message{drop, again}
}

// NewInspector makes an inspector for one connection.
func (Adapter) NewInspector() venue.Inspector { return NewInspector() }

// NewDecoder makes a decoder for one goroutine.
func (a Adapter) NewDecoder() venue.Decoder { return NewDecoder(a.FromVenue) }

// NewRenderer speaks as the venue.
func NewRenderer() venue.Renderer { return &Renderer{} }
