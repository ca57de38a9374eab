package cluster_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/localstack/apache"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
)

// TestOnApacheASecondPlanIsEmpty is the same promise on the other stack: Apache Kafka and Apicurio, which differ from ours in
// what they answer for a level that is not set and in when they know a topic.
func TestOnApacheASecondPlanIsEmpty(t *testing.T) {
	apachetest.Require(t)
	kafka, err := apachetest.StartKafka(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Stop)
	s := connect(t, kafka.Address, startApicurio(t), false)
	s.deps.Progress = func(p governance.Progress) {
		if p.Done {
			t.Log(p)
		}
	}
	g := govern(t, s)
	everyKind(t, s, apply(t, g), governance.KindSubject, governance.KindRight, governance.KindTopic)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("the second plan:\n%s", again)
	}

	if err := s.admin.AlterConfigs(t.Context(), "dead-letters", map[string]string{"cleanup.policy": "delete"}); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.SetCompatibility(t.Context(), "raw-trades-value", avro.LevelBackward); err != nil {
		t.Fatal(err)
	}
	// Apache Kafka shows a setting some moments after it acknowledged it.
	var text string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text = plan(t, g).String(); strings.Contains(text, "plan: 2 to change") {
			break
		}
	}
	for _, want := range []string{"cleanup.policy: delete → compact,delete", "BACKWARD → FULL_TRANSITIVE", "plan: 2 to change"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
	apply(t, g)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("still:\n%s", again)
	}
}

// startApicurio runs Apicurio until the test ends and returns the address of its Confluent API.
func startApicurio(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	how, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: filepath.Join(cache, "streamforge"), DataDir: t.TempDir(), Listen: address})
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
	url := fmt.Sprintf("http://%s%s", address, apache.ApicurioPath)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(url + "/subjects")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return url
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Apicurio does not answer at %s: %v", url, err)
		}
	}
}
