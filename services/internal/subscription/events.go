package subscription

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	twmb "github.com/twmb/avro"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
)

// Event is one record of a product.
type Event[T any] struct {
	Value     T
	Topic     string
	Partition int32
	Offset    int64
	// Time is the record's Kafka timestamp: what is derived from a frame has the time at which the frame was received.
	Time time.Time
	Key  string
}

// Handler is told of one event. What it produces becomes visible together with the offset of the event. Reject(…) sends
// the record to the dead letters; any other error blocks: nothing is committed, and the batch comes again. So a handler
// may see an event twice in this process, while what it produced is there once.
type Handler[T any] func(ctx context.Context, event Event[T], out kafka.Output) error

// Codec reads and writes the bodies of one schema as a Go struct: Avro's names in tags `avro:"name"`, decimals of scale 18
// as market.Decimal, times as time.Time, a nullable field as a pointer.
type Codec[T any] struct{ schema *twmb.Schema }

// NewCodec compiles the text of a self-contained schema.
func NewCodec[T any](schema string) (*Codec[T], error) {
	compiled, err := twmb.Parse(schema, exactDecimals())
	if err != nil {
		return nil, fmt.Errorf("compiling the schema of %T: %w", *new(T), err)
	}
	c := &Codec[T]{compiled}
	// The library looks for the place of every field before it reads the first byte, which is missing here: what it says of a
	// type that has no place for one would otherwise be said of every record.
	var ended *twmb.ShortBufferError
	if _, err := c.Decode(nil); err != nil && !errors.As(err, &ended) {
		return nil, err
	}
	return c, nil
}

// Decode reads a body, all of it.
func (c *Codec[T]) Decode(body []byte) (value T, err error) {
	rest, err := c.schema.Decode(body, &value)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	if err != nil {
		return value, fmt.Errorf("reading %d bytes of %T: %w", len(body), value, err)
	}
	return value, nil
}

// Append writes a body.
func (c *Codec[T]) Append(dst []byte, value *T) ([]byte, error) {
	dst, err := c.schema.AppendEncode(dst, value)
	if err != nil {
		return dst, fmt.Errorf("writing %T: %w", *value, err)
	}
	return dst, nil
}

// exactDecimals lets a decimal of the platform's scale be the platform's exact type; others are the library's *big.Rat.
func exactDecimals() twmb.SchemaOpt {
	exact := twmb.NewCustomType("decimal",
		func(d market.Decimal, _ *twmb.SchemaNode) ([]byte, error) {
			// AppendAvro writes the length first, which the library adds itself; it is below 64, so one byte.
			return d.AppendAvro(nil)[1:], nil
		},
		func(content []byte, _ *twmb.SchemaNode) (market.Decimal, error) {
			return market.DecimalFromAvro(content)
		})
	// A type of one's own takes the place of the library's for every decimal, whatever Go type it is written from.
	ours, theirs := exact.Encode, exact.Decode
	exact.GoType = nil
	exact.Encode = func(value any, schema *twmb.SchemaNode) (any, error) {
		switch v := value.(type) {
		case market.Decimal:
			return ours(v, schema)
		case *big.Rat:
			return fraction(v, schema)
		case big.Rat:
			return fraction(&v, schema)
		}
		return value, nil
	}
	exact.Decode = func(value any, schema *twmb.SchemaNode) (any, error) {
		if content, ok := value.([]byte); ok && !ofThePlatform(schema) {
			return twmb.RatFromBytes(content, schema.Scale), nil
		}
		return theirs(value, schema)
	}
	return exact
}

// ofThePlatform says whether market.Decimal holds every decimal of a schema.
func ofThePlatform(schema *twmb.SchemaNode) bool {
	return schema.Scale == market.Scale && schema.Precision <= market.Precision
}

// fraction writes a decimal as the library does where nothing takes its place.
func fraction(r *big.Rat, schema *twmb.SchemaNode) ([]byte, error) {
	plain, err := twmb.Parse(fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}`, schema.Precision, schema.Scale))
	if err != nil {
		return nil, err
	}
	body, err := plain.AppendEncode(nil, r)
	if err != nil {
		return nil, err
	}
	_, prefix := binary.Varint(body)
	return body[prefix:], nil
}
