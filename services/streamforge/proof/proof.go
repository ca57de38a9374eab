// Package proof compares from end to end what a drained pipeline holds: what the simulator says it sent, what the topics
// hold, offset by offset, and what the tables hold.
package proof

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// Result is what was found.
type Result struct {
	// Counts of what the topics and tables hold.
	Frames, Trades, Books    int64
	Snapshots, Updates, Gaps int64
	Rows                     int64
	DeadLetters              int64
	// RestartGaps are GAP frames that a loader wrote at its start.
	RestartGaps int64

	// The verdict; RowDoubles are the part of Duplicated that stands in tables alone.
	Lost, Duplicated, RowDoubles int64
	// Details say each fault in a line.
	Details []string

	since  Beginning
	values map[string]*subscription.Values

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

func (p *Result) fault(counter *int64, n int64, format string, args ...any) {
	*counter += n
	p.Details = append(p.Details, fmt.Sprintf(format, args...))
}

// Beginning is what a pipeline found when it began: what is older is not its own.
type Beginning struct {
	TopicIDs map[string]uuid.UUID
	// Offsets are where each partition stood.
	Offsets map[kafka.TopicPartition]int64
}

// Begin notes where the topics stand; a cluster of one's own may hold older records.
func Begin(ctx context.Context, admin *kafka.Admin) (Beginning, error) {
	described, err := admin.Describe(ctx, Topics()...)
	if err != nil {
		return Beginning{}, err
	}
	var parts []kafka.TopicPartition
	for _, d := range described {
		parts = append(parts, d.TopicPartitions()...)
	}
	ranges, err := admin.Offsets(ctx, parts, true)
	if err != nil {
		return Beginning{}, err
	}
	b := Beginning{TopicIDs: make(map[string]uuid.UUID, len(described)), Offsets: make(map[kafka.TopicPartition]int64, len(ranges))}
	for topic, d := range described {
		b.TopicIDs[topic] = d.ID
	}
	for part, r := range ranges {
		b.Offsets[part] = r.Latest
	}
	return b, nil
}

// Topics are what the pipeline fills.
func Topics() []string {
	return []string{"raw-frames", "raw-trades", "raw-orderbooks", "feed-gaps", "dead-letters"}
}

// Deps are what holds the pipeline's topics and tables.
type Deps struct {
	Kafka kafka.ClientConfig
	// Registry tells how a record was written: a topic may hold records of several versions of its schema.
	Registry  subscription.SchemaSource
	DB        *sql.DB
	Contracts []contract.Contract
}

// Prove compares the topics with each other, with the tables and, where the ledger is not nil, with what was sent. No
// transaction may be open any more.
func Prove(ctx context.Context, deps Deps, since Beginning, sent *Ledger) (*Result, error) {
	result := &Result{
		since:    since,
		values:   map[string]*subscription.Values{},
		received: map[payload]int64{}, tradeSeen: map[records.Coordinates]struct{}{},
		offsets: map[string]*offsetSet{}, lastSequence: map[feedEpoch]int64{},
		decoders: map[string]venue.Decoder{}, expectedTrades: map[records.Coordinates]struct{}{},
	}
	for _, topic := range Topics() {
		result.offsets[topic] = newOffsetSet()
	}
	for _, topic := range []string{"raw-frames", "raw-trades", "raw-orderbooks"} {
		subject, err := schemas.Get(topic + "-value")
		if err != nil {
			return nil, err
		}
		own, err := schemas.SelfContained(subject)
		if err != nil {
			return nil, err
		}
		result.values[topic] = subscription.NewValues(deps.Registry, subject.Name, own)
	}
	take := func(r kafka.Record) error { return result.record(ctx, r) }
	if err := kafka.ReadAll(ctx, deps.Kafka, Topics(), take); err != nil {
		return nil, fmt.Errorf("reading the topics for the proof: %w", err)
	}
	result.compareFrames()
	if sent != nil {
		result.compareLedger(sent)
	}
	for _, c := range deps.Contracts {
		if !c.Sinks() {
			continue
		}
		if err := result.compareTable(ctx, deps.DB, c.Topic.Name, c.Sink.Table); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// Unreceived are the frames of a ledger that are not in raw-frames.
func (p *Result) Unreceived(l *Ledger) (frames int64) {
	for key, sent := range l.sent {
		frames += max(0, sent-p.received[key])
	}
	return frames
}

func (p *Result) older(topic string, partition int32, offset int64) bool {
	return offset < p.since.Offsets[kafka.TopicPartition{Topic: topic, Partition: partition}]
}

func (p *Result) record(ctx context.Context, r kafka.Record) error {
	if p.older(r.Topic, r.Partition, r.Offset) {
		return nil
	}
	if set := p.offsets[r.Topic]; set.add(r.Partition, r.Offset) {
		return fmt.Errorf("BUG: the broker gave %s/%d offset %d twice", r.Topic, r.Partition, r.Offset)
	}
	var body []byte
	if values := p.values[r.Topic]; values != nil {
		var err error
		if body, err = values.Body(ctx, r.Value); err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
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
			p.Snapshots++
		case market.BookUpdate:
			p.Updates++
		case market.BookGap:
			if p.book.GapReason == string(market.GapDeadLetter) {
				return nil // It tells of a dead letter, which is counted, and not of an event that could be read.
			}
		}
		p.Books++
	case "feed-gaps":
		p.Gaps++
	case "dead-letters":
		p.DeadLetters++
	}
	return nil
}

// rawFrame counts the venue's bytes and checks that a feed's sequence has no hole.
func (p *Result) rawFrame(r kafka.Record, body []byte) error {
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
		p.fault(&p.Lost, f.Sequence-last-1, "raw-frames/%d offset %d: sequence %d of feed %s after %d", r.Partition, r.Offset, f.Sequence, f.Feed, last)
	} else if f.Sequence <= last {
		p.fault(&p.Duplicated, 1, "raw-frames/%d offset %d: sequence %d of feed %s again, after %d", r.Partition, r.Offset, f.Sequence, f.Feed, last)
	}
	p.lastSequence[slot] = max(last, f.Sequence)
	if f.Kind == records.FrameData || f.Kind == records.FrameRESTSnapshot {
		p.Frames++
		p.received[payloadOf(f.Payload)]++
	}
	return p.decode(r)
}

// decode finds with this build's decoders what the parser must have made of a frame. The decoders are the parser's own;
// what is proven is that the pipeline between raw-frames and the products lost and doubled nothing.
func (p *Result) decode(r kafka.Record) error {
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

func (p *Result) gapFrame() error {
	var gap market.Gap
	if err := json.Unmarshal(p.frame.Payload, &gap); err != nil {
		return fmt.Errorf("the payload of a GAP of feed %s: %w", p.frame.Feed, err)
	}
	if gap.Reason == market.GapLoaderRestart {
		p.RestartGaps++
	}
	if gap.Channel != string(venue.Trades) {
		p.expectedBooks += int64(len(gap.VenueSymbols))
	}
	return nil
}

// compareFrames holds the parser's products against what raw-frames holds.
func (p *Result) compareFrames() {
	var missing int64
	for at := range p.expectedTrades {
		if _, ok := p.tradeSeen[at]; !ok {
			missing++
		}
	}
	if missing > 0 {
		p.fault(&p.Lost, missing, "%d trades of raw-frames are not in raw-trades", missing)
	}
	if extra := int64(len(p.tradeSeen)) - (int64(len(p.expectedTrades)) - missing); extra > 0 {
		p.fault(&p.Duplicated, extra, "%d records of raw-trades name no trade of raw-frames", extra)
	}
	if p.Books < p.expectedBooks {
		p.fault(&p.Lost, p.expectedBooks-p.Books, "raw-frames hold %d book events, raw-orderbooks %d", p.expectedBooks, p.Books)
	} else if p.Books > p.expectedBooks {
		p.fault(&p.Duplicated, p.Books-p.expectedBooks, "raw-frames hold %d book events, raw-orderbooks %d", p.expectedBooks, p.Books)
	}
}

func (p *Result) rawTrade(r kafka.Record, body []byte) error {
	if err := p.trade.DecodeAvro(body); err != nil {
		return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	p.Trades++
	at := p.trade.Frame
	at.TopicID = [16]byte{} // one raw-frames topic is read here
	if _, again := p.tradeSeen[at]; again {
		p.fault(&p.Duplicated, 1, "raw-trades/%d offset %d: item %d of raw-frames/%d offset %d again", r.Partition, r.Offset, p.trade.Frame.Item, p.trade.Frame.Partition, p.trade.Frame.Offset)
	}
	p.tradeSeen[at] = struct{}{}
	return nil
}

// compareLedger holds the topics against the simulator's own count, as multisets of the bytes.
func (p *Result) compareLedger(l *Ledger) {
	var lost, extra int64
	for key, sent := range l.sent {
		lost += max(0, sent-p.received[key])
	}
	for key, received := range p.received {
		extra += max(0, received-l.sent[key])
	}
	if lost > 0 {
		p.fault(&p.Lost, lost, "%d frames of the simulator's ledger (of %d) are not in raw-frames", lost, l.frames)
	}
	if extra > 0 {
		p.fault(&p.Duplicated, extra, "%d records of raw-frames (of %d) are more than the simulator's ledger holds", extra, p.Frames)
	}
	if l.trades == 0 {
		return // a recording says nothing of what its frames hold
	}
	if missing := l.trades - int64(len(p.tradeSeen)); missing > 0 {
		p.fault(&p.Lost, missing, "%d trades of the simulator's ledger (of %d) are not in raw-trades", missing, l.trades)
	} else if missing < 0 {
		p.fault(&p.Duplicated, -missing, "raw-trades holds %d trades, the simulator's ledger %d", len(p.tradeSeen), l.trades)
	}
}

// compareTable holds a table against its topic, offset by offset.
func (p *Result) compareTable(ctx context.Context, db *sql.DB, topic, table string) error {
	rows, err := db.QueryContext(ctx, fmt.Sprintf("SELECT _partition, _offset FROM %s WHERE _topic_id = '%s'", table, p.since.TopicIDs[topic]))
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
	p.Rows += total
	if missing := expected.count - (found.count - unexpected); missing > 0 {
		p.fault(&p.Lost, missing, "%d of %d records of %s are not in %s", missing, expected.count, topic, table)
	}
	if doubled > 0 {
		p.RowDoubles += doubled
		p.fault(&p.Duplicated, doubled, "%d rows of %s stand there twice", doubled, table)
	}
	if unexpected > 0 {
		p.fault(&p.Duplicated, unexpected, "%d rows of %s name offsets that %s does not hold", unexpected, table, topic)
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
