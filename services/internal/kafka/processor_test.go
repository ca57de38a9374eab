package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func startProcessor(t testing.TB, client ClientConfig, config ProcessorConfig, handle Handler) (p *Processor, stop func()) {
	t.Helper()
	config.Producer = "test@1"
	p, err := NewProcessor(client, config, told(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, handle) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the processor ended with %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return p, stop
}

// double writes each value twice, so that a torn transaction shows.
func double(out string) Handler {
	return func(_ context.Context, batch []Record, o Output) error {
		for i := range batch {
			for _, side := range []string{"a", "b"} {
				if err := o.Produce(out, batch[i].Key, append([]byte(side), batch[i].Value...), batch[i].TimestampMs, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// checkDoubled proves that each of n values is there exactly twice, in order per key.
func checkDoubled(t testing.TB, records []Record, n int) {
	t.Helper()
	seen := map[string]int{}
	last := map[string]int{}
	for _, r := range records {
		seen[string(r.Value)]++
		i, err := strconv.Atoi(string(r.Value[1:]))
		if err != nil {
			t.Fatalf("value %q", r.Value)
		}
		key := string(r.Key) + string(r.Value[:1])
		if previous, ok := last[key]; ok && previous >= i {
			t.Errorf("key %s: %d after %d", r.Key, i, previous)
		}
		last[key] = i
	}
	missing, doubled := 0, 0
	first, final := n, -1 // of the missing
	for i := range n {
		for _, side := range []string{"a", "b"} {
			switch seen[side+fmt.Sprint(i)] {
			case 0:
				missing++
				first, final = min(first, i), max(final, i)
			case 1:
			default:
				doubled++
			}
		}
	}
	if missing > 0 || doubled > 0 || len(records) != 2*n {
		t.Fatalf("of %d values %d are missing (between %d and %d) and %d doubled (%d records)", 2*n, missing, first, final, doubled, len(records))
	}
}

// awaitLag waits until a group has read everything.
func (c *cluster) awaitLag(group, topic string) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		total := int64(0)
		lags, err := c.admin.Lag(c.t.Context(), group, []string{topic})
		for _, l := range lags {
			total += l.Records
		}
		if err == nil && total == 0 {
			c.t.Logf("group %s has read everything: %+v", group, lags)
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("group %s is still %d records behind, %v", group, total, err)
		}
	}
}

func TestProcessorIsExactlyOnceThroughFailuresOfItsHandler(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in, out := c.topic("in", 8), c.topic("out", 8)
		const n = 5000
		c.produce(keyed(in, 0, n)...)
		var calls atomic.Int64
		work := double(out)
		_, stop := startProcessor(t, c.client, ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: c.prefix + "g-0", MaxBatchRecords: 500}, func(ctx context.Context, batch []Record, o Output) error {
			// The failure comes after the batch was produced: all of it must be undone.
			err := work(ctx, batch, o)
			if calls.Add(1)%3 == 2 {
				return errors.New("a failure on purpose")
			}
			return err
		})
		c.awaitLag(c.prefix+"g", in)
		stop()
		checkDoubled(t, c.all(out), n)
	})
}

func TestProcessorsShareAGroupExactlyOnce(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in, out := c.topic("in", 8), c.topic("out", 8)
		config := func(i int) ProcessorConfig {
			return ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: fmt.Sprintf("%sg-%d", c.prefix, i), SessionTimeout: 2 * time.Second, MaxBatchRecords: 100}
		}
		const n = 20000
		_, stop0 := startProcessor(t, c.client, config(0), double(out))
		c.produce(keyed(in, 0, n/4)...)
		_, stop1 := startProcessor(t, c.client, config(1), double(out))
		c.produce(keyed(in, n/4, n/2)...)
		time.Sleep(700 * time.Millisecond)
		c.produce(keyed(in, n/2, 3*n/4)...)
		stop0()
		c.produce(keyed(in, 3*n/4, n)...)
		c.awaitLag(c.prefix+"g", in)
		stop1()
		checkDoubled(t, c.all(out), n)
	})
}

func TestProcessorWithoutOutputCommitsItsOffsets(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in := c.topic("in", 2)
		c.produce(keyed(in, 0, 100)...)
		_, stop := startProcessor(t, c.client, ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: c.prefix + "g-0"}, func(context.Context, []Record, Output) error { return nil })
		c.awaitLag(c.prefix+"g", in)
		stop()
	})
}

func TestProcessorWaitsOutABrokerThatIsKilled(t *testing.T) {
	config := broker.Config{DataDir: t.TempDir() + "/broker"}
	b := brokertest.StartBroker(t, config)
	config.Listen = b.Address()
	c := clusterAt(t, b.Address())
	in, out := c.topic("in", 4), c.topic("out", 4)
	_, stop := startProcessor(t, c.client, ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: c.prefix + "g-0"}, double(out))
	const n = 3000
	c.produce(keyed(in, 0, n/3)...)
	b.Close()
	b = brokertest.StartBroker(t, config)
	c.produce(keyed(in, n/3, 2*n/3)...)
	b.Close()
	brokertest.StartBroker(t, config)
	c.produce(keyed(in, 2*n/3, n)...)
	c.awaitLag(c.prefix+"g", in)
	stop()
	checkDoubled(t, c.all(out), n)
}

func TestAProcessorThatIsFencedGoesOn(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in, out := c.topic("in", 4), c.topic("out", 4)
		_, stop := startProcessor(t, c.client, ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: c.prefix + "g-0"}, double(out))
		const n = 2000
		for i := range 4 {
			c.produce(keyed(in, i*n/4, (i+1)*n/4)...)
			// Another client with the same id takes the transactions over.
			options, err := transactionOptions(c.client, c.prefix+"g-0")
			if err != nil {
				t.Fatal(err)
			}
			thief, err := openTransactor(t.Context(), options, "", nil, quiet(), newProcessorMetrics(nil, "thief"), newClientMetrics(nil, "thief"))
			if err != nil {
				t.Fatal(err)
			}
			thief.close()
		}
		c.awaitLag(c.prefix+"g", in)
		stop()
		checkDoubled(t, c.all(out), n)
	})
}

func TestLagCountsRecordsAndSeconds(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in := c.topic("in", 2)
		began := time.Now()
		at := began.Add(-90 * time.Second).UnixMilli()
		c.produce(&Message{Topic: in, Value: []byte("old"), TimestampMs: at}, &Message{Topic: in, Value: []byte("new")}, &Message{Topic: in, Value: []byte("new")})
		consumer := c.consumer(ConsumerConfig{Group: c.prefix + "g", Topics: []string{in}})
		c.read(consumer, 3)
		check := func(offset, records int64, least, most float64) {
			t.Helper()
			if err := consumer.Commit([]Committed{{TopicPartition: TopicPartition{Topic: in}, Offset: offset}}); err != nil {
				t.Fatal(err)
			}
			lags, err := c.admin.Lag(t.Context(), c.prefix+"g", []string{in})
			if err != nil {
				t.Fatal(err)
			}
			if records > 0 {
				most += time.Since(began).Seconds() // however slow the machine is
			}
			if l := lags[0]; l.Records != records || l.Seconds < least || l.Seconds > most {
				t.Errorf("committed %d: lag is %d records and %.1f s", offset, l.Records, l.Seconds)
			}
			if lags[1].Records != 0 || lags[1].Seconds != 0 {
				t.Errorf("the empty partition's lag is %+v", lags[1])
			}
		}
		check(0, 3, 89, 91)
		check(1, 2, 0, 1)
		check(3, 0, 0, 0)
	})
}

// The process test: a child that processes is killed again and again under load.

const (
	childBootstrap = "STREAMFORGE_TEST_CHILD_BOOTSTRAP"
	childIn        = "STREAMFORGE_TEST_CHILD_IN"
	childOut       = "STREAMFORGE_TEST_CHILD_OUT"
)

// childMain is what the killed child runs.
func childMain() {
	p, err := NewProcessor(ClientConfig{BootstrapServers: os.Getenv(childBootstrap)}, ProcessorConfig{
		Group: os.Getenv(childIn) + "-group", Topics: []string{os.Getenv(childIn)}, TransactionalID: os.Getenv(childIn) + "-0", Producer: "child@1", MaxBatchRecords: 200,
	}, quiet(), prometheus.NewRegistry())
	if err == nil {
		err = p.Run(context.Background(), double(os.Getenv(childOut)))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKillingTheProcessUnderLoadLosesAndDoublesNothing(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) { killUnderLoad(t, c, 6, 30000) })
}

func killUnderLoad(t *testing.T, c *cluster, kills, n int) {
	in, out := c.topic("in", 8), c.topic("out", 8)
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childBootstrap+"="+c.client.BootstrapServers, childIn+"="+in, childOut+"="+out)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	child := start()
	// The load goes on while the child is killed, so that kills hit open transactions.
	produced := make(chan struct{})
	producer, err := NewProducer(c.client, ProducerConfig{}, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	go func() {
		defer close(produced)
		for i, m := range keyed(in, 0, n) {
			if i%100 == 0 {
				time.Sleep(15 * time.Millisecond)
			}
			if err := producer.Produce(m); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range kills {
		time.Sleep(time.Duration(400+137*i) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		child = start()
	}
	<-produced
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitLag(in+"-group", in)
	_ = child.Process.Kill()
	_ = child.Wait()
	checkDoubled(t, c.all(out), n)
}

// A stop may come at any moment of a rebalance: also when the group has assigned partitions that this member has not been told of yet.
func TestAProcessorThatHasJustBegunEnds(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	in, out := c.topic("in", 64), c.topic("out", 64)
	for i := range 40 {
		p, err := NewProcessor(c.client, ProcessorConfig{Group: c.prefix + "g", Topics: []string{in}, TransactionalID: c.prefix + "x"}, told(t), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		after := time.Duration(i) * 5 * time.Millisecond
		ctx, cancel := contextFor(t, after)
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, double(out)) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("stopped after %s: %v", after, err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatalf("stopped after %s, it has not ended", after)
		}
		cancel()
	}
}
