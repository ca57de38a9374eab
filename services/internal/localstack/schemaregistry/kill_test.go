package schemaregistry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
)

// childBrokers makes the test binary a registry on these brokers, so that it can be killed.
const childBrokers = "SCHEMAREGISTRY_TEST_CHILD"

func TestMain(m *testing.M) {
	if brokers := os.Getenv(childBrokers); brokers != "" {
		child(brokers)
		return
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), // kept connections of the tests' own client
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func child(brokers string) {
	s, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: brokers}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func startChild(t *testing.T, brokers string) (url string, kill func()) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childBrokers+"="+brokers)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill = func() {
		once.Do(func() {
			_ = command.Process.Kill()
			_ = command.Wait() // it was killed
		})
	}
	t.Cleanup(kill)
	return strings.TrimSpace(line), kill
}

// TestKillLosesNothingAcknowledged kills the registry with SIGKILL in the middle of registrations, several times: whatever
// was answered with an id has that id and that text afterwards, and no id was given twice.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	brokers := brokertest.Start(t)
	acknowledged := map[int]string{}
	n := 0
	for round := range 4 {
		url, kill := startChild(t, brokers)
		waitReady(t, url)
		for id, text := range acknowledged {
			target{name: "child", url: url}.want(t, target{url: url}.do(t, "GET", fmt.Sprintf("/schemas/ids/%d", id), ""), 200, fmt.Sprintf(`{"schema":%q}`, text))
		}
		var timer *time.Timer
		for here := 0; ; here++ {
			// Once it is in the midst of them, however long that takes it.
			if here == 10 {
				timer = time.AfterFunc(150*time.Millisecond, kill)
			}
			n++
			text := fmt.Sprintf(`{"type":"fixed","name":"F%d","size":4}`, n)
			id, ok := tryRegister(url, fmt.Sprintf("s-%d", n), text)
			if !ok && timer == nil {
				t.Fatalf("round %d: registration %d failed before the kill", round, n)
			}
			if !ok {
				break // killed
			}
			if other, taken := acknowledged[id]; taken {
				t.Fatalf("id %d was given to %s and to %s", id, other, text)
			}
			acknowledged[id] = text
		}
		timer.Stop()
		kill()
		t.Logf("round %d: %d acknowledged so far", round, len(acknowledged))
	}
}

func waitReady(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		response, err := http.Get(url + "/subjects")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no registry at %s: %v", url, err)
		}
	}
}

func tryRegister(url, subject, schema string) (int, bool) {
	response, err := http.Post(url+"/subjects/"+subject+"/versions", "application/json", strings.NewReader(schemaBody(schema)))
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	var answer struct{ ID int }
	if json.NewDecoder(response.Body).Decode(&answer) != nil || answer.ID == 0 {
		return 0, false
	}
	return answer.ID, true
}
