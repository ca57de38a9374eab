package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Topics of the parser.
const (
	topicFrames = "raw-frames"
	topicTrades = "raw-trades"
	topicBooks  = "raw-orderbooks"
	topicGaps   = "feed-gaps"
)

// schemaIDs are the registry's ids of the schemas that this build writes.
type schemaIDs struct {
	trade, book, gap int
}

// Parser turns raw frames into trades, book events and gaps. It keeps no state between records but memory to reuse, so
// that a transaction that is repeated gives the same output.
type Parser struct {
	ids      schemaIDs
	frames   *frameReader
	adapters func(name string) (venue.Adapter, error)
	letters  *deadletters.Writer
	flood    *deadletters.Flood
	metrics  *metrics
	log      *slog.Logger
	topicID  [16]byte

	decoders map[string]*venueDecoder
	frame    records.Frame
	events   venue.Events
	buffer   []byte
	keys     map[*market.Instrument][]byte
}

// venueDecoder is what one venue's frames need.
type venueDecoder struct {
	adapter venue.Adapter
	decoder venue.Decoder
	metrics *venueMetrics
}

// Handle parses a batch. An error means that nothing of the batch may be committed: the cause is not in the record.
func (p *Parser) Handle(ctx context.Context, batch []kafka.Record, out kafka.Output) error {
	var dead int64
	for i := range batch {
		before := p.metrics.deadCount
		if err := p.record(ctx, &batch[i], out); err != nil {
			return err
		}
		if p.metrics.deadCount != before {
			dead++
		}
	}
	p.flood.Add(int64(len(batch)), dead)
	if err := p.flood.Check(topicFrames); err != nil {
		p.metrics.floods.Inc()
		return err
	}
	return nil
}

func (p *Parser) record(ctx context.Context, r *kafka.Record, out kafka.Output) error {
	err := p.frames.read(ctx, r.Value, &p.frame)
	var bad *badRecord
	switch {
	case errors.As(err, &bad):
		return p.divert(r, out, records.WholeRecord, bad.class, bad.cause)
	case err != nil:
		return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	coordinates := records.Coordinates{TopicID: p.topicID, Partition: r.Partition, Offset: r.Offset}
	switch p.frame.Kind {
	case records.FrameData:
		return p.decode(r, out, venue.WebSocketFrame, coordinates)
	case records.FrameRESTSnapshot:
		return p.decode(r, out, venue.RESTSnapshot, coordinates)
	case records.FrameGap:
		return p.gap(r, out, coordinates)
	case records.FrameOpen, records.FrameClose:
		p.metrics.connections.WithLabelValues(p.frame.Venue, p.frame.Kind.String()).Inc()
		return nil
	default:
		// A kind that came after this build: the frame stays in raw-frames, and a newer build can read it again.
		p.metrics.unknownKind(p.frame.Venue, "envelope:"+p.frame.Kind.String())
		return nil
	}
}

// venue finds the decoder of a venue. A venue that this build does not know blocks the partition: the loader is ahead
// of the parser, and nothing is wrong with the record.
func (p *Parser) venue(name string) (*venueDecoder, error) {
	if v, ok := p.decoders[name]; ok {
		return v, nil
	}
	adapter, err := p.adapters(name)
	if err != nil {
		return nil, fmt.Errorf("this build has no adapter for venue %q; deploy a parser that knows it: %w", name, err)
	}
	v := &venueDecoder{adapter: adapter, decoder: adapter.NewDecoder(), metrics: p.metrics.venue(name)}
	p.decoders[name] = v
	return v, nil
}

func (p *Parser) decode(r *kafka.Record, out kafka.Output, kind venue.FrameKind, c records.Coordinates) error {
	v, err := p.venue(p.frame.Venue)
	if err != nil {
		return err
	}
	p.events.Reset()
	frame := venue.Frame{Kind: kind, VenueSymbol: p.frame.VenueSymbol, Request: p.frame.Request, Payload: p.frame.Payload}
	if err := v.decoder.Decode(frame, &p.events); err != nil {
		return p.divert(r, out, records.WholeRecord, deadletters.BadFrame, err)
	}
	v.metrics.frames.Inc()
	if p.events.Ignored != "" {
		p.metrics.ignoredKind(p.frame.Venue, p.events.Ignored)
	}
	if p.events.Unknown != "" {
		p.metrics.unknownKind(p.frame.Venue, p.events.Unknown)
	}
	for i := range p.events.Bad {
		if err := p.divert(r, out, p.events.Bad[i].Item, deadletters.BadItem, p.events.Bad[i].Err); err != nil {
			return err
		}
	}
	for i := range p.events.Trades {
		t := &p.events.Trades[i]
		p.buffer = registry.AppendWireHeader(p.buffer[:0], p.ids.trade)
		p.buffer = records.AppendTrade(p.buffer, t, p.frame.ReceivedAt, c)
		if err := out.Produce(topicTrades, p.key(t.Instrument), p.buffer, r.TimestampMs, nil); err != nil {
			return fmt.Errorf("producing a trade of %s: %w", t.Instrument.Symbol, err)
		}
	}
	v.metrics.trades.Add(float64(len(p.events.Trades)))
	for i := range p.events.Books {
		if err := p.book(r, out, &p.events.Books[i], c); err != nil {
			return err
		}
	}
	v.metrics.books.Add(float64(len(p.events.Books)))
	return nil
}

func (p *Parser) book(r *kafka.Record, out kafka.Output, b *market.Book, c records.Coordinates) error {
	p.buffer = registry.AppendWireHeader(p.buffer[:0], p.ids.book)
	p.buffer = records.AppendBook(p.buffer, b, p.frame.ReceivedAt, c)
	if err := out.Produce(topicBooks, p.key(b.Instrument), p.buffer, r.TimestampMs, nil); err != nil {
		return fmt.Errorf("producing a book event of %s: %w", b.Instrument.Symbol, err)
	}
	return nil
}

// key is the Kafka key of an instrument's records, made once. Decoders intern instruments, within a bound, so the map
// is bounded with them; should it still grow, it is emptied.
func (p *Parser) key(instrument *market.Instrument) []byte {
	if key, ok := p.keys[instrument]; ok {
		return key
	}
	if len(p.keys) >= maxKeys {
		clear(p.keys)
	}
	key := []byte(instrument.Symbol)
	p.keys[instrument] = key
	return key
}

const maxKeys = 1 << 16

// gap publishes what a GAP frame names: a feed-gaps record for every symbol, and where the book is concerned a GAP in
// raw-orderbooks, in the symbol's own order.
func (p *Parser) gap(r *kafka.Record, out kafka.Output, c records.Coordinates) error {
	var gap market.Gap
	if err := json.Unmarshal(p.frame.Payload, &gap); err != nil {
		return p.divert(r, out, records.WholeRecord, deadletters.BadFrame, fmt.Errorf("the payload of a GAP is not the JSON it should be: %w", err))
	}
	v, err := p.venue(p.frame.Venue)
	if err != nil {
		return err
	}
	for i, venueSymbol := range gap.VenueSymbols {
		instrument, err := v.adapter.FromVenue(venueSymbol)
		if err != nil {
			if err := p.divert(r, out, int32(i), deadletters.BadItem, err); err != nil {
				return err
			}
			continue
		}
		c.Item = int32(i)
		if err := p.symbolGap(r, out, &gap, &instrument, c); err != nil {
			return err
		}
	}
	v.metrics.gaps.Add(float64(len(gap.VenueSymbols)))
	return nil
}

func (p *Parser) symbolGap(r *kafka.Record, out kafka.Output, gap *market.Gap, instrument *market.Instrument, c records.Coordinates) error {
	value := records.FeedGap{
		Venue: instrument.Venue, Symbol: instrument.Symbol, VenueSymbol: instrument.VenueSymbol,
		Feed: p.frame.Feed, Channel: gap.Channel,
		FromTime: micros(gap.From), ToTime: micros(gap.To), FromID: gap.FromID, ToID: gap.ToID,
		Reason: gap.Reason, Detail: gap.Detail, ReceivedAt: p.frame.ReceivedAt, Frame: c,
	}
	if gap.Missing != nil {
		value.Missing = market.Some(*gap.Missing)
	}
	p.buffer = value.AppendAvro(registry.AppendWireHeader(p.buffer[:0], p.ids.gap))
	key := []byte(records.SymbolKey(instrument.Venue, instrument.Symbol))
	if err := out.Produce(topicGaps, key, p.buffer, r.TimestampMs, nil); err != nil {
		return fmt.Errorf("producing a gap of %s: %w", instrument.Symbol, err)
	}
	if gap.Channel == string(venue.Trades) {
		return nil
	}
	book := market.Book{
		Kind: market.BookGap, Instrument: instrument, GapReason: string(gap.Reason), EventTime: market.NoTime, Item: c.Item,
	}
	return p.book(r, out, &book, c)
}

func micros(t *time.Time) int64 {
	if t == nil {
		return market.NoTime
	}
	return t.UnixMicro()
}

// divert writes a dead letter into the same transaction as everything else.
func (p *Parser) divert(r *kafka.Record, out kafka.Output, item int32, class string, cause error) error {
	key, value := p.letters.Letter(*r, p.topicID, item, class, cause)
	if err := out.Produce(deadletters.Topic, []byte(key), value, r.TimestampMs, nil); err != nil {
		return fmt.Errorf("producing a dead letter: %w", err)
	}
	p.metrics.dead(class)
	p.log.Warn("dead letter", "class", class, "partition", r.Partition, "offset", r.Offset, "item", item, "error", cause.Error())
	return nil
}
