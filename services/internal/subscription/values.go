package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// UnknownIDGrace is how long the registry must deny an id before the record is held to be bad: a producer may be ahead of
// a registry that has just restarted.
const UnknownIDGrace = 60 * time.Second

// maxDenied bounds the ids that are remembered as denied: garbage can hold any.
const maxDenied = 1024

// SchemaSource is what is asked of the registry.
type SchemaSource interface {
	SchemaByID(ctx context.Context, id int) (registry.Schema, error)
	// Under says whether a subject holds a schema of this id.
	Under(ctx context.Context, id int, subject string) (bool, error)
}

// Values reads the values of one product as the schema that a program was written against would have written them. It is
// not safe for concurrent use.
type Values struct {
	source SchemaSource
	// subject is the one that the topic's schemas are registered under; own is the text to read by.
	subject, own string
	// Grace is UnknownIDGrace, and Now the clock, unless they are set before the first Body.
	Grace time.Duration
	Now   func() time.Time

	projections map[int]avro.Projection
	denied      map[int]denial
	buffer      []byte
}

// denial is how long the registry has said, without a pause, that it does not know an id.
type denial struct{ first, last time.Time }

// NewValues makes one for a topic's subject and the text of a self-contained schema.
func NewValues(source SchemaSource, subject, own string) *Values {
	return &Values{source: source, subject: subject, own: own, Grace: UnknownIDGrace, Now: time.Now, projections: map[int]avro.Projection{}, denied: map[int]denial{}}
}

// Written tells the id that the own schema is registered under: the registry need not be asked for it.
func (v *Values) Written(id int) {
	v.projections[id] = func(_, body []byte) ([]byte, error) { return body, nil }
}

// Body returns the Avro body of a value, in the form of the own schema; it is valid until the next call. A *BadRecord
// blames the record; any other error is a *BlockedError: the record must be tried again.
func (v *Values) Body(ctx context.Context, value []byte) ([]byte, error) {
	id, body, err := registry.ParseWire(value)
	if err != nil {
		return nil, &BadRecord{deadletters.NotWireFormat, err}
	}
	project, err := v.projection(ctx, id)
	if err != nil {
		return nil, err
	}
	projected, err := project(v.buffer[:0], body)
	if err != nil {
		return nil, &BadRecord{deadletters.BadValue, err}
	}
	// A projection between equal schemas returns body itself, which is not ours to write into later.
	if len(projected) > 0 && (len(body) == 0 || &projected[0] != &body[0]) {
		v.buffer = projected
	}
	return projected, nil
}

func (v *Values) projection(ctx context.Context, id int) (avro.Projection, error) {
	if project, ok := v.projections[id]; ok {
		return project, nil
	}
	schema, err := v.source.SchemaByID(ctx, id)
	if errors.Is(err, registry.ErrUnknownID) {
		return nil, v.unknown(id, err)
	}
	blocks := &BlockedError{Cause: CauseRegistry}
	if err != nil {
		blocks.Err = fmt.Errorf("schema id %d: asking the registry: %w", id, err)
	} else if project, err := avro.NewProjection(schema.Text, v.own); err != nil {
		blocks.Cause, blocks.Err = CauseSchema, fmt.Errorf("schema id %d cannot be read by this build, which blocks the partition; deploy a build that knows it: %w", id, err)
	} else {
		delete(v.denied, id)
		v.projections[id] = project
		return project, nil
	}
	// A schema of Avro that cannot be read, or of no Avro: of another topic's record, which no newer build will read either?
	if err == nil || errors.Is(err, registry.ErrRefused) {
		if under, err := v.source.Under(ctx, id, v.subject); err == nil && !under {
			return nil, v.unknown(id, fmt.Errorf("it belongs to other subjects than %s", v.subject))
		}
	}
	// A registry that was away denies nothing; when it is back, it is given its time again.
	delete(v.denied, id)
	return nil, blocks
}

// unknown judges an id that the registry has just denied: the record is bad once that has lasted for the grace.
func (v *Values) unknown(id int, err error) error {
	now := v.Now()
	maxPause := v.Grace / 2 // between two denials of one: a registry that was not asked has not denied anything
	d, seen := v.denied[id]
	if !seen || now.Sub(d.last) > maxPause && now.Sub(d.first) < v.Grace+maxPause {
		d.first = now
	}
	d.last = now
	if len(v.denied) >= maxDenied {
		clear(v.denied)
	}
	v.denied[id] = d
	if now.Sub(d.first) >= v.Grace {
		return &BadRecord{deadletters.UnknownSchema, fmt.Errorf("the registry has denied schema id %d for %s: %w", id, v.Grace, err)}
	}
	return &BlockedError{CauseUnknownID, fmt.Errorf("schema id %d: the registry does not know it for this topic; waiting up to %s before it counts as bad: %w", id, v.Grace, err)}
}
