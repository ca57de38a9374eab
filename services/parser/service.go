package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// Config of a parser.
type Config struct {
	Group          string        `name:"group" env:"PARSER_GROUP" default:"parser" help:"Consumer group."`
	Ordinal        int           `name:"ordinal" env:"PARSER_ORDINAL" default:"0" help:"Number of this instance, stable over restarts and different in each: it makes the transactional id."`
	CommitInterval time.Duration `name:"commit-interval" env:"PARSER_COMMIT_INTERVAL" default:"50ms" help:"Time between transactions' commits."`
	DeadLetterRate *float64      `name:"dead-letter-rate" env:"PARSER_DEAD_LETTER_RATE" help:"Share of a minute's frames that may be bad before the parser stops and waits; 1 lifts the limit. The contract of raw-frames decides where this is not given."`

	// unknownIDGrace replaces 60 s in tests.
	unknownIDGrace time.Duration
}

// Deps are what a parser rests on.
type Deps struct {
	Kafka     kafka.ClientConfig
	Registry  *registry.Client
	Contracts []contract.Contract
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// Producer is program@version, for the records' header and for dead letters.
	Producer string
}

// Service is the parser with its connections.
type Service struct {
	config  Config
	deps    Deps
	limit   float64
	metrics *metrics
	rules   fieldRules
	admin   *kafka.Admin

	*subscription.Standing
}

// New makes a Service; it connects to nothing yet.
func New(config Config, deps Deps) (*Service, error) {
	metrics := newMetrics(deps.Metrics)
	s := &Service{config: config, deps: deps, metrics: metrics, Standing: subscription.NewStanding(metrics.blocks, metrics.isBlocked)}
	if config.DeadLetterRate != nil {
		s.limit = *config.DeadLetterRate
	} else {
		frames, ok := contract.Find(deps.Contracts, topicFrames)
		if !ok {
			return nil, fmt.Errorf("no contract of %s to take the dead letter rate from; set --dead-letter-rate", topicFrames)
		}
		s.limit = frames.DeadLetterRate
	}
	var err error
	if s.rules, err = newFieldRules(deps.Contracts, subscription.NewRuleCounter(deps.Metrics, config.Group), deps.Log); err != nil {
		return nil, err
	}
	s.admin, err = kafka.NewAdmin(deps.Kafka)
	return s, err
}

// Run parses until ctx ends, then commits what was parsed.
func (s *Service) Run(ctx context.Context) error {
	defer s.admin.Close()
	known, err := s.prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	parser := s.parser(known, s.rules, newSource(s.topicID, s.deps.Log))
	replayer, err := s.newReplayer(known)
	if err != nil {
		return err
	}
	replaying, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		replayer.run(replaying)
	}()
	defer func() {
		stop()
		<-done
	}()
	processor, err := kafka.NewProcessor(s.deps.Kafka, kafka.ProcessorConfig{
		Group: s.config.Group, Topics: []string{topicFrames},
		TransactionalID: fmt.Sprintf("%s-%d", s.config.Group, s.config.Ordinal),
		CommitInterval:  s.config.CommitInterval, Headers: true, Producer: s.deps.Producer,
	}, s.deps.Log, s.deps.Metrics)
	if err != nil {
		return err
	}
	s.Runs(processor)
	s.Waits("partitions of %s from Kafka at %s", topicFrames, s.deps.Kafka.BootstrapServers)
	return processor.Run(ctx, func(ctx context.Context, batch []kafka.Record, out kafka.Output) error {
		err := parser.Handle(ctx, batch, out)
		s.Tell(err)
		return err
	})
}

// known is what the parser must know before it reads.
type known struct {
	ids map[string]int // of subjects' schemas that this build writes by
	own string         // this build's schema of raw-frames
}

// prepare looks up what the parser must know before it reads. It waits for a registry or broker that is away, and
// refuses to go on when a schema or a topic is missing, or when a version of raw-frames' schema cannot be read by this build.
func (s *Service) prepare(ctx context.Context) (k known, err error) {
	k.ids = map[string]int{}
	for _, subject := range []string{framesSubject, "raw-trades-value", "raw-orderbooks-value", "feed-gaps-value", deadletters.Subject} {
		s.Waits("the schema registry at %s (subject %s)", s.deps.Registry.URL(), subject)
		id, err := s.deps.Registry.AwaitID(ctx, subject, s.deps.Log)
		if err != nil {
			return k, err
		}
		k.ids[subject] = id
	}
	frameSchema, err := schemas.Get(framesSubject)
	if err != nil {
		return k, err
	}
	if k.own, err = schemas.SelfContained(frameSchema); err != nil {
		return k, err
	}
	if err := subscription.AwaitReadable(ctx, s.deps.Registry, framesSubject, k.own, s.deps.Log); err != nil {
		return k, err
	}
	s.Waits("the topics of Kafka at %s", s.deps.Kafka.BootstrapServers)
	_, err = s.admin.AwaitTopics(ctx, s.deps.Log, topicFrames, topicTrades, topicBooks, topicGaps, deadletters.Topic)
	return k, err
}

// parser makes a Parser, for one goroutine.
func (s *Service) parser(k known, rules fieldRules, source *source) *Parser {
	frames := newFrameReader(s.deps.Registry, k.ids[framesSubject], k.own)
	if s.config.unknownIDGrace > 0 {
		frames.values.Grace = s.config.unknownIDGrace
	}
	p := newParser(schemaIDs{trade: k.ids["raw-trades-value"], book: k.ids["raw-orderbooks-value"], gap: k.ids["feed-gaps-value"]}, frames)
	p.adapters = all.Get
	p.letters = &deadletters.Writer{Group: s.config.Group, SchemaID: k.ids[deadletters.Subject], Producer: s.deps.Producer}
	p.flood = &deadletters.Flood{Limit: s.limit}
	p.limits, p.rules = limits(s.deps.Contracts), rules
	p.metrics, p.log = s.metrics, s.deps.Log
	p.source = source
	return p
}

// brokerLimit is what a broker takes where the contract names no limit, in bytes.
const brokerLimit = 1 << 20

// limits are the largest records of each topic, in bytes.
func limits(all []contract.Contract) map[string]int {
	limits := map[string]int{}
	for _, c := range all {
		limits[c.Topic.Name] = cmp.Or(c.Topic.MaxMessageBytes, brokerLimit)
	}
	return limits
}

// topicID asks the broker for the id that raw-frames has now.
func (s *Service) topicID(ctx context.Context) ([16]byte, error) {
	described, err := s.admin.Describe(ctx, topicFrames)
	if err != nil {
		return [16]byte{}, err
	}
	d, ok := described[topicFrames]
	if !ok {
		return [16]byte{}, fmt.Errorf("%w %s: it was deleted; create it with `streamforge apply`", kafka.ErrUnknownTopic, topicFrames)
	}
	return d.ID, nil
}
