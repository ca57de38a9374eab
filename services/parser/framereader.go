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
	Under(ctx context.Context, id int, subject string) (bool, error)
}

// frameReader reads values of raw-frames written with any live version of its schema.
type frameReader struct {
	source schemaSource
	// ownID is the id of this build's schema, which needs no projection; own is its text.
	ownID int
	own   string

	// grace is unknownIDGrace, and now the clock; tests replace them.
	grace time.Duration
	now   func() time.Time

	projections map[int]func(dst, body []byte) ([]byte, error)
	denied      map[int]denial
	buffer      []byte
	names       *records.Names
}

// denial is how long the registry has said, without a pause, that it does not know an id.
type denial struct{ first, last time.Time }

const (
	// maxPause between two denials of one: a registry that was not asked has not denied anything.
	maxPause = unknownIDGrace / 2
	// maxDenied bounds the ids that are remembered as denied: garbage can hold any.
	maxDenied = 1024
)

func newFrameReader(source schemaSource, ownID int, own string) *frameReader {
	return &frameReader{
		source: source, ownID: ownID, own: own,
		grace: unknownIDGrace, now: time.Now,
		projections: map[int]func(dst, body []byte) ([]byte, error){}, denied: map[int]denial{}, names: records.NewNames(),
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
	if err := frame.DecodeInterned(body, f.names); err != nil {
		return &badRecord{deadletters.BadValue, err}
	}
	return nil
}

func (f *frameReader) projection(ctx context.Context, id int) (func(dst, body []byte) ([]byte, error), error) {
	if project, ok := f.projections[id]; ok {
		return project, nil
	}
	schema, err := f.source.SchemaByID(ctx, id)
	if errors.Is(err, registry.ErrUnknownID) {
		return nil, f.unknown(id, err)
	}
	blocks := &blockedError{cause: "registry"}
	if err != nil {
		blocks.err = fmt.Errorf("schema id %d: asking the registry: %w", id, err)
	} else if project, err := avro.NewProjection(schema.Text, f.own); err != nil {
		blocks.cause, blocks.err = "schema", fmt.Errorf("schema id %d cannot be read by this build, which blocks the partition; deploy a parser that knows it: %w", id, err)
	} else {
		delete(f.denied, id)
		f.projections[id] = project
		return project, nil
	}
	// A schema of Avro that cannot be read, or of no Avro: of another topic's record, which no newer build will read either?
	if err == nil || errors.Is(err, registry.ErrRefused) {
		if under, err := f.source.Under(ctx, id, framesSubject); err == nil && !under {
			return nil, f.unknown(id, fmt.Errorf("it belongs to other subjects than %s", framesSubject))
		}
	}
	// A registry that was away denies nothing; when it is back, it is given its time again.
	delete(f.denied, id)
	return nil, blocks
}

// framesSubject is the subject whose schemas the topic's records are written with.
const framesSubject = "raw-frames-value"

// unknown judges an id that the registry has just denied: the record is bad once that has lasted for the grace.
func (f *frameReader) unknown(id int, err error) error {
	now := f.now()
	d, seen := f.denied[id]
	if !seen || now.Sub(d.last) > maxPause && now.Sub(d.first) < f.grace+maxPause {
		d.first = now
	}
	d.last = now
	if len(f.denied) >= maxDenied {
		clear(f.denied)
	}
	f.denied[id] = d
	if now.Sub(d.first) >= f.grace {
		return &badRecord{deadletters.UnknownSchema, fmt.Errorf("the registry has denied schema id %d for %s: %w", id, f.grace, err)}
	}
	return &blockedError{"unknown-id", fmt.Errorf("schema id %d: the registry does not know it for this topic; waiting up to %s before it counts as bad: %w", id, f.grace, err)}
}
