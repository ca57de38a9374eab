// Package subscriptiontest is what a test of a program that attaches to data products needs: a real broker and a real
// schema registry in the test's process, with the subjects and topics that the contracts ask for, and somebody who
// produces to them as the platform's own programs do.
package subscriptiontest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// patience bounds every wait. It is there for broken programs and may be generous: a loaded machine must not fail a test.
const patience = 60 * time.Second

// Stack is a broker and a registry for one test.
type Stack struct {
	Kafka    kafka.ClientConfig
	Registry registry.Config
	Client   *registry.Client
	Admin    *kafka.Admin

	t         testing.TB
	contracts []contract.Contract
	log       *slog.Logger
	producer  *kafka.Producer
}

// Start runs a stack until the test ends.
func Start(t testing.TB) *Stack {
	t.Helper()
	subjects, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	return StartWith(t, contracts.FS, subjects)
}

// StartWith is Start with the contracts and schemas of another working tree.
func StartWith(t testing.TB, files fs.FS, subjects []schemas.Subject) *Stack {
	t.Helper()
	return StartOn(t, brokertest.Start(t), "", files, subjects)
}

// StartOn is StartWith on a broker and a registry that run; without the latter's URL one is started in the test's process.
func StartOn(t testing.TB, bootstrapServers, registryURL string, files fs.FS, subjects []schemas.Subject) *Stack {
	t.Helper()
	s := &Stack{t: t, Kafka: kafka.ClientConfig{BootstrapServers: bootstrapServers}, Registry: registry.Config{URL: registryURL}, log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		s.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if registryURL == "" {
		s.startRegistry()
	}
	var err error
	if s.Client, err = registry.New(s.Registry, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Client.Close)
	if s.Admin, err = kafka.NewAdmin(s.Kafka); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Admin.Close)
	s.apply(files, subjects)
	if s.producer, err = kafka.NewProducer(s.Kafka, kafka.ProducerConfig{ProducerName: "test@test"}, s.log, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.producer.Close)
	return s
}

func (s *Stack) startRegistry() {
	s.t.Helper()
	server, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: s.Kafka.BootstrapServers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.Await("the registry", server.Ready)
	s.Registry = registry.Config{URL: server.URL()}
}

// apply makes the subjects and topics of the contracts.
func (s *Stack) apply(files fs.FS, subjects []schemas.Subject) {
	s.t.Helper()
	var err error
	if s.contracts, err = contract.Load(files); err != nil {
		s.t.Fatal(err)
	}
	g, err := governance.New(governance.Config{Replication: 1}, governance.Deps{Contracts: s.contracts, Subjects: subjects, Registry: s.Client, Topics: cluster.Topics(s.Admin)})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := g.PlanAndApply(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Deps are what a program of that name would rest on; its metrics are returned as well.
func (s *Stack) Deps(name string) (subscription.Deps, *prometheus.Registry) {
	metrics := prometheus.NewRegistry()
	return subscription.Deps{Kafka: s.Kafka, Registry: s.Client, Contracts: s.contracts, Log: s.log, Metrics: metrics, Producer: name + "@test"}, metrics
}

// Run runs a component until stop is called or the test ends; an error of it fails the test.
func (s *Stack) Run(c app.Component) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("it ended with %v", err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// Value makes of a body in the form of a pinned schema the value that a producer of this build would write for it.
func (s *Stack) Value(subject, pinned string, body []byte) []byte {
	s.t.Helper()
	id, err := s.Client.ID(s.t.Context(), subject)
	if err != nil {
		s.t.Fatal(err)
	}
	current, err := s.Client.SchemaByID(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	project, err := avro.NewProjection(pinned, current.Text)
	if err != nil {
		s.t.Fatal(err)
	}
	projected, err := project(nil, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return append(registry.AppendWireHeader(nil, id), projected...)
}

// Produce writes a record and waits until the broker has it.
func (s *Stack) Produce(topic, key string, value []byte) {
	s.t.Helper()
	if err := s.producer.Produce(&kafka.Message{Topic: topic, Partition: -1, Key: []byte(key), Value: value}); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.producer.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Read returns the committed records of a topic.
func (s *Stack) Read(topic string) []kafka.Record {
	s.t.Helper()
	var all []kafka.Record
	if err := kafka.ReadAll(s.t.Context(), s.Kafka, []string{topic}, func(r kafka.Record) error {
		r.Key, r.Value, r.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), nil
		all = append(all, r)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// AwaitCommitted waits until a group has committed that many records of a topic. Nothing may have been taken from the topic
// by its retention, and nothing be written to it in transactions, whose markers count as records.
func (s *Stack) AwaitCommitted(group, topic string, records int64) {
	s.t.Helper()
	described, err := s.Admin.Describe(s.t.Context(), topic)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Await(fmt.Sprintf("group %s to commit %d records of %s", group, records, topic), func() error {
		offsets, err := s.Admin.GroupOffsets(s.t.Context(), group, described[topic].TopicPartitions())
		if err != nil {
			return err
		}
		var committed int64
		for _, o := range offsets {
			committed += max(o.Offset, 0)
		}
		if committed < records {
			return fmt.Errorf("%d are", committed)
		}
		return nil
	})
}

// Await calls what until it returns nil.
func (s *Stack) Await(name string, what func() error) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		last := what()
		if last == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			s.t.Fatalf("waiting for %s: not after %s: %v", name, patience, last)
		}
	}
}
