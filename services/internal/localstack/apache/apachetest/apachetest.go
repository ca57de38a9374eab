// Package apachetest starts the apache stack's broker and registry for tests, as children of the test's process.
package apachetest

import (
	"context"
	"errors"
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
)

// Require skips the test, saying why, unless Apache Kafka was asked for (STREAMFORGE_APACHE=1, or CI=true) and Java and
// Maven are there; in CI their absence is a failure.
func Require(t testing.TB) {
	t.Helper()
	ci := os.Getenv("CI") == "true"
	if !ci && os.Getenv("STREAMFORGE_APACHE") != "1" {
		t.Skip("set STREAMFORGE_APACHE=1 to run on Apache Kafka as well")
	}
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			if ci {
				t.Fatalf("%s is not on the PATH", tool)
			}
			t.Skipf("%s is not on the PATH", tool)
		}
	}
}

// Start runs Apache Kafka and Apicurio until the test ends, or skips the test as Require does. It returns the broker's address
// and that of the registry's Confluent API.
func Start(t testing.TB) (kafka, registry string) {
	t.Helper()
	Require(t)
	k, err := StartKafka(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	a, err := StartApicurio(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return k.Address, a.URL
}

// Kafka is a running broker.
type Kafka struct {
	Address string
	// SASLAddress is the listener for clients that name themselves; only StartKafkaWithUsers opens it.
	SASLAddress string
	*child
}

// Apicurio is a running registry; URL is its Confluent API.
type Apicurio struct {
	URL string
	*child
}

// child is a process that ends with the test's.
type child struct {
	name    string
	command *exec.Cmd
	done    chan struct{}
}

func launch(name string, spec apache.Command) (*child, error) {
	command := exec.Command(spec.Path, spec.Args...)
	command.Env = append(os.Environ(), spec.Env...)
	// A killed test leaves nothing behind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, command: command, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = command.Wait()
	}()
	return c, nil
}

// Stop kills the process, without a farewell.
func (c *child) Stop() {
	_ = c.command.Process.Kill()
	<-c.done
}

// await waits until the process answers.
func (c *child) await(ctx context.Context, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Stop()
			return fmt.Errorf("%s does not answer: %w", c.name, ctx.Err())
		case <-c.done:
			return fmt.Errorf("%s ended while starting", c.name)
		case <-tick.C:
		}
		if answers(ctx) == nil {
			return nil
		}
	}
}

// install fetches the stack's parts if need be and returns where they are.
func install(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "streamforge")
	return cache, apache.Install(ctx, cache)
}

// StartKafka installs Apache Kafka if need be and starts it with its data in dir. Several tests may share it; call Stop.
func StartKafka(ctx context.Context, dir string) (*Kafka, error) {
	return StartKafkaWithUsers(ctx, dir, nil)
}

// StartKafkaWithUsers is StartKafka with a second listener on which clients name themselves by SCRAM-SHA-512 as one of the
// users, given with their passwords.
func StartKafkaWithUsers(ctx context.Context, dir string, users map[string]string) (*Kafka, error) {
	cache, err := install(ctx)
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	controller, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := apache.KafkaConfig{CacheDir: cache, DataDir: dir, Listen: listen, Controller: controller, Users: users}
	if len(users) > 0 {
		if config.SASLListen, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	spec, err := apache.Kafka(ctx, config)
	if err != nil {
		return nil, err
	}
	c, err := launch("kafka at "+listen, spec)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	return &Kafka{Address: listen, SASLAddress: config.SASLListen, child: c}, c.await(ctx, func(ctx context.Context) error {
		connection, err := dialer.DialContext(ctx, "tcp", listen)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// StartApicurio is StartKafka for the registry.
func StartApicurio(ctx context.Context, dir string) (*Apicurio, error) {
	cache, err := install(ctx)
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	spec, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: cache, DataDir: dir, Listen: listen})
	if err != nil {
		return nil, err
	}
	a := &Apicurio{URL: "http://" + listen + apache.ApicurioPath}
	if a.child, err = launch("apicurio at "+a.URL, spec); err != nil {
		return nil, err
	}
	return a, a.await(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+"/subjects", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
