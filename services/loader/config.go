package main

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// maxFeeds bounds the slots of one process; a delivery's opaque value has 14 bits for the lane.
const maxFeeds = 4096

// File is the loader's configuration file.
type File struct {
	Feeds []FeedConfig `yaml:"feeds"`
}

// FeedConfig is one slot: a fixed set of symbols of one venue, the unit of order.
type FeedConfig struct {
	// Name of the slot, stable over restarts: it is half of the Kafka key.
	Name string `yaml:"name"`
	// Venue is the adapter's name.
	Venue string `yaml:"venue"`
	// Symbols are canonical ("BTC-USDT").
	Symbols []string `yaml:"symbols"`
	// Channels are "trades" and "book"; none means both.
	Channels []venue.Channel `yaml:"channels"`
	// Depth of the book where the venue has a choice; 0 means the adapter's default.
	Depth int `yaml:"depth"`
	// WebSocket replaces the venue's endpoint. For a replay it is the whole address.
	WebSocket string `yaml:"websocket"`
	// REST replaces the venue's REST endpoint.
	REST string `yaml:"rest"`
	// Replay says that the other end plays a capture: no REST, no rotation, a normal close ends the feed, and the reader
	// waits for room instead of dropping.
	Replay bool `yaml:"replay"`
	// MaxConnectionAge replaces the venue's cut, which rotation stays ahead of ("23h30m"); empty means the venue's own.
	MaxConnectionAge time.Duration `yaml:"max_connection_age"`
}

// Feed is a FeedConfig that was found valid, with what it names looked up.
type Feed struct {
	FeedConfig
	Adapter      venue.Adapter
	Subscription venue.Subscription
}

// ReadFile reads and validates the configuration file at path.
func ReadFile(path string, adapters map[string]venue.Adapter) ([]Feed, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the loader's configuration: %w; give its path with --config", err)
	}
	feeds, err := ParseFile(text, adapters)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return feeds, nil
}

// ParseFile validates the text of a configuration file.
func ParseFile(text []byte, adapters map[string]venue.Adapter) ([]Feed, error) {
	var file File
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not valid: %s", oneLine(yaml.FormatError(err, false, false)))
	}
	if len(file.Feeds) == 0 {
		return nil, fmt.Errorf("feeds: none given; at least one feed with name, venue and symbols is needed")
	}
	if len(file.Feeds) > maxFeeds {
		return nil, fmt.Errorf("feeds: %d given, at most %d fit one process; split them over several loaders", len(file.Feeds), maxFeeds)
	}
	seen := map[string]int{}
	feeds := make([]Feed, 0, len(file.Feeds))
	for i, c := range file.Feeds {
		feed, err := c.resolve(adapters)
		if err != nil {
			return nil, fmt.Errorf("feeds[%d].%w", i, err)
		}
		key := c.Venue + "/" + c.Name
		if before, twice := seen[key]; twice {
			return nil, fmt.Errorf("feeds[%d].name: %q is already the name of feeds[%d] at venue %s; names are unique a venue", i, c.Name, before, c.Venue)
		}
		seen[key] = i
		feeds = append(feeds, feed)
	}
	return feeds, nil
}

func (c FeedConfig) resolve(adapters map[string]venue.Adapter) (Feed, error) {
	if err := c.checkNames(adapters); err != nil {
		return Feed{}, err
	}
	if err := checkURL("websocket", c.WebSocket, "ws", "wss"); err != nil {
		return Feed{}, err
	}
	if err := checkURL("rest", c.REST, "http", "https"); err != nil {
		return Feed{}, err
	}
	if c.Replay && c.WebSocket == "" {
		return Feed{}, fmt.Errorf("websocket: empty; a replay needs the address that plays the capture")
	}
	if c.MaxConnectionAge < 0 {
		return Feed{}, fmt.Errorf("max_connection_age: %s is negative", c.MaxConnectionAge)
	}
	if len(c.Channels) == 0 {
		c.Channels = []venue.Channel{venue.Trades, venue.Book}
	}
	feed := Feed{FeedConfig: c, Adapter: adapters[c.Venue]}
	feed.Subscription = venue.Subscription{Channels: c.Channels, Depth: c.Depth}
	for i, symbol := range c.Symbols {
		instrument, err := feed.Adapter.Instrument(symbol)
		if err != nil {
			return Feed{}, fmt.Errorf("symbols[%d]: %q: %w", i, symbol, err)
		}
		same := func(other market.Instrument) bool { return other.VenueSymbol == instrument.VenueSymbol }
		if slices.ContainsFunc(feed.Subscription.Instruments, same) {
			return Feed{}, fmt.Errorf("symbols[%d]: %q is given twice", i, symbol)
		}
		feed.Subscription.Instruments = append(feed.Subscription.Instruments, instrument)
	}
	if c.Replay {
		return feed, nil // nothing is subscribed
	}
	for _, part := range feed.split() {
		if _, err := feed.Adapter.Connect(part); err != nil {
			return Feed{}, fmt.Errorf("symbols, channels and depth %d: %w", c.Depth, err)
		}
	}
	return feed, nil
}

func (c FeedConfig) checkNames(adapters map[string]venue.Adapter) error {
	if c.Name == "" || strings.ContainsAny(c.Name, "/ \t\n") || len(c.Name) > 128 {
		return fmt.Errorf("name: %q is not a slot's name; 1 to 128 characters without slash and blanks", c.Name)
	}
	if adapters[c.Venue] == nil {
		known := make([]string, 0, len(adapters))
		for name := range adapters {
			known = append(known, name)
		}
		slices.Sort(known)
		return fmt.Errorf("venue: %q is unknown; known are %s", c.Venue, strings.Join(known, ", "))
	}
	if len(c.Symbols) == 0 {
		return fmt.Errorf("symbols: none given")
	}
	for i, channel := range c.Channels {
		if channel != venue.Trades && channel != venue.Book {
			return fmt.Errorf("channels[%d]: %q is unknown; known are trades, book", i, channel)
		}
		if slices.Contains(c.Channels[:i], channel) {
			return fmt.Errorf("channels[%d]: %q is given twice", i, channel)
		}
	}
	if c.Depth < 0 {
		return fmt.Errorf("depth: %d is negative", c.Depth)
	}
	return nil
}

func checkURL(field, value string, schemes ...string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("%s: %q is not an address; expected %s://host:port", field, value, schemes[0])
	}
	return nil
}

// oneLine keeps the first line, where the YAML library names the fault; the excerpt below it does not fit a log line.
func oneLine(s string) string {
	s = strings.TrimSpace(s)
	if line, _, more := strings.Cut(s, "\n"); more {
		return line
	}
	return s
}

// endpoint is the WebSocket address without the plan's path.
func (f *Feed) endpoint() string {
	if f.WebSocket != "" {
		return strings.TrimSuffix(f.WebSocket, "/")
	}
	return f.Adapter.WebSocketURL()
}

// restEndpoint is the REST address without the request's path.
func (f *Feed) restEndpoint() string {
	if f.REST != "" {
		return strings.TrimSuffix(f.REST, "/")
	}
	return f.Adapter.RESTURL()
}

// split cuts the subscription into parts that fit one connection each, by the venue's limit of streams.
func (f *Feed) split() []venue.Subscription {
	limit := f.Adapter.Limits().StreamsPerConnection
	per := len(f.Subscription.Instruments)
	if limit > 0 && !f.Replay {
		per = max(1, limit/len(f.Subscription.Channels))
	}
	var parts []venue.Subscription
	for chunk := range slices.Chunk(f.Subscription.Instruments, per) {
		part := f.Subscription
		part.Instruments = chunk
		parts = append(parts, part)
	}
	return parts
}
