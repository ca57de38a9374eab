package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a listener on a free port; the error in ready, when there is one, is why the program is not ready.
func serve(t *testing.T, config Config) (address string, ready *atomic.Pointer[error]) {
	t.Helper()
	config.HTTPAddress = "127.0.0.1:0"
	ready = new(atomic.Pointer[error])
	server, err := Listen(config, NewRegistry("parser", "v1.2.3"), func() ([]string, error) {
		if reason := ready.Load(); reason != nil {
			return nil, *reason
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.Address(), ready
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	address, ready := serve(t, Config{})
	reason := errors.New("the broker is away")
	ready.Store(&reason)
	if status, body := get(t, "http://"+address+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("healthz of a program that is not ready: %d %q", status, body)
	}
	if status, body := get(t, "http://"+address+"/readyz"); status != http.StatusServiceUnavailable || body != "the broker is away\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	ready.Store(nil)
	if status, body := get(t, "http://"+address+"/readyz"); status != http.StatusOK || body != "ready\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
}

func TestMetricsNameTheBuild(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, Config{})
	status, body := get(t, "http://"+address+"/metrics")
	for _, want := range []string{`streamforge_build_info{program="parser",version="v1.2.3"} 1`, "go_goroutines ", "process_cpu_seconds_total "} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("status %d, no %s", status, want)
		}
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		address, _ := serve(t, Config{Pprof: asked})
		if status, _ := get(t, "http://"+address+"/debug/pprof/"); status != want {
			t.Errorf("pprof %v: status %d, want %d", asked, status, want)
		}
	}
}

func TestTheChosenAddressIsWrittenDown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "address")
	address, _ := serve(t, Config{HTTPAddressFile: path})
	if text, err := os.ReadFile(path); err != nil || string(text) != address {
		t.Fatalf("%q, %v; want %s", text, err, address)
	}
}

func TestAnAddressThatCannotBeHadIsNamed(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, Config{})
	_, err := Listen(Config{HTTPAddress: address}, NewRegistry("parser", "v1"), func() ([]string, error) { return nil, nil })
	if err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "--http-address") {
		t.Errorf("a taken port: %v", err)
	}
	_, err = Listen(Config{HTTPAddress: "127.0.0.1:0", HTTPAddressFile: filepath.Join(t.TempDir(), "absent", "file")}, NewRegistry("parser", "v1"), func() ([]string, error) { return nil, nil })
	if err == nil || !strings.Contains(err.Error(), "--http-address-file") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestLogLinesOfBothForms(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newLogger(&out, Config{LogLevel: "warn", LogFormat: "json"}).With("program", "parser").Info("not severe enough")
	newLogger(&out, Config{LogLevel: "warn", LogFormat: "json"}).Warn("severe", "count", 3)
	var line struct {
		Level, Msg string
		Count      int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Level != "WARN" || line.Msg != "severe" || line.Count != 3 {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
	out.Reset()
	newLogger(&out, Config{LogLevel: "debug", LogFormat: "text"}).Debug("fine")
	if !strings.Contains(out.String(), "level=DEBUG msg=fine") {
		t.Errorf("%s", out.Bytes())
	}
	out.Reset()
	newLogger(&out, Config{LogLevel: "no level"}).Info("an unknown level is info")
	if !strings.Contains(out.String(), "an unknown level is info") {
		t.Errorf("%s", out.Bytes())
	}
}
