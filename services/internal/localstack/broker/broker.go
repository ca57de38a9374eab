// Package broker is the Kafka broker of the embedded local stack: kfake with its data directory, on loopback. It is one
// process and one copy of the data; what it offers is Kafka's protocol with groups, transactions and restarts.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config of a Broker.
type Config struct {
	// Listen is host:port on loopback; port 0 picks a free one. Clients come back to the same port after a restart.
	Listen string
	// DataDir keeps topics, groups and transactions over restarts, kill -9 included; empty keeps them in memory only.
	DataDir string
	// RetentionBytes bounds each partition of a topic that sets no retention.bytes of its own, because kfake holds in
	// memory what it holds on disk; 0 means 64 MiB, a negative value no bound.
	RetentionBytes int64
	// RetentionCheck is how often retention and compaction run; 0 means 10 minutes.
	RetentionCheck time.Duration
	// TransactionMaxTimeout bounds clients' transaction.timeout.ms; 0 means 15 minutes, as on Apache Kafka.
	TransactionMaxTimeout time.Duration
	// RebalanceTimeout bounds how long a group waits for a member that does not come back to a rebalance, whatever the members
	// ask for; 0 means 30 s.
	RebalanceTimeout time.Duration
	// Users are names and SCRAM-SHA-512 passwords. When there are any, every connection has to name itself (one listener
	// has one protocol): tests use it to show that access rights hold. Superusers are those of them who may do everything.
	Users      map[string]string
	Superusers []string
	// TLS makes the listener speak TLS; nil: plain.
	TLS *tls.Config
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:9092"
	}
	if c.RetentionBytes == 0 {
		c.RetentionBytes = 64 << 20
	}
	if c.RetentionCheck == 0 {
		c.RetentionCheck = 10 * time.Minute
	}
	if c.TransactionMaxTimeout == 0 {
		c.TransactionMaxTimeout = 15 * time.Minute
	}
	if c.RebalanceTimeout == 0 {
		c.RebalanceTimeout = 30 * time.Second
	}
	return c
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	address string
	lock    *os.File
	log     *slog.Logger
}

// New loads what DataDir holds and listens. The broker serves until Close.
func New(config Config, log *slog.Logger) (*Broker, error) {
	config = config.withDefaults()
	host, portText, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting the broker: listen address %q is not host:port: %w", config.Listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("starting the broker: %q is not a loopback address; this broker asks nobody for a password", host)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("starting the broker: port %q is not a number", portText)
	}
	lock, err := lockDir(config.DataDir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(forgetCommits(config.DataDir), abortOpenTransactions(config.DataDir)); err != nil {
		unlock(lock)
		return nil, fmt.Errorf("starting the broker in %s: %w", config.DataDir, err)
	}
	cluster, err := kfake.NewCluster(config.options(host, port, log)...)
	if err != nil {
		unlock(lock)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("starting the broker: port %d on %s is taken; stop what listens there or choose another", port, host)
		}
		return nil, fmt.Errorf("starting the broker in %s: %w", config.DataDir, err)
	}
	b := &Broker{cluster: cluster, address: cluster.ListenAddrs()[0], lock: lock, log: log}
	b.boundRebalances(config.RebalanceTimeout)
	return b, nil
}

func (c Config) options(host string, port int, log *slog.Logger) []kfake.Opt {
	options := []kfake.Opt{
		kfake.Ports(port),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			_, p, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return net.Listen(network, net.JoinHostPort(host, p))
		}),
		kfake.ClusterID("streamforge-local"),
		kfake.WithLogger(logger{log}),
		// Tests and a laptop's quick restarts expel a dead member sooner than a real cluster would.
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{
			// Frames are up to 16 MiB; the topics set their own max.message.bytes below this.
			"message.max.bytes": strconv.Itoa(20<<20 + 64<<10),
			// Time does not bound: a replayed recording carries the timestamps of its own day.
			"log.retention.ms":       "-1",
			"log.retention.bytes":    strconv.FormatInt(c.RetentionBytes, 10),
			"log.cleaner.backoff.ms": strconv.FormatInt(c.RetentionCheck.Milliseconds(), 10),
			// A second instead of five: members notice a rebalance of the new group protocol sooner.
			"group.consumer.heartbeat.interval.ms": "500",
			"transaction.max.timeout.ms":           strconv.FormatInt(c.TransactionMaxTimeout.Milliseconds(), 10),
		}),
	}
	options = append(options, c.access()...)
	if c.TLS != nil {
		options = append(options, kfake.TLS(c.TLS))
	}
	if c.DataDir != "" {
		// No SyncWrites: the page cache survives the death of the process, which is all that a local stack promises.
		options = append(options, kfake.DataDir(c.DataDir))
	}
	return options
}

// access makes the broker authorize every request, with the nameless users of a local stack as superusers: access rights
// can then be planned, compared and kept here as on a real cluster, and are in nobody's way.
func (c Config) access() []kfake.Opt {
	options := []kfake.Opt{kfake.EnableACLs()}
	if len(c.Users) == 0 {
		// kfake's name for a connection without a name is empty; the mechanism and password of it are never asked for.
		return append(options, kfake.Superuser("PLAIN", "", ""))
	}
	options = append(options, kfake.EnableSASL())
	for name, password := range c.Users {
		if slices.Contains(c.Superusers, name) {
			options = append(options, kfake.Superuser("SCRAM-SHA-512", name, password))
		} else {
			options = append(options, kfake.User("SCRAM-SHA-512", name, password))
		}
	}
	return options
}

// lockDir keeps a second broker out of a data directory: two would overwrite each other's files.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("starting the broker: making its data directory: %w", err)
	}
	path := filepath.Clean(dir) + ".lock"
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("starting the broker: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("starting the broker: %s is in use by another broker; stop that one or choose another data directory", dir)
	}
	return lock, nil
}

func unlock(lock *os.File) {
	if lock != nil {
		lock.Close()
	}
}

// Address is host:port, for bootstrap.servers.
func (b *Broker) Address() string { return b.address }

// Cluster is the kfake cluster itself, for tests that inject faults.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Run serves until ctx ends, then writes the state down and closes.
func (b *Broker) Run(ctx context.Context) error {
	b.log.Info("broker is up", "address", b.address)
	<-ctx.Done()
	b.Close()
	return nil
}

// Close writes the state down and closes every connection.
func (b *Broker) Close() {
	b.cluster.Close()
	unlock(b.lock)
}

// logger passes kfake's warnings and errors on; its info level is a line a request.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("kfake: " + oneLine(format, args))
	case kfake.LogLevelWarn:
		l.log.Warn("kfake: " + oneLine(format, args))
		l.mendTornFile(args)
	}
}

func oneLine(format string, args []any) string {
	return strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
}
