//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// clusterFlags say where a cluster is and who asks; without addresses, the local stack that runs is meant.
type clusterFlags struct {
	Kafka      kafka.ClientConfig `embed:""`
	Registry   registry.Config    `embed:""`
	ClickHouse string             `name:"clickhouse-url" env:"CLICKHOUSE_URL" help:"ClickHouse, http://user:password@host:8123/database."`
	Replicas   int                `name:"replication" env:"KAFKA_REPLICATION" help:"Replication of topics to create; 0 is the cluster's default."`
}

// resolve fills in the addresses of the local stack that runs where none is given.
func (f *clusterFlags) resolve(cli *commandLine) (kind string) {
	if os.Getenv("KAFKA_BOOTSTRAP_SERVERS") != "" || os.Getenv("SCHEMA_REGISTRY_URL") != "" || f.ClickHouse != "" {
		return ""
	}
	state, err := running(cli)
	if err != nil {
		return ""
	}
	f.Kafka.BootstrapServers, f.Registry.URL, f.ClickHouse = state.Addresses.Kafka, state.Addresses.Registry, state.Addresses.ClickHouse
	return state.Stack
}

// governor opens the parts asked for and returns the governance over them and what closes them.
type governor struct {
	*governance.Governance
	closers []func()
}

func (g *governor) close() {
	for _, c := range g.closers {
		c()
	}
}

// parts of a cluster that a command governs.
type parts struct{ registry, topics, tables bool }

func openGovernor(ctx context.Context, f *clusterFlags, kind string, which parts, progress func(governance.Progress)) (*governor, error) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return nil, err
	}
	subjects, err := schemas.All()
	if err != nil {
		return nil, err
	}
	g := &governor{}
	deps := governance.Deps{Contracts: all, Subjects: subjects, Progress: progress}
	if which.registry {
		client, err := registry.New(f.Registry, prometheus.NewRegistry())
		if err != nil {
			return nil, err
		}
		g.closers = append(g.closers, client.Close)
		deps.Registry = client
	}
	if which.topics {
		admin, err := kafka.NewAdmin(f.Kafka)
		if err != nil {
			return nil, err
		}
		g.closers = append(g.closers, admin.Close)
		deps.Topics = cluster.Topics(admin)
	}
	if which.tables && f.ClickHouse != "" {
		connection, err := openDriver(ctx, f.ClickHouse)
		if err != nil {
			return nil, err
		}
		g.closers = append(g.closers, func() { _ = connection.Close() })
		deps.Tables = cluster.Tables(connection)
	}
	g.Governance, err = governance.New(governanceConfig(kind, f.Replicas), deps)
	return g, err
}

// governanceConfig says how a local stack differs from the contracts on purpose.
func governanceConfig(kind string, replication int) governance.Config {
	config := governance.Config{Replication: replication}
	if kind == localstack.Embedded {
		config.OverrideReason = "the embedded broker keeps in memory what it keeps on disk, so it bounds bytes as well as time"
		config.TopicOverrides = map[string]string{"retention.bytes": fmt.Sprint(embeddedRetentionBytes)}
	}
	if kind != "" {
		config.Replication = 1
	}
	return config
}

// embeddedRetentionBytes a partition: 240 partitions share the machine's memory.
const embeddedRetentionBytes = 256 << 20

// openDriver connects to ClickHouse for DDL and asks it once, so that an address that is wrong is told as such.
func openDriver(ctx context.Context, address string) (driver.Conn, error) {
	options, err := clickhouse.ParseDSN(address)
	if err != nil {
		return nil, fmt.Errorf("CLICKHOUSE_URL %q: %w; it is http://host:8123 or http://user:password@host:8123/database", address, err)
	}
	connection, err := clickhouse.Open(options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := connection.Ping(ctx); err != nil {
		_ = connection.Close()
		return nil, clickHouseAway(strings.Join(options.Addr, ", "), err)
	}
	return connection, nil
}

// clickHouseAway says that no ClickHouse answers. The driver's and net/http's own words repeat the whole URL, with the
// password in it, so only the cause is kept.
func clickHouseAway(host string, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("ClickHouse at %s does not answer: %w; check that it runs and CLICKHOUSE_URL names it", host, err)
}

type planCommand struct {
	clusterFlags
	JSON bool `name:"json" help:"For a program."`
}

// Run is the command: exit status 0 when nothing would change, 2 when something would, 3 when it is refused.
func (p *planCommand) Run(ctx context.Context, cli *commandLine) error {
	g, err := openGovernor(ctx, &p.clusterFlags, p.resolve(cli), parts{true, true, true}, nil)
	if err != nil {
		return err
	}
	defer g.close()
	plan, err := g.Plan(ctx)
	if err != nil {
		return err
	}
	return showPlan(plan, p.JSON)
}

func showPlan(plan governance.Plan, asJSON bool) error {
	if asJSON {
		text, err := plan.JSON()
		if err != nil {
			return err
		}
		fmt.Println(string(text))
	} else {
		fmt.Println(plan.String())
	}
	if code := plan.ExitCode(); code != governance.ExitNoChange {
		return exitError{code}
	}
	return nil
}

type applyCommand struct{ clusterFlags }

// Run is the command.
func (a *applyCommand) Run(ctx context.Context, cli *commandLine) error {
	g, err := openGovernor(ctx, &a.clusterFlags, a.resolve(cli), parts{true, true, true}, printDone)
	if err != nil {
		return err
	}
	defer g.close()
	plan, err := g.PlanAndApply(ctx)
	return applied(plan, err)
}

func printDone(p governance.Progress) {
	if p.Done {
		fmt.Println(p)
	}
}

func applied(plan governance.Plan, err error) error {
	if len(plan.Refused) > 0 {
		fmt.Println(plan.String())
		return exitError{governance.ExitRefused}
	}
	if err != nil {
		return err
	}
	if plan.Empty() {
		fmt.Println("nothing to do: everything is as the contracts say")
	}
	return nil
}

type registerCommand struct {
	clusterFlags
	DryRun bool `name:"dry-run" env:"DRY_RUN" help:"Show, and change nothing."`
}

// Run is the command.
func (r *registerCommand) Run(ctx context.Context, cli *commandLine) error {
	g, err := openGovernor(ctx, &r.clusterFlags, r.resolve(cli), parts{registry: true}, printDone)
	if err != nil {
		return err
	}
	defer g.close()
	if r.DryRun {
		plan, err := g.Plan(ctx)
		if err != nil {
			return err
		}
		return showPlan(plan, false)
	}
	plan, err := g.RegisterSchemas(ctx)
	return applied(plan, err)
}

// apply brings a fresh stack to what the contracts say.
func (s *session) apply(ctx context.Context, kind string) error {
	flags := clusterFlags{Kafka: s.kafka, Registry: s.registry, ClickHouse: s.stack.Addresses().ClickHouse}
	g, err := openGovernor(ctx, &flags, kind, parts{true, true, true}, nil)
	if err != nil {
		return err
	}
	defer g.close()
	plan, err := g.PlanAndApply(ctx)
	if err != nil {
		return err
	}
	s.progress(fmt.Sprintf("contracts applied: %d steps", len(plan.Steps)))
	return nil
}
