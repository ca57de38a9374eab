//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/streamforge/proof"
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
	logs      *logTail
	// found are the topics as they were when this pipeline began.
	found    proof.Beginning
	kind     string
	dir      string
	began    time.Time // after whatever had to be fetched
	progress func(string)
	lock     *localstack.Lock
}

// sessionConfig is what the commands that start a stack do differently.
type sessionConfig struct {
	// use names the stack's folder: up and demo do not disturb each other.
	use string
	// fresh begins with nothing, so that a run's figures are its own.
	fresh bool
	// progress gets a line for every step.
	progress func(since time.Duration, line string)
	// tellEnds passes on as progress that a child ended and is started again; a live view shows it otherwise.
	tellEnds bool
}

// timedProgress is the progress of a command that a person watches.
func timedProgress(since time.Duration, line string) {
	fmt.Printf("%5.1fs  %s\n", since.Seconds(), line)
}

// startSession takes the use's folder, fetches what is missing, starts a stack and applies the contracts to it.
func startSession(ctx context.Context, cli *commandLine, flags stackFlags, config sessionConfig) (*session, error) {
	dir := cli.folder(config.use)
	lock, err := occupy(dir)
	if err != nil {
		return nil, err
	}
	s := &session{kind: flags.Stack, dir: dir, lock: lock}
	if err := s.prepare(ctx, cli, flags, config); err != nil {
		lock.Release()
		return nil, err
	}
	s.began = time.Now()
	s.progress = func(line string) { config.progress(time.Since(s.began), line) }
	if err := s.start(ctx, cli, flags, config); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// prepare does what may take long or fail for reasons of the surroundings, before anything is started.
func (s *session) prepare(ctx context.Context, cli *commandLine, flags stackFlags, config sessionConfig) error {
	if err := flags.reachable(ctx); err != nil {
		return err
	}
	if err := installParts(ctx, cli, flags.Stack, flags); err != nil {
		return err
	}
	if config.fresh {
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("clearing the last run's data: %w", err)
		}
	}
	return localstack.RemoveState(s.dir)
}

func (s *session) start(ctx context.Context, cli *commandLine, flags stackFlags, config sessionConfig) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.logs = newLogTail()
	s.stack, err = localstack.Start(ctx, localstack.Config{
		Kind: flags.Stack, Dir: s.dir, CacheDir: cli.CacheDir, Executable: self,
		KafkaPort: flags.KafkaPort, RegistryPort: flags.RegistryPort, ClickHousePort: flags.ClickHousePort,
		External: localstack.Addresses{Kafka: flags.Kafka, Registry: flags.Registry, ClickHouse: flags.ClickHouse},
		Progress: s.progress,
		Ended: func(name string, reason error) {
			line := fmt.Sprintf("%s ended (%v) and is started again", name, reason)
			s.logs.Add(line)
			if config.tellEnds {
				s.progress(line)
			}
		},
	})
	if err != nil {
		return err
	}
	s.logs.Follow(s.stack)
	if err := errors.Join(s.clients(flags), s.connect()); err != nil {
		return err
	}
	// How a local broker differs from the contracts is no business of a real one.
	kind := flags.Stack
	if flags.Kafka != "" {
		kind = ""
	}
	if err := s.apply(ctx, kind); err != nil {
		return err
	}
	s.found, err = proof.Begin(ctx, s.admin)
	return err
}

// occupy takes a use's folder for this process.
func occupy(dir string) (*localstack.Lock, error) {
	lock, err := localstack.Acquire(dir)
	if errors.Is(err, localstack.ErrRuns) {
		return nil, occupied(dir)
	}
	return lock, err
}

// occupied says who uses a folder, and how that is ended.
func occupied(dir string) error {
	pid, _ := localstack.Holder(dir)
	if filepath.Base(dir) == useUp {
		return fmt.Errorf("a stack runs already in %s (process %d); `make status` shows it, `make down` ends it", dir, pid)
	}
	return fmt.Errorf("another %s runs already in %s (process %d); Ctrl-C in its terminal ends it, and --dir names another folder", filepath.Base(dir), dir, pid)
}

// useUp is the folder of what stays in the background.
const useUp = "up"

// checkFree refuses a folder whose stack runs, before anything is done.
func checkFree(dir string) error {
	if _, taken := localstack.Holder(dir); taken {
		return occupied(dir)
	}
	return nil
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
		return nil, fmt.Errorf("CLICKHOUSE_URL %q: %w; it is http://host:8123 or http://host:8123/database", withoutPassword(url), err)
	}
	options.DialTimeout = 5 * time.Second
	return clickhouse.OpenDB(options), nil
}

// tables are the tables of all sinks.
func (s *session) tables() []string {
	var tables []string
	for _, c := range s.contracts {
		if c.Sinks() {
			tables = append(tables, c.Sink.Table)
		}
	}
	return tables
}

// groups are the consumer groups of the pipeline and the topics each reads.
func (s *session) groups() map[string][]string {
	groups := map[string][]string{"parser": {"raw-frames"}}
	for _, c := range s.contracts {
		if c.Sinks() {
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

// prove compares the drained pipeline with the simulator's ledger; with live venues, the topics with the tables alone.
func (s *session) prove(ctx context.Context, p *pipeline) (*proof.Result, error) {
	if p.simulator == "" {
		return s.proveAgainst(ctx, nil)
	}
	l, err := proof.ReadLedger(p.ledger())
	if err != nil {
		return nil, err
	}
	return s.proveAgainst(ctx, l)
}

func (s *session) proveAgainst(ctx context.Context, sent *proof.Ledger) (*proof.Result, error) {
	client, err := registry.New(s.registry, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return proof.Prove(ctx, proof.Deps{Kafka: s.kafka, Registry: client, DB: s.db, Contracts: s.contracts}, s.found, sent)
}

// settled waits until no transaction is open on what the pipeline fills.
func (s *session) settled(ctx context.Context) error {
	return s.admin.AwaitCommitted(ctx, proof.Topics()...)
}

// writeState tells other commands what runs.
func (s *session) writeState(simulator string) error {
	return localstack.WriteState(s.dir, localstack.State{
		Stack: s.kind, Supervisor: os.Getpid(), Ready: true, Addresses: s.stack.Addresses(), Simulator: simulator, Programs: s.stack.States(),
	})
}

// keepState keeps the state file true until ctx ends: a child that was started again has a new process id. A full disk
// ends nothing: everything goes on, and only what status shows may be old.
func (s *session) keepState(ctx context.Context, simulator string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for {
		err := s.writeState(simulator)
		if err != nil && !failing {
			s.logs.Add(oneLine(err) + "; trying again every second")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// publish lets other commands see what runs, until stop.
func (s *session) publish(ctx context.Context, simulator string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepState(ctx, simulator)
	}()
	return func() { cancel(); <-done }
}

func (s *session) close() error {
	if s.db != nil {
		s.db.Close()
	}
	if s.admin != nil {
		s.admin.Close()
	}
	var err error
	if s.stack != nil {
		err = s.stack.Stop()
	}
	err = errors.Join(err, localstack.RemoveState(s.dir))
	s.lock.Release()
	return err
}

// folder is where the stack of one use lives: up and demo do not disturb each other.
func (c *commandLine) folder(use string) string { return filepath.Join(c.Dir, use) }
