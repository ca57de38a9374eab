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
	"github.com/streamforge/streamforge/services/internal/localstack/port"
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
	ports   []*port.Reservation
	log     string
	command *exec.Cmd
	done    chan struct{}
}

func launch(name, dir string, spec apache.Command, ports []*port.Reservation) (*child, error) {
	log, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		release(ports)
		return nil, err
	}
	defer log.Close()
	command := exec.Command(spec.Path, spec.Args...)
	command.Env = append(os.Environ(), spec.Env...)
	// A killed test leaves nothing behind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		release(ports)
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, ports: ports, log: log.Name(), command: command, done: make(chan struct{})}
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
	release(c.ports)
}

// said is the end of what the process wrote, for an error.
func (c *child) said() string {
	const most = 4 << 10
	text, _ := os.ReadFile(c.log)
	return string(text[max(0, len(text)-most):])
}

// await waits until the process answers.
func (c *child) await(ctx context.Context, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Stop()
			return fmt.Errorf("%s does not answer: %w: %s", c.name, ctx.Err(), c.said())
		case <-c.done:
			release(c.ports)
			return fmt.Errorf("%s ended while starting: %s", c.name, c.said())
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
	ports, err := reserve(3)
	if err != nil {
		return nil, err
	}
	listen := ports[0].Address()
	config := apache.KafkaConfig{CacheDir: cache, DataDir: dir, Listen: listen, Controller: ports[1].Address(), Users: users}
	if len(users) > 0 {
		config.SASLListen = ports[2].Address()
	}
	spec, err := apache.Kafka(ctx, config)
	if err != nil {
		release(ports)
		return nil, err
	}
	c, err := launch("kafka at "+listen, dir, spec, ports)
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
	ports, err := reserve(1)
	if err != nil {
		return nil, err
	}
	listen := ports[0].Address()
	spec, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: cache, DataDir: dir, Listen: listen})
	if err != nil {
		release(ports)
		return nil, err
	}
	a := &Apicurio{URL: "http://" + listen + apache.ApicurioPath}
	if a.child, err = launch("apicurio at "+a.URL, dir, spec, ports); err != nil {
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

// reserve holds so many ports.
func reserve(count int) (ports []*port.Reservation, err error) {
	for range count {
		one, err := port.Reserve(0)
		if err != nil {
			release(ports)
			return nil, err
		}
		ports = append(ports, one)
	}
	return ports, nil
}

func release(ports []*port.Reservation) {
	for _, one := range ports {
		one.Release()
	}
}
