// Package apachetest starts an Apache Kafka for tests: the apache stack's own broker, as a child of the test's process.
package apachetest

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// Kafka is a running broker.
type Kafka struct {
	Address string
	command *exec.Cmd
	done    chan struct{}
}

// StartKafka installs Apache Kafka if need be and starts it with its data in dir. Several tests may share it; call Stop.
func StartKafka(ctx context.Context, dir string) (*Kafka, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "streamforge")
	if err := apache.Install(ctx, cache); err != nil {
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
	spec, err := apache.Kafka(ctx, apache.KafkaConfig{CacheDir: cache, DataDir: dir, Listen: listen, Controller: controller})
	if err != nil {
		return nil, err
	}
	command := exec.Command(spec.Path, spec.Args...)
	command.Env = append(os.Environ(), spec.Env...)
	// A killed test leaves no broker behind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting Kafka: %w", err)
	}
	k := &Kafka{Address: listen, command: command, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		_ = command.Wait()
	}()
	return k, k.await(ctx)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func (k *Kafka) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var dialer net.Dialer
	for {
		select {
		case <-ctx.Done():
			k.Stop()
			return fmt.Errorf("kafka does not listen on %s: %w", k.Address, ctx.Err())
		case <-k.done:
			return errors.New("kafka ended while starting")
		case <-tick.C:
		}
		if connection, err := dialer.DialContext(ctx, "tcp", k.Address); err == nil {
			return connection.Close()
		}
	}
}

// Stop kills the broker, without a farewell.
func (k *Kafka) Stop() {
	_ = k.command.Process.Kill()
	<-k.done
}
