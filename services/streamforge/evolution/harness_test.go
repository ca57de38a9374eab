//go:build cgo

package evolution

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
	"github.com/streamforge/streamforge/services/streamforge/proof"
)

// platform is a stack under load whose programs can be built anew from a tree that the test edits, and replaced.
//
//	p := startPlatform(t, kind)
//	p.tree.Edit("schemas/market/raw-trades.avsc", …)            // what a domain team does
//	p.streamforge(0, "schemas", "check")                        // in the tree; 0 is the exit status that is wanted
//	p.build("v2", "streamforge", "parser")                      // what runs goes on running
//	p.streamforge(0, "apply")
//	p.Replace("parser")                                         // drained, and started again as the new build
//	p.Stop("parser"); …; p.Continue("parser")                   // or kept down meanwhile
//	p.prove()                                                   // drains; 0 lost, 0 doubled, 0 dead letters
type platform struct {
	*processtest.Stack
	t        *testing.T
	tree     *processtest.Tree
	programs string

	kafka     kafka.ClientConfig
	registry  *registry.Client
	admin     *kafka.Admin
	db        *sql.DB
	contracts []contract.Contract
}

// startPlatform starts a stack with its pipeline, and makes the tree, whose first commit is what runs.
func startPlatform(t *testing.T, kind string, arguments ...string) *platform {
	t.Helper()
	p := &platform{t: t, tree: processtest.NewTree(t), programs: processtest.CopyOfPrograms(t)}
	p.tree.Commit("what runs")
	p.Stack = processtest.StartWith(t, processtest.Config{Programs: p.programs}, kind, arguments...)
	at := p.Status()
	p.kafka = kafka.ClientConfig{BootstrapServers: at.Kafka}
	p.registry = must[*registry.Client](t)(registry.New(registry.Config{URL: at.Registry}, prometheus.NewRegistry()))
	t.Cleanup(p.registry.Close)
	p.admin = must[*kafka.Admin](t)(kafka.NewAdmin(p.kafka))
	t.Cleanup(p.admin.Close)
	p.db = clickhouse.OpenDB(must[*clickhouse.Options](t)(clickhouse.ParseDSN(at.ClickHouse)))
	t.Cleanup(func() { p.db.Close() })
	p.contracts = must[[]contract.Contract](t)(contract.Load(contracts.FS))
	return p
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// build builds programs from the tree as it is. What runs goes on running; Replace starts the new one.
func (p *platform) build(version string, programs ...string) {
	p.t.Helper()
	p.tree.Build(p.programs, version, programs...)
}

// streamforge runs the command line's newest build in the tree, on the stack, and returns what it prints.
func (p *platform) streamforge(status int, arguments ...string) string {
	p.t.Helper()
	output, got := p.try(arguments...)
	if got != status {
		p.t.Fatalf("streamforge %s ends with status %d, want %d\n%s", strings.Join(arguments, " "), got, status, output)
	}
	return output
}

func (p *platform) try(arguments ...string) (output string, status int) {
	p.t.Helper()
	command := p.tree.Command(".", p.Addresses(), filepath.Join(p.programs, "streamforge"), append([]string{"--dir", filepath.Dir(p.Folder())}, arguments...)...)
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(text), command.ProcessState.ExitCode()
}

// drain ends the load, and waits until everything that was sent is in the topics and their tables. Nothing is being
// written afterwards; the writer still runs.
func (p *platform) drain() {
	p.t.Helper()
	answer := must[string](p.t)(processtest.Get(p.t.Context(), http.MethodPost, "http://"+p.Status().Simulator+"/control/drain", ""))
	var sent struct {
		Frames, Snapshots float64
		RESTSnapshots     float64 `json:"rest_snapshots"`
	}
	if err := json.Unmarshal([]byte(answer), &sent); err != nil {
		p.t.Fatal(err)
	}
	processtest.Await(p.t, "the loader to have received everything", time.Minute, func() error {
		frames, err := p.Metric("loader", "streamforge_loader_records_total", `kind="FRAME"`)
		if err != nil {
			return err
		}
		bodies, err := p.Metric("loader", "streamforge_loader_records_total", `kind="REST_SNAPSHOT"`)
		if err == nil && frames+bodies < sent.Frames+sent.RESTSnapshots {
			err = fmt.Errorf("%.0f frames and %.0f bodies of %+v", frames, bodies, sent)
		}
		return err
	})
	p.Stop("loader")
	p.awaitLag("parser", "raw-frames")
	p.Stop("parser")
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if err := p.admin.AwaitCommitted(ctx, proof.Topics()...); err != nil {
		p.t.Fatal(err)
	}
	for _, c := range p.contracts {
		if c.Sink != nil {
			p.awaitLag(contract.WriterGroup(c.Topic.Name), c.Topic.Name)
		}
	}
}

// awaitLag waits until a group has committed all records of a topic.
func (p *platform) awaitLag(group, topic string) {
	p.t.Helper()
	processtest.Await(p.t, group+" to have read "+topic, 2*time.Minute, func() error {
		lags, err := p.admin.Lag(p.t.Context(), group, []string{topic})
		var left int64
		for _, lag := range lags {
			left += lag.Records
		}
		if err == nil && left > 0 {
			err = fmt.Errorf("%d records are left", left)
		}
		return err
	})
}

// prove drains the platform and compares the simulator's ledger, the topics and the tables.
func (p *platform) prove() *proof.Result {
	p.t.Helper()
	p.drain()
	return p.proven()
}

// proven is the comparison alone, for when nothing moves any more.
func (p *platform) proven() *proof.Result {
	p.t.Helper()
	since := must[proof.Beginning](p.t)(proof.Begin(p.t.Context(), p.admin))
	since.Offsets = nil // all of it is this test's
	ledger := must[*proof.Ledger](p.t)(proof.ReadLedger(filepath.Join(p.Folder(), "ledger.txt")))
	deps := proof.Deps{Kafka: p.kafka, Registry: p.registry, DB: p.db, Contracts: p.contracts}
	result := must[*proof.Result](p.t)(proof.Prove(p.t.Context(), deps, since, ledger))
	if result.Lost != 0 || result.Duplicated != 0 || result.DeadLetters != 0 || result.Trades == 0 {
		p.t.Errorf("%d trades, %d lost, %d doubled, %d dead letters\n%s", result.Trades, result.Lost, result.Duplicated, result.DeadLetters, strings.Join(result.Details, "\n"))
	}
	return result
}

// number asks ClickHouse for one number.
func (p *platform) number(query string) (n int64) {
	p.t.Helper()
	if _, err := fmt.Sscan(p.MustQuery(query), &n); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// latestID is the id of a subject's newest version.
func (p *platform) latestID(subject string) int {
	p.t.Helper()
	versions := must[[]registry.Schema](p.t)(p.registry.LiveVersions(p.t.Context(), subject))
	return versions[len(versions)-1].ID
}

// reader is a consumer that was built before anything changed, and is never built or started again.
type reader struct {
	*subscription.Subscription
	metrics *prometheus.Registry
	stop    func()
}

// position is where a record stands.
type position struct {
	partition int32
	offset    int64
}

// read starts a consumer of a product that reads it by a schema of its own, that of T.
func read[T any](p *platform, group, product, own string, handle func(at position, value T)) *reader {
	p.t.Helper()
	r := &reader{metrics: prometheus.NewRegistry()}
	r.Subscription = must[*subscription.Subscription](p.t)(subscription.New(subscription.Config{Group: group, CommitInterval: 50 * time.Millisecond}, subscription.Deps{
		Kafka: p.kafka, Registry: p.registry, Contracts: p.contracts, Log: slog.New(slog.NewTextHandler(p.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Metrics: r.metrics, Producer: group + "@old",
	}))
	if err := subscription.On(r.Subscription, product, own, func(_ context.Context, e subscription.Event[T], _ kafka.Output) error {
		handle(position{e.Partition, e.Offset}, e.Value)
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("the old consumer ended with %v", err)
		}
	}
	p.t.Cleanup(r.stop)
	return r
}
