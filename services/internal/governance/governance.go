// Package governance is where contracts and schemas meet the cluster: it compares what exists (subjects, compatibility
// levels, topics, tables, access rights) with what is wanted, shows the difference as one ordered plan, and applies it.
// It drops nothing unless it is told so; where a contract shortens a retention or a TTL, the step says that records or rows go.
// What no contract names is reported and left alone.
//
// Nothing here needs cgo: brokers and engines are reached through the narrow interfaces below, which package
// governance/cluster fills.
package governance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Registry is what is asked of a schema registry; *registry.Client is one.
type Registry interface {
	Lookup(ctx context.Context, s schemas.Subject) (registry.Schema, error)
	LiveVersions(ctx context.Context, subject string) ([]registry.Schema, error)
	Register(ctx context.Context, s schemas.Subject) (id, version int, err error)
	Compatibility(ctx context.Context, subject string) (avro.Level, bool, error)
	GlobalCompatibility(ctx context.Context) (avro.Level, error)
	Subjects(ctx context.Context) ([]string, error)
	// VersionNumbers are those of the live versions, in order; none where the subject is unknown.
	VersionNumbers(ctx context.Context, subject string) ([]int, error)
	// Mode that is in force for a subject: registry.ModeReadWrite, or one in which it takes no new version.
	Mode(ctx context.Context, subject string) (string, error)
	SetCompatibility(ctx context.Context, subject string, level avro.Level) error
}

// Topic as a cluster has it, or is to get it.
type Topic struct {
	Name       string
	Partitions int
	// Configs are the values in force, defaults included; for a topic to create, those to set.
	Configs map[string]string
	// Overrides are those of Configs that somebody set for this topic; the others are the broker's.
	Overrides map[string]string
}

// Topics is what is asked of a Kafka cluster.
type Topics interface {
	// List names every topic, internal ones included.
	List(ctx context.Context) ([]string, error)
	// Describe topics; those that do not exist are absent from the result.
	Describe(ctx context.Context, names ...string) (map[string]Topic, error)
	// Create a topic; one that exists is no error.
	Create(ctx context.Context, topic Topic, replication int) error
	AlterConfigs(ctx context.Context, topic string, configs map[string]string) error
}

// Tables is what is asked of ClickHouse.
type Tables interface {
	// Database that unqualified names mean; the contracts' own is documentation.
	Database(ctx context.Context) (string, error)
	// List names every table and view of the database.
	List(ctx context.Context, database string) ([]string, error)
	// Normal is an expression as ClickHouse writes it, for comparing it with one that it has.
	Normal(ctx context.Context, expression string) (string, error)
	// Describe a table; one without columns does not exist.
	Describe(ctx context.Context, database, table string) (Table, error)
	Exec(ctx context.Context, statement string) error
}

// Table as ClickHouse has it, in its own words.
type Table struct {
	Columns []ddl.ExistingColumn
	// SortingKey and PartitionKey are expressions without outer parentheses.
	SortingKey, PartitionKey string
	// Engine is MergeTree, View, …; EngineFull ends with the TTL and the settings.
	Engine, EngineFull string
	Comment            string
	// Created is the statement that would make it.
	Created string
	// Select is a view's query.
	Select string
}

// Config says how a cluster differs from the contracts on purpose.
type Config struct {
	// Replication of topics to create; 0 is the cluster's default.
	Replication int
	// TopicOverrides replace settings of every topic on this cluster, and OverrideReason says why, for the plan's reader. A
	// local broker that keeps everything in memory bounds bytes and not time, for example.
	TopicOverrides map[string]string
	OverrideReason string
	// Registration leaves out everything but the registry's part and the columns that its sinks need before the first
	// record. Without Tables those columns follow from the registry's latest versions and refuse the plan, unless
	// SinkLater says that somebody else sees to them.
	Registration, SinkLater bool
	// Revoke takes away access rights that the contracts' principals have and that no contract gives; without it they are
	// only reported.
	Revoke bool
	// DDL says for which kind of ClickHouse the SQL is meant.
	DDL ddl.Options
	// SettleTimeout is how long Apply waits until a cluster shows what it was told; 0 means 90 seconds. Brokers and replicas
	// answer before every one of them knows.
	SettleTimeout time.Duration
}

// Deps are what contracts want and where it is to be. A nil Registry, Topics, Tables or Rights leaves that part out.
type Deps struct {
	Contracts []contract.Contract
	// Consumers and Producers say who reads and who writes; the access rights follow from them.
	Consumers []contract.Consumer
	Producers []contract.Producer
	// Migrations between major versions; the views over both versions' tables follow from them.
	Migrations []contract.Migration
	// Views over products' tables that are added up while rows are inserted.
	Views    []contract.View
	Subjects []schemas.Subject
	Registry Registry
	Topics   Topics
	Tables   Tables
	Rights   Rights
	// Progress is told before and after every step; nil tells nobody.
	Progress func(Progress)
}

// Progress of Apply.
type Progress struct {
	Step Step
	// Number counts from 1 up to Of.
	Number, Of int
	// Done is false before the step and true after it, when Err and Elapsed say how it went.
	Done    bool
	Err     error
	Elapsed time.Duration
}

// String is the progress in one line.
func (p Progress) String() string {
	s := fmt.Sprintf("[%d/%d] %s %s %s", p.Number, p.Of, p.Step.Kind, p.Step.Object, p.Step.What)
	switch {
	case p.Err != nil:
		return s + ": " + p.Err.Error()
	case p.Done:
		return s + fmt.Sprintf(" (%d ms)", p.Elapsed.Milliseconds())
	}
	return s
}

// Governance plans and applies.
type Governance struct {
	config Config
	deps   Deps
}

// New makes a Governance; it connects to nothing.
func New(config Config, deps Deps) (*Governance, error) {
	if len(deps.Contracts) == 0 {
		return nil, errors.New("no contracts to govern by")
	}
	if deps.Registry == nil && deps.Topics == nil && deps.Tables == nil && deps.Rights == nil {
		return nil, errors.New("neither a registry nor Kafka nor ClickHouse to govern; set SCHEMA_REGISTRY_URL, KAFKA_BOOTSTRAP_SERVERS or CLICKHOUSE_URL")
	}
	// What contradicts itself must not reach a cluster.
	if problems := contract.LintContracts(deps.Contracts, deps.Subjects); len(problems) > 0 {
		return nil, problems
	}
	if config.SettleTimeout == 0 {
		config.SettleTimeout = 90 * time.Second
	}
	return &Governance{config: config, deps: deps}, nil
}

// Plan compares what exists with what is wanted. It changes nothing. The parts are asked at the same time, and stand in the
// plan in the order of their steps.
func (g *Governance) Plan(ctx context.Context) (Plan, error) {
	parts := []func(context.Context, *Plan) error{g.planTables, g.planRegistry, g.planRights, g.planTopics}
	if g.config.Registration {
		parts = []func(context.Context, *Plan) error{g.planColumns, g.planRegistry}
	}
	found := make([]Plan, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, part := range parts {
		group.Go(func() error { return part(ctx, &found[i]) })
	}
	if err := group.Wait(); err != nil {
		return Plan{}, err
	}
	var p Plan
	for _, f := range found {
		p.Steps = append(p.Steps, f.Steps...)
		p.Refused = append(p.Refused, f.Refused...)
		p.Notes = append(p.Notes, f.Notes...)
		p.Unchanged += f.Unchanged
	}
	return p, nil
}
