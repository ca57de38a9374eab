package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Config of the writer.
type Config struct {
	Topics            []string      `name:"topics" env:"WRITER_TOPICS" help:"Topics to write; every contract with a sink when empty."`
	FlushInterval     time.Duration `name:"flush-interval" env:"WRITER_FLUSH_INTERVAL" default:"300ms" help:"A block closes when its first row is this old."`
	MaxBlockRows      int           `name:"max-block-rows" env:"WRITER_MAX_BLOCK_ROWS" default:"300000" help:"A block closes at this many rows."`
	MaxBlockBytes     int           `name:"max-block-bytes" env:"WRITER_MAX_BLOCK_BYTES" default:"50331648" help:"A block closes at this many bytes."`
	MaxRowsPerSecond  int           `name:"max-rows-per-second" env:"WRITER_MAX_ROWS_PER_SECOND" help:"Most rows a second that a product puts into its table, so that catching up leaves ClickHouse to its users; 0 is no limit."`
	MemoryLimit       int           `name:"memory-limit" env:"WRITER_MEMORY_LIMIT" default:"268435456" help:"Bytes that the process may take: a third of them for blocks, the rest for what is fetched ahead, for the collector and for the program."`
	UnknownSchemaWait time.Duration `name:"unknown-schema-wait" env:"WRITER_UNKNOWN_SCHEMA_WAIT" default:"60s" help:"A schema id is bad when the registry has denied it for this long."`
	InstanceID        string        `name:"instance-id" env:"WRITER_INSTANCE_ID" help:"Stable name of this writer among those of its groups: one that is killed and restarted under it takes its partitions back at once."`
	SessionTimeout    time.Duration `name:"session-timeout" env:"WRITER_SESSION_TIMEOUT" default:"6s" help:"How long a writer that died keeps its partitions."`
	VerifyInterval    time.Duration `name:"verify-interval" env:"WRITER_VERIFY_INTERVAL" default:"1m" help:"How often what was committed is compared with the table, offset by offset, and every tenth time the views' last hours; 0 is never."`
	Backfill          string        `name:"backfill" env:"WRITER_BACKFILL" help:"Fill the table beside the live one of this topic, which streamforge backfill start has made, and nothing else."`
	AcceptDeadLetters []string      `name:"accept-dead-letters" env:"WRITER_ACCEPT_DEAD_LETTERS" help:"Topics whose limit of dead letters is lifted for this run."`
}

// Deps of the writer.
type Deps struct {
	Kafka      kafka.ClientConfig
	Registry   *registry.Client
	ClickHouse *clickhouse.Client
	Contracts  []contract.Contract
	// Views of the repository: those that the writer can rebuild.
	Views   []contract.View
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Producer is program@version, for dead letters.
	Producer string
	// Now is the machine's time, at which the clock of plans and their deadlines begins in every session; nil means time.Now.
	Now func() time.Time
}

// Writer runs one pipeline a product.
type Writer struct {
	deps     Deps
	controls *groupcontrol.Follower
	products []*product
	verifier *verifier // nil when nothing is verified
}

// New makes a Writer; nothing connects before Run.
func New(config Config, deps Deps) (*Writer, error) {
	if len(deps.Contracts) == 0 {
		return nil, errors.New("no contract asks for a ClickHouse sink")
	}
	config = config.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	controls, err := groupcontrol.NewFollower(deps.Registry, deps.Log)
	if err != nil {
		return nil, err
	}
	w := &Writer{deps: deps, controls: controls}
	m := newMetrics(deps.Metrics)
	shared := newBudget(config.MemoryLimit, len(deps.Contracts))
	for _, c := range deps.Contracts {
		p := newProduct(config, deps, c, m, shared)
		p.controls = controls
		w.products = append(w.products, p)
	}
	if config.VerifyInterval > 0 {
		w.verifier = newVerifier(config, deps, w.products)
	}
	return w, nil
}

func (c Config) withDefaults() Config {
	if c.FlushInterval <= 0 {
		c.FlushInterval = 300 * time.Millisecond
	}
	if c.MaxBlockRows <= 0 {
		c.MaxBlockRows = 300_000
	}
	if c.MaxBlockBytes <= 0 {
		c.MaxBlockBytes = 48 << 20
	}
	if c.MaxRowsPerSecond > 0 {
		// A block of a second's rows keeps to the limit in every second.
		c.MaxBlockRows = min(c.MaxBlockRows, c.MaxRowsPerSecond)
	}
	if c.MemoryLimit <= 0 {
		c.MemoryLimit = 256 << 20
	}
	if c.UnknownSchemaWait <= 0 {
		c.UnknownSchemaWait = time.Minute
	}
	return c
}

// Run writes until ctx ends, then inserts what is decoded, commits and leaves the groups.
func (w *Writer) Run(ctx context.Context) error {
	admin, err := kafka.NewAdmin(w.deps.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	replays, err := newReplayer(w.deps, admin, w.products)
	if err != nil {
		return err
	}
	// No product's fault ends another's: run returns only at the drain.
	var group errgroup.Group
	for _, p := range w.products {
		p.admin = admin
		group.Go(func() error { return p.run(ctx) })
	}
	for _, p := range w.products {
		if p.frontier != nil {
			group.Go(func() error { p.frontier.follow(ctx, admin, p.topic, p.log); return nil })
		}
	}
	group.Go(func() error { replays.run(ctx); return nil })
	if w.verifier != nil {
		group.Go(func() error { w.verifier.run(ctx, admin); return nil })
	}
	group.Go(func() error { w.controls.Run(ctx, w.deps.Kafka, admin); return nil })
	return group.Wait()
}
