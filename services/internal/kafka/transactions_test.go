package kafka

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// committed reads a group's positions without being its member.
func (c *cluster) committed(group, topic string, partitions int) []Committed {
	c.t.Helper()
	var parts []TopicPartition
	var assign []Committed
	for i := range partitions {
		tp := TopicPartition{Topic: topic, Partition: int32(i)}
		parts = append(parts, tp)
		assign = append(assign, Committed{TopicPartition: tp})
	}
	reader := c.consumer(ConsumerConfig{Group: group, Assign: assign})
	committed, err := reader.Committed(c.t.Context(), parts)
	if err != nil {
		c.t.Fatal(err)
	}
	return committed
}

func TestATransactorCommitsPositionsAndRecordsTogetherOrNotAtAll(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		in, out, group := c.topic("in", 2), c.topic("out", 1), c.prefix+"g"
		transactor, err := NewTransactor(c.client, TransactorConfig{Group: group, TransactionalID: c.prefix + "tx", Producer: "test@1"}, told(t), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		defer transactor.Close()
		consumer := c.consumer(ConsumerConfig{Group: group, Topics: []string{in}})
		at := func(first, second int64, text string) []Committed {
			return []Committed{
				{TopicPartition: TopicPartition{Topic: in}, Offset: first, Metadata: text},
				{TopicPartition: TopicPartition{Topic: in, Partition: 1}, Offset: second, Metadata: text},
			}
		}
		say := func(text string) func(Output) error {
			return func(o Output) error { return o.Produce(out, []byte("k"), []byte(text), 0, nil) }
		}

		// Who is no member has no member id, and brokers let offsets without one pass.
		stranger := c.consumer(ConsumerConfig{Group: group, Assign: []Committed{{TopicPartition: TopicPartition{Topic: in}}}})
		if err := transactor.Commit(t.Context(), stranger, at(1, 1, "stranger"), say("stranger")); !errors.Is(err, ErrFenced) || errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("a commit of no member: %v", err)
		}
		for len(consumer.Assignment()) < 2 {
			if _, err := consumer.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := transactor.Commit(t.Context(), consumer, at(3, 5, "plan"), say("letter")); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		err = transactor.Commit(t.Context(), consumer, at(7, 9, "torn"), func(o Output) error { return errors.Join(say("torn")(o), broken) })
		if !errors.Is(err, broken) || errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("a transaction that its maker gives up: %v", err)
		}
		for i, want := range []int64{3, 5} {
			if got := c.committed(group, in, 2)[i]; got.Offset != want || got.Metadata != "plan" {
				t.Errorf("partition %d: committed is %d %q", i, got.Offset, got.Metadata)
			}
		}
		if err := transactor.Commit(t.Context(), consumer, at(8, 10, "end"), nil); err != nil {
			t.Fatal(err)
		}
		if got := c.committed(group, in, 2)[1]; got.Offset != 10 || got.Metadata != "end" {
			t.Errorf("committed is %d %q", got.Offset, got.Metadata)
		}
		records := c.all(out)
		if len(records) != 1 || string(records[0].Value) != "letter" {
			t.Errorf("%d records, want the letter of the only transaction that took place", len(records))
		}
	})
}
