package broker_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
)

// TestACommitThatAKillHasCutOffIsNotAnsweredAsOneThatTookPlace commits a transaction, sends the offsets of another, and asks what a kill
// leaves of the broker to commit that.
func TestACommitThatAKillHasCutOffIsNotAnsweredAsOneThatTookPlace(t *testing.T) {
	data := filepath.Join(t.TempDir(), "broker")
	running, err := broker.New(broker.Config{Listen: "127.0.0.1:0", DataDir: data}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	if err := connect(t, running).Create(t.Context(), []kafka.NewTopic{{Name: "trades", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	client := dial(t, running)
	id := "writer"
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMillis, begin.ProducerID, begin.ProducerEpoch = &id, 60_000, -1, -1
	begun, err := begin.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(begun.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	offsets := func(offset int64) {
		t.Helper()
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, begun.ProducerID, begun.ProducerEpoch, "group"
		added, err := add.RequestWith(t.Context(), client)
		if err == nil {
			err = kerr.ErrorForCode(added.ErrorCode)
		}
		if err != nil {
			t.Fatal(err)
		}
		commit := kmsg.NewPtrTxnOffsetCommitRequest()
		commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group, commit.Generation = id, begun.ProducerID, begun.ProducerEpoch, "group", -1
		commit.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "trades", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: offset, LeaderEpoch: -1}}}}
		committed, err := commit.RequestWith(t.Context(), client)
		if err == nil {
			err = kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	end := func(client *kgo.Client) error {
		t.Helper()
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = id, begun.ProducerID, begun.ProducerEpoch, true
		ended, err := end.RequestWith(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return kerr.ErrorForCode(ended.ErrorCode)
	}
	offsets(1)
	if err := end(client); err != nil {
		t.Fatal(err)
	}
	offsets(2)
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}

	again, err := broker.New(broker.Config{Listen: "127.0.0.1:0", DataDir: left}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	err = end(dial(t, again))
	committed, askErr := connect(t, again).GroupOffsets(t.Context(), "group", []kafka.TopicPartition{{Topic: "trades"}})
	if askErr != nil {
		t.Fatal(askErr)
	}
	if err == nil || committed[0].Offset != 1 {
		t.Errorf("the commit of offset 2 is answered by %v, and offset %d is committed", err, committed[0].Offset)
	}
}

// dial speaks Kafka's protocol of a version whose transactions keep their producer's epoch, as librdkafka does.
func dial(t *testing.T, b *broker.Broker) *kgo.Client {
	t.Helper()

	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()), kgo.MaxVersions(kversion.V3_5_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
