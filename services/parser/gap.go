package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// allChannels is the channel of a gap that concerns trades and book.
const allChannels = "all"

// parseGap reads the payload of a GAP. One without symbols says of nothing that it is missing, which nobody could act on.
func parseGap(payload []byte) (market.Gap, error) {
	var gap market.Gap
	if err := json.Unmarshal(payload, &gap); err != nil {
		return gap, fmt.Errorf("the payload of a GAP is not the JSON it should be: %w", err)
	}
	if len(gap.VenueSymbols) == 0 {
		return gap, errors.New("a GAP names no symbols")
	}
	if gap.Channel == "" {
		gap.Channel = allChannels
	}
	// What the loader dropped of a feed is this symbol's only where the feed has no other.
	if gap.Missing == nil && gap.Frames > 0 && len(gap.VenueSymbols) == 1 {
		gap.Missing = &gap.Frames
	}
	return gap, nil
}

// gap publishes what a GAP frame names: a feed-gaps record for every symbol, and where the book is concerned a GAP in
// raw-orderbooks, in the symbol's own order.
func (p *Parser) gap(r *kafka.Record, out kafka.Output, v *venueDecoder, c records.Coordinates) error {
	gap, err := parseGap(p.frame.Payload)
	if err != nil {
		return p.divert(r, out, records.WholeRecord, deadletters.BadFrame, err)
	}
	for i, venueSymbol := range gap.VenueSymbols {
		if p.only != records.WholeRecord && p.only != int32(i) {
			continue
		}
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
	return nil
}

func (p *Parser) symbolGap(r *kafka.Record, out kafka.Output, gap *market.Gap, instrument *market.Instrument, c records.Coordinates) error {
	value := records.FeedGap{
		Venue: instrument.Venue, Symbol: instrument.Symbol, VenueSymbol: instrument.VenueSymbol,
		Feed: p.frame.Feed, Channel: gap.Channel,
		FromTime: micros(gap.From), ToTime: micros(gap.To), FromID: gap.FromID, ToID: gap.ToID,
		Reason: gap.Reason, Detail: bounded(gap.Detail), ReceivedAt: p.frame.ReceivedAt, Frame: c,
	}
	if gap.Missing != nil {
		value.Missing = market.Some(*gap.Missing)
	}
	p.buffer = value.AppendAvro(registry.AppendWireHeader(p.buffer[:0], p.ids.gap))
	key := []byte(records.SymbolKey(instrument.Venue, instrument.Symbol))
	bad, err := p.produce(r, out, topicGaps, p.rules.gap, key, &p.tally.gaps)
	if err != nil {
		return fmt.Errorf("producing a gap of %s: %w", instrument.Symbol, err)
	}
	if bad != nil {
		return p.divertMade(r, out, c.Item, bad)
	}
	if gap.Channel == string(venue.Trades) {
		return nil
	}
	p.buffer = registry.AppendWireHeader(p.buffer[:0], p.ids.book)
	p.buffer = records.AppendBook(p.buffer, &market.Book{
		Kind: market.BookGap, Instrument: instrument, GapReason: string(gap.Reason), EventTime: market.NoTime, Item: c.Item,
	}, p.frame.ReceivedAt, c)
	// The instrument lives for this call only, so its key is not one to remember; the gap is counted already.
	if bad, err = p.produce(r, out, topicBooks, p.rules.book, []byte(instrument.Symbol), new(int64)); err != nil {
		return fmt.Errorf("producing a gap of the book of %s: %w", instrument.Symbol, err)
	}
	if bad != nil {
		return p.divertMade(r, out, c.Item, bad)
	}
	return nil
}

func micros(t *time.Time) int64 {
	if t == nil {
		return market.NoTime
	}
	return t.UnixMicro()
}
