package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// Topics of the parser.
const (
	topicFrames = "raw-frames"
	topicTrades = "raw-trades"
	topicBooks  = "raw-orderbooks"
	topicGaps   = "feed-gaps"
)

// causeVenue is the cause of a standstill at a venue that this build does not know.
const causeVenue = "venue"

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
	source   *source
	// limits are the largest records that topics take, in bytes of key and value; 0: what the client takes.
	limits map[string]int
	rules  fieldRules

	decoders map[string]*venueDecoder
	last     *venueDecoder
	frame    records.Frame
	events   venue.Events
	buffer   []byte
	keys     map[*market.Instrument][]byte
	tally    recordTally
	// dead counts the batch's records that left a dead letter.
	dead int64
	// only is the one item that a replay wants of a record, or records.WholeRecord.
	only int32
}

// venueDecoder is what one venue's frames need.
type venueDecoder struct {
	name    string
	adapter venue.Adapter
	decoder venue.Decoder
	tally   *venueTally
}

func newParser(ids schemaIDs, frames *frameReader) *Parser {
	return &Parser{ids: ids, frames: frames, decoders: map[string]*venueDecoder{}, keys: map[*market.Instrument][]byte{}, only: records.WholeRecord}
}

// Handle parses a batch. An error means that nothing of the batch may be committed: the cause is not in the records.
func (p *Parser) Handle(ctx context.Context, batch []kafka.Record, out kafka.Output) error {
	if err := p.source.follow(ctx, batch); err != nil {
		return err
	}
	defer p.flush()
	p.dead = 0
	for i := range batch {
		r := &batch[i]
		if err := p.record(ctx, r, out); err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	if err := p.flood.Admit(topicFrames, int64(len(batch)), p.dead); err != nil {
		return err
	}
	p.source.done(batch)
	return nil
}

// flush tells Prometheus what the batch came to.
func (p *Parser) flush() {
	for _, v := range p.decoders {
		v.tally.flush()
	}
}

// record parses one record and counts it, once however often its transaction is repeated.
func (p *Parser) record(ctx context.Context, r *kafka.Record, out kafka.Output) error {
	p.tally = recordTally{}
	v, err := p.parse(ctx, r, out)
	if err != nil {
		return err
	}
	if p.tally.letters > 0 {
		p.dead++
	}
	if !p.source.fresh(r) {
		return nil
	}
	p.source.count(r)
	if v != nil {
		v.tally.add(&p.tally)
	}
	if p.tally.letters > 0 {
		p.metrics.deadLetters.WithLabelValues(p.tally.letter).Add(float64(p.tally.letters))
	}
	return nil
}

// parse produces what a record holds. The decoder is nil where the record could not even be read.
func (p *Parser) parse(ctx context.Context, r *kafka.Record, out kafka.Output) (*venueDecoder, error) {
	body, err := p.frames.read(ctx, r.Value, &p.frame)
	if err == nil {
		err = p.rules.frame.Judge(body, r, !p.source.fresh(r))
	}
	if err != nil {
		return nil, p.unread(r, out, err)
	}
	v, err := p.venue(p.frame.Venue)
	if err != nil {
		return nil, err
	}
	coordinates := records.Coordinates{TopicID: p.source.id, Partition: r.Partition, Offset: r.Offset}
	switch p.frame.Kind {
	case records.FrameData:
		return v, p.decode(r, out, v, venue.WebSocketFrame, coordinates)
	case records.FrameRESTSnapshot:
		return v, p.decode(r, out, v, venue.RESTSnapshot, coordinates)
	case records.FrameGap:
		return v, p.gap(r, out, v, coordinates)
	case records.FrameOpen, records.FrameClose:
		p.tally.connection = p.frame.Kind.String()
	default:
		// A kind that came after this build: the frame stays in raw-frames, and a newer build can read it again.
		p.tally.unknown = "envelope:" + p.frame.Kind.String()
	}
	return v, nil
}

// unread diverts a value that cannot be read or that a rule of its contract diverts, or blocks where that is not the value's fault.
func (p *Parser) unread(r *kafka.Record, out kafka.Output, err error) error {
	bad, err := blamed(err)
	if bad != nil {
		return p.divert(r, out, records.WholeRecord, bad.Class, bad.Cause)
	}
	return err
}

// venue finds the decoder of a venue. A venue that this build does not know blocks the partition: the loader is ahead
// of the parser, and nothing is wrong with the record.
func (p *Parser) venue(name string) (*venueDecoder, error) {
	if p.last != nil && p.last.name == name {
		return p.last, nil
	}
	v, ok := p.decoders[name]
	if !ok {
		adapter, err := p.adapters(name)
		if err != nil {
			return nil, &subscription.BlockedError{Cause: causeVenue, Err: fmt.Errorf("this build has no adapter for venue %q; deploy a parser that knows it: %w", name, err)}
		}
		v = &venueDecoder{name: name, adapter: adapter, decoder: adapter.NewDecoder(), tally: newVenueTally(p.metrics, name)}
		p.decoders[name] = v
	}
	p.last = v
	return v, nil
}

func (p *Parser) decode(r *kafka.Record, out kafka.Output, v *venueDecoder, kind venue.FrameKind, c records.Coordinates) error {
	p.events.Reset()
	frame := venue.Frame{Kind: kind, VenueSymbol: p.frame.VenueSymbol, Request: p.frame.Request, Payload: p.frame.Payload}
	if err := v.decoder.Decode(frame, &p.events); err != nil {
		return p.refuse(r, out, v, venue.BadItem{Item: records.WholeRecord, Err: err}, c)
	}
	if p.only != records.WholeRecord {
		p.events.Only(p.only)
	}
	bad := p.events.Bad
	if len(bad) > 1 && len(bad)*len(r.Value) > maxItemLetters {
		return p.refuseAll(r, out, v, c)
	}
	p.tally.decoded, p.tally.ignored, p.tally.unknown = 1, p.events.Ignored, p.events.Unknown
	for i := range p.events.Trades {
		if err := p.trade(r, out, &p.events.Trades[i], c); err != nil {
			return err
		}
	}
	for i := range p.events.Books {
		// In the order of the frame: a snapshot mends what was bad before it, not what was bad after it.
		for len(bad) > 0 && bad[0].Item < p.events.Books[i].Item {
			if err := p.refuse(r, out, v, bad[0], c); err != nil {
				return err
			}
			bad = bad[1:]
		}
		if err := p.book(r, out, &p.events.Books[i], c); err != nil {
			return err
		}
	}
	for i := range bad {
		if err := p.refuse(r, out, v, bad[i], c); err != nil {
			return err
		}
	}
	return nil
}

func (p *Parser) trade(r *kafka.Record, out kafka.Output, t *market.Trade, c records.Coordinates) error {
	p.buffer = registry.AppendWireHeader(p.buffer[:0], p.ids.trade)
	p.buffer = records.AppendTrade(p.buffer, t, p.frame.ReceivedAt, c)
	bad, err := p.produce(r, out, topicTrades, p.rules.trade, p.key(t.Instrument), &p.tally.trades)
	if err != nil {
		return fmt.Errorf("producing a trade of %s from item %d: %w", t.Instrument.Symbol, t.Item, err)
	}
	if bad != nil {
		return p.divertMade(r, out, t.Item, bad)
	}
	return nil
}

func (p *Parser) book(r *kafka.Record, out kafka.Output, b *market.Book, c records.Coordinates) error {
	p.buffer = registry.AppendWireHeader(p.buffer[:0], p.ids.book)
	p.buffer = records.AppendBook(p.buffer, b, p.frame.ReceivedAt, c)
	bad, err := p.produce(r, out, topicBooks, p.rules.book, p.key(b.Instrument), &p.tally.books)
	if err != nil {
		return fmt.Errorf("producing a book event of %s from item %d: %w", b.Instrument.Symbol, b.Item, err)
	}
	if bad == nil {
		return nil
	}
	if err := p.divertMade(r, out, b.Item, bad); err != nil {
		return err
	}
	c.Item = b.Item
	return p.bookLost(r, out, b.Instrument, bad.Cause, c)
}

// timestamp is the frame's, which everything made of it inherits; one without has -1, and what is made of it is of now.
func timestamp(r *kafka.Record) int64 { return max(r.TimestampMs, 0) }

// recordOverhead is the most bytes that a broker counts beside key and value: of the batch, the record and the header producer.
const recordOverhead = 1024

// produce sends the record in the buffer and counts it. One that its topic never takes (a book of a frame near the size
// limit, a trade with an endless id), or that a rule of its contract diverts, comes back as bad, for the caller to divert: the
// broker's refusal would undo the transaction again and again and hold up the partition for good.
func (p *Parser) produce(r *kafka.Record, out kafka.Output, topic string, rules *subscription.Rules, key []byte, count *int64) (bad *subscription.BadRecord, err error) {
	if size, limit := len(key)+len(p.buffer)+recordOverhead, p.limits[topic]; limit > 0 && size > limit {
		return &subscription.BadRecord{Class: deadletters.TooLarge, Cause: fmt.Errorf("a record of %d bytes for %s, which takes %d: %w", size, topic, limit, kafka.ErrTooLarge)}, nil
	}
	if err := rules.Judge(p.buffer[registry.HeaderSize:], r, !p.source.fresh(r)); err != nil {
		return blamed(err)
	}
	err = out.Produce(topic, key, p.buffer, timestamp(r), nil)
	switch {
	case err == nil:
		*count++
		return nil, nil
	case errors.Is(err, kafka.ErrTooLarge):
		return &subscription.BadRecord{Class: deadletters.TooLarge, Cause: err}, nil
	}
	return nil, &subscription.BlockedError{Cause: subscription.CauseOutput, Err: err}
}

// blamed tells what is the record's fault from what is not.
func blamed(err error) (*subscription.BadRecord, error) {
	var bad *subscription.BadRecord
	if errors.As(err, &bad) {
		return bad, nil
	}
	return nil, err
}

// standsForTheRest begins the error of a letter of a whole record of which some items were produced.
const standsForTheRest = "too many items are refused for a letter each"

// divertMade diverts what was made of an item. When the letters of a frame would come to more than is written of one, for each
// holds the frame, one of the whole record stands for the items that are left.
func (p *Parser) divertMade(r *kafka.Record, out kafka.Output, item int32, bad *subscription.BadRecord) error {
	switch {
	case p.tally.letters == 0 || int(p.tally.letters+1)*len(r.Value) <= maxItemLetters:
		return p.divert(r, out, item, bad.Class, bad.Cause)
	case p.tally.rest:
		return nil
	}
	p.tally.rest = true
	return p.divert(r, out, records.WholeRecord, bad.Class, fmt.Errorf("%s; from item %d on this one stands for them: %w", standsForTheRest, item, bad.Cause))
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

// maxItemLetters bounds what the letters of one frame's items come to in bytes, for each holds the whole frame.
const maxItemLetters = 32 << 20

// refuse diverts an item, or the whole frame, and tells of the book that lacks it.
func (p *Parser) refuse(r *kafka.Record, out kafka.Output, v *venueDecoder, bad venue.BadItem, c records.Coordinates) error {
	class := deadletters.BadItem
	if bad.Item == records.WholeRecord {
		class = deadletters.BadFrame
	}
	if err := p.divert(r, out, bad.Item, class, bad.Err); err != nil {
		return err
	}
	var book *venue.BookError
	if !errors.As(bad.Err, &book) {
		return nil
	}
	instrument, err := v.adapter.FromVenue(book.VenueSymbol)
	if err != nil {
		return nil //nolint:nilerr // The symbol is what is bad: nobody keeps a book of it.
	}
	c.Item = max(bad.Item, 0)
	return p.bookLost(r, out, &instrument, bad.Err, c)
}

// refuseAll diverts a frame with more bad items than letters can be written of, as a whole and once: nothing of it is
// produced, and every book that it would have changed is told of.
func (p *Parser) refuseAll(r *kafka.Record, out kafka.Output, v *venueDecoder, c records.Coordinates) error {
	bad := p.events.Bad
	cause := fmt.Errorf("%d items are bad, too many for a letter each; the first: %w", len(bad), bad[0].Err)
	if err := p.divert(r, out, records.WholeRecord, deadletters.BadFrame, cause); err != nil {
		return err
	}
	lost := map[string]market.Instrument{}
	for i := range p.events.Books {
		instrument := p.events.Books[i].Instrument
		lost[instrument.Symbol] = *instrument
	}
	var book *venue.BookError
	for i := range bad {
		if !errors.As(bad[i].Err, &book) {
			continue
		}
		if instrument, err := v.adapter.FromVenue(book.VenueSymbol); err == nil {
			lost[instrument.Symbol] = instrument
		}
	}
	for _, symbol := range slices.Sorted(maps.Keys(lost)) {
		instrument := lost[symbol]
		if err := p.bookLost(r, out, &instrument, cause, c); err != nil {
			return err
		}
	}
	return nil
}

// bookLost tells of an event of a book that went to dead letters: those are not replayed into books, so that the book is
// broken until its next snapshot.
func (p *Parser) bookLost(r *kafka.Record, out kafka.Output, instrument *market.Instrument, cause error, c records.Coordinates) error {
	from, one := time.UnixMicro(p.frame.ReceivedAt), int64(1)
	gap := market.Gap{Channel: string(venue.Book), Reason: market.GapDeadLetter, Detail: bounded(cause.Error()), From: &from, Missing: &one}
	return p.symbolGap(r, out, &gap, instrument, c)
}

// maxDetail bounds the words of a gap, in bytes.
const maxDetail = 1024

func bounded(text string) string {
	if len(text) > maxDetail {
		return strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// divert writes a dead letter into the same transaction as everything else.
func (p *Parser) divert(r *kafka.Record, out kafka.Output, item int32, class string, cause error) error {
	key, value := p.letters.Letter(*r, p.source.id, item, class, cause)
	if err := out.Produce(deadletters.Topic, []byte(key), value, timestamp(r), nil); err != nil {
		return &subscription.BlockedError{Cause: subscription.CauseOutput, Err: fmt.Errorf("producing a dead letter: %w", err)}
	}
	p.tally.letters++
	p.tally.letter = class
	if p.source.fresh(r) {
		p.log.Warn("dead letter", "class", class, "partition", r.Partition, "offset", r.Offset, "item", item, "error", cause.Error())
	}
	return nil
}
