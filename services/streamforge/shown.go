//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// shown is a record as it is shown to a person: decoded by the schema that wrote it.
type shown struct {
	topic     string
	partition int32
	offset    int64
	time      time.Time // zero for a record without a timestamp
	key       string
	producer  string
	schemaID  int // 0 where there is none
	version   int // of the topic's subject; 0 where the id is none of its versions
	value     dynamic.Value
	fields    []string
	// bad says why the value could not be decoded; raw is that value.
	bad string
	raw []byte
}

// showing decodes records of any topic. It is not safe for concurrent use.
type showing struct {
	registry *registry.Client
	readers  map[int]*dynamic.Reader
	// versions are the numbers that a subject's ids have, by subject.
	versions map[string]map[int]int
}

func newShowing(client *registry.Client) *showing {
	return &showing{registry: client, readers: map[int]*dynamic.Reader{}, versions: map[string]map[int]int{}}
}

// show decodes a record. An error is the registry's; a value that cannot be decoded is shown as such.
func (s *showing) show(ctx context.Context, r kafka.Record) (shown, error) {
	v := shown{topic: r.Topic, partition: r.Partition, offset: r.Offset, key: string(r.Key)}
	if r.TimestampMs >= 0 {
		v.time = time.UnixMilli(r.TimestampMs).UTC()
	}
	for _, h := range r.Headers {
		if h.Name == "producer" {
			v.producer = string(h.Value)
		}
	}
	id, body, err := registry.ParseWire(r.Value)
	if err != nil {
		v.bad, v.raw = err.Error(), append([]byte(nil), r.Value...)
		if r.Value == nil {
			v.bad = "a tombstone: the record has no value"
		}
		return v, nil
	}
	v.schemaID = id
	reader, err := s.reader(ctx, id)
	switch {
	case errors.Is(err, registry.ErrUnknownID):
		v.bad = fmt.Sprintf("the registry does not know schema id %d", id)
	case errors.Is(err, registry.ErrUnavailable) || ctx.Err() != nil:
		return v, err
	case err != nil:
		v.bad = err.Error()
	default:
		v.fields = reader.Fields()
		if v.value, err = reader.Read(body); err != nil {
			v.bad = err.Error()
		}
	}
	if v.bad != "" {
		v.raw = append([]byte(nil), r.Value...)
	}
	v.version, err = s.version(ctx, r.Topic+"-value", id)
	return v, err
}

func (s *showing) reader(ctx context.Context, id int) (*dynamic.Reader, error) {
	if r, ok := s.readers[id]; ok {
		return r, nil
	}
	schema, err := s.registry.SchemaByID(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := dynamic.NewReader(schema.Text)
	if err != nil {
		return nil, fmt.Errorf("schema id %d: %w", id, err)
	}
	s.readers[id] = r
	return r, nil
}

// version finds the number under which a subject holds an id. The registry is asked again for an id that is new.
func (s *showing) version(ctx context.Context, subject string, id int) (int, error) {
	known := s.versions[subject]
	if number, ok := known[id]; ok {
		return number, nil
	}
	versions, err := s.registry.LiveVersions(ctx, subject)
	if err != nil {
		return 0, err
	}
	known = map[int]int{id: 0}
	for _, v := range versions {
		known[v.ID] = v.Version
	}
	s.versions[subject] = known
	return known[id], nil
}

// shownBytes of a text, and of a value that cannot be decoded, are enough for a line.
const shownBytes = 200

// line is the record for a person.
func (v *shown) line() string {
	var out strings.Builder
	at := "-"
	if !v.time.IsZero() {
		at = v.time.Format("2006-01-02T15:04:05.000Z")
	}
	fmt.Fprintf(&out, "%s %s[%d]@%d key=%s", at, v.topic, v.partition, v.offset, dynamic.Value{Kind: dynamic.Text, Text: v.key}.AppendLine(nil, shownBytes))
	if v.schemaID > 0 {
		out.WriteString(" " + v.schema())
	}
	if v.producer != "" {
		out.WriteString(" " + v.producer)
	}
	if v.bad != "" {
		fmt.Fprintf(&out, "  CANNOT BE DECODED: %s", v.bad)
		if len(v.raw) > 0 {
			fmt.Fprintf(&out, "; %d bytes: 0x%x", len(v.raw), v.raw[:min(len(v.raw), 64)])
			if len(v.raw) > 64 {
				out.WriteString("…")
			}
		}
		return out.String()
	}
	out.WriteString("  ")
	out.Write(v.value.AppendLine(nil, shownBytes))
	return out.String()
}

// schema says which schema wrote the record: "v2 (id 7)".
func (v *shown) schema() string {
	if v.version == 0 {
		return fmt.Sprintf("id %d, no version of %s-value", v.schemaID, v.topic)
	}
	return fmt.Sprintf("v%d (id %d)", v.version, v.schemaID)
}

// json is the record for a program.
func (v *shown) json() string {
	d := dynamic.Value{Kind: dynamic.Record}
	add := func(name string, kind dynamic.Kind, text string) {
		d.Names, d.Items = append(d.Names, name), append(d.Items, dynamic.Value{Kind: kind, Text: text})
	}
	add("topic", dynamic.Text, v.topic)
	add("partition", dynamic.Plain, fmt.Sprint(v.partition))
	add("offset", dynamic.Plain, fmt.Sprint(v.offset))
	if !v.time.IsZero() {
		add("timestamp", dynamic.Text, v.time.Format("2006-01-02T15:04:05.000Z"))
	}
	add("key", dynamic.Text, v.key)
	if v.schemaID > 0 {
		add("schema_id", dynamic.Plain, fmt.Sprint(v.schemaID))
	}
	if v.version > 0 {
		add("schema_version", dynamic.Plain, fmt.Sprint(v.version))
	}
	if v.producer != "" {
		add("producer", dynamic.Text, v.producer)
	}
	if v.bad != "" {
		add("bad", dynamic.Text, v.bad)
		add("value_hex", dynamic.Text, fmt.Sprintf("%x", v.raw))
	} else {
		d.Names, d.Items = append(d.Names, "value"), append(d.Items, v.value)
	}
	return string(d.AppendJSON(nil))
}
