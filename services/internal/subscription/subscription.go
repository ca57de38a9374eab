package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Config of a subscription; a program embeds it in its own kong struct.
type Config struct {
	Group          string        `name:"group" env:"CONSUMER_GROUP" help:"Consumer group; the program's name where it is not given."`
	Ordinal        int           `name:"ordinal" env:"CONSUMER_ORDINAL" default:"0" help:"Number of this instance, stable over restarts and different in each: it makes the transactional id."`
	CommitInterval time.Duration `name:"commit-interval" env:"CONSUMER_COMMIT_INTERVAL" default:"50ms" help:"Time between transactions' commits."`
	DeadLetterRate *float64      `name:"dead-letter-rate" env:"CONSUMER_DEAD_LETTER_RATE" help:"Share of a minute's records of a topic that may be bad before the program stops and waits; 1 lifts the limit. The topic's contract decides where this is not given."`
}

// Deps are what a subscription rests on.
type Deps struct {
	Kafka     kafka.ClientConfig
	Registry  *registry.Client
	Contracts []contract.Contract
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// Producer is program@version, for the records' header and for dead letters.
	Producer string
}

// route is what becomes of one topic's records.
type route struct {
	product contract.Contract
	values  *Values
	flood   *deadletters.Flood
	own     string
	handle  RecordHandler
	// seen and dead count the batch under way.
	seen, dead int64
}

// Subscription is a member of a consumer group with its handlers. It is an app.Component.
type Subscription struct {
	config  Config
	deps    Deps
	metrics *metrics
	admin   *kafka.Admin
	topics  []string
	routes  map[string]*route
	before  []func(ctx context.Context, admin *kafka.Admin) error
	letters *deadletters.Writer

	*Standing
}

// New makes a Subscription without topics; it connects to nothing yet.
func New(config Config, deps Deps) (*Subscription, error) {
	if config.Group == "" {
		return nil, errors.New("making a subscription: the consumer group is empty; set CONSUMER_GROUP")
	}
	admin, err := kafka.NewAdmin(deps.Kafka)
	if err != nil {
		return nil, err
	}
	metrics := newMetrics(deps.Metrics, config.Group)
	return &Subscription{
		config: config, deps: deps, metrics: metrics, admin: admin, routes: map[string]*route{},
		Standing: NewStanding(metrics.blocks, metrics.isBlocked),
	}, nil
}

// On has a handler told of a product's records, read by schema: the text of a self-contained schema, that of T. It must be
// called before Run. A record that breaks a field rule of the contract becomes a dead letter, blocks, or is counted, as the
// rule says; the handler is told of it in the last case only.
func On[T any](s *Subscription, product, schema string, handle Handler[T]) error {
	codec, err := NewCodec[T](schema)
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", product, err)
	}
	c, err := s.contract(product)
	if err != nil {
		return err
	}
	rules, err := NewRules(c, schema, s.metrics.rules, s.deps.Log)
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", product, err)
	}
	return s.OnRecord(product, schema, func(ctx context.Context, r *kafka.Record, values *Values, out kafka.Output) error {
		body, err := values.Body(ctx, r.Value)
		if err != nil {
			return err
		}
		value, err := codec.Decode(body)
		if err != nil {
			return &BadRecord{deadletters.BadValue, err}
		}
		if err := rules.Judge(body, r, false); err != nil {
			return err
		}
		return handle(ctx, Event[T]{
			Value: value, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: time.UnixMilli(r.TimestampMs).UTC(), Key: string(r.Key),
		}, out)
	})
}

// Before has Run look something up before it reads the first record; an error ends it. It must be called before Run.
func (s *Subscription) Before(look func(ctx context.Context, admin *kafka.Admin) error) {
	s.before = append(s.before, look)
}

// RecordHandler is a Handler for who needs the record itself, with its headers, and asks values for its body. The record is
// valid until it returns. Field rules are not applied.
type RecordHandler func(ctx context.Context, r *kafka.Record, values *Values, out kafka.Output) error

// OnRecord is On for a RecordHandler.
func (s *Subscription) OnRecord(product, schema string, handle RecordHandler) error {
	c, err := s.contract(product)
	if err != nil {
		return err
	}
	if _, twice := s.routes[c.Topic.Name]; twice {
		return fmt.Errorf("subscribing to %s: its records have a handler already", product)
	}
	limit := c.DeadLetterRate
	if s.config.DeadLetterRate != nil {
		limit = *s.config.DeadLetterRate
	}
	s.topics = append(s.topics, c.Topic.Name)
	s.routes[c.Topic.Name] = &route{
		product: c, own: schema, values: NewValues(s.deps.Registry, c.Subject, schema), flood: &deadletters.Flood{Limit: limit}, handle: handle,
	}
	return nil
}

func (s *Subscription) contract(product string) (contract.Contract, error) {
	c, ok := contract.Find(s.deps.Contracts, product)
	if !ok {
		return c, fmt.Errorf("subscribing to %s: no contract of that product in this build; see contracts/", product)
	}
	return c, nil
}

// Run handles records until ctx ends, then commits what was handled. While broker or registry are away it waits; it returns
// an error when a topic or a schema is missing, or a live version of one cannot be read by this build.
func (s *Subscription) Run(ctx context.Context) error {
	defer s.admin.Close()
	if err := s.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	processor, err := kafka.NewProcessor(s.deps.Kafka, kafka.ProcessorConfig{
		Group: s.config.Group, Topics: s.topics, TransactionalID: fmt.Sprintf("%s-%d", s.config.Group, s.config.Ordinal),
		CommitInterval: s.config.CommitInterval, Headers: true, Producer: s.deps.Producer,
	}, s.deps.Log, s.deps.Metrics)
	if err != nil {
		return err
	}
	s.Runs(processor)
	s.Waits("partitions of %v from Kafka at %s", s.topics, s.deps.Kafka.BootstrapServers)
	return processor.Run(ctx, func(ctx context.Context, batch []kafka.Record, out kafka.Output) error {
		err := s.batch(ctx, batch, out)
		s.Tell(err)
		return err
	})
}

// prepare looks up what must be known before anything is read.
func (s *Subscription) prepare(ctx context.Context) error {
	if len(s.topics) == 0 {
		return fmt.Errorf("group %s subscribes to nothing; call On before Run", s.config.Group)
	}
	s.Waits("the schema registry at %s", s.deps.Registry.URL())
	id, err := s.deps.Registry.AwaitID(ctx, deadletters.Subject, s.deps.Log)
	if err != nil {
		return err
	}
	s.letters = &deadletters.Writer{Group: s.config.Group, SchemaID: id, Producer: s.deps.Producer}
	for _, topic := range s.topics {
		r := s.routes[topic]
		if err := AwaitReadable(ctx, s.deps.Registry, r.product.Subject, r.own, s.deps.Log); err != nil {
			return err
		}
	}
	s.Waits("the topics of Kafka at %s", s.deps.Kafka.BootstrapServers)
	needed := s.topics
	if !slices.Contains(needed, deadletters.Topic) {
		needed = append([]string{deadletters.Topic}, needed...)
	}
	if _, err = s.admin.AwaitTopics(ctx, s.deps.Log, needed...); err != nil {
		return err
	}
	for _, look := range s.before {
		if err := look(ctx, s.admin); err != nil {
			return err
		}
	}
	return nil
}

// batch handles a batch. An error means that nothing of it may be committed.
func (s *Subscription) batch(ctx context.Context, batch []kafka.Record, out kafka.Output) error {
	for _, r := range s.routes {
		r.seen, r.dead = 0, 0
	}
	for i := range batch {
		r := &batch[i]
		if err := s.record(ctx, r, out); err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	for topic, r := range s.routes {
		if err := r.flood.Check(topic, r.seen, r.dead); err != nil {
			return err
		}
	}
	for topic, r := range s.routes {
		r.flood.Add(r.seen, r.dead)
		s.metrics.events.WithLabelValues(topic).Add(float64(r.seen - r.dead))
	}
	return nil
}

func (s *Subscription) record(ctx context.Context, r *kafka.Record, out kafka.Output) error {
	route, ok := s.routes[r.Topic]
	if !ok {
		return fmt.Errorf("BUG: a record of %s, which was not subscribed to", r.Topic)
	}
	route.seen++
	err := route.handle(ctx, r, route.values, out)
	var bad *BadRecord
	if errors.As(err, &bad) {
		route.dead++
		return s.divert(ctx, r, bad, out)
	}
	return err
}

// divert writes a dead letter into the same transaction as everything else. The topic's id is asked for each time: dead
// letters are rare, and a topic that was created again has another.
func (s *Subscription) divert(ctx context.Context, r *kafka.Record, bad *BadRecord, out kafka.Output) error {
	described, err := s.admin.Describe(ctx, r.Topic)
	if err != nil {
		return &BlockedError{CauseTopic, err}
	}
	d, ok := described[r.Topic]
	if !ok {
		return &BlockedError{CauseTopic, fmt.Errorf("%w %s: it was deleted; create it with `streamforge apply`", kafka.ErrUnknownTopic, r.Topic)}
	}
	key, value := s.letters.Letter(*r, d.ID, records.WholeRecord, bad.Class, bad.Cause)
	if err := out.Produce(deadletters.Topic, []byte(key), value, r.TimestampMs, nil); err != nil {
		return &BlockedError{CauseOutput, fmt.Errorf("producing a dead letter: %w", err)}
	}
	s.metrics.deadLetters.WithLabelValues(r.Topic, bad.Class).Inc()
	s.deps.Log.Warn("dead letter", "class", bad.Class, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", bad.Cause.Error())
	return nil
}
