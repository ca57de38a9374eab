package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
)

// TestWhatAProducerCommitsAfterAKillIsRead leaves a transaction open, has the broker started from what a kill leaves, commits another of
// the same producer there, and once more: readers must see what was committed and nothing else, and who began the first is fenced.
func TestWhatAProducerCommitsAfterAKillIsRead(t *testing.T) {
	data := filepath.Join(t.TempDir(), "broker")
	running := start(t, data)
	if err := connect(t, running).Create(t.Context(), []kafka.NewTopic{{Name: "letters", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	first := producer(t, running)
	transact(t, first, "committed before", true)
	open(t, first, "open at the kill")
	id, epoch, err := first.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	data = kill(t, data)
	// The last entry of an index is missing when the kill comes between the batch and it.
	cutIndex(t, data, "letters-0")
	running = start(t, data)
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = "writer", id, epoch, true
	ended, err := end.RequestWith(t.Context(), dial(t, running))
	if err == nil {
		err = kerr.ErrorForCode(ended.ErrorCode)
	}
	if err == nil {
		t.Error("a transaction that the kill has ended can still be committed")
	}
	second := producer(t, running)
	transact(t, second, "aborted after", false)
	transact(t, second, "committed after", true)
	want := []string{"committed before 0", "committed after 0", "committed before 1", "committed after 1"}
	if got := read(t, running); !slices.Equal(got, want) {
		t.Errorf("after the kill readers see %q, not %q", got, want)
	}

	running = start(t, kill(t, data))
	transact(t, producer(t, running), "committed at last", true)
	want = slices.Insert(append(want, "committed at last 1"), 2, "committed at last 0")
	if got := read(t, running); !slices.Equal(got, want) {
		t.Errorf("after two kills readers see %q, not %q", got, want)
	}
}

func start(t *testing.T, data string) *broker.Broker {
	t.Helper()

	running, err := broker.New(broker.Config{Listen: "127.0.0.1:0", DataDir: data}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	return running
}

// kill is what a kill now would leave of a broker's folder.
func kill(t *testing.T, data string) (left string) {
	t.Helper()

	left = filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	return left
}

func cutIndex(t *testing.T, data, partition string) {
	t.Helper()

	path := filepath.Join(data, "partitions", partition, "0.idx")
	index, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, index.Size()-15)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func producer(t *testing.T, b *broker.Broker) *kgo.Client {
	t.Helper()

	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()), kgo.MaxVersions(kversion.V3_5_0()), kgo.TransactionalID("writer"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseAllowingRebalance)
	return client
}

// open begins a transaction with a record in each partition.
func open(t *testing.T, client *kgo.Client, text string) {
	t.Helper()

	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for partition := range int32(2) {
		record := &kgo.Record{Topic: "letters", Partition: partition, Value: fmt.Appendf(nil, "%s %d", text, partition)}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func transact(t *testing.T, client *kgo.Client, text string, commit bool) {
	t.Helper()

	open(t, client, text)
	if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

// read is what a reader of committed transactions sees from beginning to end, by partition.
func read(t *testing.T, b *broker.Broker) (values []string) {
	t.Helper()

	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()), kgo.MaxVersions(kversion.V3_5_0()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"letters": {0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}}),
		kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := connect(t, b).Offsets(t.Context(), []kafka.TopicPartition{{Topic: "letters"}, {Topic: "letters", Partition: 1}}, false)
	if err != nil {
		t.Fatal(err)
	}
	byPartition := map[int32][]string{}
	// Every partition ends with a marker, which a reader sees whatever it leaves out.
	for missing := len(ends); missing > 0; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		fetches := client.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v, with %q read and %d partitions not to their ends", err, byPartition, missing)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if !record.Attrs.IsControl() {
				byPartition[record.Partition] = append(byPartition[record.Partition], string(record.Value))
			}
			if record.Offset == ends[kafka.TopicPartition{Topic: "letters", Partition: record.Partition}].Latest-1 {
				missing--
			}
		})
	}
	return append(byPartition[0], byPartition[1]...)
}
