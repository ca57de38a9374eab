package schemaregistry_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/apache"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// install fetches the Apache stack's parts, once, and returns where they are. Without Java and Maven the test is skipped,
// except in CI.
func install(t *testing.T) (cache string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a JVM")
	}
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("the Apache stack needs %s: %v", tool, err)
			}
			t.Skipf("the Apache stack needs %s", tool)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "streamforge") // the local stack's own
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := apache.Install(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	return cache
}

// reservedAddress is one of the test's own, for a process that is told where to listen.
func reservedAddress(t *testing.T) string {
	t.Helper()
	held, err := port.Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	return held.Address()
}

// launch runs a Java process until the test ends.
func launch(t *testing.T, how apache.Command) {
	t.Helper()
	command := exec.Command(how.Path, how.Args...)
	command.Env = append(os.Environ(), how.Env...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	})
}

// startApicurio runs Apicurio until the test ends.
func startApicurio(t *testing.T) target {
	t.Helper()
	cache, address := install(t), reservedAddress(t)
	how, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: cache, DataDir: t.TempDir(), Listen: address})
	if err != nil {
		t.Fatal(err)
	}
	launch(t, how)
	tg := target{name: "apicurio", url: fmt.Sprintf("http://%s%s", address, apache.ApicurioPath), apicurio: true}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(tg.url + "/subjects")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return tg
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Apicurio does not answer at %s: %v", tg.url, err)
		}
	}
}

func TestContractOnApicurio(t *testing.T) {
	tg := startApicurio(t)
	t.Run("contract", func(t *testing.T) { runContract(t, tg) })
	t.Run("own client", func(t *testing.T) {
		client, err := registry.New(registry.Config{URL: tg.url}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ownClient(t, client)
	})
}

// Ours keeps its state in a real Kafka as well as in the embedded broker.
func TestContractOnOursOverApacheKafka(t *testing.T) {
	cache, address := install(t), reservedAddress(t)
	how, err := apache.Kafka(t.Context(), apache.KafkaConfig{CacheDir: cache, DataDir: t.TempDir(), Listen: address, Controller: reservedAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	launch(t, how)
	url, stop := start(t, address) // waits for the broker
	runContract(t, target{name: "ours over Apache Kafka", url: url})
	stop()
	url, _ = start(t, address)
	tg := target{name: "ours over Apache Kafka, restarted", url: url}
	tg.want(t, tg.do(t, "GET", "/subjects/contract-0-value/versions", ""), 200, `[1]`)
}
