//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// stackFlags choose a stack; every command that starts one has them.
type stackFlags struct {
	Stack          string `name:"stack" env:"STACK" default:"embedded" enum:"embedded,apache" help:"Local stack: embedded needs nothing, apache needs Java 17 and Maven."`
	KafkaPort      int    `name:"kafka-port" help:"Port of the broker on 127.0.0.1; 0 picks a free one."`
	RegistryPort   int    `name:"registry-port" help:"Port of the schema registry; 0 picks a free one."`
	ClickHousePort int    `name:"clickhouse-port" help:"Port of ClickHouse; 0 picks a free one."`
	Kafka          string `name:"kafka-bootstrap-servers" env:"KAFKA_BOOTSTRAP_SERVERS" help:"Use this Kafka instead of a local broker."`
	Registry       string `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" help:"Use this schema registry instead of a local one."`
	ClickHouse     string `name:"clickhouse-url" env:"CLICKHOUSE_URL" help:"Use this ClickHouse instead of a local one."`
}

// session is a running stack with the connections that the command line holds to it.
type session struct {
	stack     *localstack.Stack
	admin     *kafka.Admin
	db        *sql.DB
	contracts []contract.Contract
	kafka     kafka.ClientConfig
	registry  registry.Config
	// from and topicIDs are where and what the topics were when this pipeline began.
	from     map[kafka.TopicPartition]int64
	topicIDs map[string]uuid.UUID
	dir      string
	progress func(string)
}

// startSession starts a stack in dir and applies the contracts to it.
func startSession(ctx context.Context, cli *commandLine, flags stackFlags, dir string, progress func(string)) (*session, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := checkFree(dir); err != nil {
		return nil, err
	}
	external := localstack.Addresses{Kafka: flags.Kafka, Registry: flags.Registry, ClickHouse: flags.ClickHouse}
	stack, err := localstack.Start(ctx, localstack.Config{
		Kind: flags.Stack, Dir: dir, CacheDir: cli.CacheDir, Executable: self,
		KafkaPort: flags.KafkaPort, RegistryPort: flags.RegistryPort, ClickHousePort: flags.ClickHousePort,
		External: external, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	s := &session{stack: stack, dir: dir, progress: progress}
	if err := errors.Join(s.clients(flags), s.connect()); err != nil {
		return nil, errors.Join(err, stack.Stop())
	}
	// How a local broker differs from the contracts is no business of a real one.
	kind := flags.Stack
	if flags.Kafka != "" {
		kind = ""
	}
	if err := s.apply(ctx, kind); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.markBeginning(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// checkFree refuses a folder whose stack still runs.
func checkFree(dir string) error {
	state, err := localstack.ReadState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if state.Alive() {
		return fmt.Errorf("a stack runs already in %s (process %d); `make status` shows it, `make down` ends it", dir, state.Supervisor)
	}
	return localstack.RemoveState(dir)
}

func (s *session) connect() error {
	addresses := s.stack.Addresses()
	var err error
	if s.admin, err = kafka.NewAdmin(s.kafka); err != nil {
		return err
	}
	if s.db, err = openClickHouse(addresses.ClickHouse); err != nil {
		return err
	}
	s.contracts, err = contract.Load(contracts.FS)
	return err
}

// clients are how the command line reaches the parts of a stack. A part that the environment replaces may want
// credentials, which the environment then holds as well; a local part wants none, whatever the shell is set up for.
func (s *session) clients(flags stackFlags) error {
	addresses := s.stack.Addresses()
	s.kafka, s.registry = kafka.ClientConfig{}, registry.Config{}
	if flags.Kafka != "" {
		if err := fromEnvironment(&s.kafka); err != nil {
			return err
		}
	}
	if flags.Registry != "" {
		if err := fromEnvironment(&s.registry); err != nil {
			return err
		}
	}
	s.kafka.BootstrapServers, s.registry.URL = addresses.Kafka, addresses.Registry
	return nil
}

// fromEnvironment fills a program's configuration from the variables that its fields name.
func fromEnvironment(config any) error {
	parser, err := kong.New(config)
	if err != nil {
		return err
	}
	_, err = parser.Parse(nil)
	return err
}

// openClickHouse connects for queries.
func openClickHouse(url string) (*sql.DB, error) {
	options, err := clickhouse.ParseDSN(url)
	if err != nil {
		return nil, fmt.Errorf("CLICKHOUSE_URL %q: %w; it is http://host:8123 or http://host:8123/database", url, err)
	}
	options.DialTimeout = 5 * time.Second
	return clickhouse.OpenDB(options), nil
}

// tables are the tables of all sinks.
func (s *session) tables() []string {
	var tables []string
	for _, c := range s.contracts {
		if c.Sink != nil {
			tables = append(tables, c.Sink.Table)
		}
	}
	return tables
}

// groups are the consumer groups of the pipeline and the topics each reads.
func (s *session) groups() map[string][]string {
	groups := map[string][]string{"parser": {"raw-frames"}}
	for _, c := range s.contracts {
		if c.Sink != nil {
			groups["writer."+c.Topic.Name] = []string{c.Topic.Name}
		}
	}
	return groups
}

// lag is how many records the groups whose name is or begins with prefix have not read yet.
func (s *session) lag(ctx context.Context, prefix string) (int64, error) {
	var total int64
	for group, topics := range s.groups() {
		if group != prefix && !(strings.HasSuffix(prefix, ".") && strings.HasPrefix(group, prefix)) {
			continue
		}
		lags, err := s.admin.Lag(ctx, group, topics)
		if err != nil {
			return 0, err
		}
		for _, lag := range lags {
			total += lag.Records
		}
	}
	return total, nil
}

// settled waits until no transaction is open on what the pipeline fills.
func (s *session) settled(ctx context.Context) error {
	return s.admin.AwaitCommitted(ctx, provenTopics...)
}

// writeState tells other commands what runs.
func (s *session) writeState(kind, simulator string, ready bool) error {
	return localstack.WriteState(s.dir, localstack.State{
		Stack: kind, Supervisor: os.Getpid(), Ready: ready, Addresses: s.stack.Addresses(), Simulator: simulator, Programs: s.stack.States(),
	})
}

func (s *session) close() error {
	if s.db != nil {
		s.db.Close()
	}
	if s.admin != nil {
		s.admin.Close()
	}
	return errors.Join(s.stack.Stop(), localstack.RemoveState(s.dir))
}

// folder is where the stack of one use lives: up and demo do not disturb each other.
func (c *commandLine) folder(use string) string { return filepath.Join(c.Dir, use) }
