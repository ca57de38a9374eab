package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/cluster"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

// users of the tests below, with their passwords. Momentum's group is declared there; mallory is nobody.
var users = map[string]string{"loader": "l-secret", "parser": "p-secret", "writer": "w-secret", "momentum": "m-secret", "mallory": "x-secret"}

func TestThePlannedRightsHold(t *testing.T) {
	all := map[string]string{"admin": "a-secret"}
	for name, password := range users {
		all[name] = password
	}
	b := brokertest.StartBroker(t, broker.Config{Users: all, Superusers: []string{"admin"}})
	provenRights(t, b.Address(), named(b.Address(), "admin", "a-secret"))
}

func TestThePlannedRightsHoldOnApache(t *testing.T) {
	apachetest.Require(t)
	k, err := apachetest.StartKafkaWithUsers(t.Context(), t.TempDir(), users)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	provenRights(t, k.SASLAddress, kafka.ClientConfig{BootstrapServers: k.Address})
}

func named(address, user, password string) kafka.ClientConfig {
	return kafka.ClientConfig{BootstrapServers: address, SecurityProtocol: "sasl_plaintext", SASLUsername: user, SASLPassword: app.Secret(password)}
}

// provenRights applies the contracts as the administrator, with one more reader, and then does as each user what its files
// say, and what they do not.
func provenRights(t *testing.T, address string, administrator kafka.ClientConfig) {
	admin := adminOf(t, administrator)
	s := wantedThings(t)
	s.deps.Consumers = append(s.deps.Consumers, contract.Consumer{
		Group: "momentum", Principal: "User:momentum", Reads: []contract.Read{{Product: "raw-trades", SchemaVersion: 1, Fields: []string{"price"}}},
	})
	s.deps.Topics, s.deps.Rights = cluster.Topics(admin), cluster.Rights(admin)
	g := govern(t, s)
	apply(t, g)
	if again := plan(t, g); !again.Empty() {
		t.Fatalf("still:\n%s", again)
	}
	as := func(user string) kafka.ClientConfig { return named(address, user, users[user]) }

	allowed := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What is refused is tried at the same time: clients take their time to give up.
	var attempts sync.WaitGroup
	denied := func(what string, attempt func() error) {
		attempts.Go(func() {
			if err := attempt(); !errors.Is(err, kafka.ErrDenied) {
				t.Errorf("%s is not denied: %v", what, err)
			}
		})
	}
	// The way of a trade, each step by the one whose it is.
	allowed("the loader writes raw-frames", write(t, as("loader"), "raw-frames"))
	allowed("the parser reads raw-frames and writes raw-trades in a transaction", transform(t, as("parser"), "parser", "parser-0", "raw-frames", "raw-trades"))
	allowed("momentum reads raw-trades", read(t, as("momentum"), "momentum", "raw-trades"))
	allowed("the writer reads raw-trades", read(t, as("writer"), "writer.raw-trades", "raw-trades"))
	allowed("the writer fills a table of raw-trades beside the live one", read(t, as("writer"), "writer.raw-trades.backfill", "raw-trades"))
	allowed("the writer writes dead-letters", write(t, as("writer"), "dead-letters"))
	allowed("momentum looks at raw-trades", look(t, as("momentum"), "raw-trades"))

	denied("momentum reads raw-orderbooks", func() error { return read(t, as("momentum"), "momentum", "raw-orderbooks") })
	denied("momentum reads in the writer's group", func() error { return read(t, as("momentum"), "writer.raw-trades", "raw-trades") })
	denied("momentum reads in a group of nobody", func() error { return read(t, as("momentum"), "momentum-2", "raw-trades") })
	denied("momentum writes raw-trades", func() error { return write(t, as("momentum"), "raw-trades") })
	denied("momentum looks at raw-frames", func() error { return look(t, as("momentum"), "raw-frames") })
	denied("the loader writes raw-trades", func() error { return write(t, as("loader"), "raw-trades") })
	denied("the loader reads raw-trades", func() error { return read(t, as("loader"), "loader", "raw-trades") })
	denied("the parser writes raw-frames", func() error { return write(t, as("parser"), "raw-frames") })
	denied("the parser takes another program's transactional id", func() error { return transform(t, as("parser"), "parser", "writer-0", "raw-frames", "raw-trades") })
	denied("the writer writes what it reads", func() error { return write(t, as("writer"), "raw-trades") })
	denied("mallory reads", func() error { return read(t, as("mallory"), "mallory", "raw-trades") })
	denied("mallory writes", func() error { return write(t, as("mallory"), "raw-trades") })
	mallory := adminOf(t, as("mallory"))
	denied("mallory makes rights", func() error {
		return mallory.CreateACLs(t.Context(), kafka.ACL{Principal: "User:mallory", Host: "*", Resource: "TOPIC", Name: "raw-trades", Operation: "READ"})
	})
	attempts.Wait()

	// A right that nobody declared works until it is revoked, which takes an explicit word.
	more := kafka.ACL{Principal: "User:momentum", Host: "*", Resource: "TOPIC", Name: "raw-orderbooks", Operation: "READ"}
	allowed("the administrator gives momentum more", admin.CreateACLs(t.Context(), more))
	awaitPlan(t, g, func(p governance.Plan) bool {
		return p.Empty() && slices.ContainsFunc(p.Notes, func(n governance.Note) bool {
			return n.Kind == governance.KindRight && n.Object == "User:momentum" && n.Text == "may READ topic raw-orderbooks, which no contract says; it is left alone unless apply is told to --revoke"
		})
	})
	strict, err := governance.New(governance.Config{Replication: 1, Revoke: true}, s.deps)
	if err != nil {
		t.Fatal(err)
	}
	if p := apply(t, strict); len(p.Steps) != 1 || p.Steps[0].Action != governance.ActionRevoke {
		t.Errorf("plan:\n%s", p)
	}
	denied("momentum reads raw-orderbooks again", func() error { return read(t, as("momentum"), "momentum", "raw-orderbooks") })
	attempts.Wait()
}

// patience bounds one attempt: a client that is refused says so at once, one that is not has its record by then.
const patience = 90 * time.Second

// write one record and wait for its end.
func write(t *testing.T, client kafka.ClientConfig, topic string) error {
	t.Helper()
	end := make(chan error, 1)
	var told lockedBuffer
	p, err := kafka.NewProducer(client, kafka.ProducerConfig{ProducerName: "test@test", OnDelivery: func(d kafka.Delivery) {
		select {
		case end <- d.Err:
		default:
		}
	}}, slog.New(slog.NewTextHandler(&told, nil)), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Produce(&kafka.Message{Topic: topic, Partition: -1, Key: []byte("k"), Value: []byte("v")}); err != nil {
		return err
	}
	select {
	case err := <-end:
		const purged = -152
		// Who may write nowhere gets no id as an idempotent producer: fatal, the record goes with the client, and the log
		// says why a moment later.
		for deadline := time.Now().Add(patience); kafka.Code(err) == purged && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if strings.Contains(told.String(), "authorization failed") {
				return fmt.Errorf("%w: %s", kafka.ErrDenied, told.String())
			}
		}
		return err
	case <-time.After(patience):
		return errors.New("no end of the record")
	}
}

// lockedBuffer takes the log of a client whose goroutines may still write.
type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// read until one record came, and commit it.
func read(t *testing.T, client kafka.ClientConfig, group, topic string) error {
	t.Helper()
	c, err := kafka.NewConsumer(client, kafka.ConsumerConfig{Group: group, Topics: []string{topic}}, quiet(), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		batch, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		if len(batch) > 0 {
			r := batch[0]
			return c.Commit([]kafka.Committed{{TopicPartition: kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}, Offset: r.Offset + 1}})
		}
		if ctx.Err() != nil {
			return errors.New("no record")
		}
	}
}

// transform one record of a topic into one of another, exactly once.
func transform(t *testing.T, client kafka.ClientConfig, group, transactionalID, from, to string) error {
	t.Helper()
	p, err := kafka.NewProcessor(client, kafka.ProcessorConfig{Group: group, Topics: []string{from}, TransactionalID: transactionalID}, quiet(), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := false
	err = p.Run(ctx, func(_ context.Context, batch []kafka.Record, out kafka.Output) error {
		for _, r := range batch {
			if err := out.Produce(to, r.Key, r.Value, r.TimestampMs, nil); err != nil {
				return err
			}
		}
		if len(batch) > 0 {
			// Ending now commits what was produced.
			done = true
			cancel()
		}
		return nil
	})
	if err == nil && !done {
		err = errors.New("nothing was transformed")
	}
	return err
}

// look at a topic as programs do when they start.
func look(t *testing.T, client kafka.ClientConfig, topic string) error {
	t.Helper()
	found, err := adminOf(t, client).Describe(t.Context(), topic)
	if err == nil && len(found) == 0 {
		err = errors.New("not seen")
	}
	return err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// awaitPlan plans until the plan is as expected: a cluster shows some moments later what it acknowledged.
func awaitPlan(t *testing.T, g *governance.Governance, expected func(governance.Plan) bool) governance.Plan {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		p := plan(t, g)
		if expected(p) {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("the plan stays\n%s", p)
		}
	}
}
