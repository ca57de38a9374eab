package convert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// NoCounterpart is the class of dead letters of records that the other version cannot say.
const NoCounterpart = "no-counterpart"

// Config of a converter.
type Config struct {
	Ordinal        int           `name:"ordinal" env:"CONVERT_ORDINAL" default:"0" help:"Number of this instance, stable over restarts and different in each: it makes the transactional id."`
	CommitInterval time.Duration `name:"commit-interval" env:"CONVERT_COMMIT_INTERVAL" default:"50ms" help:"Time between transactions' commits."`
	DeadLetterRate *float64      `name:"dead-letter-rate" env:"CONVERT_DEAD_LETTER_RATE" help:"Share of a minute's records that may be bad before the converter stops and waits; 1 lifts the limit. The contract of the topic that is read decides where this is not given."`
}

// Converter writes the records of one version into the other's topic: to the same partition, in the same order, exactly once.
// What is itself converted from there it leaves out. It is an app.Component.
type Converter struct {
	*subscription.Subscription

	pair           *Pair
	source, target *Side
	convert        func(dst, body []byte) ([]byte, error)
	deps           subscription.Deps
	converted      prometheus.Counter
	skipped        prometheus.Counter

	// admin, topicID and schemaID are known once Run has begun; the others are memory to reuse.
	admin    *kafka.Admin
	topicID  [16]byte
	schemaID int
	last     map[int32]int64
	value    []byte
	headers  []kafka.Header
}

// New makes a Converter; it connects to nothing yet.
func New(pair *Pair, direction Direction, config Config, deps subscription.Deps) (*Converter, error) {
	c := &Converter{pair: pair, deps: deps, last: map[int32]int64{}}
	c.source, c.target, c.convert = pair.sides(direction)
	labels := prometheus.Labels{"group": pair.Group(direction)}
	c.converted = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "convert", Name: "records_total", Help: "Records converted; one that its transaction repeats counts again.", ConstLabels: labels})
	c.skipped = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "streamforge", Subsystem: "convert", Name: "skipped_total", Help: "Records left out because they were converted from the topic that would be written.", ConstLabels: labels})
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(c.converted, c.skipped)
	}
	var err error
	c.Subscription, err = subscription.New(subscription.Config{
		Group: pair.Group(direction), Ordinal: config.Ordinal, CommitInterval: config.CommitInterval, DeadLetterRate: config.DeadLetterRate,
	}, deps)
	if err != nil {
		return nil, err
	}
	c.Before(c.prepare)
	return c, c.OnRecord(c.source.ID, c.source.Text, c.record)
}

// Counts of what was converted and of what was left out, since New.
func (c *Converter) Counts() (converted, skipped int64) {
	return countOf(c.converted), countOf(c.skipped)
}

// prepare refuses to begin where a record would have no place.
func (c *Converter) prepare(ctx context.Context, admin *kafka.Admin) error {
	c.admin = admin
	schema, err := c.deps.Registry.AwaitLookup(ctx, c.target.Schema, c.deps.Log)
	if err != nil {
		return err
	}
	c.schemaID = schema.ID
	described, err := admin.AwaitTopics(ctx, c.deps.Log, c.source.Topic.Name, c.target.Topic.Name)
	if err != nil {
		return err
	}
	from, to := described[c.source.Topic.Name], described[c.target.Topic.Name]
	if from.Partitions != to.Partitions {
		return fmt.Errorf("%s has %d partitions and %s %d: a record keeps its partition, or its order would be lost; create %s with %d",
			from.Name, from.Partitions, to.Name, to.Partitions, c.pair.To.Topic.Name, c.pair.From.Topic.Partitions)
	}
	c.topicID = from.ID
	return nil
}

// record converts one record.
func (c *Converter) record(ctx context.Context, r *kafka.Record, values *subscription.Values, out kafka.Output) error {
	source, converted, err := SourceOf(r)
	switch {
	case err != nil:
		return subscription.Reject(err)
	case converted && source.Topic == c.target.Topic.Name:
		c.skipped.Inc()
		return nil
	}
	if err := c.follow(ctx, r); err != nil {
		return err
	}
	value, err := c.body(ctx, r, values)
	if err != nil {
		return err
	}
	err = out.ProduceTo(c.target.Topic.Name, r.Partition, r.Key, value, max(r.TimestampMs, 0), c.withSource(r))
	if errors.Is(err, kafka.ErrTooLarge) {
		return &subscription.BadRecord{Class: deadletters.TooLarge, Cause: err}
	}
	if err != nil {
		return &subscription.BlockedError{Cause: subscription.CauseOutput, Err: err}
	}
	c.converted.Inc()
	return nil
}

// body is the record's value in the other version; a tombstone stays one.
func (c *Converter) body(ctx context.Context, r *kafka.Record, values *subscription.Values) ([]byte, error) {
	if r.Value == nil {
		return nil, nil
	}
	body, err := values.Body(ctx, r.Value)
	if err != nil {
		return nil, err
	}
	value, err := c.convert(registry.AppendWireHeader(c.value[:0], c.schemaID), body)
	if err != nil {
		return nil, &subscription.BadRecord{Class: NoCounterpart, Cause: err}
	}
	c.value = value
	return value, nil
}

// withSource are the record's headers with where it comes from; who produced it is the converter now.
func (c *Converter) withSource(r *kafka.Record) []kafka.Header {
	source := Source{Topic: r.Topic, TopicID: c.topicID, Partition: r.Partition, Offset: r.Offset}
	c.headers = append(c.headers[:0], kafka.Header{Name: HeaderSource, Value: []byte(source.String())})
	for _, h := range r.Headers {
		if h.Name != HeaderSource && h.Name != "producer" {
			c.headers = append(c.headers, h)
		}
	}
	return c.headers
}

// follow asks for the topic's id again where offsets go back: after a transaction that was undone, and when the topic was
// deleted and created again, which then has another.
func (c *Converter) follow(ctx context.Context, r *kafka.Record) error {
	last, seen := c.last[r.Partition]
	c.last[r.Partition] = r.Offset
	if !seen || r.Offset > last {
		return nil
	}
	described, err := c.admin.Describe(ctx, r.Topic)
	if err != nil {
		return &subscription.BlockedError{Cause: subscription.CauseTopic, Err: err}
	}
	d, ok := described[r.Topic]
	if !ok {
		return &subscription.BlockedError{Cause: subscription.CauseTopic, Err: fmt.Errorf("%w %s: it was deleted; create it with `streamforge apply`", kafka.ErrUnknownTopic, r.Topic)}
	}
	c.topicID = d.ID
	return nil
}
