package schemaregistry_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riferrei/srclient"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// start runs our registry on a broker until stop is called.
func start(t *testing.T, brokers string) (url string, stop func()) {
	t.Helper()
	s, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: brokers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for deadline := time.Now().Add(2 * time.Minute); s.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Ready())
		}
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s.URL(), stop
}

func TestContractOnOurs(t *testing.T) {
	url, _ := start(t, brokertest.Start(t))
	runContract(t, target{name: "ours", url: url})
}

func TestStateSurvivesARestart(t *testing.T) {
	brokers := brokertest.Start(t)
	url, stop := start(t, brokers)
	tg := target{name: "ours", url: url}
	id := idOf(t, tg.do(t, "POST", "/subjects/a/versions", schemaBody(tradeV1)))
	idOf(t, tg.do(t, "POST", "/subjects/a/versions", schemaBody(tradeV2)))
	tg.want(t, tg.do(t, "PUT", "/config/a", `{"compatibility":"FULL"}`), 200, "")
	tg.want(t, tg.do(t, "PUT", "/config", `{"compatibility":"NONE"}`), 200, "")
	tg.want(t, tg.do(t, "PUT", "/mode/b", `{"mode":"READONLY"}`), 200, "")
	tg.want(t, tg.do(t, "DELETE", "/subjects/a/versions/1", ""), 200, "1")
	stop()

	url, _ = start(t, brokers)
	tg.url = url
	tg.want(t, tg.do(t, "GET", "/subjects/a/versions", ""), 200, `[2]`)
	tg.want(t, tg.do(t, "GET", "/subjects/a/versions?deleted=true", ""), 200, `[1,2]`)
	tg.want(t, tg.do(t, "GET", "/config/a", ""), 200, `{"compatibilityLevel":"FULL"}`)
	tg.want(t, tg.do(t, "GET", "/config", ""), 200, `{"compatibilityLevel":"NONE"}`)
	tg.want(t, tg.do(t, "GET", "/mode/b", ""), 200, `{"mode":"READONLY"}`)
	if again := idOf(t, tg.do(t, "POST", "/subjects/c/versions", schemaBody(tradeV1))); again != id {
		t.Errorf("the same schema in another subject: id %d, want %d", again, id)
	}
	if next := idOf(t, tg.do(t, "POST", "/subjects/d/versions", schemaBody(level))); next != 3 {
		t.Errorf("next id %d, want 3", next)
	}
}

// The records of the topic are Confluent's: forms as in its classes SchemaKey, SchemaValue, ConfigKey, ModeKey,
// DeleteSubjectKey and NoopKey (github.com/confluentinc/schema-registry), and as in the fixtures with which other registries
// test that they can read Confluent's topic: Redpanda's consume_to_store_3rdparty, Karapace's key format tests.
func TestGoldenRecords(t *testing.T) {
	brokers := brokertest.Start(t)
	url, _ := start(t, brokers)
	tg := target{name: "ours", url: url}
	idOf(t, tg.do(t, "POST", "/subjects/t.Level/versions", schemaBody(level)))
	idOf(t, tg.do(t, "POST", "/subjects/book-value/versions", schemaBody(book, `{"name":"t.Level","subject":"t.Level","version":1}`)))
	tg.do(t, "PUT", "/config", `{"compatibility":"NONE"}`)
	tg.do(t, "PUT", "/config/book-value", `{"compatibility":"FULL"}`)
	tg.do(t, "PUT", "/mode", `{"mode":"READWRITE"}`)
	tg.do(t, "PUT", "/mode/book-value", `{"mode":"READWRITE"}`)
	tg.do(t, "DELETE", "/subjects/book-value", "")
	tg.do(t, "DELETE", "/subjects/book-value?permanent=true", "")
	tg.do(t, "DELETE", "/subjects/t.Level/versions/1", "")
	want := []string{
		`{"keytype":"NOOP","magic":0} -> null`,
		`{"keytype":"SCHEMA","subject":"t.Level","version":1,"magic":1} -> {"subject":"t.Level","version":1,"id":1,"schema":"{\"type\":\"record\",\"name\":\"Level\",\"namespace\":\"t\",\"fields\":[{\"name\":\"price\",\"type\":\"long\"}]}","deleted":false}`,
		`{"keytype":"SCHEMA","subject":"book-value","version":1,"magic":1} -> {"subject":"book-value","version":1,"id":2,"references":[{"name":"t.Level","subject":"t.Level","version":1}],"schema":"{\"type\":\"record\",\"name\":\"Book\",\"namespace\":\"t\",\"fields\":[{\"name\":\"bids\",\"type\":{\"type\":\"array\",\"items\":\"Level\"}}]}","deleted":false}`,
		`{"keytype":"CONFIG","subject":null,"magic":0} -> {"compatibilityLevel":"NONE"}`,
		`{"keytype":"CONFIG","subject":"book-value","magic":0} -> {"compatibilityLevel":"FULL"}`,
		`{"keytype":"MODE","subject":null,"magic":0} -> {"mode":"READWRITE"}`,
		`{"keytype":"MODE","subject":"book-value","magic":0} -> {"mode":"READWRITE"}`,
		`{"keytype":"DELETE_SUBJECT","subject":"book-value","magic":0} -> {"subject":"book-value","version":1}`,
		`{"keytype":"MODE","subject":"book-value","magic":0} -> null`,
		`{"keytype":"CONFIG","subject":"book-value","magic":0} -> null`,
		`{"keytype":"SCHEMA","subject":"book-value","version":1,"magic":1} -> null`,
		`{"keytype":"SCHEMA","subject":"t.Level","version":1,"magic":1} -> {"subject":"t.Level","version":1,"id":1,"schema":"{\"type\":\"record\",\"name\":\"Level\",\"namespace\":\"t\",\"fields\":[{\"name\":\"price\",\"type\":\"long\"}]}","deleted":true}`,
	}
	got := readTopic(t, brokers, len(want))
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("record %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func readTopic(t *testing.T, brokers string, n int) []string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics("_schemas"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all []string
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("only %d of %d records: %v", len(all), n, all)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			value := "null"
			if r.Value != nil {
				value = string(r.Value)
			}
			all = append(all, string(r.Key)+" -> "+value)
		})
	}
	return all
}

// A topic written by Confluent's registry is read, its extra members (md5, ruleSet, contexts) included.
func TestReadsATopicOfConfluents(t *testing.T) {
	brokers := brokertest.Start(t)
	_, stop := start(t, brokers) // makes the topic
	stop()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{
		{`{"keytype":"CONFIG","subject":"subject_0","magic":0}`, `{"compatibilityLevel":"FORWARD"}`},
		{`{"keytype":"SCHEMA","subject":"subject_0","version":1,"magic":1}`, `{"subject":"subject_0","version":1,"id":7,"md5":"x","schema":"\"string\"","deleted":false}`},
		{`{"keytype":"CONTEXT","tenant":"default","context":".x","magic":0}`, `{"tenant":"default","context":".x"}`},
		{`not json`, `{}`},
		{`{"keytype":"SCHEMA","subject":"subject_1","version":2,"magic":1}`, `{"subject":"subject_1","version":2,"id":9,"schema":"\"long\"","deleted":true}`},
	} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "_schemas", Key: []byte(kv[0]), Value: []byte(kv[1])}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	url, _ := start(t, brokers)
	tg := target{name: "ours", url: url}
	tg.want(t, tg.do(t, "GET", "/subjects/subject_0/versions/latest", ""), 200, `{"id":7,"schema":"\"string\""}`)
	tg.want(t, tg.do(t, "GET", "/config/subject_0", ""), 200, `{"compatibilityLevel":"FORWARD"}`)
	tg.want(t, tg.do(t, "GET", "/schemas/ids/9", ""), 200, `{"schema":"\"long\""}`)
	tg.want(t, tg.do(t, "GET", "/subjects", ""), 200, `["subject_0"]`)
	if next := idOf(t, tg.do(t, "POST", "/subjects/n/versions", schemaBody(tradeV1))); next != 10 {
		t.Errorf("next id %d, want 10", next)
	}
}

func TestWaitsForTheBroker(t *testing.T) {
	address := reservedAddress(t)
	logged := make(lines, 64)
	s, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: address}, slog.New(slog.NewTextHandler(logged, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tg := target{name: "ours", url: s.URL()}
	tg.want(t, tg.do(t, "GET", "/subjects", ""), 500, `{"error_code":50001}`)
	select {
	case line := <-logged:
		if !strings.Contains(line, "waiting for the broker") || !strings.Contains(line, address) {
			t.Errorf("the log does not say what is waited for: %s", line)
		}
	case err := <-done:
		t.Fatal("ended without a broker: ", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing is logged")
	}
	brokertest.StartBroker(t, broker.Config{Listen: address})
	for deadline := time.Now().Add(2 * time.Minute); s.Ready() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Ready())
		}
	}
	tg.want(t, tg.do(t, "GET", "/subjects", ""), 200, `[]`)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// lines is where a logger writes: each line is kept while there is room, the first ones first.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestAnOutageOfTheBroker(t *testing.T) {
	data := t.TempDir()
	first := brokertest.StartBroker(t, broker.Config{DataDir: data})
	address := first.Address()
	s, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: address, WriteTimeout: 5 * time.Second}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitReady(t, s.URL())
	tg := target{name: "ours", url: s.URL()}
	id := idOf(t, tg.do(t, "POST", "/subjects/a/versions", schemaBody(tradeV1)))
	first.Close()
	tg.want(t, tg.do(t, "POST", "/subjects/b/versions", schemaBody(tradeV2)), 500, `{"error_code":50001}`)
	tg.want(t, tg.do(t, "GET", "/subjects/a/versions/1", ""), 200, fmt.Sprintf(`{"id":%d}`, id))
	brokertest.StartBroker(t, broker.Config{DataDir: data, Listen: address})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if got := tg.do(t, "POST", "/subjects/b/versions", schemaBody(tradeV2)); got.status == 200 {
			if again := idOf(t, got); again == id {
				t.Errorf("id %d was given twice", id)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the registry does not write again after the broker came back")
		}
	}
	tg.want(t, tg.do(t, "GET", "/subjects", ""), 200, `["a","b"]`)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBodyIsBounded(t *testing.T) {
	url, _ := start(t, brokertest.Start(t))
	tg := target{name: "ours", url: url}
	tg.want(t, tg.do(t, "POST", "/subjects/a/versions", schemaBody(strings.Repeat(" ", 5<<20))), 413, `{"error_code":413}`)
	tg.want(t, tg.do(t, "POST", "/subjects/a/versions", `{"schema":`), 400, `{"error_code":400}`)
}

// The client library as its users use it, unmodified.
func TestSrclientOnOurs(t *testing.T) {
	url, _ := start(t, brokertest.Start(t))
	client := srclient.NewSchemaRegistryClient(url)
	made, err := client.CreateSchema("trades-value", tradeV1, srclient.Avro)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.GetLatestSchema("trades-value"); err != nil || got.ID() != made.ID() || got.Version() != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if found, err := client.LookupSchema("trades-value", tradeV1, srclient.Avro); err != nil || found.ID() != made.ID() {
		t.Fatalf("%v %v", found, err)
	}
	if ok, err := client.IsSchemaCompatible("trades-value", tradeBad, "latest", srclient.Avro); err != nil || ok {
		t.Fatalf("%v %v", ok, err)
	}
	if _, err := client.CreateSchema("trades-value", tradeBad, srclient.Avro); err == nil || !strings.Contains(err.Error(), "READER_FIELD_MISSING_DEFAULT_VALUE") {
		t.Fatal(err)
	}
	if l, err := client.ChangeSubjectCompatibilityLevel("trades-value", srclient.None); err != nil || *l != srclient.None {
		t.Fatal(l, err)
	}
	if l, err := client.GetCompatibilityLevel("trades-value", true); err != nil || *l != srclient.None {
		t.Fatal(l, err)
	}
	if err := client.DeleteSubject("trades-value", true); err != nil {
		t.Fatal(err)
	}
	if all, err := client.GetSubjectsIncludingDeleted(); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
}

// Every schema of the platform, through the platform's own client.
func TestOwnClientOnOurs(t *testing.T) {
	url, _ := start(t, brokertest.Start(t))
	client, err := registry.New(registry.Config{URL: url}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ownClient(t, client)
}

func ownClient(t *testing.T, client *registry.Client) {
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if _, err := client.ID(t.Context(), s.Name); err == nil || !strings.Contains(err.Error(), "make register-schemas") {
			t.Fatalf("%s before it is registered: %v", s.Name, err)
		}
		id, version, err := client.Register(t.Context(), s)
		if err != nil || version != 1 {
			t.Fatalf("%s: version %d, %v", s.Name, version, err)
		}
		if again, _, err := client.Register(t.Context(), s); err != nil || again != id {
			t.Fatalf("%s again: %d, want %d; %v", s.Name, again, id, err)
		}
		if found, err := client.ID(t.Context(), s.Name); err != nil || found != id {
			t.Fatalf("%s: %d, want %d; %v", s.Name, found, id, err)
		}
		byID, err := client.SchemaByID(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if len(byID.References) != len(s.References) || !strings.Contains(byID.Text, "{") {
			t.Errorf("%s: %+v", s.Name, byID)
		}
		live, err := client.LiveVersions(t.Context(), s.Name)
		if err != nil || len(live) != 1 || live[0].Text != byID.Text {
			t.Errorf("%s: %v %v", s.Name, live, err)
		}
		if ok, messages, err := client.CheckCompatibility(t.Context(), s); err != nil || !ok {
			t.Errorf("%s: %v %v", s.Name, messages, err)
		}
		for subject, want := range map[string]bool{s.Name: true, "of-another-topic-value": false} {
			if under, err := client.Under(t.Context(), id, subject); err != nil || under != want {
				t.Errorf("id %d under %s: %v %v", id, subject, under, err)
			}
		}
	}
}
