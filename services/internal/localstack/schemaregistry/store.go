package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topicName = "_schemas"

// topic is the log in Kafka. This package may use franz-go because it belongs to the local stack: the platform's programs
// use librdkafka through services/internal/kafka and nothing else.
type topic struct {
	brokers []string
	timeout time.Duration // of one write
	client  *kgo.Client
}

func newTopic(brokers string, timeout time.Duration) (*topic, error) {
	t := &topic{brokers: strings.Split(brokers, ","), timeout: timeout}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.brokers...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(max(timeout, time.Second)), // below a second the client refuses it
		// A write that may or may not have arrived is given up: the registry then reads the topic again before it writes.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // the topic is small and read with every tool
		kgo.UnknownTopicRetries(-1),
		// The client's own pauses are made for clusters; a broker that restarts beside this program is back at once.
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	if err != nil {
		return nil, fmt.Errorf("making the client of %s: %w", brokers, err)
	}
	t.client = client
	return t, nil
}

func (t *topic) close() { t.client.Close() }

// append waits until the broker has acknowledged every record.
func (t *topic) append(ctx context.Context, records ...record) error {
	_, err := t.produce(ctx, records)
	return err
}

func (t *topic) produce(ctx context.Context, records []record) (last int64, err error) {
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: topicName, Partition: 0, Key: r.key, Value: r.value}
	}
	// A client that goes away must not leave a write half done: the records are sent whatever its context says.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	defer cancel()
	results := t.client.ProduceSync(ctx, out...)
	for _, result := range results {
		if errors.Is(result.Err, kerr.MessageTooLarge) || errors.Is(result.Err, kerr.RecordListTooLarge) {
			return 0, fmt.Errorf("writing %d bytes to %s: %w", len(result.Record.Value), topicName, errRecordTooLarge)
		}
	}
	if err := results.FirstErr(); err != nil {
		return 0, fmt.Errorf("writing %d records to %s at %v: %w", len(records), topicName, t.brokers, err)
	}
	return out[len(out)-1].Offset, nil
}

// load writes a NOOP and reads the topic from its beginning up to it, as Confluent's registry does: what comes before it
// is everything that was ever acknowledged.
func (t *topic) load(ctx context.Context, each func(record)) error {
	if err := t.create(ctx); err != nil {
		return err
	}
	end, err := t.produce(ctx, []record{noopRecord()})
	if err != nil {
		return err
	}
	reader, err := kgo.NewClient(
		kgo.SeedBrokers(t.brokers...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return fmt.Errorf("making a reader of %s: %w", topicName, err)
	}
	defer reader.Close()
	for done := false; !done; {
		fetches := reader.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading %s up to offset %d: %w", topicName, end, err)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("reading %s up to offset %d: %w", topicName, end, errs[0].Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset <= end {
				each(record{r.Key, r.Value})
			}
			done = done || r.Offset >= end
		})
	}
	return nil
}

// create makes the topic when it is missing, and refuses one that would lose records.
func (t *topic) create(ctx context.Context) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 10_000
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topicName, 1, 1
	compact := kmsg.NewCreateTopicsRequestTopicConfig()
	compact.Name, compact.Value = "cleanup.policy", kmsg.StringPtr("compact")
	wanted.Configs = append(wanted.Configs, compact)
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(ctx, t.client)
	if err != nil {
		return fmt.Errorf("creating topic %s at %v: %w", topicName, t.brokers, err)
	}
	for _, made := range response.Topics {
		if err := kerr.ErrorForCode(made.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %s at %v: %w", topicName, t.brokers, err)
		}
	}
	return t.checkPolicy(ctx)
}

func (t *topic) checkPolicy(ctx context.Context) error {
	request := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topicName
	resource.ConfigNames = []string{"cleanup.policy"}
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(ctx, t.client)
	if err != nil {
		return fmt.Errorf("reading the configuration of topic %s: %w", topicName, err)
	}
	for _, r := range response.Resources {
		for _, c := range r.Configs {
			if c.Name == "cleanup.policy" && c.Value != nil && *c.Value != "compact" {
				return fmt.Errorf("topic %s has cleanup.policy=%s and would lose schemas: set it to compact", topicName, *c.Value)
			}
		}
	}
	return nil
}
