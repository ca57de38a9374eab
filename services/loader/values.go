package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Registry is what the loader asks of the schema registry.
type Registry interface {
	ID(ctx context.Context, subject string) (int, error)
	SchemaByID(ctx context.Context, id int) (registry.Schema, error)
}

// values reads the values of one subject, whichever live version wrote them, as this build's schema would have written them.
type values struct {
	registry Registry
	subject  string

	mu          sync.Mutex
	projections map[int]avro.Projection
}

func newValues(r Registry, subject string) *values {
	return &values{registry: r, subject: subject, projections: map[int]avro.Projection{}}
}

// body strips the wire header and projects what follows.
func (v *values) body(ctx context.Context, value []byte) ([]byte, error) {
	id, body, err := registry.ParseWire(value)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	projection := v.projections[id]
	if projection == nil {
		if projection, err = v.projection(ctx, id); err != nil {
			return nil, err
		}
		v.projections[id] = projection
	}
	return projection(nil, body)
}

func (v *values) projection(ctx context.Context, id int) (avro.Projection, error) {
	own, err := schemas.Get(v.subject)
	if err != nil {
		return nil, err
	}
	reader, err := schemas.SelfContained(own)
	if err != nil {
		return nil, err
	}
	writer, err := v.registry.SchemaByID(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading a value of %s: %w", v.subject, err)
	}
	projection, err := avro.NewProjection(writer.Text, reader)
	if err != nil {
		return nil, fmt.Errorf("reading a value of %s written with schema %d: %w", v.subject, id, err)
	}
	return projection, nil
}
