package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T) app.Config {
	return app.Config{
		Telemetry:    telemetry.Config{HTTPAddress: "127.0.0.1:0", HTTPAddressFile: filepath.Join(t.TempDir(), "address"), LogLevel: "error", LogFormat: "text"},
		DrainTimeout: time.Minute,
	}
}

func TestComponentsDrainInTheReverseOfTheirStart(t *testing.T) {
	a := app.New("test", config(t))
	var mu sync.Mutex
	var order []string
	started := make(chan struct{}, 3)
	for _, name := range []string{"first", "second", "third"} {
		a.Add(name, app.RunFunc(func(ctx context.Context) error {
			started <- struct{}{}
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range 3 {
			<-started
		}
		cancel()
	}()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []string{"third", "second", "first"}; !slices.Equal(order, want) {
		t.Fatalf("drained %v, want %v", order, want)
	}
}

func TestAComponentThatFailsStopsTheProgramAndIsNamed(t *testing.T) {
	a := app.New("test", config(t))
	drained := false
	a.Add("well", app.RunFunc(func(ctx context.Context) error { <-ctx.Done(); drained = true; return nil }))
	a.Add("ill", app.RunFunc(func(context.Context) error { return errors.New("no such topic") }))
	err := a.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ill: no such topic") {
		t.Fatalf("error %v", err)
	}
	if !drained {
		t.Fatal("the other component was not drained")
	}
}

func TestADrainThatTakesTooLongIsAnError(t *testing.T) {
	c := config(t)
	c.DrainTimeout = 10 * time.Millisecond
	a := app.New("test", c)
	release := make(chan struct{})
	defer close(release)
	a.Add("stuck", app.RunFunc(func(context.Context) error { <-release; return nil }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Fatalf("error %v", err)
	}
}

func TestReadinessSaysWhyNot(t *testing.T) {
	c := config(t)
	a := app.New("test", c)
	ready := make(chan error, 1)
	ready <- errors.New("waiting for the broker")
	a.Ready("broker", func() error {
		err := <-ready
		ready <- nil
		return err
	})
	asked := make(chan string, 1)
	asked <- ""
	a.Note("raw-trades", func() string {
		text := <-asked
		asked <- "paused"
		return text
	})
	a.Add("idle", app.RunFunc(func(ctx context.Context) error { <-ctx.Done(); return nil }))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	address := awaitFile(t, c.Telemetry.HTTPAddressFile)
	for i, want := range []string{"503 broker: waiting for the broker", "200 ready\nraw-trades: paused"} {
		if got := get(t, "http://"+address+"/readyz"); got != want {
			t.Errorf("answer %d: %q, want %q", i, got, want)
		}
	}
	if got := get(t, "http://"+address+"/metrics"); !strings.Contains(got, `streamforge_build_info{program="test"`) {
		t.Error("no build info among the metrics")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			return string(text)
		}
	}
	t.Fatal("the address was not written")
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body)))
}

func TestASecretNeverShowsItself(t *testing.T) {
	var c struct{ Password app.Secret }
	if err := json.Unmarshal([]byte(`{"Password":"hunter2"}`), &c); err != nil {
		t.Fatal(err)
	}
	encoded, _ := json.Marshal(c)
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Password, c.Password), string(encoded), c.Password.LogValue().String()} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("shown: %s", shown)
		}
	}
	if c.Password.Reveal() != "hunter2" {
		t.Fatal("the secret is lost")
	}
}
