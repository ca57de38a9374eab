package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
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
	s := wantedThings(t)
	s.admin = adminOf(t, kafka.ClientConfig{BootstrapServers: brokers})
	s.deps.Topics, s.deps.Rights = cluster.Topics(s.admin), cluster.Rights(s.admin)
	var err error
	if s.registry, err = registry.New(registry.Config{URL: registryURL}, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.registry.Close)
	s.deps.Registry = s.registry
	if withTables {
		s.connectTables(t, clickhousetest.Start(t), clickhousetest.Database(t))
	}
	return s
}

// connectTables to a database of ClickHouse.
func (s *stack) connectTables(t *testing.T, address, database string) {
	t.Helper()
	options, err := clickhouse.ParseDSN(address + "/" + database)
	if err != nil {
		t.Fatal(err)
	}
	if s.database, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.database.Close() })
	s.deps.Tables = cluster.Tables(s.database)
}

// wantedThings is a stack without parts: what contracts and schemas want of one.
func wantedThings(t *testing.T) stack {
	t.Helper()
	var s stack
	var err error
	if s.deps.Contracts, err = contract.Load(contracts.FS); err != nil {
		t.Fatal(err)
	}
	if s.deps.Subjects, err = schemas.All(); err != nil {
		t.Fatal(err)
	}
	if s.deps.Consumers, err = contract.LoadConsumers(contracts.FS, s.deps.Contracts); err != nil {
		t.Fatal(err)
	}
	if s.deps.Producers, err = contract.LoadProducers(contracts.FS, s.deps.Contracts, s.deps.Consumers); err != nil {
		t.Fatal(err)
	}
	if s.deps.Views, err = contract.LoadViews(contracts.FS, s.deps.Contracts); err != nil {
		t.Fatal(err)
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
	for deadline := time.Now().Add(patience); server.Ready() != nil; time.Sleep(5 * time.Millisecond) {
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
		found[governance.KindTopic] != len(s.deps.Contracts) || found[governance.KindRight] < 3 {
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
	everyKind(t, s, first, governance.KindTable, governance.KindView, governance.KindSubject, governance.KindCompatibility, governance.KindRight, governance.KindTopic)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("the second plan:\n%s", again)
	}
	tablesAreTuned(t, s)
}

// tablesAreTuned changes tables that an older release has made, of a server that knows the settings.
func tablesAreTuned(t *testing.T, s stack) {
	t.Helper()
	settings := map[string]bool{"no_such_setting": false}
	for _, tuned := range ddl.Tuning() {
		settings[tuned.Name] = true
	}
	for setting, want := range settings {
		if known, err := cluster.KnowsTableSetting(t.Context(), s.database, setting); err != nil || known != want {
			t.Errorf("%s: %v, want %v: %v", setting, known, want, err)
		}
	}
	g, err := governance.New(governance.Config{Replication: 1, DDL: ddl.Options{Tuning: ddl.Tuning()}}, s.deps)
	if err != nil {
		t.Fatal(err)
	}
	changed := apply(t, g)
	for _, step := range changed.Steps {
		if !settings[step.Setting] || step.Action != governance.ActionAlter {
			t.Errorf("a step besides the tuning: %+v", step)
		}
	}
	if again := plan(t, g); !again.Empty() || len(changed.Steps) < len(ddl.Tuning())*(len(s.deps.Contracts)-1) {
		t.Errorf("%d steps; the plan after them:\n%s", len(changed.Steps), again)
	}
}

func TestOnRealPartsDriftByHandIsNamedAndMended(t *testing.T) {
	s := start(t, true)
	g := govern(t, s)
	apply(t, g)
	driftIsNamedAndMended(t, s, g)
}

// driftIsNamedAndMended changes one of everything by hand. The plan names exactly what apply mends, refuses what would lose
// rows, and notes what belongs to nobody here.
func driftIsNamedAndMended(t *testing.T, s stack, g *governance.Governance) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	parsers := kafka.ACL{Principal: "User:parser", Host: "*", Resource: "TOPIC", Name: "raw-frames", Operation: "READ"}
	must(s.admin.AlterConfigs(ctx, "raw-trades", map[string]string{"retention.ms": "60000", "cleanup.policy": "compact"}))
	must(s.registry.SetCompatibility(ctx, "raw-trades-value", avro.LevelBackward))
	must(s.admin.DeleteACLs(ctx, parsers))
	for _, statement := range []string{
		"ALTER TABLE raw_trades DROP COLUMN taker_side",
		"ALTER TABLE raw_trades MODIFY TTL toDateTime(received_at) + INTERVAL 30 DAY, toDateTime(received_at) + INTERVAL 3 DAY DELETE WHERE venue = 'a'",
		"ALTER TABLE raw_trades MODIFY COLUMN quantity TTL toDateTime(received_at) + INTERVAL 3 DAY",
		"ALTER TABLE raw_trades MODIFY COLUMN quantity CODEC(ZSTD(9))",
		"ALTER TABLE raw_trades COMMENT COLUMN price 'it''s mine, TTL (1'",
		"ALTER TABLE raw_trades MODIFY COMMENT ''",
		"ALTER TABLE raw_trades MODIFY SETTING non_replicated_deduplication_window = 10",
	} {
		must(s.database.Exec(ctx, statement))
	}
	want := []string{
		"table raw_trades: add column taker_side ADD COLUMN IF NOT EXISTS `taker_side` Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2) COMMENT 'The side of the order that took liquidity.' AFTER `quantity`",
		"table raw_trades: comment: (none) → Every trade of every configured venue and symbol, once, exact to the last digit. MODIFY COMMENT 'Every trade of every configured venue and symbol, once, exact to the last digit.'",
		"table raw_trades: comment of price: it's mine, TTL (1 → Price in the quote currency, exact. COMMENT COLUMN `price` 'Price in the quote currency, exact.'",
		"table raw_trades: codec of quantity: ZSTD(9) → (none) MODIFY COLUMN `quantity` REMOVE CODEC",
		"table raw_trades: TTL of quantity: toDateTime(received_at) + toIntervalDay(3) → (none) MODIFY COLUMN `quantity` REMOVE TTL",
		"table raw_trades: TTL: toDateTime(received_at) + toIntervalDay(30), toDateTime(received_at) + toIntervalDay(3) WHERE venue = 'a' → 30 days after received_at (older rows go) MODIFY TTL toDateTime(`received_at`) + INTERVAL 30 DAY",
		"table raw_trades: non_replicated_deduplication_window: 10 → 10000 MODIFY SETTING non_replicated_deduplication_window = 10000",
		"compatibility raw-trades-value: BACKWARD → FULL_TRANSITIVE ",
		"acl User:parser: grant 1 right(s) [User:parser may READ topic raw-frames]",
		"topic raw-trades: cleanup.policy: compact → delete ",
		"topic raw-trades: retention.ms: 60000 → 604800000 ",
	}
	// A cluster shows some moments later what it acknowledged.
	p := awaitPlan(t, g, func(p governance.Plan) bool { return len(p.Steps) >= len(want) })
	if d := cmp.Diff(want, steps(p)); d != "" {
		t.Error(d)
	}
	apply(t, g)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("still:\n%s", again)
	}

	for _, statement := range []string{
		"ALTER TABLE raw_trades ADD COLUMN mine UInt8", "ALTER TABLE raw_trades ADD CONSTRAINT positive CHECK price > 0", "ALTER TABLE feed_gaps MODIFY COLUMN missing Nullable(Int32)",
		"CREATE TABLE mine (n UInt8) ENGINE = MergeTree ORDER BY n",
	} {
		must(s.database.Exec(ctx, statement))
	}
	must(s.admin.Create(ctx, []kafka.NewTopic{{Name: "mine", Partitions: 1}}))
	must(s.admin.AlterConfigs(ctx, "raw-trades", map[string]string{"segment.ms": "600000"}))
	must(s.admin.CreateACLs(ctx, kafka.ACL{Principal: "User:me", Host: "*", Resource: "TOPIC", Name: "mine", Operation: "ALL"}))
	_, _, err := s.registry.Register(ctx, schemas.Subject{Name: "mine-value", Path: "mine.avsc", Text: `"int"`})
	must(err)
	notes := []governance.Note{
		{Kind: "table", Object: "raw_trades", Text: "column mine (UInt8) is of no field of schemas for raw-trades-value; it is left alone"},
		{Kind: "table", Object: "raw_trades", Text: "constraint positive CHECK price > 0, which no contract says: it refuses rows; it is left alone"},
		{Kind: "table", Object: "mine", Text: "no contract names it; it is left alone"},
		{Kind: "subject", Object: "mine-value", Text: "no contract names it and no schema here is of it; it is left alone"},
		{Kind: "acl", Object: "User:me", Text: "may ALL topic mine; no contract names this principal, it is left alone"},
		{Kind: "topic", Object: "raw-trades", Text: "somebody set segment.ms to 600000, which no contract says; it is left alone"},
		{Kind: "topic", Object: "mine", Text: "no contract names it; it is left alone"},
	}
	p = awaitPlan(t, g, func(p governance.Plan) bool { return len(p.Notes) >= len(notes) })
	// The embedded broker bounds bytes by itself, which is noted of every topic.
	p.Notes = slices.DeleteFunc(p.Notes, func(n governance.Note) bool { return strings.HasPrefix(n.Text, "the broker keeps at most") })
	if d := cmp.Diff(notes, p.Notes); d != "" {
		t.Error(d)
	}
	const refused = "column missing is Nullable(Int32) in the table and Nullable(Int64) by the schema; changing it would rewrite or lose rows, make a new table or a new major version"
	if len(p.Steps) > 0 || len(p.Refused) != 1 || p.Refused[0].Object != "feed_gaps" || p.Refused[0].Reason != refused {
		t.Errorf("plan:\n%s", p)
	}
}

// steps are a plan's steps in a line each, without the table's name that begins each statement.
func steps(p governance.Plan) []string {
	var lines []string
	for _, s := range p.Steps {
		_, statement, _ := strings.Cut(s.SQL, "`raw_trades` ")
		if len(s.Rights) > 0 {
			statement = fmt.Sprint(s.Rights)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s %s", s.Kind, s.Object, s.What, statement))
	}
	return lines
}

// added are fields with a default of every kind that has a literal in SQL, in the schema's and in the contract's words.
var added = []struct{ avro, value, logical, physical string }{
	{`"double"`, `1e3`, "number", "double"},
	{`"double"`, `1e300`, "number", "double"},
	{`"float"`, `-0.5`, "number", "float"},
	{`"int"`, `-3`, "integer", "int"},
	{`"string"`, `"it's \\ \n \u00e9"`, "string", "string"},
	{`"boolean"`, `true`, "boolean", "boolean"},
	{`{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}`, `"\u0001"`, "number", "bytes.decimal(38,18)"},
	{`{"type":"int","logicalType":"date"}`, `-3`, "date", "int.date"},
	{`{"type":"long","logicalType":"timestamp-micros"}`, `5`, "timestamp", "long.timestamp-micros"},
	{`{"type":"enum","name":"Added","symbols":["X","Y"]}`, `"Y"`, "string", "enum(X,Y)"},
}

// withAdded gives feed-gaps the fields f0, f1, …, the first with a default of its own.
func withAdded(s stack, first string) stack {
	s.deps.Subjects, s.deps.Contracts = slices.Clone(s.deps.Subjects), slices.Clone(s.deps.Contracts)
	subject := &s.deps.Subjects[slices.IndexFunc(s.deps.Subjects, func(s schemas.Subject) bool { return s.Name == "feed-gaps-value" })]
	product := &s.deps.Contracts[slices.IndexFunc(s.deps.Contracts, func(c contract.Contract) bool { return c.ID == "feed-gaps" })]
	product.Fields = slices.Clone(product.Fields)
	end := strings.LastIndex(subject.Text, "]")
	var fields strings.Builder
	for i, f := range added {
		if i == 0 {
			f.value = first
		}
		fmt.Fprintf(&fields, `, {"name": "f%d", "type": %s, "default": %s}`, i, f.avro, f.value)
		product.Fields = append(product.Fields, contract.Field{Name: fmt.Sprintf("f%d", i), LogicalType: f.logical, PhysicalType: f.physical, Required: true})
	}
	subject.Text = subject.Text[:end] + fields.String() + subject.Text[end:]
	return s
}

// TestOnRealPartsAChangedDefaultLeavesOldRowsAsTheyWere: ClickHouse computes what old rows lack when they are read.
func TestOnRealPartsAChangedDefaultLeavesOldRowsAsTheyWere(t *testing.T) {
	s := start(t, true)
	apply(t, govern(t, s))
	insert := func(venue string) {
		t.Helper()
		if err := s.database.Exec(t.Context(), "INSERT INTO feed_gaps (venue, received_at) VALUES ('"+venue+"', now64(6))"); err != nil {
			t.Fatal(err)
		}
	}
	insert("1: before the column")
	// Apply waits until a plan is empty, so every kind of default is the same in ClickHouse's words and in ours.
	if p := apply(t, govern(t, withAdded(s, "1e3"))); len(p.Steps) != len(added)+1 {
		t.Errorf("plan:\n%s", p)
	}
	insert("2: before the change")
	p := apply(t, govern(t, withAdded(s, "7")))
	var statements []string
	for _, step := range p.Steps {
		if step.Kind == governance.KindTable {
			_, statement, _ := strings.Cut(step.SQL, "`feed_gaps` ")
			statements = append(statements, statement)
		}
	}
	if d := cmp.Diff([]string{"MATERIALIZE COLUMN `f0` SETTINGS mutations_sync = 2", "MODIFY COLUMN `f0` DEFAULT 7"}, statements); d != "" {
		t.Error(d)
	}
	insert("3: after")
	rows, err := s.database.Query(t.Context(), "SELECT f0 FROM feed_gaps ORDER BY venue")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var found []float64
	for rows.Next() {
		var n float64
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		found = append(found, n)
	}
	if !slices.Equal(found, []float64{1000, 1000, 7}) || rows.Err() != nil {
		t.Errorf("the rows have %v, %v", found, rows.Err())
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
