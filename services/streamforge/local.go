//go:build cgo

package main

import (
	"context"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/localstack/apache"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/install"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/telemetry"
)

// localCommand runs one part of the embedded stack in the foreground. The stack starts these as children, so that each
// can be killed and started again by itself.
type localCommand struct {
	Broker     localBroker     `cmd:"" help:"A Kafka broker in this process, with its data on disk."`
	Registry   localRegistry   `cmd:"" help:"A schema registry with Confluent's API, its state in the topic _schemas."`
	ClickHouse localClickHouse `cmd:"" name:"clickhouse" help:"ClickHouse behind its HTTP interface."`
}

// partFlags are the same for every part.
type partFlags struct {
	Telemetry telemetry.Config `embed:""`
	Listen    string           `name:"listen" default:"127.0.0.1:0" help:"Address to listen on."`
	DataDir   string           `name:"data-dir" type:"path" required:"" help:"Folder of its data."`
}

type localBroker struct{ partFlags }

// Run is the command.
func (l *localBroker) Run(ctx context.Context) error {
	log := telemetry.NewLogger(l.Telemetry, "broker")
	b, err := broker.New(broker.Config{Listen: l.Listen, DataDir: l.DataDir}, log)
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

type localRegistry struct {
	partFlags
	Kafka string `name:"kafka-bootstrap-servers" env:"KAFKA_BOOTSTRAP_SERVERS" required:"" help:"Broker that holds the topic _schemas."`
}

// Run is the command.
func (l *localRegistry) Run(ctx context.Context) error {
	log := telemetry.NewLogger(l.Telemetry, "registry")
	server, err := schemaregistry.New(schemaregistry.Config{Listen: l.Listen, BootstrapServers: l.Kafka}, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

type localClickHouse struct{ partFlags }

// Run is the command.
func (l *localClickHouse) Run(ctx context.Context, cli *commandLine) error {
	log := telemetry.NewLogger(l.Telemetry, "clickhouse")
	server, err := clickhouse.New(clickhouse.Config{Listen: l.Listen, DataDir: l.DataDir, CacheDir: cli.CacheDir}, clickhouse.Deps{Log: log, Registerer: prometheus.NewRegistry(), Progress: os.Stderr})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// installCommand fetches the parts of a stack.
type installCommand struct {
	Stack string `name:"stack" env:"STACK" default:"embedded" enum:"embedded,apache" help:"Which stack."`
}

// Run is the command.
func (i *installCommand) Run(ctx context.Context, cli *commandLine) error {
	return installParts(ctx, cli, i.Stack, stackFlags{})
}

// installParts fetches what is not there yet and not replaced by an address.
func installParts(ctx context.Context, cli *commandLine, kind string, flags stackFlags) error {
	if flags.ClickHouse == "" {
		if _, err := install.Library(ctx, install.Config{CacheDir: cli.CacheDir, Progress: os.Stderr}); err != nil {
			return err
		}
	}
	if kind == localstack.Apache && (flags.Kafka == "" || flags.Registry == "") {
		return apache.Install(ctx, cli.CacheDir)
	}
	return nil
}
