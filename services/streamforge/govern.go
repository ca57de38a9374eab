//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// clusterFlags say where a cluster is and who asks; without addresses, the local stack that runs is meant.
type clusterFlags struct {
	Kafka      kafka.ClientConfig `embed:""`
	Registry   registry.Config    `embed:""`
	ClickHouse string             `name:"clickhouse-url" env:"CLICKHOUSE_URL" help:"ClickHouse, http://user:password@host:8123/database."`
	Cluster    string             `name:"clickhouse-cluster" env:"CLICKHOUSE_CLUSTER" help:"ClickHouse's name for its cluster: tables are Replicated and statements ON CLUSTER; empty for a single server."`
	Sharded    bool               `name:"clickhouse-sharded" env:"CLICKHOUSE_SHARDED" help:"The cluster has several shards: every table gets a Distributed one to read from, <table>_all."`
	Replicas   int                `name:"replication" env:"KAFKA_REPLICATION" help:"Replication of topics to create; 0 is the cluster's default."`
}

// The addresses that the flags have when nobody gave any.
const (
	defaultKafka    = "127.0.0.1:9092"
	defaultRegistry = "http://127.0.0.1:8081"
)

// resolve fills in the addresses of the local stack that runs where none is given, by a flag or by the environment.
func (f *clusterFlags) resolve(cli *commandLine) (kind string) {
	if os.Getenv("KAFKA_BOOTSTRAP_SERVERS") != "" || os.Getenv("SCHEMA_REGISTRY_URL") != "" || f.ClickHouse != "" ||
		f.Kafka.BootstrapServers != defaultKafka || f.Registry.URL != defaultRegistry {
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

// openGovernor connects to the parts that the configuration is about: Kafka is none of a registration's.
func openGovernor(ctx context.Context, f *clusterFlags, config governance.Config, progress func(governance.Progress)) (*governor, error) {
	deps, err := wantedThings()
	if err != nil {
		return nil, err
	}
	deps.Progress = progress
	config.DDL = ddl.Options{Cluster: f.Cluster, Sharded: f.Sharded}
	if f.Sharded && f.Cluster == "" {
		return nil, errors.New("shards without a cluster; set CLICKHOUSE_CLUSTER, too")
	}
	g := &governor{}
	if err := g.connect(ctx, f, &config, &deps); err != nil {
		g.close()
		return nil, err
	}
	if g.Governance, err = governance.New(config, deps); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// wantedThings are what this build was made with.
func wantedThings() (deps governance.Deps, err error) {
	if deps.Contracts, err = contract.Load(contracts.FS); err != nil {
		return deps, err
	}
	if deps.Consumers, err = contract.LoadConsumers(contracts.FS, deps.Contracts); err != nil {
		return deps, err
	}
	if deps.Producers, err = contract.LoadProducers(contracts.FS, deps.Contracts, deps.Consumers); err != nil {
		return deps, err
	}
	if deps.Migrations, err = migration.Load(contracts.FS, deps.Contracts); err != nil {
		return deps, err
	}
	if deps.Views, err = contract.LoadViews(contracts.FS, deps.Contracts); err != nil {
		return deps, err
	}
	deps.Subjects, err = schemas.All()
	return deps, err
}

func (g *governor) connect(ctx context.Context, f *clusterFlags, config *governance.Config, deps *governance.Deps) error {
	client, err := registry.New(f.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	g.closers = append(g.closers, client.Close)
	deps.Registry = client
	if !config.Registration {
		admin, err := kafka.NewAdmin(f.Kafka)
		if err != nil {
			return err
		}
		g.closers = append(g.closers, admin.Close)
		deps.Topics, deps.Rights = cluster.Topics(admin), cluster.Rights(admin)
	}
	if f.ClickHouse != "" {
		connection, err := openDriver(ctx, f.ClickHouse)
		if err != nil {
			return err
		}
		g.closers = append(g.closers, func() { _ = connection.Close() })
		deps.Tables = cluster.Tables(connection)
		if config.DDL.Tuning, err = knownTuning(ctx, connection); err != nil {
			return err
		}
	}
	return nil
}

// knownTuning are the settings of tables that a server knows.
func knownTuning(ctx context.Context, connection driver.Conn) (tuning []ddl.Setting, err error) {
	for _, setting := range ddl.Tuning() {
		known, err := cluster.KnowsTableSetting(ctx, connection, setting.Name)
		if err != nil {
			return nil, err
		}
		if known {
			tuning = append(tuning, setting)
		}
	}
	return tuning, nil
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
	options, err := driverOptions(address)
	if err != nil {
		return nil, err
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

// ddlPatience bounds one statement. MATERIALIZE COLUMN answers when every row has been rewritten; the driver's own five minutes
// would end an apply on a large table each time anew, and the rewriting would begin again with the next.
const ddlPatience = 24 * time.Hour

// driverOptions reads an address for DDL; a read_timeout in it is its owner's word.
func driverOptions(address string) (*clickhouse.Options, error) {
	options, err := clickhouse.ParseDSN(address)
	if err != nil {
		return nil, fmt.Errorf("CLICKHOUSE_URL %q: %w; it is http://host:8123 or http://user:password@host:8123/database", withoutPassword(address), err)
	}
	if options.ReadTimeout == 0 {
		options.ReadTimeout = ddlPatience
	}
	return options, nil
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
	Revoke bool `name:"revoke" help:"Plan to take away access rights that the contracts' principals have and no contract gives."`
	JSON   bool `name:"json" help:"For a program, and for apply: streamforge plan --json > plan.json; streamforge apply plan.json"`
}

// Run is the command: exit status 0 when nothing would change, 2 when something would, 3 when it is refused.
func (p *planCommand) Run(ctx context.Context, cli *commandLine) error {
	config := governanceConfig(p.resolve(cli), p.Replicas)
	config.Revoke = p.Revoke
	g, err := openGovernor(ctx, &p.clusterFlags, config, nil)
	if err != nil {
		return err
	}
	defer g.close()
	return g.show(ctx, p.JSON)
}

// show prints what would change, and ends with its exit status.
func (g *governor) show(ctx context.Context, asJSON bool) error {
	plan, err := g.Plan(ctx)
	if err != nil {
		return err
	}
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

type applyCommand struct {
	clusterFlags
	applyFlags
	Plan   string `arg:"" optional:"" type:"existingfile" help:"A plan that streamforge plan --json wrote: it is applied only if the cluster still needs exactly that."`
	Revoke bool   `name:"revoke" help:"Take away access rights that the contracts' principals have and no contract gives."`
}

// applyFlags are those of every command that changes a cluster.
type applyFlags struct {
	JSON bool `name:"json" help:"For a program: the plan, and whether it was applied."`
	// DieAt is for the test that apply can be interrupted anywhere: it is an honest SIGKILL, nothing is tidied up.
	DieAt int `name:"die-at" env:"STREAMFORGE_APPLY_DIE_AT" hidden:"" help:"Kill this process (SIGKILL) before the step of that number; one more than there are is after the last."`
}

// Run is the command: exit status 0 when all is as the contracts say, 3 when it is refused and nothing was changed.
func (a *applyCommand) Run(ctx context.Context, cli *commandLine) error {
	config := governanceConfig(a.resolve(cli), a.Replicas)
	config.Revoke = a.Revoke
	g, err := openGovernor(ctx, &a.clusterFlags, config, a.progress)
	if err != nil {
		return err
	}
	defer g.close()
	if a.Plan == "" {
		return a.planAndApply(ctx, g)
	}
	text, err := os.ReadFile(a.Plan)
	if err != nil {
		return err
	}
	plan, err := governance.ParsePlan(text)
	if err != nil {
		return err
	}
	return a.finish(plan, a.apply(ctx, g, plan))
}

// maxReplans bounds how often apply makes its own plan anew.
const maxReplans = 5

// planAndApply makes a plan and applies it. A cluster may show only now what an apply that was interrupted a moment ago told
// it; the plan is then made anew, because nobody has promised this one to anybody.
func (a *applyFlags) planAndApply(ctx context.Context, g *governor) error {
	for try := 1; ; try++ {
		plan, err := g.Plan(ctx)
		if err != nil {
			return err
		}
		err = a.apply(ctx, g, plan)
		if errors.Is(err, governance.ErrChanged) && try < maxReplans {
			continue
		}
		return a.finish(plan, err)
	}
}

// apply shows a plan and carries it out, which compares it with the cluster once more before the first step.
func (a *applyFlags) apply(ctx context.Context, g *governor, plan governance.Plan) error {
	if !a.JSON {
		fmt.Println(plan.String())
	}
	return g.Apply(ctx, plan)
}

// finish tells how it ended, and makes an exit status of a refusal.
func (a *applyFlags) finish(plan governance.Plan, err error) error {
	refused := errors.Is(err, governance.ErrRefused) || errors.Is(err, governance.ErrChanged)
	if err != nil && !refused {
		return err
	}
	status := governance.ExitNoChange
	if refused {
		status = governance.ExitRefused
	}
	if a.JSON {
		if err := printOutcome(plan, err, status); err != nil {
			return err
		}
	} else if errors.Is(err, governance.ErrChanged) { // what else is refused stands in the plan
		fmt.Fprintln(os.Stderr, "streamforge: "+oneLine(err))
	}
	if refused {
		return exitError{status}
	}
	return nil
}

func printOutcome(plan governance.Plan, failed error, status int) error {
	outcome := struct {
		governance.Plan
		Applied  bool   `json:"applied"`
		Error    string `json:"error,omitempty"`
		ExitCode int    `json:"exit_code"`
	}{Plan: plan.Listed(), Applied: failed == nil, ExitCode: status}
	if failed != nil {
		outcome.Error = oneLine(failed)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(outcome)
}

// progress prints the steps that were taken, and dies where a test wants it.
func (a *applyFlags) progress(p governance.Progress) {
	if p.Done && !a.JSON {
		fmt.Println(p)
	}
	if a.DieAt > 0 && (!p.Done && p.Number == a.DieAt || p.Done && p.Number == p.Of && a.DieAt > p.Of) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal may take a moment, and nothing may happen in it
	}
}

type registerCommand struct {
	clusterFlags
	applyFlags
	DryRun bool   `name:"dry-run" env:"DRY_RUN" help:"Show, and change nothing."`
	Sink   string `name:"sink" env:"SINK" default:"now" enum:"now,later" help:"now: the columns that the sinks need come first, in CLICKHOUSE_URL. later: somebody else sees to them."`
}

// Run is the command: subjects, levels, and the columns that the sinks need before the first record. Exit status 0 when all is
// registered, 2 when a dry run shows something to do, 3 when it is refused.
func (r *registerCommand) Run(ctx context.Context, cli *commandLine) error {
	config := governanceConfig(r.resolve(cli), r.Replicas)
	config.Registration, config.SinkLater = true, r.Sink == "later"
	g, err := openGovernor(ctx, &r.clusterFlags, config, r.progress)
	if err != nil {
		return err
	}
	defer g.close()
	if r.DryRun {
		return g.show(ctx, r.JSON)
	}
	return r.planAndApply(ctx, g)
}

// apply brings a fresh stack to what the contracts say.
func (s *session) apply(ctx context.Context, kind string) error {
	flags := clusterFlags{Kafka: s.kafka, Registry: s.registry, ClickHouse: s.stack.Addresses().ClickHouse}
	g, err := openGovernor(ctx, &flags, governanceConfig(kind, 0), nil)
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
