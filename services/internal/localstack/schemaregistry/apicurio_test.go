package schemaregistry_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/apache"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// startApicurio runs Apicurio until the test ends. It is skipped without Java and Maven, except in CI.
func startApicurio(t *testing.T) target {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a JVM")
	}
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("Apicurio needs %s: %v", tool, err)
			}
			t.Skipf("Apicurio needs %s", tool)
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
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	how, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: cache, DataDir: t.TempDir(), Listen: address})
	if err != nil {
		t.Fatal(err)
	}
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
	tg := target{name: "apicurio", url: fmt.Sprintf("http://%s%s", address, apache.ApicurioPath), apicurio: true}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
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
