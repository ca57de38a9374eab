// Package venue is the small interface behind which each exchange stands. One folder below it is one venue's adapter:
// what the loader must know to hold a connection (Adapter, Inspector), what the parser must know to read its frames
// (Decoder), and what a test or the simulator must know to speak as the venue (Renderer).
package venue

import (
	"net/http"
	"slices"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
)

// Channel is a kind of data that a feed subscribes to.
type Channel string

// Channels of a feed.
const (
	Trades Channel = "trades"
	Book   Channel = "book"
)

// Subscription is what one connection of a feed asks a venue for.
type Subscription struct {
	Instruments []market.Instrument
	Channels    []Channel
	Depth       int // book depth where the venue has a choice; 0: the adapter's default
}

// Message is one message that the loader sends after connecting, within the venue's limits.
type Message struct {
	Payload []byte
	// Text false means a WebSocket binary message; every venue so far speaks text.
	Text bool
	// RequestID is what the venue's answer carries back, as text; empty where the venue has none.
	RequestID string
	// VenueSymbols that the message subscribes, so that a refusal can be blamed on them.
	VenueSymbols []string
}

// Plan is how to open one connection.
type Plan struct {
	// Path with query, appended to the WebSocket endpoint ("/stream?streams=…" or "").
	Path string
	// Messages to send after opening, in order.
	Messages []Message
}

// Limits are the venue's published limits.
type Limits struct {
	MessagesPerSecond    float64       // that a client may send on one connection, pings and pongs counted
	ConnectionsPerMinute float64       // new connections from one address
	StreamsPerConnection int           // subscriptions on one connection; 0: no limit known
	MaxConnectionAge     time.Duration // the venue cuts at this age; 0: never
	RESTWeightPerMinute  int           // request weight budget; 0: no REST snapshots
}

// Liveness is how one knows that a connection of this venue is dead.
type Liveness struct {
	// IdleTimeout without ANY frame or control frame (WebSocket ping) means dead. It follows the venue's own heartbeat,
	// never the activity of a market: a healthy book can be silent for many seconds.
	IdleTimeout time.Duration
	// Ping is the application message to send after PingAfter of silence; nil: none.
	Ping      []byte
	PingAfter time.Duration
}

// SnapshotRequest is a REST call whose body is published as REST_SNAPSHOT.
type SnapshotRequest struct {
	Path   string // "/api/v3/depth?symbol=BTCUSDT&limit=5000", appended to the REST endpoint
	Weight int
}

// Adapter is a venue as the loader sees it. Implementations hold no state and are safe for concurrent use.
type Adapter interface {
	// Name is the venue's name in topics: "binance", "binance-usdm", "kraken", "coinbase", "okx", "bybit", "bybit-linear".
	Name() string
	// WebSocketURL and RESTURL are the live venue's endpoints, without a trailing slash.
	WebSocketURL() string
	RESTURL() string
	Limits() Limits
	Liveness() Liveness
	// Instrument finds the venue's spelling of a canonical symbol.
	Instrument(symbol string) (market.Instrument, error)
	// FromVenue finds the canonical symbol of the venue's spelling.
	FromVenue(venueSymbol string) (market.Instrument, error)
	// Connect says how to open a connection for s.
	Connect(s Subscription) (Plan, error)
	// Snapshot says how to fetch a book by REST; false where the venue sends snapshots on the WebSocket.
	Snapshot(instrument market.Instrument, s Subscription) (SnapshotRequest, bool)
	// UsedWeight reads the budget that a REST answer reports; false where the venue reports none.
	UsedWeight(h http.Header) (int, bool)
	// Resubscribe says how to get a fresh book of one instrument on the open connection; nil where REST is the way.
	Resubscribe(instrument market.Instrument, s Subscription) []Message
	// NewInspector makes an inspector for one connection.
	NewInspector() Inspector
	// NewDecoder makes a decoder for one goroutine.
	NewDecoder() Decoder
}

// Class is what a frame is to the loader.
type Class uint8

// Classes of frames.
const (
	Data         Class = iota // market data of a symbol
	Heartbeat                 // the venue's sign of life
	Acknowledged              // a subscription was accepted
	Refused                   // a subscription was refused
	Notice                    // status and the like
	GoingAway                 // the venue announces that it will close this connection
	Other                     // not understood; published all the same
)

// Inspection is what the loader needs to know of a frame, found with as little parsing as possible.
type Inspection struct {
	Class   Class
	Channel Channel // Trades, Book or empty
	// VenueSymbol points into the frame, or into the inspector until its next call; empty where the frame names none.
	VenueSymbol []byte
	// Snapshot says that the frame is a whole book.
	Snapshot bool
	// Request is the envelope's request for this frame ("depth=25" on a Kraken snapshot); empty: none.
	Request string
	// RequestID and Error belong to Acknowledged and Refused.
	RequestID string
	Error     string
	// FirstID and LastID are the trade or update ids of the frame, for rotation (each id is published once) and for
	// continuity; !Valid where the venue has none.
	FirstID, LastID market.OptInt
	// PreviousID is the id that must have come before, where the venue says it.
	PreviousID market.OptInt
}

// SequenceGap is a hole between two frames of one symbol and channel.
type SequenceGap struct {
	VenueSymbol  string
	Channel      Channel
	FromID, ToID string
	Missing      market.OptInt
	Detail       string
}

// Inspector looks at the frames of one connection, in order. Not safe for concurrent use.
type Inspector interface {
	// Inspect fills in for the frame. It never fails: what it cannot read is Other.
	Inspect(frame []byte, in *Inspection)
	// Continuity reports the hole before the frame last inspected, by the venue's own rule; nil when it follows.
	// A snapshot, and the first frame of a symbol, start anew.
	Continuity(in *Inspection) *SequenceGap
}

// FrameKind is what the envelope says of a payload that a decoder is asked to read.
type FrameKind uint8

// Kinds that a decoder sees; the others are the parser's own.
const (
	WebSocketFrame FrameKind = iota
	RESTSnapshot
)

// Frame is what a decoder reads.
type Frame struct {
	Kind        FrameKind
	VenueSymbol string // from the envelope; needed for a REST snapshot, whose body names no symbol
	Request     string // from the envelope
	Payload     []byte
}

// BadItem is one item of a frame that could not be read while its siblings could.
type BadItem struct {
	Item int32
	Err  error
}

// Events is what a frame holds. It is reused: Reset keeps the memory.
type Events struct {
	Trades []market.Trade
	Books  []market.Book
	Bad    []BadItem
	// Ignored is the kind of a frame that is known and holds nothing for a product ("heartbeat", "bookTicker").
	Ignored string
	// Unknown is the kind of a frame that this build does not know; it is counted by kind.
	Unknown string
	// Levels is the arena behind Bids and Asks.
	Levels []market.Level
}

// Reset empties e and keeps its memory.
func (e *Events) Reset() {
	e.Trades, e.Books, e.Bad, e.Levels = e.Trades[:0], e.Books[:0], e.Bad[:0], e.Levels[:0]
	e.Ignored, e.Unknown = "", ""
}

// Only leaves what is at one position of the frame.
func (e *Events) Only(item int32) {
	e.Trades = slices.DeleteFunc(e.Trades, func(t market.Trade) bool { return t.Item != item })
	e.Books = slices.DeleteFunc(e.Books, func(b market.Book) bool { return b.Item != item })
	e.Bad = slices.DeleteFunc(e.Bad, func(b BadItem) bool { return b.Item != item })
}

// Decoder reads a venue's frames. Not safe for concurrent use.
type Decoder interface {
	// Decode appends what the frame holds to ev. An error means that the whole frame is bad.
	Decode(frame Frame, ev *Events) error
}

// Renderer speaks as the venue: what Decode would read back. Each adapter has one, for the property tests and the simulator.
type Renderer interface {
	// AppendTrades renders trades of one instrument as frames (one each, or as many a frame as the venue does), calling
	// emit with each frame; the bytes are valid during the call.
	AppendTrades(trades []market.Trade, priceScale, quantityScale int32, emit func([]byte))
	// AppendBook renders one book event of one instrument as a WebSocket frame, or as a REST body for a snapshot of a
	// venue whose snapshots come by REST; rest says which it was.
	AppendBook(dst []byte, b *market.Book) (frame []byte, rest bool)
}
