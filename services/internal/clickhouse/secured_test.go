package clickhouse_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// secured stands before the engine as a server with TLS, under a certificate of nobody's, and the user me.
func secured(t *testing.T) (address, certificate string) {
	t.Helper()
	engine, err := url.Parse(clickhousetest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(engine)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if h := r.Header.Get("X-ClickHouse-User"); h != "" {
			user, password = h, r.Header.Get("X-ClickHouse-Key")
		}
		if r.URL.Path != "/ping" && (user != "me" || password != "s3cr%t") {
			w.Header().Set("X-ClickHouse-Exception-Code", "516")
			http.Error(w, "Code: 516. DB::Exception: "+user+": Authentication failed. (AUTHENTICATION_FAILED)", http.StatusForbidden)
			return
		}
		if strings.Contains(r.URL.RawQuery, "s3cr") {
			t.Error("the password stands in an address, which proxies log")
		}
		for _, name := range []string{"X-ClickHouse-User", "X-ClickHouse-Key", "Authorization"} {
			r.Header.Del(name)
		}
		proxy.ServeHTTP(w, r)
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

// A server with TLS and users takes statements, queries and blocks, compressed as on a network, with the credentials in
// settings of their own or in the address.
func TestASecuredServer(t *testing.T) {
	address, certificate := secured(t)
	for name, config := range map[string]clickhouse.Config{
		"settings":       {URL: address, Username: "me", Password: "s3cr%t", CALocation: certificate, Compress: "on"},
		"in the address": {URL: strings.Replace(address, "https://", "https://me:s3cr%25t@", 1), CALocation: certificate},
	} {
		t.Run(name, func(t *testing.T) {
			database := clickhousetest.Database(t)
			config.URL += "/" + database
			c, err := clickhouse.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, sink := range sinks(t) {
				if sink.Topic.Name != "raw-trades" {
					continue
				}
				layout := create(t, c, sink)
				plan, err := columnar.Compile(layout, 1, schemaText(t, sink.Subject))
				if err != nil {
					t.Fatal(err)
				}
				block := columnar.NewBlock(layout)
				for i, body := range bodies(t, sink.Topic.Name) {
					if err := plan.Append(block, &columnar.Origin{Offset: int64(i)}, body); err != nil {
						t.Fatal(err)
					}
				}
				err = c.Insert(t.Context(), clickhouse.Block{
					Database: database, Table: sink.Sink.Table, Columns: layout.Names(), Chunks: block.Native(), Rows: block.Rows(), Token: "t", QueryID: database,
				})
				if err != nil {
					t.Fatal(err)
				}
				if got := clickhousetest.Exec(t, clickhousetest.Start(t), "SELECT count() FROM "+database+".raw_trades"); strings.TrimSpace(got) == "0" {
					t.Error("no rows")
				}
			}
		})
	}
}

// One that does not let one in is no outage: a person has to act, and no message shows a password.
func TestAServerThatDoesNotLetOneIn(t *testing.T) {
	address, certificate := secured(t)
	for name, c := range map[string]struct {
		config clickhouse.Config
		action clickhouse.Action
		says   string
	}{
		"wrong password":    {clickhouse.Config{URL: address, Username: "me", Password: "guess", CALocation: certificate}, clickhouse.Refuse, "Authentication failed"},
		"no password":       {clickhouse.Config{URL: address, CALocation: certificate}, clickhouse.Refuse, "Authentication failed"},
		"wrong, in address": {clickhouse.Config{URL: strings.Replace(address, "https://", "https://me:guess@", 1), CALocation: certificate}, clickhouse.Refuse, "Authentication failed"},
		"not trusted":       {clickhouse.Config{URL: address, Username: "me", Password: "s3cr%t"}, clickhouse.Refuse, "CLICKHOUSE_CA_LOCATION"},
	} {
		client, err := clickhouse.New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		for call, err := range map[string]error{
			"exec":   client.Exec(t.Context(), "SELECT 1"),
			"insert": client.Insert(t.Context(), clickhouse.Block{Database: "default", Table: "x", Columns: []string{"a"}, Rows: 1, Token: "t", QueryID: "q"}),
		} {
			if err == nil {
				t.Errorf("%s, %s: no error", name, call)
				continue
			}
			verdict := clickhouse.Classify(err)
			if text := err.Error() + " " + verdict.Reason; verdict.Action != c.action || !strings.Contains(text, c.says) || strings.Contains(text, "guess") || strings.Contains(text, "s3cr") {
				t.Errorf("%s, %s: %v: %s", name, call, verdict.Action, text)
			}
		}
		client.Close()
	}
}
