package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("round-trip", 1)
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
		sent := []*Message{
			{Topic: topic, Key: []byte("k"), Value: []byte("v"), TimestampMs: 1_700_000_000_123, Headers: []Header{{Name: "a", Value: []byte("1")}, {Name: "n"}, {Name: "a", Value: []byte{}}}},
			{Topic: topic, Value: []byte{}, TimestampMs: 5},
			{Topic: topic, Key: []byte("tombstone"), TimestampMs: 6},
			{Topic: topic, Key: []byte{}, Value: big, TimestampMs: 7},
		}
		for i, d := range c.produce(sent...) {
			if d.Err != nil || d.Offset != int64(i) || d.Partition != 0 {
				t.Fatalf("delivery %d is %+v", i, d)
			}
		}
		got := c.read(c.consumer(ConsumerConfig{Group: c.prefix + "round-trip", Topics: []string{topic}, Headers: true}), len(sent))
		for i, m := range sent {
			r := got[i]
			if r.Topic != topic || r.Offset != int64(i) || r.TimestampMs != m.TimestampMs || !bytes.Equal(r.Key, m.Key) || !bytes.Equal(r.Value, m.Value) || (r.Value == nil) != (m.Value == nil) || (r.Key == nil) != (m.Key == nil) {
				t.Errorf("record %d came back as %s %d %d key %q value of %d bytes", i, r.Topic, r.Offset, r.TimestampMs, r.Key, len(r.Value))
			}
			if want := headersOf(m); !sameHeaders(r.Headers, want) {
				t.Errorf("headers of record %d came back as %v, not %v", i, r.Headers, want)
			}
		}
		later := c.consumer(ConsumerConfig{Group: c.prefix + "headers-later", Topics: []string{topic}, HeadersLater: true})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for n := 0; n < len(sent); {
			batch, err := later.Poll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// The last first: what is asked for rests on no order.
			for i := range slices.Backward(batch) {
				if got, want := later.HeadersOf(&batch[i]), headersOf(sent[n+i]); len(batch[i].Headers) > 0 || !sameHeaders(got, want) {
					t.Errorf("headers of record %d came as %v and when asked for as %v, not %v", n+i, batch[i].Headers, got, want)
				}
			}
			n += len(batch)
		}
	})
}

// headersOf is what a record has that was sent as m.
func headersOf(m *Message) []Header {
	return append([]Header{{Name: "producer", Value: []byte("test@1")}}, m.Headers...)
}

func sameHeaders(a, b []Header) bool {
	return slices.EqualFunc(a, b, func(a, b Header) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
	})
}

func TestARecordLargerThanTheTopicAllowsIsRefusedByName(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("large", 1)
		p, err := NewProducer(c.client, ProducerConfig{MaxMessageBytes: 1 << 20}, quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		err = p.Produce(&Message{Topic: topic, Value: make([]byte, 2<<20)})
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), topic) {
			t.Fatalf("the error is %v", err)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	p, err := NewProducer(ClientConfig{BootstrapServers: "127.0.0.1:1"}, ProducerConfig{QueueMaxBytes: 1 << 20}, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range 100 {
		err = p.Produce(&Message{Topic: "t", Partition: -1, Value: make([]byte, 64<<10)})
		if err != nil {
			if !errors.Is(err, ErrQueueFull) || i < 8 {
				t.Fatalf("after %d records: %v", i, err)
			}
			return
		}
	}
	t.Fatal("6.4 MB went into a queue of 1 MiB")
}

func TestCommitsCarryMetadataAndPositionsSurviveAMember(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("commit", 2)
		c.produce(keyed(topic, 0, 100)...)
		first := c.consumer(ConsumerConfig{Group: c.prefix + "commit", Topics: []string{topic}})
		records := c.read(first, 100)
		var last Record
		for _, r := range records {
			if r.Partition == 1 {
				last = r
			}
		}
		tp := TopicPartition{Topic: topic, Partition: 1}
		if first.Position(tp) != last.Offset+1 {
			t.Errorf("the position is %d after offset %d", first.Position(tp), last.Offset)
		}
		if err := first.Commit([]Committed{{TopicPartition: tp, Offset: last.Offset, Metadata: "plan 1: 0-41"}}); err != nil {
			t.Fatal(err)
		}
		committed, err := first.Committed(t.Context(), []TopicPartition{tp, {Topic: topic, Partition: 0}})
		if err != nil || committed[0].Offset != last.Offset || committed[0].Metadata != "plan 1: 0-41" || committed[1].Offset != OffsetNone {
			t.Fatalf("committed is %+v, %v", committed, err)
		}
		for name, bad := range map[string]string{"too long": strings.Repeat("x", MaxMetadataBytes+1), "not ASCII": "café"} {
			if err := first.Commit([]Committed{{TopicPartition: tp, Offset: 1, Metadata: bad}}); err == nil {
				t.Errorf("metadata that is %s was committed", name)
			}
		}
		first.Close()
		second := c.consumer(ConsumerConfig{Group: c.prefix + "commit", Topics: []string{topic}})
		for _, r := range c.read(second, 1) {
			if r.Partition == 1 && r.Offset < last.Offset {
				t.Errorf("offset %d came again", r.Offset)
			}
		}
	})
}

func TestRebalanceHandsPartitionsOverWithoutLossOrDuplicates(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			onEachBroker(t, func(t *testing.T, c *cluster) { handOver(t, c, protocol) })
		})
	}
}

func handOver(t *testing.T, c *cluster, protocol string) {
	c.client.GroupProtocol = protocol
	topic := c.topic("rebalance", 8)
	seen := map[string]int{}
	position := map[TopicPartition]int64{}
	refused := map[TopicPartition]bool{}
	var consumers [2]*Consumer
	revoked := 0
	open := func(i int) {
		consumers[i] = c.consumer(ConsumerConfig{Group: c.prefix + "rebalance-" + protocol, Topics: []string{topic}, OnRevoked: func(parts []TopicPartition, lost bool) {
			revoked += len(parts)
			var commit []Committed
			for _, tp := range parts {
				if next, ok := position[tp]; ok {
					commit = append(commit, Committed{TopicPartition: tp, Offset: next})
					delete(position, tp)
				}
			}
			err := consumers[i].Commit(commit)
			switch {
			case err == nil:
			case lost || errors.Is(err, ErrRebalance) || errors.Is(err, ErrFenced):
				// The next rebalance has begun already, or the machine was so slow that the member was given up, so that
				// nobody can commit under this generation any more: what was read of these partitions comes again, and
				// only that.
				for _, o := range commit {
					refused[o.TopicPartition] = true
				}
			default:
				t.Errorf("committing in the revocation: %v", err)
			}
		}})
	}
	poll := func(i int) {
		batch, err := consumers[i].Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch {
			tp := TopicPartition{Topic: r.Topic, Partition: r.Partition}
			if !refused[tp] || seen[string(r.Value)] == 0 {
				seen[string(r.Value)]++
			}
			position[tp] = r.Offset + 1
		}
	}
	open(0)
	c.produce(keyed(topic, 0, 1000)...)
	for deadline := time.Now().Add(patience); len(seen) < 1000 && time.Now().Before(deadline); {
		poll(0)
	}
	open(1)
	for deadline := time.Now().Add(patience); len(consumers[1].Assignment()) != 4 || len(consumers[0].Assignment()) != 4; {
		poll(0)
		poll(1)
		if time.Now().After(deadline) {
			t.Fatalf("assignments are %d and %d of 8 partitions", len(consumers[0].Assignment()), len(consumers[1].Assignment()))
		}
	}
	c.produce(keyed(topic, 1000, 2000)...)
	for deadline := time.Now().Add(patience); len(seen) < 2000 && time.Now().Before(deadline); {
		poll(0)
		poll(1)
	}
	for i := range 2000 {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Fatalf("record %d came %d times (%d partitions were revoked)", i, n, revoked)
		}
	}
	if revoked == 0 {
		t.Error("nothing was revoked")
	}
}

func TestSeekPauseAndResume(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("seek", 1)
		c.produce(keyed(topic, 0, 50)...)
		consumer := c.consumer(ConsumerConfig{Group: c.prefix + "seek", Topics: []string{topic}, MaxBatchRecords: 7})
		c.read(consumer, 20)
		tp := TopicPartition{Topic: topic}
		if err := consumer.Seek(tp, 3); err != nil {
			t.Fatal(err)
		}
		again := c.read(consumer, 47)
		for i, r := range again {
			if r.Offset != int64(3+i) {
				t.Fatalf("after seeking to 3, record %d has offset %d", i, r.Offset)
			}
		}
		if err := consumer.Pause([]TopicPartition{tp}); err != nil {
			t.Fatal(err)
		}
		c.produce(keyed(topic, 50, 60)...)
		for range 10 {
			if batch, err := consumer.Poll(t.Context()); err != nil || len(batch) > 0 {
				t.Fatalf("a paused partition gave %d records, %v", len(batch), err)
			}
		}
		if err := consumer.Resume([]TopicPartition{tp}); err != nil {
			t.Fatal(err)
		}
		c.read(consumer, 10)
	})
}

// A partition that is paused when it goes to another member, and comes back, is not paused any more: who has it anew knows nothing
// of what was before.
func TestAPartitionThatComesBackIsNotPaused(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("paused", 2)
		config := ConsumerConfig{Group: c.prefix + "paused", Topics: []string{topic}, SessionTimeout: 6 * time.Second}
		first := c.consumer(config)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// together polls every member until each has that many partitions.
		together := func(partitions int, others ...*Consumer) {
			t.Helper()
			for len(first.Assignment()) != partitions || slices.ContainsFunc(others, func(c *Consumer) bool { return len(c.Assignment()) != partitions }) {
				for _, member := range append(others, first) {
					if _, err := member.Poll(ctx); err != nil {
						t.Fatalf("first has %v: %v", first.Assignment(), err)
					}
				}
			}
		}
		together(2)
		if err := first.Pause(first.Assignment()); err != nil {
			t.Fatal(err)
		}
		second := c.consumer(config)
		together(1, second)
		kept := first.Assignment()[0]
		second.Close()
		together(2)
		for partition := range int32(2) {
			c.produce(&Message{Topic: topic, Partition: partition, Value: []byte("after")})
		}
		if r := c.read(first, 1)[0]; r.Partition == kept.Partition {
			t.Errorf("partition %d was kept and paused all the time", r.Partition)
		}
		for range 20 {
			if batch, err := first.Poll(ctx); err != nil || len(batch) > 0 {
				t.Fatalf("%d records of the partition that is paused, %v", len(batch), err)
			}
		}
		if err := first.Resume([]TopicPartition{kept}); err != nil {
			t.Fatal(err)
		}
		c.read(first, 1)
	})
}

func TestNoResetRefusesToGuess(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("no-reset", 1)
		consumer := c.consumer(ConsumerConfig{Group: c.prefix + "no-reset", Topics: []string{topic}, NoReset: true})
		var err error
		for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
			_, err = consumer.Poll(t.Context())
		}
		if !errors.Is(err, ErrNoOffset) || !strings.Contains(err.Error(), topic) {
			t.Fatalf("the error is %v", err)
		}
		consumer.Close()
		started := c.consumer(ConsumerConfig{Group: c.prefix + "no-reset", Topics: []string{topic}, NoReset: true, Start: func(parts []TopicPartition) ([]Committed, error) {
			return []Committed{{TopicPartition: parts[0], Offset: 5}}, nil
		}})
		c.produce(keyed(topic, 0, 10)...)
		if got := c.read(started, 5); got[0].Offset != 5 {
			t.Errorf("began at %d, not at 5", got[0].Offset)
		}
	})
}

func TestAMemberThatDidNotPollRejoinsByItself(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("max-poll", 1)
		lost := false
		consumer := c.consumer(ConsumerConfig{
			Group: c.prefix + "max-poll", Topics: []string{topic}, SessionTimeout: time.Second, MaxPollInterval: time.Second,
			OnRevoked: func(_ []TopicPartition, l bool) { lost = lost || l },
		})
		c.produce(keyed(topic, 0, 10)...)
		c.read(consumer, 10)
		// The client looks now and then how long it was left alone: how late, is the machine's affair.
		for away := 1500 * time.Millisecond; !lost; away *= 2 {
			if away > patience {
				t.Fatal("the expulsion was not told as a loss")
			}
			time.Sleep(away)
			if _, err := consumer.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.produce(keyed(topic, 10, 20)...)
		c.read(consumer, 10)
	})
}

func TestABrokerThatIsKilledAndComesBackIsFoundAgain(t *testing.T) {
	config := broker.Config{DataDir: t.TempDir() + "/broker"}
	b := brokertest.StartBroker(t, config)
	config.Listen = b.Address()
	c := clusterAt(t, b.Address())
	topic := c.topic("restart", 4)
	consumer := c.consumer(ConsumerConfig{Group: c.prefix + "restart", Topics: []string{topic}})
	var d deliveries
	p, err := NewProducer(c.client, ProducerConfig{OnDelivery: d.add}, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	produce := func(from, to int) {
		for _, m := range keyed(topic, from, to) {
			if err := p.Produce(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(0, 100)
	c.read(consumer, 100)
	b.Close()
	produce(100, 200)
	brokertest.StartBroker(t, config)
	c.read(consumer, 100)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, one := range d.all {
		if one.Err != nil {
			t.Fatalf("delivery %+v", one)
		}
	}
}

func TestErrorsNameTheThingAndTheRemedyInOneLine(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		_, err := c.admin.AwaitTopics(t.Context(), nil, "raw-frames")
		if !errors.Is(err, ErrUnknownTopic) || !strings.Contains(err.Error(), "raw-frames") || !strings.Contains(err.Error(), "streamforge apply") {
			t.Errorf("an unknown topic is told as %v", err)
		}
		away, err := NewAdmin(ClientConfig{BootstrapServers: "127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		defer away.Close()
		ctx, cancel := contextFor(t, 500*time.Millisecond)
		defer cancel()
		_, err = away.ClusterID(ctx)
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "\n") {
			t.Errorf("an absent broker is told as %v", err)
		}
		if _, err := NewConsumer(ClientConfig{SecurityProtocol: "sasl_ssl"}, ConsumerConfig{Group: "g", Topics: []string{"t"}}, quiet(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "KAFKA_SASL_USERNAME") {
			t.Errorf("missing credentials are told as %v", err)
		}
	})
}

// feed produces a record every few milliseconds until the test stops it.
func (c *cluster) feed(topic string, every time.Duration) (stop func()) {
	c.t.Helper()
	p, err := NewProducer(c.client, ProducerConfig{}, quiet(), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	var feeding sync.WaitGroup
	done := make(chan struct{})
	feeding.Go(func() {
		defer p.Close()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			if err := p.Produce(keyed(topic, i, i+1)[0]); err != nil {
				c.t.Error(err)
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return sync.OnceFunc(func() { close(done); feeding.Wait() })
}

// Members come and go while batches are gathered for longer than a rebalance takes, and giving partitions up takes
// longer than a batch may: each member sees the records of what it owns, each once and in order.
func TestAMemberSeesEachRecordOfItsPartitionsOnceWhileOthersComeAndGo(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in := c.topic("in", 8)
		const wait = 230 * time.Millisecond
		revoked := 0
		a := c.consumer(ConsumerConfig{Group: c.prefix + "g", Topics: []string{in}, MaxBatchRecords: 1 << 16, MaxBatchWait: wait, OnRevoked: func(parts []TopicPartition, _ bool) {
			revoked += len(parts)
			time.Sleep(wait + wait/10) // as long as a commit may take
		}})
		defer c.feed(in, 2*time.Millisecond)()
		c.read(a, 10)
		next := map[TopicPartition]int64{}
		for round := 1; round <= 2; round++ {
			ctx, cancel := contextFor(t, patience)
			b := c.consumer(ConsumerConfig{Group: c.prefix + "g", Topics: []string{in}})
			var other sync.WaitGroup
			other.Go(func() {
				for err := error(nil); err == nil; {
					_, err = b.Poll(ctx)
				}
				_ = b.Close()
			})
			for was := revoked; revoked == was || len(b.Assignment()) == 0; {
				checkOwned(t, ctx, a, next)
			}
			cancel()
			for len(a.Assignment()) < 8 {
				checkOwned(t, t.Context(), a, next)
			}
			other.Wait()
		}
	})
}

// checkOwned polls once: every record must be the next of a partition that the consumer owns.
func checkOwned(t *testing.T, ctx context.Context, a *Consumer, next map[TopicPartition]int64) {
	t.Helper()
	batch, err := a.Poll(ctx)
	if err != nil {
		t.Fatal(err)
	}
	owned := a.Assignment()
	for tp := range next {
		if !slices.Contains(owned, tp) {
			delete(next, tp)
		}
	}
	for _, r := range batch {
		tp := TopicPartition{Topic: r.Topic, Partition: r.Partition}
		if !slices.Contains(owned, tp) {
			t.Fatalf("offset %d of %s was handed out after the partition had been revoked", r.Offset, tp)
		}
		if want, ok := next[tp]; ok && r.Offset != want {
			t.Fatalf("offset %d of %s was handed out where %d comes next", r.Offset, tp, want)
		}
		next[tp] = r.Offset + 1
	}
}
