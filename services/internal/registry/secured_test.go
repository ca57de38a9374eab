package registry_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/registry"
)

const password = "s3cr%t"

// secured is a registry that speaks TLS under a certificate of nobody's, and wants the user me with the password.
func secured(t *testing.T) (url, certificate string) {
	t.Helper()
	f := &fake{answers: map[string]any{
		"GET /subjects":      []string{"b", "a"},
		"GET /schemas/ids/7": map[string]any{"schema": `"long"`},
		"PUT /config/s":      map[string]any{"compatibility": "FULL"},
	}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, ok := r.BasicAuth(); !ok || user != "me" || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		f.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // Of handshakes that are meant to fail.
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, certificate
}

// askAll makes one call over srclient, one with net/http, one that caches and one of a program that starts.
func askAll(t *testing.T, config registry.Config) map[string]error {
	t.Helper()
	client, err := registry.New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, subjects := client.Subjects(t.Context())
	_, byID := client.SchemaByID(t.Context(), 7)
	_, id := client.ID(t.Context(), "raw-frames-value")
	return map[string]error{
		"subjects": subjects, "schema by id": byID, "own id": id, "level": client.SetCompatibility(t.Context(), "s", "FULL"),
	}
}

func TestASecuredRegistry(t *testing.T) {
	url, certificate := secured(t)
	for name, config := range map[string]registry.Config{
		"settings":       {URL: url, Username: "me", Password: password, CALocation: certificate},
		"in the address": {URL: strings.Replace(url, "https://", "https://me:s3cr%25t@", 1) + "/", CALocation: certificate},
	} {
		for call, err := range askAll(t, config) {
			if call == "own id" && errors.Is(err, registry.ErrNotRegistered) && !strings.Contains(err.Error(), "s3cr") {
				continue // The registry was asked and has none.
			}
			if err != nil || call == "own id" {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
	}
}

// A registry that does not let one in, or that is not to be trusted, is told apart from one that denies a schema: a record
// must not become bad for it. No message shows a password.
func TestARegistryThatDoesNotLetOneIn(t *testing.T) {
	url, certificate := secured(t)
	for name, c := range map[string]struct {
		config registry.Config
		kind   error
		hint   string
	}{
		"wrong password":    {registry.Config{URL: url, Username: "me", Password: "guess", CALocation: certificate}, registry.ErrRefused, "SCHEMA_REGISTRY_PASSWORD"},
		"no password":       {registry.Config{URL: url, CALocation: certificate}, registry.ErrRefused, "SCHEMA_REGISTRY_PASSWORD"},
		"wrong, in address": {registry.Config{URL: strings.Replace(url, "https://", "https://me:guess@", 1), CALocation: certificate}, registry.ErrRefused, "SCHEMA_REGISTRY_PASSWORD"},
		"not trusted":       {registry.Config{URL: url, Username: "me", Password: app.Secret(password)}, registry.ErrUnavailable, "SCHEMA_REGISTRY_CA_LOCATION"},
		"not encrypted":     {registry.Config{URL: strings.Replace(url, "https:", "http:", 1), Username: "me", Password: password}, registry.ErrUnavailable, "SCHEMA_REGISTRY_URL"},
	} {
		for call, err := range askAll(t, c.config) {
			if !errors.Is(err, c.kind) || errors.Is(err, registry.ErrUnknownID) || errors.Is(err, registry.ErrNotRegistered) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%s, %s: %v; want %v and %s", name, call, err, c.kind, c.hint)
			}
			if err != nil && (strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), "s3cr")) {
				t.Errorf("%s, %s shows a password: %v", name, call, err)
			}
		}
	}
}
