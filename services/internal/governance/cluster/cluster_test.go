package cluster_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared ClickHouse ends with the process; idle connections of clients end by themselves.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

// stack is the embedded stack's own parts, in this process except for the engine.
type stack struct {
	admin    *kafka.Admin
	registry *registry.Client
	database driver.Conn
	deps     governance.Deps
}

func start(t *testing.T, withTables bool) stack {
	t.Helper()
	brokers := brokertest.Start(t)
	return connect(t, brokers, startRegistry(t, brokers), withTables)
}

// connect to a stack's parts.
func connect(t *testing.T, brokers, registryURL string, withTables bool) stack {
	t.Helper()
	s := stack{admin: adminOf(t, kafka.ClientConfig{BootstrapServers: brokers})}
	var err error
	if s.registry, err = registry.New(registry.Config{URL: registryURL}, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.registry.Close)
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	s.deps = governance.Deps{Contracts: all, Subjects: subjects, Registry: s.registry, Topics: cluster.Topics(s.admin), Rights: cluster.Rights(s.admin)}
	if s.deps.Consumers, err = contract.LoadConsumers(contracts.FS, all); err != nil {
		t.Fatal(err)
	}
	if s.deps.Producers, err = contract.LoadProducers(contracts.FS, all, s.deps.Consumers); err != nil {
		t.Fatal(err)
	}
	if withTables {
		options, err := clickhouse.ParseDSN(clickhousetest.Start(t) + "/" + clickhousetest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.database, err = clickhouse.Open(options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.database.Close() })
		s.deps.Tables = cluster.Tables(s.database)
	}
	return s
}

func adminOf(t *testing.T, client kafka.ClientConfig) *kafka.Admin {
	t.Helper()
	admin, err := kafka.NewAdmin(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

func startRegistry(t *testing.T, brokers string) string {
	t.Helper()
	server, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: brokers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); server.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(server.Ready())
		}
	}
	return server.URL()
}

func govern(t *testing.T, s stack) *governance.Governance {
	t.Helper()
	g, err := governance.New(governance.Config{Replication: 1}, s.deps)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func apply(t *testing.T, g *governance.Governance) governance.Plan {
	t.Helper()
	began := time.Now()
	plan, err := g.PlanAndApply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps in %d ms", len(plan.Steps), time.Since(began).Milliseconds())
	return plan
}

// everyKind checks that the plan for an empty cluster makes everything, in the order of these kinds.
func everyKind(t *testing.T, s stack, p governance.Plan, kinds ...governance.Kind) {
	t.Helper()
	found := map[governance.Kind]int{}
	var order []governance.Kind
	for _, step := range p.Steps {
		found[step.Kind]++
		if step.Kind != governance.KindCompatibility && !slices.Contains(order, step.Kind) {
			order = append(order, step.Kind)
		}
	}
	want := slices.DeleteFunc(slices.Clone(kinds), func(k governance.Kind) bool { return k == governance.KindCompatibility })
	subjects := len(s.deps.Subjects)
	if !slices.Equal(order, want) || found[governance.KindSubject] != subjects || found[governance.KindCompatibility] != subjects ||
		found[governance.KindTopic] != len(s.deps.Contracts) || found[governance.KindRight] < 3*len(s.deps.Consumers) {
		t.Errorf("kinds %v of\n%s", found, p)
	}
}

func plan(t *testing.T, g *governance.Governance) governance.Plan {
	t.Helper()
	p, err := g.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnRealPartsASecondPlanIsEmpty(t *testing.T) {
	s := start(t, true)
	g := govern(t, s)
	first := apply(t, g)
	everyKind(t, s, first, governance.KindTable, governance.KindSubject, governance.KindCompatibility, governance.KindRight, governance.KindTopic)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("the second plan:\n%s", again)
	}
}

func TestOnRealPartsDriftByHandIsNamedAndMended(t *testing.T) {
	s := start(t, true)
	g := govern(t, s)
	apply(t, g)
	ctx := t.Context()
	if err := s.admin.AlterConfigs(ctx, "raw-trades", map[string]string{"retention.ms": "60000", "cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.SetCompatibility(ctx, "raw-trades-value", avro.LevelBackward); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"ALTER TABLE raw_trades DROP COLUMN taker_side",
		"ALTER TABLE raw_trades MODIFY TTL toDateTime(received_at) + INTERVAL 3 DAY",
		"ALTER TABLE raw_trades MODIFY SETTING non_replicated_deduplication_window = 10",
	} {
		if err := s.database.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	text := plan(t, g).String()
	for _, want := range []string{
		"retention.ms: 60000 → 604800000", "cleanup.policy: compact → delete", "BACKWARD → FULL_TRANSITIVE", "ADD COLUMN IF NOT EXISTS `taker_side`",
		"MODIFY TTL", "MODIFY SETTING non_replicated_deduplication_window = 10000", "plan: 6 to change",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
	apply(t, g)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("still:\n%s", again)
	}
}

func TestOnRealPartsAChangedKeyOfATableIsRefused(t *testing.T) {
	s := start(t, true)
	g := govern(t, s)
	apply(t, g)
	for _, c := range s.deps.Contracts {
		if c.ID == "raw-trades" {
			c.Sink.OrderBy = []string{"symbol", "venue"}
		}
	}
	p := plan(t, g)
	if p.ExitCode() != governance.ExitRefused || !strings.Contains(p.String(), "ORDER BY") {
		t.Errorf("plan:\n%s", p)
	}
}

func TestOnRealPartsAnIncompatibleSchemaIsRefusedBeforeAnythingChanges(t *testing.T) {
	s := start(t, false)
	apply(t, govern(t, s))
	for i, subject := range s.deps.Subjects {
		if subject.Name == "orderbook-resyncs-value" {
			s.deps.Subjects[i].Text = strings.Replace(subject.Text, `"name": "reason"`, `"name": "cause"`, 1)
		}
	}
	for i, c := range s.deps.Contracts {
		if c.ID != "orderbook-resyncs" {
			continue
		}
		for j, f := range c.Fields {
			if f.Name == "reason" {
				s.deps.Contracts[i].Fields[j].Name = "cause"
			}
		}
	}
	p := plan(t, govern(t, s))
	text := p.String()
	if p.ExitCode() != governance.ExitRefused || !strings.Contains(text, "READER_FIELD_MISSING_DEFAULT_VALUE") || len(p.Steps) > 0 {
		t.Errorf("plan:\n%s", text)
	}
}
