//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// traceCommand leads a row back to the venue's own bytes.
type traceCommand struct {
	clusterFlags
	Table     string `arg:"" help:"Table, or its topic: raw_trades, raw_orderbooks, feed_gaps, raw_frames."`
	Partition int32  `arg:"" help:"Partition of the record (_partition)."`
	Offset    int64  `arg:"" help:"Offset of the record (_offset)."`
	Whole     bool   `name:"whole" help:"Show the frame whole, however long it is."`
}

// Run is the command: exit status 0 when the venue's bytes were found, 1 otherwise.
func (c *traceCommand) Run(ctx context.Context, cli *commandLine) error {
	products, err := contract.Load(contracts.FS)
	if err != nil {
		return err
	}
	product, err := tracedProduct(products, c.Table)
	if err != nil {
		return err
	}
	if c.Partition < 0 || int(c.Partition) >= product.Topic.Partitions || c.Offset < 0 {
		return fmt.Errorf("%s has partitions 0 to %d, and offsets begin with 0", product.Topic.Name, product.Topic.Partitions-1)
	}
	cluster := c.resolve(cli)
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer client.Close()
	admin, err := kafka.NewAdmin(c.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	t := &tracing{
		command: c, product: product, admin: admin, registry: client, showing: newShowing(client), out: os.Stdout,
		marks: [2]string{"⟦", "⟧"},
	}
	if frames, ok := contract.Find(products, "raw-frames"); ok {
		t.frames = frames
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		t.marks = [2]string{"\x1b[7m", "\x1b[0m"}
	}
	return orNothingRuns(cluster, t.run(ctx))
}

// tracedProduct finds a product by its table, topic or name.
func tracedProduct(products []contract.Contract, name string) (contract.Contract, error) {
	var known []string
	for _, p := range products {
		if p.ID == name || p.Topic.Name == name || p.Sink != nil && p.Sink.Table == name {
			return p, nil
		}
		if p.Sink != nil {
			known = append(known, p.Sink.Table)
		}
	}
	return contract.Contract{}, fmt.Errorf("no product has a table or topic %q: there are %s", name, strings.Join(known, ", "))
}

// tracing is a trace at work.
type tracing struct {
	command         *traceCommand
	product, frames contract.Contract
	admin           *kafka.Admin
	registry        *registry.Client
	showing         *showing
	out             io.Writer
	// marks stand around the piece of the frame.
	marks [2]string
}

func (t *tracing) say(format string, arguments ...any) { fmt.Fprintf(t.out, format+"\n", arguments...) }

// errNotTraced ends the command when the venue's bytes are out of reach; what is missing has been said by then.
var errNotTraced = exitError{1}

func (t *tracing) run(ctx context.Context) error {
	topic := t.product.Topic.Name
	topicID, err := t.topicID(ctx, topic)
	if err != nil {
		return err
	}
	record, why, err := t.record(ctx, kafka.TopicPartition{Topic: topic, Partition: t.command.Partition}, t.command.Offset)
	if err != nil {
		return err
	}
	row, err := t.showRow(ctx, topicID, record)
	if err != nil {
		return err
	}
	t.say("\nrecord  %s[%d]@%d", topic, t.command.Partition, t.command.Offset)
	if record == nil {
		t.say("        %s", why)
	} else {
		t.showRecord(record)
	}
	if t.product.ID == "raw-frames" {
		return t.showFrameItself(ctx, topicID)
	}
	from, ok := origin(record, row)
	if !ok {
		t.say("\nframe   unknown: neither the row nor the record is there to name it")
		return errNotTraced
	}
	return t.showFrame(ctx, from, record, row)
}

func (t *tracing) topicID(ctx context.Context, topic string) (uuid.UUID, error) {
	described, err := t.admin.Describe(ctx, topic)
	if err != nil {
		return uuid.UUID{}, err
	}
	d, ok := described[topic]
	if !ok {
		return uuid.UUID{}, fmt.Errorf("%w %s; create it from its contract with `streamforge apply`", kafka.ErrUnknownTopic, topic)
	}
	return d.ID, nil
}

// record reads one record; nil with the reason where there is none.
func (t *tracing) record(ctx context.Context, tp kafka.TopicPartition, offset int64) (*shown, string, error) {
	r, why, err := t.fetch(ctx, tp, offset)
	if r == nil || err != nil {
		return nil, why, err
	}
	v, err := t.showing.show(ctx, *r)
	return &v, "", err
}

// fetch reads one record; its slices stay valid.
func (t *tracing) fetch(ctx context.Context, tp kafka.TopicPartition, offset int64) (*kafka.Record, string, error) {
	ranges, err := t.admin.Offsets(ctx, []kafka.TopicPartition{tp}, true)
	if err != nil {
		return nil, "", err
	}
	switch r := ranges[tp]; {
	case offset < r.Earliest:
		return nil, fmt.Sprintf("Kafka's retention has taken it: the oldest record of %s is offset %d", tp, r.Earliest), nil
	case offset >= r.Latest:
		return nil, fmt.Sprintf("it is not there yet: the next record that %s will show is offset %d", tp, r.Latest), nil
	}
	consumer, err := kafka.NewConsumer(t.command.Kafka, kafka.ConsumerConfig{
		Assign: []kafka.Committed{{TopicPartition: tp, Offset: offset}}, Headers: true, PartitionEnds: true, MaxBatchRecords: 1,
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return nil, "", err
	}
	defer consumer.Close()
	for consumer.Position(tp) < ranges[tp].Latest {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return nil, "", err
		}
		if len(batch) == 0 {
			continue
		}
		if batch[0].Offset != offset {
			break
		}
		// Close ends the consumer, not the memory of its last batch.
		return &batch[0], "", nil
	}
	return nil, "no record is at this offset: it is the marker of a transaction, or of one that was aborted", nil
}

// showRow shows the row, or says why there is none.
func (t *tracing) showRow(ctx context.Context, topicID uuid.UUID, record *shown) (*dynamic.Value, error) {
	sink := t.product.Sink
	if sink == nil {
		t.say("row     none: %s asks for no table", t.product.ID)
		return nil, nil
	}
	t.say("row     %s WHERE _topic_id = '%s' AND _partition = %d AND _offset = %d", sink.Table, topicID, t.command.Partition, t.command.Offset)
	if t.command.ClickHouse == "" {
		t.say("        no ClickHouse to ask: set CLICKHOUSE_URL")
		return nil, nil
	}
	row, err := t.row(ctx, sink.Table, topicID, t.command.Partition, t.command.Offset)
	if err != nil {
		return nil, err
	}
	if row == nil {
		why, err := t.whyNoRow(ctx, record)
		t.say("        %s", why)
		return nil, err
	}
	t.say("        %s", row.AppendLine(nil, shownBytes))
	return row, nil
}

// whyNoRow tells apart what makes a row be absent.
func (t *tracing) whyNoRow(ctx context.Context, record *shown) (string, error) {
	days := t.product.Sink.TTLDays
	if record == nil {
		return fmt.Sprintf("it is not there; the table keeps its rows for %d days", days), nil
	}
	if days > 0 && !record.time.IsZero() && time.Since(record.time) > time.Duration(days)*24*time.Hour {
		return fmt.Sprintf("it is not there: the table's TTL of %d days has taken it", days), nil
	}
	group := contract.WriterGroup(t.product.Topic.Name)
	tp := kafka.TopicPartition{Topic: t.product.Topic.Name, Partition: t.command.Partition}
	committed, err := t.admin.GroupOffsets(ctx, group, []kafka.TopicPartition{tp})
	if err != nil {
		return "it is not there", err
	}
	if committed[0].Offset <= t.command.Offset {
		return fmt.Sprintf("it is not there yet: the writer's group %s has committed offset %d", group, max(committed[0].Offset, 0)), nil
	}
	return fmt.Sprintf("it is not there although group %s is past it: look for a letter of that group in dead-letters (streamforge tail dead-letters --from-beginning --filter group=%s --filter offset=%d)", group, group, t.command.Offset), nil
}

func (t *tracing) showRecord(v *shown) {
	written := v.producer
	if written == "" {
		written = "somebody who does not say so (no header producer)"
	}
	if v.schemaID > 0 {
		t.say("        schema %s, written by %s at %s, key %s", v.schema(), written, v.time.Format("2006-01-02T15:04:05.000Z"), v.key)
	}
	if v.bad != "" {
		t.say("        cannot be decoded: %s", v.bad)
		return
	}
	t.say("        %s", v.value.AppendLine(nil, shownBytes))
}

// coordinates say which frame something was made from.
type coordinates struct {
	topicID   uuid.UUID
	partition int32
	offset    int64
	item      int
}

// origin reads the coordinates of the record, or of the row where the record is gone.
func origin(record *shown, row *dynamic.Value) (coordinates, bool) {
	get := func(name string) string {
		if record != nil && record.bad == "" {
			return firstText(record.value.At(name))
		}
		return column(row, name)
	}
	c := coordinates{}
	id, err := uuid.Parse(get("frame.topic_id"))
	if err != nil {
		return c, false
	}
	c.topicID = id
	_, err = fmt.Sscan(get("frame.partition")+" "+get("frame.offset")+" "+get("frame.item"), &c.partition, &c.offset, &c.item)
	return c, err == nil && c.item >= 0
}

func firstText(values []dynamic.Value) string {
	if len(values) == 0 || values[0].Kind == dynamic.Null {
		return ""
	}
	return values[0].Text
}

// fieldOf reads a field of the record, or the row's column.
func fieldOf(record *shown, row *dynamic.Value, name string) string {
	if record != nil && record.bad == "" {
		return firstText(record.value.At(name))
	}
	return column(row, name)
}

// sameTrade compares what this build makes of a frame with what is in the record.
func sameTrade(trade *market.Trade, record *shown, row *dynamic.Value) string {
	var differences []string
	for name, own := range map[string]string{
		"trade_id": string(trade.ID), "price": trade.Price.String(), "quantity": trade.Quantity.String(), "symbol": trade.Instrument.Symbol,
	} {
		if stored := fieldOf(record, row, name); !sameValue(stored, own) {
			differences = append(differences, fmt.Sprintf("%s is %s in the record and %s now", name, stored, own))
		}
	}
	if len(differences) == 0 {
		return "decoded again by this build, it is the same trade"
	}
	return "decoded again by this build, it differs: " + strings.Join(differences, ", ")
}

// decodeAgain says what this build's decoder makes of the frame's item.
func (t *tracing) decodeAgain(f *tracedFrame, item int, record *shown, row *dynamic.Value) string {
	adapter, err := all.Get(f.venue)
	if err != nil {
		return "this build has no decoder for " + f.venue
	}
	var kind venue.FrameKind
	switch f.kind {
	case "FRAME":
		kind = venue.WebSocketFrame
	case "REST_SNAPSHOT":
		kind = venue.RESTSnapshot
	default:
		return ""
	}
	var events venue.Events
	if err := adapter.NewDecoder().Decode(venue.Frame{Kind: kind, VenueSymbol: f.venueSymbol, Request: f.request, Payload: f.payload}, &events); err != nil {
		return "this build cannot decode the frame: " + err.Error()
	}
	if t.product.ID == "raw-trades" {
		for i := range events.Trades {
			if int(events.Trades[i].Item) == item {
				return sameTrade(&events.Trades[i], record, row)
			}
		}
		return fmt.Sprintf("decoded again by this build, the frame has no trade of item %d", item)
	}
	for _, b := range events.Books {
		if int(b.Item) == item && b.Instrument.Symbol == fieldOf(record, row, "symbol") {
			return fmt.Sprintf("decoded again by this build, it is %d bid and %d ask levels of %s", len(b.Bids), len(b.Asks), b.Instrument.Symbol)
		}
	}
	return fmt.Sprintf("decoded again by this build, the frame has no book event of item %d", item)
}

var errNoClickHouse = errors.New("no ClickHouse to ask: set CLICKHOUSE_URL")
