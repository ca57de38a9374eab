//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// governedParts are the three parts that apply works on, without a supervisor around them.
type governedParts struct {
	kafka, registry, clickhouse string
}

// embeddedParts are new ones, in this process but for the engine.
func embeddedParts(t *testing.T) governedParts {
	t.Helper()
	p := governedParts{kafka: brokertest.Start(t), clickhouse: clickhousetest.Start(t) + "/" + clickhousetest.Database(t)}
	server, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: p.kafka}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
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
	processtest.Await(t, "the registry", patience, server.Ready)
	p.registry = server.URL()
	return p
}

// govern runs a streamforge command against the parts and returns its output and exit status; -1 is a SIGKILL.
func (p governedParts) govern(t *testing.T, arguments ...string) (output string, status int) {
	t.Helper()
	return streamforgeCommand(t, []string{"KAFKA_BOOTSTRAP_SERVERS=" + p.kafka, "SCHEMA_REGISTRY_URL=" + p.registry, "CLICKHOUSE_URL=" + p.clickhouse, "KAFKA_REPLICATION=1"}, arguments...)
}

func streamforgeCommand(t *testing.T, environment []string, arguments ...string) (output string, status int) {
	t.Helper()
	command := exec.Command(filepath.Join(processtest.Programs(t), "streamforge"), append([]string{"--dir", t.TempDir()}, arguments...)...)
	command.Env = processtest.Environment(environment...)
	var errorOutput bytes.Buffer
	command.Stderr = &errorOutput
	text, err := command.Output()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	if how := command.ProcessState.Sys().(syscall.WaitStatus); how.Signaled() && how.Signal() != syscall.SIGKILL {
		t.Fatalf("%v ended with %v: %s", arguments, how.Signal(), errorOutput.String())
	}
	return string(text) + errorOutput.String(), command.ProcessState.ExitCode()
}

// state is everything that apply decides, as the parts themselves say it.
func (p governedParts) state(t *testing.T) map[string][]string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	found := map[string][]string{}
	add := func(kind, format string, args ...any) {
		found[kind] = append(found[kind], fmt.Sprintf(format, args...))
	}

	admin := p.admin(t)
	names, err := admin.ListTopics(t.Context())
	must(err)
	topics, err := admin.Describe(t.Context(), names...)
	must(err)
	for name, topic := range topics {
		add("topics", "%s %d %v", name, topic.Partitions, topic.Overrides)
	}
	rights, err := admin.ACLs(t.Context())
	must(err)
	for _, right := range rights {
		add("rights", "%s", right)
	}

	client := p.registryClient(t)
	subjects, err := client.Subjects(t.Context())
	must(err)
	for _, subject := range subjects {
		level, own, err := client.Compatibility(t.Context(), subject)
		must(err)
		versions, err := client.LiveVersions(t.Context(), subject)
		must(err)
		add("subjects", "%s %s %v", subject, level, own)
		for _, v := range versions {
			add("subjects", "%s %d %s %v", subject, v.Version, v.Raw, v.References)
		}
	}

	connection, err := openDriver(t.Context(), p.clickhouse)
	must(err)
	defer connection.Close()
	rows, err := connection.Query(t.Context(), "SELECT replaceAll(create_table_query, currentDatabase(), 'database') FROM system.tables WHERE database = currentDatabase()")
	must(err)
	defer rows.Close()
	for rows.Next() {
		var statement string
		must(rows.Scan(&statement))
		add("tables", "%s", statement)
	}
	must(rows.Err())
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

func (p governedParts) admin(t *testing.T) *kafka.Admin {
	t.Helper()
	admin, err := kafka.NewAdmin(kafka.ClientConfig{BootstrapServers: p.kafka})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

func (p governedParts) registryClient(t *testing.T) *registry.Client {
	t.Helper()
	client, err := registry.New(registry.Config{URL: p.registry}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// uninterrupted applies to empty parts, checks that a second plan is empty, and returns the end and the number of steps.
func (p governedParts) uninterrupted(t *testing.T) (end map[string][]string, steps int) {
	t.Helper()
	output, status := p.govern(t, "apply", "--json")
	var outcome struct {
		Steps   []governance.Step
		Applied bool
	}
	if err := json.Unmarshal([]byte(output), &outcome); err != nil || status != 0 || !outcome.Applied || len(outcome.Steps) == 0 {
		t.Fatalf("apply: exit status %d, %v\n%s", status, err, output)
	}
	if output, status := p.govern(t, "plan"); status != governance.ExitNoChange {
		t.Fatalf("a second plan: exit status %d\n%s", status, output)
	}
	return p.state(t), len(outcome.Steps)
}

// killedAt applies, killed by -9 before the step of that number, and again, and compares the end with an uninterrupted one.
func (p governedParts) killedAt(t *testing.T, step int, want map[string][]string) {
	t.Helper()
	if output, status := p.govern(t, "apply", fmt.Sprintf("--die-at=%d", step)); status != -1 {
		t.Fatalf("killed at step %d: exit status %d\n%s", step, status, output)
	}
	if output, status := p.govern(t, "apply"); status != 0 {
		t.Fatalf("after a kill at step %d: exit status %d\n%s", step, status, output)
	}
	if d := cmp.Diff(want, p.state(t)); d != "" {
		t.Errorf("after a kill at step %d the end differs:\n%s", step, d)
	}
}

// TestApplyKilledAtEveryStepEndsTheSame kills the real program before each of its steps, and after the last.
func TestApplyKilledAtEveryStepEndsTheSame(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	want, steps := embeddedParts(t).uninterrupted(t)
	for step := 1; step <= steps+1; step++ {
		t.Run(fmt.Sprintf("before step %d of %d", step, steps), func(t *testing.T) {
			embeddedParts(t).killedAt(t, step, want)
		})
	}
}

// TestApplyKilledEndsTheSameOnApache is the same at five of the steps, on one stack that is emptied in between.
func TestApplyKilledEndsTheSameOnApache(t *testing.T) {
	t.Parallel()
	brokers, registryURL := apachetest.Start(t)
	fresh := func(t *testing.T) governedParts {
		p := governedParts{brokers, registryURL, clickhousetest.Start(t) + "/" + clickhousetest.Database(t)}
		t.Cleanup(func() { p.empty(t) })
		return p
	}
	var want map[string][]string
	var steps int
	t.Run("uninterrupted", func(t *testing.T) { want, steps = fresh(t).uninterrupted(t) })
	if t.Failed() {
		return
	}
	for _, step := range []int{1, steps / 4, steps / 2, steps - 2, steps + 1} {
		t.Run(fmt.Sprintf("before step %d of %d", step, steps), func(t *testing.T) { fresh(t).killedAt(t, step, want) })
	}
}

// empty takes everything away that apply made in Kafka and in the registry.
func (p governedParts) empty(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	admin, err := kafka.NewAdmin(kafka.ClientConfig{BootstrapServers: p.kafka})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	client := p.registryClient(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rights, err := admin.ACLs(ctx)
	must(err)
	must(admin.DeleteACLs(ctx, rights...))
	topics, err := admin.ListTopics(ctx)
	must(err)
	must(admin.Delete(ctx, topics...))
	all, err := schemas.All()
	must(err)
	// A shared type can go when nobody refers to it any more.
	slices.Reverse(all)
	for _, subject := range all {
		if versions, err := client.LiveVersions(ctx, subject.Name); err == nil && len(versions) > 0 {
			must(client.DeleteSubject(ctx, subject.Name, true))
		}
	}
	for {
		left, err := admin.ListTopics(ctx)
		must(err)
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestPlanAndApplyAsAScriptSeesThem: exit statuses, JSON, and a plan that was kept in a file.
func TestPlanAndApplyAsAScriptSeesThem(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	p := embeddedParts(t)
	expect := func(want int, arguments ...string) string {
		t.Helper()
		output, status := p.govern(t, arguments...)
		if status != want {
			t.Errorf("%v: exit status %d, want %d\n%s", arguments, status, want, output)
		}
		return output
	}
	kept := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(kept, []byte(expect(governance.ExitChanges, "plan", "--json")), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(0, "apply", kept)
	if text := expect(governance.ExitNoChange, "plan"); !strings.Contains(text, "plan: nothing to do") {
		t.Errorf("the second plan:\n%s", text)
	}
	if text := expect(0, "apply"); !strings.Contains(text, "nothing to do") {
		t.Errorf("the second apply:\n%s", text)
	}
	// The kept plan is not needed any more: it is not applied to a cluster that it was not made for.
	if text := expect(governance.ExitRefused, "apply", kept); !strings.Contains(text, "the cluster changed since the plan was made") {
		t.Errorf("a stale plan:\n%s", text)
	}
	admin := p.admin(t)
	more := kafka.ACL{Principal: "User:parser", Host: "*", Resource: "TOPIC", Name: "raw-frames", Operation: "WRITE"}
	if err := admin.CreateACLs(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	if text := expect(governance.ExitNoChange, "plan"); !strings.Contains(text, "note acl User:parser: may WRITE topic raw-frames, which no contract says") {
		t.Errorf("one right more:\n%s", text)
	}
	expect(governance.ExitChanges, "plan", "--revoke")
	expect(0, "apply", "--revoke")
	if rights, err := admin.ACLs(t.Context()); err != nil || slices.Contains(rights, more) {
		t.Errorf("still there: %v, %v", rights, err)
	}
	// What cannot be mended is refused, and nothing is done.
	if err := admin.Delete(t.Context(), "feed-gaps"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), []kafka.NewTopic{{Name: "feed-gaps", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	before := p.state(t)
	for _, command := range []string{"plan", "apply"} {
		text := expect(governance.ExitRefused, command, "--json")
		var refused struct {
			governance.Plan
			ExitCode int `json:"exit_code"`
		}
		if err := json.Unmarshal([]byte(text), &refused); err != nil || refused.ExitCode != governance.ExitRefused || len(refused.Refused) != 1 || refused.Refused[0].Object != "feed-gaps" {
			t.Errorf("%s: %v\n%s", command, err, text)
		}
	}
	if d := cmp.Diff(before, p.state(t)); d != "" {
		t.Errorf("a refused apply changed something:\n%s", d)
	}
}

// TestRegisteringWithARegistryBehindTLS is `make register-schemas` against somebody's registry, with a certificate of their
// own authority and basic authentication.
func TestRegisteringWithARegistryBehindTLS(t *testing.T) {
	t.Parallel()
	processtest.Require(t, "embedded")
	p := embeddedParts(t)
	target, err := url.Parse(p.registry)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "team" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	secured := []string{
		"SCHEMA_REGISTRY_URL=" + front.URL, "SCHEMA_REGISTRY_USERNAME=team", "SCHEMA_REGISTRY_PASSWORD=s3cret", "SCHEMA_REGISTRY_CA_LOCATION=" + authority,
	}
	register := func(want int, says string, more ...string) {
		t.Helper()
		output, status := streamforgeCommand(t, slices.Concat(secured, more), "schemas", "register")
		if status != want || !strings.Contains(output, says) || strings.Contains(output, "s3cret") {
			t.Errorf("%v: exit status %d, want %d and %q\n%s", more, status, want, says, output)
		}
	}
	register(1, "SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD=wrong")
	register(1, "certificate", "SCHEMA_REGISTRY_CA_LOCATION=")
	for _, address := range []string{"user:s3cret@127.0.0.1", "http://user:%s3cret@127.0.0.1", p.clickhouse + "?dial_timeout=x&password=s3cret", "http://user:s3cret@127.0.0.1:1"} {
		register(1, "CLICKHOUSE_URL", "CLICKHOUSE_URL="+address)
	}
	register(governance.ExitChanges, "register schemas/market/raw-trades.avsc", "DRY_RUN=1")
	client := p.registryClient(t)
	if subjects, err := client.Subjects(t.Context()); err != nil || len(subjects) != 0 {
		t.Fatalf("a dry run registered %v, %v", subjects, err)
	}
	register(0, "subject raw-trades-value", "DRY_RUN=", "SINK=")
	register(governance.ExitNoChange, "nothing to do", "DRY_RUN=1")

	// Yesterday's registry and table: one field, one column less.
	if err := client.DeleteSubject(t.Context(), "feed-gaps-value", true); err != nil {
		t.Fatal(err)
	}
	today, err := schemas.Get("feed-gaps-value")
	if err != nil {
		t.Fatal(err)
	}
	yesterday := today
	var lines []string
	for line := range strings.Lines(today.Text) {
		if !strings.Contains(line, `"name": "missing"`) {
			lines = append(lines, line)
		}
	}
	yesterday.Text = strings.Join(lines, "")
	if _, _, err := client.Register(t.Context(), yesterday); err != nil {
		t.Fatal(err)
	}
	versions := func(want int) {
		t.Helper()
		if all, err := client.LiveVersions(t.Context(), "feed-gaps-value"); err != nil || len(all) != want {
			t.Errorf("%d versions, want %d, %v", len(all), want, err)
		}
	}
	const column = "ADD COLUMN IF NOT EXISTS `missing` Nullable(Int64)"
	register(governance.ExitRefused, column)
	register(governance.ExitRefused, "SINK=later", "DRY_RUN=1")
	versions(1)
	if output, status := p.govern(t, "apply"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, output)
	}
	versions(2)

	// With the database at hand the column comes first, even when the schema is there already.
	connection, err := openDriver(t.Context(), p.clickhouse)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.Exec(t.Context(), "ALTER TABLE feed_gaps DROP COLUMN missing"); err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteSubject(t.Context(), "feed-gaps-value", true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Register(t.Context(), yesterday); err != nil {
		t.Fatal(err)
	}
	output, status := streamforgeCommand(t, append(secured, "CLICKHOUSE_URL="+p.clickhouse), "schemas", "register")
	first, second := strings.Index(output, column), strings.Index(output, "subject       feed-gaps-value")
	if status != 0 || first < 0 || second < first {
		t.Errorf("exit status %d\n%s", status, output)
	}
	versions(2)
	register(governance.ExitNoChange, "nothing to do", "DRY_RUN=1", "CLICKHOUSE_URL="+p.clickhouse)

	// Somebody else sees to the columns.
	if err := client.DeleteSubject(t.Context(), "feed-gaps-value", true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Register(t.Context(), yesterday); err != nil {
		t.Fatal(err)
	}
	register(0, "as SINK=later promises", "SINK=later")
	versions(2)
}
