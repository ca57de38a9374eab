package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake answers as a registry does, from a table of paths; what the table lacks is an unknown schema.
type fake struct {
	answers map[string]any
	asked   atomic.Int64
	broken  atomic.Bool
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	if f.broken.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"error_code":50001,"message":"Error in the backend data store"}`)
		return
	}
	answer, ok := f.answers[r.Method+" "+r.URL.RequestURI()]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error_code":40403,"message":"Schema not found"}`)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func start(t testing.TB, handler http.Handler, registerer prometheus.Registerer) *registry.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	client, err := registry.New(registry.Config{URL: server.URL, Timeout: 2 * time.Second}, registerer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return client
}

func TestReferencesAreWrittenOut(t *testing.T) {
	f := &fake{answers: map[string]any{
		"GET /schemas/ids/3": map[string]any{
			"schema":     `{"type":"record","name":"Book","namespace":"t","fields":[{"name":"bids","type":{"type":"array","items":"Level"}}]}`,
			"references": []any{map[string]any{"name": "t.Level", "subject": "t.Level", "version": 2}},
		},
		"GET /subjects/t.Level/versions/2": map[string]any{
			"subject": "t.Level", "version": 2, "id": 2, "schema": `{"type":"record","name":"Level","namespace":"t","fields":[{"name":"p","type":"u.Price"}]}`,
			"references": []any{map[string]any{"name": "u.Price", "subject": "u.Price", "version": 1}},
		},
		"GET /subjects/u.Price/versions/1": map[string]any{"subject": "u.Price", "version": 1, "id": 1, "schema": `{"type":"fixed","name":"Price","namespace":"u","size":16}`},
	}}
	client := start(t, f, nil)
	s, err := client.SchemaByID(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"record","name":"Book","namespace":"t","fields":[{"name":"bids","type":{"type":"array","items":{"type":"record","name":"Level","fields":[{"name":"p","type":{"type":"fixed","name":"Price","namespace":"u","size":16}}]}}}]}`
	if s.Text != want || s.ID != 3 || len(s.References) != 1 {
		t.Errorf("got %+v\nwant text %s", s, want)
	}
}

func TestAnIdIsAskedForOnce(t *testing.T) {
	f := &fake{answers: map[string]any{"GET /schemas/ids/1": map[string]any{"schema": `"long"`}}}
	r := prometheus.NewRegistry()
	client := start(t, f, r)
	for range 5 {
		if s, err := client.SchemaByID(t.Context(), 1); err != nil || s.Text != `"long"` {
			t.Fatal(s, err)
		}
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if n, _ := testutil.GatherAndCount(r, "streamforge_schema_registry_requests_total", "streamforge_schema_registry_cached_schemas"); n != 2 {
		t.Errorf("%d metrics", n)
	}
}

func TestUnknownAndUnavailableAreToldApart(t *testing.T) {
	f := &fake{}
	client := start(t, f, nil)
	if _, err := client.SchemaByID(t.Context(), 7); !errors.Is(err, registry.ErrUnknownID) || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("an id that the registry does not know: %v", err)
	}
	before := f.asked.Load()
	if _, err := client.SchemaByID(t.Context(), 7); !errors.Is(err, registry.ErrUnknownID) || f.asked.Load() != before {
		t.Errorf("a poisoned partition must not flood the registry: %v, %d requests", err, f.asked.Load()-before)
	}
	f.broken.Store(true)
	if _, err := client.SchemaByID(t.Context(), 8); errors.Is(err, registry.ErrUnknownID) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a registry with an error of its own: %v", err)
	}
	// A proxy's 404 says nothing about the id.
	proxy := start(t, http.NotFoundHandler(), nil)
	if _, err := proxy.SchemaByID(t.Context(), 7); errors.Is(err, registry.ErrUnknownID) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("something that is no registry: %v", err)
	}
	away, err := registry.New(registry.Config{URL: "http://127.0.0.1:1", Timeout: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.SchemaByID(t.Context(), 7); !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("a registry that is away: %v", err)
	}
	if _, err := away.ID(t.Context(), "raw-trades-value"); !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrNotRegistered) {
		t.Errorf("a registry that is away: %v", err)
	}
}

func TestNotRegisteredNamesTheRemedy(t *testing.T) {
	client := start(t, &fake{}, nil)
	_, err := client.ID(t.Context(), "raw-frames-value")
	if !errors.Is(err, registry.ErrNotRegistered) || !strings.Contains(err.Error(), "make register-schemas") || !strings.Contains(err.Error(), "raw-frames-value") {
		t.Error(err)
	}
	if _, err := client.ID(t.Context(), "nobody-value"); err == nil || !strings.Contains(err.Error(), "no such schema in this build") {
		t.Error(err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	client := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}), nil)
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := client.Subjects(ctx)
		done <- err
	}()
	<-entered
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(time.Minute):
		t.Error("the call goes on without its caller")
	}
}

func TestConfigNamesTheField(t *testing.T) {
	for _, c := range []struct {
		config registry.Config
		want   string
	}{
		{registry.Config{URL: "localhost:8081"}, "SCHEMA_REGISTRY_URL"},
		{registry.Config{URL: "http://x:1", Username: "u"}, "SCHEMA_REGISTRY_PASSWORD"},
		{registry.Config{URL: "http://u@x:1"}, "SCHEMA_REGISTRY_PASSWORD"},
		{registry.Config{URL: "http://x:1", CALocation: "/nowhere.pem"}, "/nowhere.pem"},
	} {
		if _, err := registry.New(c.config, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q in it", err, c.want)
		}
	}
}

func TestWireFormat(t *testing.T) {
	if got := fmt.Sprintf("%x", registry.AppendWireHeader([]byte{0xAA}, 0x01020304)); got != "aa0001020304" {
		t.Error(got)
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.IntRange(0, 1<<31-1).Draw(t, "id")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		gotID, gotBody, err := registry.ParseWire(append(registry.AppendWireHeader(nil, id), body...))
		if err != nil || gotID != id || string(gotBody) != string(body) {
			t.Fatal(gotID, gotBody, err)
		}
	})
	for _, bad := range [][]byte{nil, {0}, {0, 0, 0, 1}, {1, 0, 0, 0, 1, 2}} {
		var wire *registry.WireError
		if _, _, err := registry.ParseWire(bad); !errors.As(err, &wire) || wire.Length != len(bad) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzParseWire(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, value []byte) {
		id, body, err := registry.ParseWire(value)
		if err == nil && string(append(registry.AppendWireHeader(nil, id), body...)) != string(value) {
			t.Fatalf("%x does not come back", value)
		}
	})
}

func BenchmarkWire(b *testing.B) {
	buffer := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buffer = append(registry.AppendWireHeader(buffer[:0], 4711), 1, 2, 3)
		if _, _, err := registry.ParseWire(buffer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSchemaByIDHit(b *testing.B) {
	client := start(b, &fake{answers: map[string]any{"GET /schemas/ids/1": map[string]any{"schema": `"long"`}}}, nil)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.SchemaByID(ctx, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAnAddressIsNeverShownWithItsPassword, however wrong it is.
func TestAnAddressIsNeverShownWithItsPassword(t *testing.T) {
	for _, address := range []string{"user:s3cret@127.0.0.1:8081", "ftp://user:s3cret@127.0.0.1", "http://user:s3%cret@127.0.0.1", "//user:s3cret@host", "http://user:s3cret@"} {
		_, err := registry.New(registry.Config{URL: address}, nil)
		if err == nil || strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), "SCHEMA_REGISTRY_URL") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestTheModeOfASubject(t *testing.T) {
	f := &fake{answers: map[string]any{"GET /mode/a-value?defaultToGlobal=true": map[string]any{"mode": "READONLY"}}}
	client := start(t, f, nil)
	mode := func(c *registry.Client, subject string) string {
		m, err := c.Mode(t.Context(), subject)
		return fmt.Sprint(m, err)
	}
	// A registry that knows no modes answers one way (Confluent's form) or another (a plain 404).
	for got, want := range map[string]string{
		mode(client, "a-value"): "READONLY<nil>", mode(client, "b-value"): "READWRITE<nil>", mode(start(t, http.NotFoundHandler(), nil), "c-value"): "READWRITE<nil>",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	away := httptest.NewServer(nil)
	away.Close()
	gone, err := registry.New(registry.Config{URL: away.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	if _, err := gone.Mode(t.Context(), "a-value"); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestARedirectIsNotFollowed: user and password would go to whatever host it names.
func TestARedirectIsNotFollowed(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, password, _ := r.BasicAuth(); password != "" {
			t.Errorf("%s was given the password", r.URL)
		}
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	client, err := registry.New(registry.Config{URL: server.URL, Username: "team", Password: "s3cret"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, subjects := client.Subjects(t.Context())
	_, mode := client.VersionOf(t.Context(), 1, "a-value")
	for _, err := range []error{subjects, mode} {
		if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "307") {
			t.Errorf("%v", err)
		}
	}
	if asked.Load() > 0 {
		t.Errorf("the redirect was followed %d times", asked.Load())
	}
}
