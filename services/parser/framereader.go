package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// unknownIDGrace is how long the registry must deny an id before the record is held to be bad: a producer may be ahead
// of a registry that has just restarted.
const unknownIDGrace = 60 * time.Second

// badRecord is a fault of the record itself, which goes to the dead letters.
type badRecord struct {
	class string
	cause error
}

func (b *badRecord) Error() string { return b.class + ": " + b.cause.Error() }

// schemaSource is what the frame reader asks of the registry.
type schemaSource interface {
	SchemaByID(ctx context.Context, id int) (registry.Schema, error)
}

// frameReader reads values of raw-frames written with any live version of its schema.
type frameReader struct {
	source schemaSource
	// ownID is the id of this build's schema, which needs no projection; own is its text.
	ownID int
	own   string

	projections map[int]func(dst, body []byte) ([]byte, error)
	denied      map[int]time.Time
	buffer      []byte
}

func newFrameReader(source schemaSource, ownID int, own string) *frameReader {
	return &frameReader{
		source: source, ownID: ownID, own: own,
		projections: map[int]func(dst, body []byte) ([]byte, error){}, denied: map[int]time.Time{},
	}
}

// read fills frame from a value. A *badRecord blames the record; any other error is the registry's or this build's,
// and the record must be tried again.
func (f *frameReader) read(ctx context.Context, value []byte, frame *records.Frame) error {
	id, body, err := registry.ParseWire(value)
	if err != nil {
		return &badRecord{deadletters.NotWireFormat, err}
	}
	if id != f.ownID {
		project, err := f.projection(ctx, id)
		if err != nil {
			return err
		}
		if f.buffer, err = project(f.buffer[:0], body); err != nil {
			return &badRecord{deadletters.BadValue, err}
		}
		body = f.buffer
	}
	if err := frame.DecodeAvro(body); err != nil {
		return &badRecord{deadletters.BadValue, err}
	}
	return nil
}

func (f *frameReader) projection(ctx context.Context, id int) (func(dst, body []byte) ([]byte, error), error) {
	if project, ok := f.projections[id]; ok {
		return project, nil
	}
	schema, err := f.source.SchemaByID(ctx, id)
	switch {
	case errors.Is(err, registry.ErrUnknownID):
		first, seen := f.denied[id]
		if !seen {
			first = time.Now()
			f.denied[id] = first
		}
		if time.Since(first) >= unknownIDGrace {
			return nil, &badRecord{deadletters.UnknownSchema, fmt.Errorf("the registry has denied schema id %d for %s", id, unknownIDGrace)}
		}
		return nil, fmt.Errorf("schema id %d: the registry does not know it; waiting up to %s before it counts as bad: %w", id, unknownIDGrace, err)
	case err != nil:
		return nil, fmt.Errorf("schema id %d: asking the registry: %w", id, err)
	}
	delete(f.denied, id)
	project, err := avro.NewProjection(schema.Text, f.own)
	if err != nil {
		return nil, fmt.Errorf("schema id %d cannot be read by this build, which blocks the partition; deploy a parser that knows it: %w", id, err)
	}
	f.projections[id] = project
	return project, nil
}
