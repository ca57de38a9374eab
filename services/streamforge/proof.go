//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// proof is what a drained pipeline holds, compared from end to end: what the simulator says it sent, what the topics
// hold, offset by offset, and what the tables hold.
type proof struct {
	// Counts of what the topics and tables hold.
	frames, trades, books    int64
	snapshots, updates, gaps int64
	rows                     int64
	deadLetters              int64
	// restartGaps are GAP frames that a loader wrote at its start.
	restartGaps int64

	// The verdict; rowDoubles are the part of duplicated that stands in tables alone.
	lost, duplicated, rowDoubles int64
	details                      []string

	// from is where each partition stood before this pipeline began: what is older is not its own.
	from map[kafka.TopicPartition]int64

	received       map[payload]int64
	lastSequence   map[feedEpoch]int64
	offsets        map[string]*offsetSet
	tradeSeen      map[records.Coordinates]struct{}
	expectedTrades map[records.Coordinates]struct{}
	expectedBooks  int64

	decoders map[string]venue.Decoder
	events   venue.Events
	frame    records.Frame
	trade    records.Trade
	book     records.Orderbook
}

type feedEpoch struct {
	venue, feed string
	epoch       int64
}

func (p *proof) fault(counter *int64, n int64, format string, args ...any) {
	*counter += n
	p.details = append(p.details, fmt.Sprintf(format, args...))
}

// prove compares the drained pipeline with the simulator's ledger; with live venues, the topics with the tables alone.
func (s *session) prove(ctx context.Context, p *pipeline) (*proof, error) {
	if p.simulator == "" {
		return s.proveAgainst(ctx, nil)
	}
	l, err := readLedger(p.ledger())
	if err != nil {
		return nil, err
	}
	return s.proveAgainst(ctx, l)
}

// proveAgainst reads the topics and the tables and compares them with each other and with what was sent.
func (s *session) proveAgainst(ctx context.Context, sent *ledger) (*proof, error) {
	result := &proof{
		from:     s.from,
		received: map[payload]int64{}, tradeSeen: map[records.Coordinates]struct{}{},
		offsets: map[string]*offsetSet{}, lastSequence: map[feedEpoch]int64{},
		decoders: map[string]venue.Decoder{}, expectedTrades: map[records.Coordinates]struct{}{},
	}
	for _, topic := range provenTopics {
		result.offsets[topic] = newOffsetSet()
	}
	if err := kafka.ReadAll(ctx, s.kafka, provenTopics, result.record); err != nil {
		return nil, fmt.Errorf("reading the topics for the proof: %w", err)
	}
	result.compareFrames()
	if sent != nil {
		result.compareLedger(sent)
	}
	for _, c := range s.contracts {
		if c.Sink == nil {
			continue
		}
		if err := s.compareTable(ctx, result, c.Topic.Name, c.Sink.Table); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// provenTopics are what the pipeline fills.
var provenTopics = []string{"raw-frames", "raw-trades", "raw-orderbooks", "feed-gaps", "dead-letters"}

// markBeginning notes where the topics stand before the pipeline begins; a cluster of one's own may hold older records.
func (s *session) markBeginning(ctx context.Context) error {
	described, err := s.admin.Describe(ctx, provenTopics...)
	if err != nil {
		return err
	}
	var parts []kafka.TopicPartition
	for _, d := range described {
		parts = append(parts, d.TopicPartitions()...)
	}
	ranges, err := s.admin.Offsets(ctx, parts, true)
	if err != nil {
		return err
	}
	s.topicIDs = make(map[string]uuid.UUID, len(described))
	for topic, d := range described {
		s.topicIDs[topic] = d.ID
	}
	s.from = make(map[kafka.TopicPartition]int64, len(ranges))
	for part, r := range ranges {
		s.from[part] = r.Latest
	}
	return nil
}

func (p *proof) older(topic string, partition int32, offset int64) bool {
	return offset < p.from[kafka.TopicPartition{Topic: topic, Partition: partition}]
}

func (p *proof) record(r kafka.Record) error {
	if p.older(r.Topic, r.Partition, r.Offset) {
		return nil
	}
	if set := p.offsets[r.Topic]; set.add(r.Partition, r.Offset) {
		return fmt.Errorf("BUG: the broker gave %s/%d offset %d twice", r.Topic, r.Partition, r.Offset)
	}
	_, body, err := registry.ParseWire(r.Value)
	if err != nil {
		return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	switch r.Topic {
	case "raw-frames":
		return p.rawFrame(r, body)
	case "raw-trades":
		return p.rawTrade(r, body)
	case "raw-orderbooks":
		if err := p.book.DecodeAvro(body); err != nil {
			return err
		}
		switch p.book.Kind {
		case market.BookSnapshot:
			p.snapshots++
		case market.BookUpdate:
			p.updates++
		case market.BookGap:
			if p.book.GapReason == string(market.GapDeadLetter) {
				return nil // It tells of a dead letter, which is counted, and not of an event that could be read.
			}
		}
		p.books++
	case "feed-gaps":
		p.gaps++
	case "dead-letters":
		p.deadLetters++
	}
	return nil
}

// rawFrame counts the venue's bytes and checks that a feed's sequence has no hole.
func (p *proof) rawFrame(r kafka.Record, body []byte) error {
	f := &p.frame
	if err := f.DecodeAvro(body); err != nil {
		return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	slot := feedEpoch{f.Venue, f.Feed, f.LoaderEpoch}
	last, seen := p.lastSequence[slot]
	if !seen {
		last = -1
	}
	if f.Sequence > last+1 {
		p.fault(&p.lost, f.Sequence-last-1, "raw-frames/%d offset %d: sequence %d of feed %s after %d", r.Partition, r.Offset, f.Sequence, f.Feed, last)
	} else if f.Sequence <= last {
		p.fault(&p.duplicated, 1, "raw-frames/%d offset %d: sequence %d of feed %s again, after %d", r.Partition, r.Offset, f.Sequence, f.Feed, last)
	}
	p.lastSequence[slot] = max(last, f.Sequence)
	if f.Kind == records.FrameData || f.Kind == records.FrameRESTSnapshot {
		p.frames++
		p.received[payloadOf(f.Payload)]++
	}
	return p.decode(r)
}

// decode finds with this build's decoders what the parser must have made of a frame. The decoders are the parser's own;
// what is proven is that the pipeline between raw-frames and the products lost and doubled nothing.
func (p *proof) decode(r kafka.Record) error {
	f := &p.frame
	if _, ok := p.decoders[f.Venue]; !ok {
		adapter, err := all.Get(f.Venue)
		if err != nil {
			return err
		}
		p.decoders[f.Venue] = adapter.NewDecoder()
	}
	frame := venue.Frame{VenueSymbol: f.VenueSymbol, Request: f.Request, Payload: f.Payload}
	switch f.Kind {
	case records.FrameData:
	case records.FrameRESTSnapshot:
		frame.Kind = venue.RESTSnapshot
	case records.FrameGap:
		return p.gapFrame()
	default:
		return nil
	}
	p.events.Reset()
	if err := p.decoders[f.Venue].Decode(frame, &p.events); err != nil {
		return nil // it is in the dead letters, which are counted
	}
	at := records.Coordinates{Partition: r.Partition, Offset: r.Offset}
	for i := range p.events.Trades {
		at.Item = p.events.Trades[i].Item
		p.expectedTrades[at] = struct{}{}
	}
	p.expectedBooks += int64(len(p.events.Books))
	return nil
}

func (p *proof) gapFrame() error {
	var gap market.Gap
	if err := json.Unmarshal(p.frame.Payload, &gap); err != nil {
		return fmt.Errorf("the payload of a GAP of feed %s: %w", p.frame.Feed, err)
	}
	if gap.Reason == market.GapLoaderRestart {
		p.restartGaps++
	}
	if gap.Channel != string(venue.Trades) {
		p.expectedBooks += int64(len(gap.VenueSymbols))
	}
	return nil
}

// compareFrames holds the parser's products against what raw-frames holds.
func (p *proof) compareFrames() {
	var missing int64
	for at := range p.expectedTrades {
		if _, ok := p.tradeSeen[at]; !ok {
			missing++
		}
	}
	if missing > 0 {
		p.fault(&p.lost, missing, "%d trades of raw-frames are not in raw-trades", missing)
	}
	if extra := int64(len(p.tradeSeen)) - (int64(len(p.expectedTrades)) - missing); extra > 0 {
		p.fault(&p.duplicated, extra, "%d records of raw-trades name no trade of raw-frames", extra)
	}
	if p.books < p.expectedBooks {
		p.fault(&p.lost, p.expectedBooks-p.books, "raw-frames hold %d book events, raw-orderbooks %d", p.expectedBooks, p.books)
	} else if p.books > p.expectedBooks {
		p.fault(&p.duplicated, p.books-p.expectedBooks, "raw-frames hold %d book events, raw-orderbooks %d", p.expectedBooks, p.books)
	}
}

func (p *proof) rawTrade(r kafka.Record, body []byte) error {
	if err := p.trade.DecodeAvro(body); err != nil {
		return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	p.trades++
	at := p.trade.Frame
	at.TopicID = [16]byte{} // one raw-frames topic is read here
	if _, again := p.tradeSeen[at]; again {
		p.fault(&p.duplicated, 1, "raw-trades/%d offset %d: item %d of raw-frames/%d offset %d again", r.Partition, r.Offset, p.trade.Frame.Item, p.trade.Frame.Partition, p.trade.Frame.Offset)
	}
	p.tradeSeen[at] = struct{}{}
	return nil
}

// compareLedger holds the topics against the simulator's own count, as multisets of the bytes.
func (p *proof) compareLedger(l *ledger) {
	var lost, extra int64
	for key, sent := range l.sent {
		lost += max(0, sent-p.received[key])
	}
	for key, received := range p.received {
		extra += max(0, received-l.sent[key])
	}
	if lost > 0 {
		p.fault(&p.lost, lost, "%d frames of the simulator's ledger (of %d) are not in raw-frames", lost, l.frames)
	}
	if extra > 0 {
		p.fault(&p.duplicated, extra, "%d records of raw-frames (of %d) are more than the simulator's ledger holds", extra, p.frames)
	}
	if l.trades == 0 {
		return // a recording says nothing of what its frames hold
	}
	if missing := l.trades - int64(len(p.tradeSeen)); missing > 0 {
		p.fault(&p.lost, missing, "%d trades of the simulator's ledger (of %d) are not in raw-trades", missing, l.trades)
	} else if missing < 0 {
		p.fault(&p.duplicated, -missing, "raw-trades holds %d trades, the simulator's ledger %d", len(p.tradeSeen), l.trades)
	}
}

// compareTable holds a table against its topic, offset by offset.
func (s *session) compareTable(ctx context.Context, p *proof, topic, table string) error {
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf("SELECT _partition, _offset FROM %s WHERE _topic_id = '%s'", table, s.topicIDs[topic]))
	if err != nil {
		return fmt.Errorf("reading table %s for the proof: %w", table, err)
	}
	defer rows.Close()
	expected, found := p.offsets[topic], newOffsetSet()
	var unexpected, doubled, total int64
	for rows.Next() {
		var partition int32
		var offset int64
		if err := rows.Scan(&partition, &offset); err != nil {
			return fmt.Errorf("reading table %s for the proof: %w", table, err)
		}
		if p.older(topic, partition, offset) {
			continue
		}
		total++
		if !expected.has(partition, offset) {
			unexpected++
		}
		if found.add(partition, offset) {
			doubled++
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading table %s for the proof: %w", table, err)
	}
	p.rows += total
	if missing := expected.count - (found.count - unexpected); missing > 0 {
		p.fault(&p.lost, missing, "%d of %d records of %s are not in %s", missing, expected.count, topic, table)
	}
	if doubled > 0 {
		p.rowDoubles += doubled
		p.fault(&p.duplicated, doubled, "%d rows of %s stand there twice", doubled, table)
	}
	if unexpected > 0 {
		p.fault(&p.duplicated, unexpected, "%d rows of %s name offsets that %s does not hold", unexpected, table, topic)
	}
	return nil
}

// offsetSet is a set of (partition, offset), a bit each: offsets are dense.
type offsetSet struct {
	partitions map[int32][]uint64
	count      int64
}

func newOffsetSet() *offsetSet { return &offsetSet{partitions: map[int32][]uint64{}} }

// add puts an offset in and says whether it was there.
func (o *offsetSet) add(partition int32, offset int64) (again bool) {
	bits := o.partitions[partition]
	word := int(offset / 64)
	if word >= len(bits) {
		bits = append(bits, make([]uint64, word+1-len(bits)+len(bits)/2)...)
		o.partitions[partition] = bits
	}
	mask := uint64(1) << (offset % 64)
	if bits[word]&mask != 0 {
		return true
	}
	bits[word] |= mask
	o.count++
	return false
}

func (o *offsetSet) has(partition int32, offset int64) bool {
	bits := o.partitions[partition]
	word := int(offset / 64)
	return word < len(bits) && bits[word]&(1<<(offset%64)) != 0
}
