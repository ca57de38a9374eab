package governance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// world is a cluster in memory, strict about order: a reference must be registered before its user, a level belongs to a
// subject that exists (as Apicurio has it), a topic is created once.
type world struct {
	subjects map[string][]string // texts of versions
	levels   map[string]avro.Level
	topics   map[string]governance.Topic
	tables   map[string]governance.Table
	rights   []governance.Right
	global   avro.Level
	modes    map[string]string // of subjects that are not in READWRITE
	log      []string
	// failAt makes that change, counted from 1, fail; after says that it takes effect all the same, as when an answer is lost.
	failAt int
	// wanted is what tables are made after.
	wanted  governance.Deps
	after   bool
	changes int
}

func newWorld() *world {
	return &world{subjects: map[string][]string{}, levels: map[string]avro.Level{}, topics: map[string]governance.Topic{}, tables: map[string]governance.Table{}, global: avro.LevelNone}
}

var errInjected = errors.New("connection lost")

func (w *world) change(what string, do func()) error {
	w.changes++
	if w.changes == w.failAt && !w.after {
		return errInjected
	}
	do()
	w.log = append(w.log, what)
	if w.changes == w.failAt {
		return errInjected
	}
	return nil
}

func (w *world) Lookup(_ context.Context, s schemas.Subject) (registry.Schema, error) {
	i := slices.Index(w.subjects[s.Name], s.Text)
	if i < 0 {
		return registry.Schema{}, fmt.Errorf("looking up %s: %w", s.Name, registry.ErrNotRegistered)
	}
	return registry.Schema{Subject: s.Name, Version: i + 1, Text: s.Text}, nil
}

func (w *world) LiveVersions(_ context.Context, subject string) ([]registry.Schema, error) {
	var all []registry.Schema
	for i, text := range w.subjects[subject] {
		full, err := schemas.Inline(text, func(name string) (string, bool) {
			versions := w.subjects[name]
			if len(versions) == 0 {
				return "", false
			}
			return versions[len(versions)-1], true
		})
		if err != nil {
			return nil, err
		}
		all = append(all, registry.Schema{Subject: subject, Version: i + 1, Text: full})
	}
	return all, nil
}

func (w *world) VersionNumbers(_ context.Context, subject string) ([]int, error) {
	var numbers []int
	for i := range w.subjects[subject] {
		numbers = append(numbers, i+1)
	}
	return numbers, nil
}

func (w *world) Mode(_ context.Context, subject string) (string, error) {
	if mode := w.modes[subject]; mode != "" {
		return mode, nil
	}
	return registry.ModeReadWrite, nil
}

func (w *world) Register(_ context.Context, s schemas.Subject) (int, int, error) {
	for _, r := range s.References {
		if len(w.subjects[r.Subject]) == 0 {
			return 0, 0, fmt.Errorf("%s refers to %s, which is not registered", s.Name, r.Subject)
		}
	}
	err := w.change("subject "+s.Name, func() {
		if !slices.Contains(w.subjects[s.Name], s.Text) {
			w.subjects[s.Name] = append(w.subjects[s.Name], s.Text)
		}
	})
	return 1, 1, err
}

func (w *world) Compatibility(_ context.Context, subject string) (avro.Level, bool, error) {
	level, ok := w.levels[subject]
	return level, ok, nil
}

func (w *world) GlobalCompatibility(context.Context) (avro.Level, error) { return w.global, nil }

func (w *world) Subjects(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(w.subjects)), nil
}

func (w *world) SetCompatibility(_ context.Context, subject string, level avro.Level) error {
	if len(w.subjects[subject]) == 0 {
		return fmt.Errorf("no subject %s", subject)
	}
	return w.change("level "+subject, func() { w.levels[subject] = level })
}

func (w *world) Describe(_ context.Context, names ...string) (map[string]governance.Topic, error) {
	found := map[string]governance.Topic{}
	for _, name := range names {
		if t, ok := w.topics[name]; ok {
			found[name] = t
		}
	}
	return found, nil
}

func (w *world) Create(_ context.Context, t governance.Topic, _ int) error {
	if _, twice := w.topics[t.Name]; twice {
		return fmt.Errorf("topic %s exists", t.Name)
	}
	return w.change("topic "+t.Name, func() {
		configs := map[string]string{"compression.type": "producer", "retention.bytes": "-1"}
		maps.Copy(configs, t.Configs)
		if configs["cleanup.policy"] == "compact,delete" {
			configs["cleanup.policy"] = "delete,compact" // brokers keep no order
		}
		w.topics[t.Name] = governance.Topic{Name: t.Name, Partitions: t.Partitions, Configs: configs}
	})
}

func (w *world) AlterConfigs(_ context.Context, topic string, configs map[string]string) error {
	return w.change("settings "+topic, func() { maps.Copy(w.topics[topic].Configs, configs) })
}

func (w *world) List(context.Context) ([]string, error) {
	return append(slices.Collect(maps.Keys(w.topics)), "__consumer_offsets", "_schemas", "_confluent-command"), nil
}

// rights is the world as an authorizer.
type rights struct{ *world }

func (w rights) List(context.Context) ([]governance.Right, error) { return slices.Clone(w.rights), nil }

func (w rights) Grant(_ context.Context, all ...governance.Right) error {
	return w.change(fmt.Sprint("right ", all), func() {
		for _, r := range all {
			if !slices.Contains(w.rights, r) {
				w.world.rights = append(w.rights, r)
			}
		}
	})
}

func (w rights) Revoke(_ context.Context, all ...governance.Right) error {
	return w.change(fmt.Sprint("no right ", all), func() {
		w.world.rights = slices.DeleteFunc(w.rights, func(have governance.Right) bool { return slices.Contains(all, have) })
	})
}

// tables is the world as ClickHouse: its Describe is another one than Kafka's.
type tables struct{ *world }

func (w *world) Database(context.Context) (string, error) { return "market", nil }

func (w tables) Describe(_ context.Context, database, table string) (governance.Table, error) {
	if database != "market" {
		return governance.Table{}, fmt.Errorf("asked for database %s", database)
	}
	return w.tables[table], nil
}

func (w tables) List(context.Context, string) ([]string, error) {
	return slices.Collect(maps.Keys(w.tables)), nil
}

// Normal plays a ClickHouse that writes thousands its own way.
func (w tables) Normal(_ context.Context, expression string) (string, error) {
	return strings.ReplaceAll(expression, "1000", "1000."), nil
}

// Exec plays ClickHouse for the statements of these plans: whatever it is told, the table is then as its contract has it.
func (w *world) Exec(_ context.Context, statement string) error {
	table := strings.Split(strings.Split(statement, "`market`.`")[1], "`")[0]
	if made, query, isView := strings.Cut(statement, " AS SELECT "); isView && strings.HasPrefix(made, "CREATE OR REPLACE VIEW ") {
		return w.change("view "+table, func() { w.makeView(table, query) })
	}
	return w.change("table "+table, func() {
		for _, c := range w.wanted.Contracts {
			if c.Sink == nil || c.Sink.Table != table {
				continue
			}
			i := slices.IndexFunc(w.wanted.Subjects, func(s schemas.Subject) bool { return s.Name == c.Subject })
			text := must(schemas.SelfContained(w.wanted.Subjects[i]))
			made := governance.Table{
				Created: "CREATE TABLE market." + table + " (INDEX " + ddl.OffsetIndex + " x TYPE minmax, PROJECTION " + ddl.OffsetProjection +
					" (SELECT x), CONSTRAINT " + ddl.DeadlineConstraint + " CHECK now() < x) ENGINE = MergeTree",
				SortingKey: strings.Join(c.Sink.OrderBy, ", "), PartitionKey: c.Sink.PartitionBy, Engine: "MergeTree", Comment: c.Purpose,
				EngineFull: fmt.Sprintf("MergeTree ORDER BY x TTL toDateTime(%s) + toIntervalDay(%d) SETTINGS non_replicated_deduplication_window = %d, %s = '%s', index_granularity = 8192",
					c.Sink.TimeColumn, c.Sink.TTLDays, ddl.DefaultDedupWindow, ddl.ProjectionMode, ddl.ProjectionModeValue),
			}
			for _, column := range must(ddl.Columns(c, text)) {
				made.Columns = append(made.Columns, ddl.Existing([]ddl.Column{column})...)
			}
			w.tables[table] = made
		}
	})
}

// makeView plays a ClickHouse that knows the types of a view's columns: those of the later table.
func (w *world) makeView(name, query string) {
	query, comment, _ := strings.Cut(query, " COMMENT ")
	w.tables[name] = governance.Table{Engine: "View", Select: "SELECT " + must(tables{w}.Normal(context.Background(), query)), Comment: strings.ReplaceAll(strings.Trim(comment, "'"), `\'`, "'"), Columns: w.tables["raw_trades_v2"].Columns}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// allContracts gives each test contracts of its own: some change them.
func allContracts() []contract.Contract { return slices.Clone(loadOnce()) }

var loadOnce = sync.OnceValue(func() []contract.Contract { return must(contract.Load(contracts.FS)) })

func newGovernance(t *testing.T, w *world, change func(*governance.Config, *governance.Deps)) *governance.Governance {
	t.Helper()
	config := governance.Config{SettleTimeout: time.Second}
	deps := governance.Deps{Contracts: allContracts(), Subjects: must(schemas.All()), Registry: w, Topics: w, Tables: tables{w}, Rights: rights{w}}
	deps.Consumers = must(contract.LoadConsumers(contracts.FS, deps.Contracts))
	deps.Producers = must(contract.LoadProducers(contracts.FS, deps.Contracts, deps.Consumers))
	if change != nil {
		change(&config, &deps)
	}
	w.wanted = deps
	g, err := governance.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func planOf(t *testing.T, g *governance.Governance) governance.Plan {
	t.Helper()
	p, err := g.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestASecondPlanIsEmpty(t *testing.T) {
	w := newWorld()
	var told []string
	g := newGovernance(t, w, func(_ *governance.Config, d *governance.Deps) {
		d.Progress = func(p governance.Progress) {
			if p.Done {
				told = append(told, p.String())
			}
		}
	})
	p := planOf(t, g)
	if p.ExitCode() != governance.ExitChanges {
		t.Fatalf("exit code %d for an empty cluster:\n%s", p.ExitCode(), p)
	}
	if err := g.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(told) != len(p.Steps) {
		t.Errorf("progress of %d steps, planned were %d", len(told), len(p.Steps))
	}
	if again := planOf(t, g); !again.Empty() || again.ExitCode() != governance.ExitNoChange {
		t.Errorf("the second plan:\n%s", again)
	}
	if len(w.topics) != 7 || len(w.tables) != 5 || len(w.subjects) != 9 {
		t.Errorf("%d topics, %d tables, %d subjects", len(w.topics), len(w.tables), len(w.subjects))
	}
}

func TestTablesComeBeforeSchemasAndTopicsLast(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := func(prefix string) int {
		found := -1
		for i, s := range w.log {
			if strings.HasPrefix(s, prefix) {
				found = i
			}
		}
		return found
	}
	first := func(prefix string) int {
		return slices.IndexFunc(w.log, func(s string) bool { return strings.HasPrefix(s, prefix) })
	}
	if last("table ") > first("subject ") || last("level ") > first("right ") || last("right ") > first("topic ") {
		t.Errorf("order of changes:\n%s", strings.Join(w.log, "\n"))
	}
}

func TestApplyInterruptedAnywhereCanBeRunAgain(t *testing.T) {
	// A second major version makes a step of every kind.
	twoVersions := func(_ *governance.Config, deps *governance.Deps) {
		migrationtest.AddTradesV2(t, deps)
		deps.Migrations[0].JoinAt = &contract.Join{TopicID: "6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab", Offsets: make([]int64, 64)}
	}
	whole := newWorld()
	p, err := newGovernance(t, whole, twoVersions).PlanAndApply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Steps, func(s governance.Step) bool { return s.Kind == governance.KindView }) {
		t.Fatalf("no view in\n%s", p)
	}
	for _, after := range []bool{false, true} {
		for step := 1; step <= whole.changes; step++ {
			w := newWorld()
			w.failAt, w.after = step, after
			g := newGovernance(t, w, twoVersions)
			if _, err := g.PlanAndApply(t.Context()); !errors.Is(err, errInjected) {
				t.Fatalf("change %d failed and Apply says %v", step, err)
			}
			if _, err := g.PlanAndApply(t.Context()); err != nil {
				t.Fatalf("after a failure at change %d (took effect: %v): %v", step, after, err)
			}
			if d := cmp.Diff([]any{whole.subjects, whole.levels, whole.topics, whole.tables, whole.rights}, []any{w.subjects, w.levels, w.topics, w.tables, w.rights}); d != "" {
				t.Fatalf("after a failure at change %d the cluster differs:\n%s", step, d)
			}
		}
	}
}

// TestWhatIsRetiredIsNeitherMadeNorMended: what is left of it stays as it is, and what is gone is not made again.
func TestWhatIsRetiredIsNeitherMadeNorMended(t *testing.T) {
	retired := func(_ *governance.Config, deps *governance.Deps) {
		for i := range deps.Contracts {
			if deps.Contracts[i].ID == "raw-trades" {
				deps.Contracts[i].Status = "retired"
			}
		}
		deps.Consumers = slices.DeleteFunc(deps.Consumers, func(c contract.Consumer) bool { return c.Group == contract.WriterGroup("raw-trades") })
		for i := range deps.Producers {
			deps.Producers[i].Writes = slices.DeleteFunc(slices.Clone(deps.Producers[i].Writes), func(id string) bool { return id == "raw-trades" })
		}
	}
	fresh := newWorld()
	if _, err := newGovernance(t, fresh, retired).PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if made := fmt.Sprint(slices.Sorted(maps.Keys(fresh.topics)), slices.Sorted(maps.Keys(fresh.subjects)), slices.Sorted(maps.Keys(fresh.tables))); strings.Contains(made, "raw-trades") || strings.Contains(made, "raw_trades") || !strings.Contains(made, "raw-orderbooks") {
		t.Errorf("made: %s", made)
	}
	w := newWorld()
	if _, err := newGovernance(t, w, nil).PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.topics["raw-trades"].Configs["retention.ms"] = "60000"
	p, err := newGovernance(t, w, retired).Plan(t.Context())
	if err != nil || len(p.Steps) > 0 || len(p.Refused) > 0 {
		t.Fatalf("%v\n%s", err, p)
	}
	if !strings.Contains(p.String(), "note topic raw-trades: its product is retired; it is left alone") {
		t.Error(p)
	}
}

func TestDriftIsNamedExactly(t *testing.T) {
	for name, c := range map[string]struct {
		drift func(*world)
		want  governance.Step
	}{
		"a topic's retention": {
			func(w *world) { w.topics["raw-trades"].Configs["retention.ms"] = "60000" },
			governance.Step{Kind: governance.KindTopic, Action: governance.ActionAlter, Object: "raw-trades", Setting: "retention.ms", From: "60000", To: "604800000", What: "retention.ms: 60000 → 604800000"},
		},
		"a level": {
			func(w *world) { w.levels["feed-gaps-value"] = avro.LevelBackward },
			governance.Step{Kind: governance.KindCompatibility, Action: governance.ActionSet, Object: "feed-gaps-value", From: "BACKWARD", To: "FULL_TRANSITIVE", What: "BACKWARD → FULL_TRANSITIVE"},
		},
		"a level of NONE": {
			func(w *world) { w.levels["feed-gaps-value"] = avro.LevelNone },
			governance.Step{Kind: governance.KindCompatibility, Action: governance.ActionSet, Object: "feed-gaps-value", From: "NONE", To: "FULL_TRANSITIVE", What: "NONE → FULL_TRANSITIVE"},
		},
		"a retention that was longer": {
			func(w *world) { w.topics["raw-trades"].Configs["retention.ms"] = "-1" },
			governance.Step{
				Kind: governance.KindTopic, Action: governance.ActionAlter, Object: "raw-trades", Setting: "retention.ms", From: "-1", To: "604800000",
				What: "retention.ms: -1 → 604800000 (older records go)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			g := newGovernance(t, w, nil)
			if _, err := g.PlanAndApply(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.drift(w)
			p := planOf(t, g)
			if d := cmp.Diff([]governance.Step{c.want}, p.Steps); d != "" {
				t.Error(d)
			}
			if err := g.Apply(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAColumnThatATableLacksIsAdded(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := w.tables["raw_trades"]
	table.Columns = slices.DeleteFunc(table.Columns, func(c ddl.ExistingColumn) bool { return c.Name == "taker_side" })
	w.tables["raw_trades"] = table
	p := planOf(t, g)
	if len(p.Steps) != 1 || !strings.Contains(p.Steps[0].SQL, "ADD COLUMN IF NOT EXISTS `taker_side`") {
		t.Errorf("plan:\n%s", p)
	}
}

func TestWhatWouldLoseDataIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		drift func(*world)
		want  string
	}{
		"fewer partitions": {func(w *world) {
			topic := w.topics["raw-trades"]
			topic.Partitions = 32
			w.topics["raw-trades"] = topic
		}, "the topic has 32 partitions, its contract says 64"},
		"a column of another type": {func(w *world) {
			for i, column := range w.tables["raw_trades"].Columns {
				if column.Name == "price" {
					w.tables["raw_trades"].Columns[i].Type = "Float64"
				}
			}
		}, "column price is Float64 in the table"},
		"an incompatible schema": {func(w *world) {
			w.subjects["orderbook-resyncs-value"] = []string{strings.Replace(w.subjects["orderbook-resyncs-value"][0],
				`"name": "reason"`, `"name": "cause"`, 1)}
		}, "incompatible at level FULL_TRANSITIVE"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			g := newGovernance(t, w, nil)
			if _, err := g.PlanAndApply(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.drift(w)
			p := planOf(t, g)
			if p.ExitCode() != governance.ExitRefused || !strings.Contains(p.String(), c.want) {
				t.Errorf("exit code %d, want %q in:\n%s", p.ExitCode(), c.want, p)
			}
			before := w.changes
			if err := g.Apply(t.Context(), p); !errors.Is(err, governance.ErrRefused) || w.changes != before {
				t.Errorf("Apply made %d changes and says %v", w.changes-before, err)
			}
		})
	}
}

func TestAPlanIsNotAppliedToAClusterThatChanged(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	p := planOf(t, g)
	w.topics["raw-trades"] = governance.Topic{Name: "raw-trades", Partitions: 64, Configs: map[string]string{}}
	if err := g.Apply(t.Context(), p); !errors.Is(err, governance.ErrChanged) || w.changes != 0 {
		t.Errorf("%d changes, error %v", w.changes, err)
	}
}

func TestAnOverrideIsShownAndIsNoDrift(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, func(c *governance.Config, _ *governance.Deps) {
		c.TopicOverrides, c.OverrideReason = map[string]string{"retention.ms": "-1"}, "this broker bounds bytes, not time"
	})
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.topics["raw-trades"].Configs["retention.ms"]; got != "-1" {
		t.Errorf("retention.ms %s", got)
	}
	p := planOf(t, g)
	if !p.Empty() || !strings.Contains(p.String(), "retention.ms is -1 on this cluster instead of what the contracts say, as intended: this broker bounds bytes, not time") {
		t.Errorf("plan:\n%s", p)
	}
}

// resyncs is the subject whose versions the tests below choose: it has no sink.
const resyncs = "orderbook-resyncs-value"

func resyncText() string { return must(schemas.Get(resyncs)).Text }

// withField is the schema with one more field. A version with more fields than today's can be read by today's schema; the
// other way round only if the fields have defaults.
func withField(field string) string {
	return strings.Replace(resyncText(), `"fields": [`, `"fields": [`+field+`,`, 1)
}

func TestTheOrderOfLevelAndSchema(t *testing.T) {
	with := withField(`{"name": "more", "type": "int"}`)                      // today's is BACKWARD compatible, not FORWARD
	withDefault := withField(`{"name": "more", "type": "int", "default": 1}`) // today's is FULL compatible
	const first, second = "compatibility", "subject"
	for name, c := range map[string]struct {
		have, wanted, global avro.Level // have is empty where the subject has none of its own
		version              string
		want                 []string
		refused              string
	}{
		"loosening: level first":                   {avro.LevelFull, avro.LevelBackward, avro.LevelNone, with, []string{first, second}, ""},
		"tightening: schema first":                 {avro.LevelBackward, avro.LevelFull, avro.LevelNone, withDefault, []string{second, first}, ""},
		"the same":                                 {avro.LevelBackward, avro.LevelBackward, avro.LevelNone, with, []string{second}, ""},
		"incomparable, satisfied both":             {avro.LevelForward, avro.LevelBackward, avro.LevelNone, withDefault, []string{second, first}, ""},
		"incomparable, only the new":               {avro.LevelForward, avro.LevelBackward, avro.LevelNone, with, nil, "satisfies only the new one"},
		"incomparable in transitivity":             {avro.LevelBackwardTransitive, avro.LevelFull, avro.LevelNone, withDefault, []string{second, first}, ""},
		"the global level holds, and loosens":      {"", avro.LevelBackward, avro.LevelFull, with, []string{first, second}, ""},
		"the global level holds, and turns":        {"", avro.LevelBackward, avro.LevelForward, with, nil, "satisfies only the new one"},
		"NONE, tightening":                         {avro.LevelNone, avro.LevelBackward, avro.LevelNone, with, []string{second, first}, ""},
		"NONE, whatever the global level is":       {avro.LevelNone, avro.LevelBackward, avro.LevelBackward, with, []string{second, first}, ""},
		"Apicurio's NONE may be the global level":  {avro.LevelNone, avro.LevelBackward, avro.LevelForward, with, []string{first, second}, ""},
		"incompatible at the wanted, not in force": {avro.LevelBackward, avro.LevelFull, avro.LevelNone, with, nil, "incompatible at level FULL"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			g := newGovernance(t, w, func(_ *governance.Config, d *governance.Deps) {
				d.Topics, d.Tables, d.Rights = nil, nil, nil
				for i := range d.Contracts {
					if d.Contracts[i].Subject == resyncs {
						d.Contracts[i].Compatibility = string(c.wanted)
					}
				}
			})
			if _, err := g.PlanAndApply(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.subjects[resyncs], w.global = []string{c.version}, c.global
			delete(w.levels, resyncs)
			if c.have != "" {
				w.levels[resyncs] = c.have
			}
			p := planOf(t, g)
			var kinds []string
			for _, s := range p.Steps {
				kinds = append(kinds, string(s.Kind))
			}
			if !slices.Equal(kinds, c.want) || (c.refused != "") != (len(p.Refused) > 0) || !strings.Contains(p.String(), c.refused) {
				t.Errorf("steps %v, want %v, refused %q:\n%s", kinds, c.want, c.refused, p)
			}
		})
	}
}

func TestASubjectThatTakesNoVersionIsRefusedBeforeAnythingChanges(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.modes = map[string]string{resyncs: "READONLY"}
	if p := planOf(t, g); !p.Empty() {
		t.Errorf("nothing is to be registered, so the mode does not matter:\n%s", p)
	}
	w.subjects[resyncs] = []string{withField(`{"name": "more", "type": "int", "default": 1}`)}
	p := planOf(t, g)
	if len(p.Steps) != 0 || len(p.Refused) != 1 || !strings.Contains(p.Refused[0].Reason, "mode READONLY") {
		t.Errorf("plan:\n%s", p)
	}
}

func TestAVersionBehindOursIsTold(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.subjects[resyncs] = append(w.subjects[resyncs], withField(`{"name": "more", "type": "int", "default": 1}`))
	p := planOf(t, g)
	if !p.Empty() || len(p.Notes) != 1 || p.Notes[0].Object != resyncs || !strings.Contains(p.Notes[0].Text, "its latest version is 2") {
		t.Errorf("plan:\n%s", p)
	}
}

// TestAPlanFromAFileIsTakenInTheOrderThatItNeeds, and one whose steps are not those that are needed is not taken at all.
func TestAPlanFromAFileIsTakenInTheOrderThatItNeeds(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	p := planOf(t, g)
	twice := p
	twice.Steps = slices.Clone(p.Steps)
	twice.Steps[0] = twice.Steps[1]
	if err := g.Apply(t.Context(), twice); !errors.Is(err, governance.ErrChanged) || len(w.log) > 0 {
		t.Errorf("one step twice, another not at all: %v; %v", err, w.log)
	}
	slices.Reverse(p.Steps)
	if err := g.Apply(t.Context(), p); err != nil || !strings.HasPrefix(w.log[0], "table ") {
		t.Errorf("%v; %v", err, w.log)
	}
}

// TestAPlanIsNotAppliedByABuildWithAnotherSchema: what was read and agreed is what is registered.
func TestAPlanIsNotAppliedByABuildWithAnotherSchema(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	other := newGovernance(t, w, func(_ *governance.Config, d *governance.Deps) {
		d.Subjects = slices.Clone(d.Subjects)
		for i, s := range d.Subjects {
			if s.Name == "feed-gaps-value" {
				d.Subjects[i].Text = strings.Replace(s.Text, "Why.", "Why not.", 1)
			}
		}
	})
	if err := other.Apply(t.Context(), planOf(t, g)); !errors.Is(err, governance.ErrChanged) || len(w.log) > 0 {
		t.Errorf("%v; %v", err, w.log)
	}
}

func TestThePlanAsJSON(t *testing.T) {
	p := planOf(t, newGovernance(t, newWorld(), nil))
	text, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Steps    []governance.Step
		Refused  []governance.Refusal
		ExitCode int `json:"exit_code"`
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Steps, back.Steps); d != "" || back.ExitCode != governance.ExitChanges || back.Refused == nil {
		t.Errorf("exit code %d, refused %v, steps:\n%s", back.ExitCode, back.Refused, d)
	}
}

func TestAPlanIsReadBackFromItsJSON(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	p := planOf(t, g)
	back, err := governance.ParsePlan(must(p.JSON()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, back, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if err := g.Apply(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	if again := planOf(t, g); !again.Empty() {
		t.Errorf("still:\n%s", again)
	}
	if _, err := governance.ParsePlan([]byte(`{"steps": [], "stages": 1}`)); err == nil {
		t.Error("something else was read as a plan")
	}
}

func TestTheRightsAreTheLeastThatIsDeclared(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, func(_ *governance.Config, d *governance.Deps) { d.Registry, d.Topics, d.Tables = nil, nil, nil })
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	var parser []string
	for _, r := range w.rights {
		if r.Principal == "User:parser" {
			parser = append(parser, strings.TrimPrefix(r.String(), "User:parser may "))
		}
	}
	want := []string{
		"READ group parser",
		"DESCRIBE_CONFIGS topic dead-letters", "READ topic dead-letters", "WRITE topic dead-letters",
		"DESCRIBE_CONFIGS topic feed-gaps", "WRITE topic feed-gaps",
		"DESCRIBE_CONFIGS topic raw-frames", "READ topic raw-frames",
		"DESCRIBE_CONFIGS topic raw-orderbooks", "WRITE topic raw-orderbooks",
		"DESCRIBE_CONFIGS topic raw-trades", "WRITE topic raw-trades",
		"WRITE transactional id parser-*",
	}
	if d := cmp.Diff(want, parser); d != "" {
		t.Error(d)
	}
}

// TestWhatNoContractNamesIsNotedAndLeftAlone: one of each kind, and the registry's and broker's own are not meant.
func TestWhatNoContractNamesIsNotedAndLeftAlone(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	strange := governance.Right{Principal: "User:mallory", Host: "*", Resource: "TOPIC", Name: "raw-trades", Operation: "WRITE"}
	more := governance.Right{Principal: "User:loader", Host: "*", Resource: "TOPIC", Name: "raw-trades", Operation: "READ"}
	w.rights = append(w.rights, strange, more)
	w.topics["raw-trades-copy"] = governance.Topic{Name: "raw-trades-copy"}
	w.topics["_mine"] = governance.Topic{Name: "_mine"}
	w.subjects["raw-trades-copy-value"] = []string{`"int"`}
	w.tables["notes"] = governance.Table{}
	table := w.tables["raw_trades"]
	table.Columns = append(slices.Clone(table.Columns), ddl.ExistingColumn{Name: "mine", Type: "String"})
	w.tables["raw_trades"] = table
	p := planOf(t, g)
	want := []governance.Note{
		{Kind: "table", Object: "raw_trades", Text: "column mine (String) is of no field of schemas for raw-trades-value; it is left alone"},
		{Kind: "table", Object: "notes", Text: "no contract names it; it is left alone"},
		{Kind: "subject", Object: "raw-trades-copy-value", Text: "no contract names it and no schema here is of it; it is left alone"},
		{Kind: "acl", Object: "User:loader", Text: "may READ topic raw-trades, which no contract says; it is left alone unless apply is told to --revoke"},
		{Kind: "acl", Object: "User:mallory", Text: "may WRITE topic raw-trades; no contract names this principal, it is left alone"},
		{Kind: "topic", Object: "_mine", Text: "no contract names it; it is left alone"},
		{Kind: "topic", Object: "raw-trades-copy", Text: "no contract names it; it is left alone"},
	}
	if d := cmp.Diff(want, p.Notes); d != "" || !p.Empty() {
		t.Errorf("%s\n%s", d, p)
	}

	// Told so, it takes what the contracts' own principals have too much, and nobody else's.
	g = newGovernance(t, w, func(c *governance.Config, _ *governance.Deps) { c.Revoke = true })
	if p = planOf(t, g); len(p.Steps) != 1 || p.Steps[0].What != "revoke 1 right(s)" || !slices.Equal(p.Steps[0].Rights, []governance.Right{more}) {
		t.Fatalf("plan:\n%s", p)
	}
	if err := g.Apply(t.Context(), p); err != nil || slices.Contains(w.rights, more) || !slices.Contains(w.rights, strange) {
		t.Errorf("%v, rights %v", err, w.rights)
	}
}

func TestADenialThatOverrulesWhatContractsGiveIsTold(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.rights = append(w.rights,
		governance.Right{Principal: "User:writer", Host: "*", Resource: "TOPIC", Name: "raw-trades", Operation: "READ", Deny: true},
		governance.Right{Principal: "User:*", Host: "*", Resource: "TOPIC", Name: "raw-", Prefixed: true, Operation: "ALL", Deny: true},
		governance.Right{Principal: "User:*", Host: "*", Resource: "TOPIC", Name: "mine", Operation: "ALL", Deny: true},
	)
	var notes []string
	for _, n := range planOf(t, g).Notes {
		notes = append(notes, n.Object+" "+n.Text)
	}
	all := 0
	for _, r := range w.rights {
		if !r.Deny && r.Resource == "TOPIC" && strings.HasPrefix(r.Name, "raw-") {
			all++
		}
	}
	if d := cmp.Diff([]string{
		"User:* may not ALL topic mine; no contract names this principal, it is left alone",
		fmt.Sprintf("User:* may not ALL topic raw-*: this overrules %d right(s) that the contracts give; somebody has to take it away", all),
		"User:writer may not READ topic raw-trades: this overrules 1 right(s) that the contracts give; `streamforge apply --revoke` takes it away",
	}, notes); d != "" {
		t.Error(d)
	}
	g = newGovernance(t, w, func(c *governance.Config, _ *governance.Deps) { c.Revoke = true })
	if p := planOf(t, g); len(p.Steps) != 1 || p.Steps[0].Object != "User:writer" || !p.Steps[0].Rights[0].Deny {
		t.Errorf("plan:\n%s", p)
	}
}

// TestWhatATableHasBesideItsColumnsIsNamed: the answers are recorded from ClickHouse 26.5.
func TestWhatATableHasBesideItsColumnsIsNamed(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := w.tables["raw_trades"]
	table.Created = "CREATE TABLE market.raw_trades (`venue` LowCardinality(String) COMMENT 'it\\'s (one), `price` Decimal(38, 18) TTL x', " +
		"`price` Decimal(38, 18) COMMENT 'Price' TTL toDateTime(received_at) + toIntervalDay(1), INDEX i price TYPE minmax GRANULARITY 1, " +
		"PROJECTION p (SELECT count() GROUP BY venue), CONSTRAINT c CHECK price > 0) ENGINE = MergeTree ORDER BY venue TTL toDateTime(received_at) + toIntervalDay(30)"
	table.EngineFull = "MergeTree ORDER BY venue TTL toDateTime(received_at) + toIntervalDay(30), toDateTime(received_at) + toIntervalDay(1) WHERE venue = 'binance' " +
		"SETTINGS replicated_deduplication_window = 10000, non_replicated_deduplication_window = 5, index_granularity = 8192"
	table.Comment = "mine"
	table.Columns = slices.Clone(table.Columns)
	for i, c := range table.Columns {
		switch c.Name {
		case "received_at":
			table.Columns[i].Codec = "CODEC(ZSTD(9))"
		case "quantity":
			table.Columns[i].Comment, table.Columns[i].Codec = "", "CODEC(ZSTD(1))"
		}
	}
	w.tables["raw_trades"] = table
	p := planOf(t, g)
	var lines []string
	for _, s := range p.Steps {
		_, sql, _ := strings.Cut(s.SQL, "`raw_trades` ")
		lines = append(lines, s.Setting+": "+s.From+" → "+s.To+": "+sql)
	}
	for _, n := range p.Notes {
		lines = append(lines, n.Object+": "+n.Text)
	}
	if d := cmp.Diff([]string{
		"comment: mine → Every trade of every configured venue and symbol, once, exact to the last digit.: MODIFY COMMENT 'Every trade of every configured venue and symbol, once, exact to the last digit.'",
		"TTL of price: toDateTime(received_at) + toIntervalDay(1) → : MODIFY COLUMN `price` REMOVE TTL",
		"comment of quantity:  → Quantity in the base currency (contracts where the venue trades in contracts), exact.: COMMENT COLUMN `quantity` 'Quantity in the base currency (contracts where the venue trades in contracts), exact.'",
		"codec of quantity: ZSTD(1) → : MODIFY COLUMN `quantity` REMOVE CODEC",
		"codec of received_at: ZSTD(9) → Delta(8), LZ4: MODIFY COLUMN `received_at` CODEC(Delta(8), LZ4)",
		"lightweight_mutation_projection_mode: none → rebuild: MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'",
		"lookup of offsets: none → an index and a projection: ADD INDEX IF NOT EXISTS offset_range (_partition, _offset) TYPE minmax GRANULARITY 1, " +
			"ADD PROJECTION IF NOT EXISTS offsets (SELECT _topic_id, _partition, count(), min(_offset), max(_offset) GROUP BY _topic_id, _partition), " +
			"MATERIALIZE INDEX offset_range, MATERIALIZE PROJECTION offsets",
		"constraint insert_deadline: none → an insert past its token's deadline is refused: ADD CONSTRAINT IF NOT EXISTS insert_deadline CHECK " +
			"NOT startsWith(getSetting('insert_deduplication_token'), 'sf-') OR now() < toDateTime(toUInt32OrZero(splitByChar('-', getSetting('insert_deduplication_token'))[2]))",
		"TTL: toDateTime(received_at) + toIntervalDay(30), toDateTime(received_at) + toIntervalDay(1) WHERE venue = 'binance' → 30 days after received_at: MODIFY TTL toDateTime(`received_at`) + INTERVAL 30 DAY",
		"non_replicated_deduplication_window: 5 → 10000: MODIFY SETTING non_replicated_deduplication_window = 10000",
		"raw_trades: index i price TYPE minmax GRANULARITY 1, which no contract says; it is left alone",
		"raw_trades: projection p (SELECT count() GROUP BY venue), which no contract says; it is left alone",
		"raw_trades: constraint c CHECK price > 0, which no contract says: it refuses rows; it is left alone",
	}, lines); d != "" {
		t.Error(d)
	}

	for ttl, goes := range map[string]bool{"toIntervalDay(3)": false, "toIntervalDay(90)": true, "toIntervalWeek(1)": true} {
		table.EngineFull = "MergeTree ORDER BY venue TTL toDateTime(received_at) + " + ttl + " SETTINGS non_replicated_deduplication_window = 10000"
		w.tables["raw_trades"] = table
		steps := planOf(t, g).Steps
		if last := steps[len(steps)-1]; last.Setting != "TTL" || strings.Contains(last.What, "(older rows go)") != goes {
			t.Errorf("%s: %s", ttl, last.What)
		}
	}

	table.Engine = "ReplacingMergeTree"
	w.tables["raw_trades"] = table
	if p = planOf(t, g); len(p.Steps) != 0 || len(p.Refused) != 1 || !strings.HasPrefix(p.Refused[0].Reason, "it is a ReplacingMergeTree") {
		t.Errorf("plan:\n%s", p)
	}
}

func TestWhatSomebodySetForATopicIsTold(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	topic := w.topics["raw-trades"]
	topic.Configs["retention.bytes"], topic.Configs["segment.ms"] = "1000", "60000"
	topic.Overrides = map[string]string{"retention.bytes": "1000", "segment.ms": "60000", "retention.ms": topic.Configs["retention.ms"]}
	w.topics["raw-trades"] = topic
	w.topics["feed-gaps"].Configs["retention.bytes"] = "2000"
	p := planOf(t, g)
	want := []governance.Note{
		{Kind: "topic", Object: "feed-gaps", Text: "the broker keeps at most 2000 bytes a partition, its own setting: records may go before their retention"},
		{Kind: "topic", Object: "raw-trades", Text: "somebody set retention.bytes to 1000, which no contract says; it is left alone: records may go before their retention"},
		{Kind: "topic", Object: "raw-trades", Text: "somebody set segment.ms to 60000, which no contract says; it is left alone"},
	}
	if d := cmp.Diff(want, p.Notes, cmpopts.SortSlices(func(a, b governance.Note) bool { return a.Object+a.Text < b.Object+b.Text })); d != "" || !p.Empty() {
		t.Errorf("%s\n%s", d, p)
	}
}

func TestAClusterWithoutAnAuthorizerIsTold(t *testing.T) {
	g := newGovernance(t, newWorld(), func(_ *governance.Config, d *governance.Deps) {
		d.Registry, d.Topics, d.Tables, d.Rights = nil, nil, nil, noRights{}
	})
	if p := planOf(t, g); !p.Empty() || !strings.Contains(p.String(), "no authorizer") {
		t.Errorf("plan:\n%s", p)
	}
}

type noRights struct{ governance.Rights }

func (noRights) List(context.Context) ([]governance.Right, error) {
	return nil, governance.ErrNoAuthorizer
}

func TestADefaultThatClickHouseWritesDifferentlyIsNoDifference(t *testing.T) {
	w := newWorld()
	g := newGovernance(t, w, nil)
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	// feed_gaps gets a column with a default in the schema, and a table that has it in other words.
	g = newGovernance(t, w, func(_ *governance.Config, d *governance.Deps) { addField(t, d, "feed-gaps", "1000") })
	column := ddl.ExistingColumn{Name: "score", Type: "Float64", DefaultKind: "DEFAULT", Default: "1000."}
	table := w.tables["feed_gaps"]
	table.Columns = append(slices.Clone(table.Columns), column)
	w.tables["feed_gaps"] = table
	for _, s := range planOf(t, g).Steps {
		if s.Kind == governance.KindTable {
			t.Errorf("%s", s.SQL)
		}
	}
	table.Columns[len(table.Columns)-1].Default = "7."
	var statements []string
	for _, s := range planOf(t, g).Steps {
		if s.Kind == governance.KindTable {
			statements = append(statements, strings.TrimPrefix(s.SQL, "ALTER TABLE `market`.`feed_gaps` "))
		}
	}
	if d := cmp.Diff([]string{"MATERIALIZE COLUMN `score` SETTINGS mutations_sync = 2", "MODIFY COLUMN `score` DEFAULT 1000"}, statements); d != "" {
		t.Error(d)
	}
}

// addField gives a product a field score in schema and contract.
func addField(t *testing.T, d *governance.Deps, product, value string) {
	t.Helper()
	for i, s := range d.Subjects {
		if s.Name == product+"-value" {
			end := strings.LastIndex(s.Text, "]")
			d.Subjects[i].Text = s.Text[:end] + fmt.Sprintf(`, {"name": "score", "type": "double", "default": %s}`, value) + s.Text[end:]
		}
	}
	for i, c := range d.Contracts {
		if c.ID == product {
			d.Contracts[i].Fields = append(slices.Clone(c.Fields), contract.Field{Name: "score", LogicalType: "number", PhysicalType: "double", Required: true})
		}
	}
}

func TestARegistrationIsTheRegistrysPartAndColumns(t *testing.T) {
	registration := func(c *governance.Config, d *governance.Deps) {
		c.Registration = true
		addField(t, d, "feed-gaps", "1000")
	}
	w := newWorld()
	// Nothing is there: no table is made, and a note says who makes them.
	g := newGovernance(t, w, func(c *governance.Config, _ *governance.Deps) { c.Registration = true })
	if _, err := g.PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.topics) != 0 || len(w.rights) != 0 || len(w.tables) != 0 || len(w.subjects) != 9 {
		t.Errorf("%d topics, %d rights, %d tables, %d subjects", len(w.topics), len(w.rights), len(w.tables), len(w.subjects))
	}
	if p := planOf(t, g); !p.Empty() || !strings.Contains(p.String(), "note table feed_gaps: it does not exist yet; `streamforge apply` makes it") {
		t.Errorf("plan:\n%s", p)
	}
	if _, err := newGovernance(t, w, nil).PlanAndApply(t.Context()); err != nil {
		t.Fatal(err)
	}

	// A field more: its column first, then the schema; the table's TTL is none of its business.
	table := w.tables["raw_trades"]
	table.EngineFull = ""
	w.tables["raw_trades"] = table
	p := planOf(t, newGovernance(t, w, registration))
	if len(p.Steps) != 2 || !strings.Contains(p.Steps[0].SQL, "ADD COLUMN IF NOT EXISTS `score` Float64 DEFAULT 1000") || p.Steps[1].Kind != governance.KindSubject {
		t.Errorf("plan:\n%s", p)
	}

	// Without a ClickHouse it says what is needed and stops, unless somebody else sees to it.
	without := func(later bool) governance.Plan {
		return planOf(t, newGovernance(t, w, func(c *governance.Config, d *governance.Deps) {
			registration(c, d)
			d.Tables, c.SinkLater = nil, later
		}))
	}
	if p := without(false); p.ExitCode() != governance.ExitRefused || !strings.Contains(p.String(), "ALTER TABLE `default`.`feed_gaps` ADD COLUMN IF NOT EXISTS `score`") || !strings.Contains(p.String(), "SINK=later") {
		t.Errorf("plan:\n%s", p)
	}
	if p := without(true); p.ExitCode() != governance.ExitChanges || len(p.Steps) != 1 || !strings.Contains(p.String(), "note table feed_gaps: before the first record") {
		t.Errorf("plan:\n%s", p)
	}

	// A version that somebody registered by hand and that no table holds is a refusal and no error.
	text := must(schemas.Get("feed-gaps-value")).Text
	at := strings.LastIndex(text, "]")
	w.subjects["feed-gaps-value"] = append(w.subjects["feed-gaps-value"], text[:at]+`, {"name": "odd", "type": ["int", "string"], "default": 1}`+text[at:])
	if p := without(false); p.ExitCode() != governance.ExitRefused || !strings.Contains(p.String(), "version 2 of feed-gaps-value, the latest, has no table to compare with") {
		t.Errorf("plan:\n%s", p)
	}
	if p := without(true); p.ExitCode() != governance.ExitChanges || !strings.Contains(p.String(), "note table feed_gaps: SINK=later promises") {
		t.Errorf("plan:\n%s", p)
	}
}
