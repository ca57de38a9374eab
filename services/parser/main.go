// The parser reads raw-frames and writes raw-trades, raw-orderbooks and feed-gaps, exactly once, in Kafka transactions.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/registry"
)

type config struct {
	App      app.Config         `embed:""`
	Kafka    kafka.ClientConfig `embed:""`
	Registry registry.Config    `embed:""`

	Group          string        `name:"group" env:"PARSER_GROUP" default:"parser" help:"Consumer group."`
	Ordinal        int           `name:"ordinal" env:"PARSER_ORDINAL" default:"0" help:"Number of this instance, stable over restarts and different in each: it makes the transactional id."`
	CommitInterval time.Duration `name:"commit-interval" env:"PARSER_COMMIT_INTERVAL" default:"50ms" help:"Time between transactions' commits."`
	DeadLetterRate float64       `name:"dead-letter-rate" env:"PARSER_DEAD_LETTER_RATE" default:"0.05" help:"Share of a minute's frames that may be bad before the parser stops and waits."`
}

func main() {
	app.Main("parser", "Parses raw frames into trades, order book events and gaps.", &config{},
		func(c *config) *app.Config { return &c.App }, build)
}

func build(a *app.App, c *config) error {
	client, err := registry.New(c.Registry, a.Registry)
	if err != nil {
		return err
	}
	admin, err := kafka.NewAdmin(c.Kafka)
	if err != nil {
		return err
	}
	var running atomic.Pointer[kafka.Processor]
	a.Ready("parser", func() error {
		if p := running.Load(); p == nil || !p.Ready() {
			return errors.New("waiting for the registry, the broker or partitions")
		}
		return nil
	})
	a.Add("parser", app.RunFunc(func(ctx context.Context) error {
		defer admin.Close()
		parser, err := prepare(ctx, a, c, client, admin)
		if err != nil {
			return err
		}
		processor, err := kafka.NewProcessor(c.Kafka, kafka.ProcessorConfig{
			Group: c.Group, Topics: []string{topicFrames},
			TransactionalID: fmt.Sprintf("%s-%d", c.Group, c.Ordinal),
			CommitInterval:  c.CommitInterval, Headers: true, Producer: a.Producer(),
		}, a.Log, a.Registry)
		if err != nil {
			return err
		}
		running.Store(processor)
		return processor.Run(ctx, parser.Handle)
	}))
	return nil
}

// prepare looks up what the parser must know before it reads: the ids of its schemas and the topic's own id. It waits
// for a registry or broker that is away, and refuses to go on when something is missing.
func prepare(ctx context.Context, a *app.App, c *config, client *registry.Client, admin *kafka.Admin) (*Parser, error) {
	ids := map[string]int{}
	for _, subject := range []string{"raw-frames-value", "raw-trades-value", "raw-orderbooks-value", "feed-gaps-value", deadletters.Subject} {
		id, err := client.AwaitID(ctx, subject, a.Log)
		if err != nil {
			return nil, err
		}
		ids[subject] = id
	}
	described, err := admin.AwaitTopics(ctx, a.Log, topicFrames, topicTrades, topicBooks, topicGaps, deadletters.Topic)
	if err != nil {
		return nil, err
	}
	frameSchema, err := schemas.Get("raw-frames-value")
	if err != nil {
		return nil, err
	}
	own, err := schemas.SelfContained(frameSchema)
	if err != nil {
		return nil, err
	}
	return &Parser{
		ids:      schemaIDs{trade: ids["raw-trades-value"], book: ids["raw-orderbooks-value"], gap: ids["feed-gaps-value"]},
		frames:   newFrameReader(client, ids["raw-frames-value"], own),
		adapters: all.Get,
		letters:  &deadletters.Writer{Group: c.Group, SchemaID: ids[deadletters.Subject], Producer: a.Producer()},
		flood:    &deadletters.Flood{Limit: c.DeadLetterRate, Least: 100},
		metrics:  newMetrics(a.Registry),
		log:      a.Log,
		topicID:  described[topicFrames].ID,
		decoders: map[string]*venueDecoder{},
		keys:     map[*market.Instrument][]byte{},
	}, nil
}
