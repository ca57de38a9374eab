//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// tracedFrame is a venue's frame, from wherever it is still there.
type tracedFrame struct {
	kind, venue, feed, venueSymbol, request, receivedAt string
	// position says where in its feed the frame was; producer who wrote the record, where that is known.
	position, producer string
	payload            []byte
}

// showFrameItself ends the trace of a row of raw_frames: the record is the frame.
func (t *tracing) showFrameItself(ctx context.Context, topicID uuid.UUID) error {
	f, notes, err := t.findFrame(ctx, coordinates{topicID: topicID, partition: t.command.Partition, offset: t.command.Offset})
	if err != nil || f == nil {
		t.sayAll(notes)
		return errors.Join(err, errNotTraced)
	}
	t.say("\nframe   %s of %s/%s, %s", f.kind, f.venue, f.feed, f.position)
	t.say("        %s", t.marked(f.payload, span{}))
	return nil
}

// showFrame shows the frame that something was made from, with the piece marked.
func (t *tracing) showFrame(ctx context.Context, c coordinates, record *shown, row *dynamic.Value) error {
	t.say("\nframe   raw-frames[%d]@%d item %d", c.partition, c.offset, c.item)
	f, notes, err := t.findFrame(ctx, c)
	t.sayAll(notes)
	if err != nil {
		return err
	}
	if f == nil {
		return errNotTraced
	}
	written := ""
	if f.producer != "" {
		written = ", written by " + f.producer
	}
	t.say("        %s of %s/%s, received %s, %s%s", f.kind, f.venue, f.feed, f.receivedAt, f.position, written)
	piece, ok := findItem(f.payload, c.item, t.wanted(f, record, row))
	t.say("        %s", t.marked(f.payload, piece))
	if !ok {
		t.say("        the piece that item %d came from could not be found in it", c.item)
	} else if piece.to-piece.from < len(f.payload) {
		t.say("item %-2d %s", c.item, t.short(f.payload[piece.from:piece.to]))
	}
	if again := t.decodeAgain(f, c.item, record, row); again != "" {
		t.say("        %s", again)
	}
	return nil
}

func (t *tracing) sayAll(notes []string) {
	for _, note := range notes {
		t.say("        %s", note)
	}
}

// wanted are the values by which the piece is found. Ids are the surest; where a venue has none its position decides.
func (t *tracing) wanted(f *tracedFrame, record *shown, row *dynamic.Value) []string {
	get := func(name string) string { return fieldOf(record, row, name) }
	switch {
	case f.kind == "GAP":
		return []string{get("venue_symbol")}
	case t.product.ID == "raw-trades":
		return []string{get("trade_id"), get("price"), get("quantity")}
	}
	for _, name := range []string{"last_update_id", "checksum"} {
		if value := get(name); value != "" {
			return []string{value}
		}
	}
	return nil
}

// findFrame reads a frame from Kafka, or from ClickHouse where Kafka has it no longer. The notes say what is not there.
func (t *tracing) findFrame(ctx context.Context, c coordinates) (*tracedFrame, []string, error) {
	current, err := t.topicID(ctx, "raw-frames")
	if err != nil && !errors.Is(err, kafka.ErrUnknownTopic) {
		return nil, nil, err
	}
	var notes []string
	if err == nil && current == c.topicID {
		f, why, err := t.frameFromKafka(ctx, c)
		if f != nil || err != nil {
			return f, nil, err
		}
		notes = append(notes, why)
	} else if err != nil {
		notes = append(notes, "raw-frames does not exist in Kafka now")
	} else {
		notes = append(notes, fmt.Sprintf("raw-frames was created again since: its id is %s now and was %s", current, c.topicID))
	}
	f, err := t.frameFromClickHouse(ctx, c)
	switch {
	case errors.Is(err, errNoClickHouse):
		return nil, append(notes, err.Error()), nil
	case err != nil:
		return nil, notes, err
	case f == nil && t.frames.Sink != nil:
		return nil, append(notes, fmt.Sprintf("nor is it in ClickHouse: raw_frames keeps its rows for %d days", t.frames.Sink.TTLDays)), nil
	case f == nil:
		return nil, notes, nil
	}
	return f, append(notes, "from ClickHouse (raw_frames):"), nil
}

func (t *tracing) frameFromKafka(ctx context.Context, c coordinates) (*tracedFrame, string, error) {
	r, why, err := t.fetch(ctx, kafka.TopicPartition{Topic: "raw-frames", Partition: c.partition}, c.offset)
	if r == nil || err != nil {
		return nil, why, err
	}
	own, err := schemas.Get("raw-frames-value")
	if err != nil {
		return nil, "", err
	}
	text, err := schemas.SelfContained(own)
	if err != nil {
		return nil, "", err
	}
	var frame records.Frame
	body, err := subscription.NewValues(t.registry, own.Name, text).Body(ctx, r.Value)
	if err == nil {
		err = frame.DecodeAvro(body)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the frame: %w", err)
	}
	f := &tracedFrame{
		kind: frame.Kind.String(), venue: frame.Venue, feed: frame.Feed, venueSymbol: frame.VenueSymbol, request: frame.Request, payload: frame.Payload,
		receivedAt: string(market.AppendTimestamp(nil, frame.ReceivedAt)), position: fmt.Sprintf("epoch %d, connection %d, sequence %d", frame.LoaderEpoch, frame.Connection, frame.Sequence),
	}
	for _, h := range r.Headers {
		if h.Name == "producer" {
			f.producer = string(h.Value)
		}
	}
	return f, "", nil
}

func (t *tracing) frameFromClickHouse(ctx context.Context, c coordinates) (*tracedFrame, error) {
	if t.frames.Sink == nil {
		return nil, nil
	}
	row, err := t.one(ctx, fmt.Sprintf("SELECT * REPLACE hex(payload) AS payload FROM %s WHERE _topic_id = '%s' AND _partition = %d AND _offset = %d LIMIT 1",
		t.frames.Sink.Table, c.topicID, c.partition, c.offset))
	if row == nil || err != nil {
		return nil, err
	}
	payload, err := hex.DecodeString(column(row, "payload"))
	if err != nil {
		return nil, fmt.Errorf("reading the frame: %w", err)
	}
	return &tracedFrame{
		kind: column(row, "kind"), venue: column(row, "venue"), feed: column(row, "feed"), venueSymbol: column(row, "venue_symbol"), request: column(row, "request"),
		receivedAt: column(row, "received_at"), payload: payload,
		position: fmt.Sprintf("epoch %s, connection %s, sequence %s", column(row, "loader_epoch"), column(row, "connection"), column(row, "sequence")),
	}, nil
}

// row reads a row of a table; nil when there is none.
func (t *tracing) row(ctx context.Context, table string, topicID uuid.UUID, partition int32, offset int64) (*dynamic.Value, error) {
	return t.one(ctx, fmt.Sprintf("SELECT * FROM %s WHERE _topic_id = '%s' AND _partition = %d AND _offset = %d LIMIT 1", table, topicID, partition, offset))
}

// maxRowBytes bounds an answer of ClickHouse: a frame of 16 MiB in hexadecimal, and the rest of its row.
const maxRowBytes = 40 << 20

// one asks ClickHouse for one row.
func (t *tracing) one(ctx context.Context, query string) (*dynamic.Value, error) {
	if t.command.ClickHouse == "" {
		return nil, errNoClickHouse
	}
	target, err := url.Parse(t.command.ClickHouse)
	if err != nil {
		return nil, fmt.Errorf("CLICKHOUSE_URL: it is http://host:8123 or http://user:password@host:8123/database")
	}
	// Decimals and large integers as text, so that no digit is lost on the way.
	parameters := url.Values{"default_format": {"JSONEachRow"}, "output_format_json_quote_decimals": {"1"}, "output_format_json_quote_64bit_integers": {"0"}}
	if database := strings.Trim(target.Path, "/"); database != "" {
		parameters.Set("database", database)
	}
	target.Path, target.RawQuery = "/", parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, clickHouseAway(target.Host, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxRowBytes))
	if err != nil {
		return nil, clickHouseAway(target.Host, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking ClickHouse: %s", strings.TrimSpace(string(text)))
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	v, err := orderedJSON(decoder)
	return &v, err
}

// orderedJSON reads a JSON value with its fields in their order.
func orderedJSON(decoder *json.Decoder) (dynamic.Value, error) {
	token, err := decoder.Token()
	if err != nil {
		return dynamic.Value{}, err
	}
	switch v := token.(type) {
	case json.Delim:
		return orderedComposite(decoder, v)
	case string:
		return dynamic.Value{Kind: dynamic.Text, Text: v}, nil
	case nil:
		return dynamic.Value{Kind: dynamic.Null, Text: "null"}, nil
	}
	return dynamic.Value{Kind: dynamic.Plain, Text: fmt.Sprint(token)}, nil
}

func orderedComposite(decoder *json.Decoder, open json.Delim) (dynamic.Value, error) {
	v := dynamic.Value{Kind: dynamic.List}
	if open == '{' {
		v.Kind = dynamic.Record
	}
	for decoder.More() {
		if v.Kind == dynamic.Record {
			name, err := decoder.Token()
			if err != nil {
				return v, err
			}
			v.Names = append(v.Names, fmt.Sprint(name))
		}
		item, err := orderedJSON(decoder)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
	}
	_, err := decoder.Token()
	return v, err
}

// column of a row, whose names may hold dots; "" for null and for one that is not there.
func column(row *dynamic.Value, name string) string {
	if row == nil {
		return ""
	}
	for i, n := range row.Names {
		if n == name && row.Items[i].Kind != dynamic.Null {
			return row.Items[i].Text
		}
	}
	return ""
}

// shownAround the piece, in bytes, is as much of a long frame as is shown; shownPiece is as much of a piece.
const (
	shownAround = 400
	shownPiece  = 2000
)

// marked is the frame with the piece between marks; of a long one what is around the piece.
func (t *tracing) marked(payload []byte, piece span) string {
	from, to := 0, len(payload)
	if !t.command.Whole {
		from, to = max(0, piece.from-shownAround), min(len(payload), piece.to+shownAround)
		if piece.to == 0 {
			to = min(len(payload), shownPiece)
		}
	}
	var out strings.Builder
	if from > 0 {
		fmt.Fprintf(&out, "… %d bytes … ", from)
	}
	out.WriteString(printable(payload[from:piece.from]))
	if piece.to > 0 {
		out.WriteString(t.marks[0] + t.short(payload[piece.from:piece.to]) + t.marks[1])
	}
	out.WriteString(printable(payload[max(piece.to, from):to]))
	if to < len(payload) {
		fmt.Fprintf(&out, " … %d bytes more (--whole shows them)", len(payload)-to)
	}
	return out.String()
}

func (t *tracing) short(piece []byte) string {
	if t.command.Whole || len(piece) <= shownPiece {
		return printable(piece)
	}
	return printable(piece[:shownPiece]) + fmt.Sprintf(" … %d bytes more", len(piece)-shownPiece)
}

// printable shows bytes of a venue on a terminal without letting them steer it.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == utf8.RuneError || r >= 0x7f && r < 0xa0 {
			return '·'
		}
		return r
	}, string(b))
}
