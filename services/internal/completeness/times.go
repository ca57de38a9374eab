package completeness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Times reads the time of a record's field by the schema that wrote it, for Deps.Time. A value that no schema reads has none; an
// error is the registry's, or that of a schema that cannot be read. The function is not safe for concurrent use.
func Times(client *registry.Client) func(context.Context, kafka.Record, string) (time.Time, bool, error) {
	readers := map[int]*dynamic.Reader{}
	return func(ctx context.Context, r kafka.Record, field string) (time.Time, bool, error) {
		id, body, err := registry.ParseWire(r.Value)
		if err != nil {
			return time.Time{}, false, nil // No wire format: a bad record has no time.
		}
		reader := readers[id]
		if reader == nil {
			schema, err := client.SchemaByID(ctx, id)
			if errors.Is(err, registry.ErrUnknownID) {
				return time.Time{}, false, nil
			}
			if err != nil {
				return time.Time{}, false, err
			}
			if reader, err = dynamic.NewReader(schema.Text); err != nil {
				return time.Time{}, false, fmt.Errorf("schema id %d: %w", id, err)
			}
			readers[id] = reader
		}
		value, err := reader.Read(body)
		if err != nil {
			return time.Time{}, false, nil
		}
		for _, leaf := range value.At(field) {
			if at, err := time.Parse(time.RFC3339Nano, leaf.Text); err == nil {
				return at, true, nil
			}
		}
		return time.Time{}, false, nil
	}
}
