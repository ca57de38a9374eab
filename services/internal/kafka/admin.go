package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	ck "github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// adminTimeout bounds one question to the cluster when the caller's context does not.
const adminTimeout = 15 * time.Second

// TopicDescription is a topic as the cluster has it.
type TopicDescription struct {
	Name string
	// ID is the topic's UUID; a topic that is deleted and created again gets another.
	ID                [16]byte
	Partitions        int
	ReplicationFactor int
	// Configs are the values in force, defaults included.
	Configs map[string]string
	// Overrides are those of Configs that were set for this topic.
	Overrides map[string]string
}

// TopicPartitions lists the topic's partitions.
func (d TopicDescription) TopicPartitions() []TopicPartition {
	parts := make([]TopicPartition, d.Partitions)
	for p := range parts {
		parts[p] = TopicPartition{Topic: d.Name, Partition: int32(p)}
	}
	return parts
}

// NewTopic to create. Replication 0 is the cluster's default.
type NewTopic struct {
	Name        string
	Partitions  int
	Replication int
	Configs     map[string]string
}

// Admin asks and changes the cluster. Its methods may be called from any goroutine.
type Admin struct {
	bootstrap string
	// member is what admin speaks through, a consumer that never joins its group: when a group's coordinator moves or loads,
	// librdkafka 2.13.0 (rd_kafka_handle_OffsetFetch) tells the client's own group, and a client without one dies of a null pointer.
	member *ck.Consumer
	admin  *ck.AdminClient
	lag    lagReader
	close  sync.Once
}

// NewAdmin makes an Admin. It does not wait for the broker.
func NewAdmin(client ClientConfig) (*Admin, error) {
	options, err := client.clientOptions()
	if err != nil {
		return nil, fmt.Errorf("making an admin client: %w", err)
	}
	// The admin's errors are the calls' own; librdkafka's lines would go to standard error.
	config := ck.ConfigMap{"log_level": 0, "group.id": "streamforge-admin"}
	for _, o := range options {
		config[o.name] = o.value
	}
	member, err := ck.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("making an admin client: %w", err)
	}
	admin, err := ck.NewAdminClientFromConsumer(member)
	if err != nil {
		_ = member.Close()
		return nil, fmt.Errorf("making an admin client: %w", err)
	}
	return &Admin{bootstrap: client.bootstrap(), member: member, admin: admin, lag: lagReader{client: client}}, nil
}

// Close frees the Admin.
func (a *Admin) Close() {
	a.close.Do(func() {
		a.lag.close()
		a.admin.Close()
		_ = a.member.Close()
	})
}

// adminError gives an error of the Go client its sentinel and its place in one line.
func (a *Admin) adminError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var ke ck.Error
	switch {
	case errors.As(err, &ke):
		if ke.Code() == ck.ErrNoError {
			return nil
		}
		err = wrap(doing, &rdkafka.Error{Code: rdkafka.Code(ke.Code()), Text: ke.Error()})
	case errors.Is(err, context.DeadlineExceeded):
		err = &clientError{doing: doing, kind: ErrUnreachable, low: &rdkafka.Error{Code: rdkafka.LocalTimedOut, Text: "no answer in time"}}
	default:
		err = fmt.Errorf("%s: %w", doing, err)
	}
	if errors.Is(err, ErrUnreachable) {
		return fmt.Errorf("kafka at %s: %w", a.bootstrap, err)
	}
	return err
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, adminTimeout)
}

// topicResults finds the failures among a call's results; allowed ones pass.
func (a *Admin) topicResults(doing string, results []ck.TopicResult, err error, allowed ...ck.ErrorCode) error {
	if err != nil {
		return a.adminError(doing, err)
	}
	var errs []error
next:
	for _, r := range results {
		for _, code := range allowed {
			if r.Error.Code() == code {
				continue next
			}
		}
		if r.Error.Code() != ck.ErrNoError {
			errs = append(errs, a.adminError(doing+" "+r.Topic, r.Error))
		}
	}
	return errors.Join(errs...)
}

// TopicID asks for the id of a topic; one that was deleted and made again has another. It asks for nothing else, for who
// has to know it often.
func (a *Admin) TopicID(ctx context.Context, topic string) (id [16]byte, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	result, err := a.admin.DescribeTopics(ctx, ck.NewTopicCollectionOfTopicNames([]string{topic}))
	if err != nil {
		return id, a.adminError("asking for the id of topic "+topic, err)
	}
	for _, t := range result.TopicDescriptions {
		if t.Error.Code() != ck.ErrNoError {
			return id, a.adminError("asking for the id of topic "+topic, t.Error)
		}
		id = idOf(t.TopicID)
	}
	return id, nil
}

func idOf(u ck.UUID) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(u.GetMostSignificantBits()))
	binary.BigEndian.PutUint64(id[8:], uint64(u.GetLeastSignificantBits()))
	return id
}

// Describe topics; those that do not exist are absent from the result.
func (a *Admin) Describe(ctx context.Context, topics ...string) (map[string]TopicDescription, error) {
	described := map[string]TopicDescription{}
	if len(topics) == 0 {
		return described, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	result, err := a.admin.DescribeTopics(ctx, ck.NewTopicCollectionOfTopicNames(topics))
	if err != nil {
		return nil, a.adminError("describing topics", err)
	}
	var resources []ck.ConfigResource
	for _, t := range result.TopicDescriptions {
		if t.Error.Code() == ck.ErrUnknownTopicOrPart {
			continue
		}
		if t.Error.Code() != ck.ErrNoError {
			return nil, a.adminError("describing topic "+t.Name, t.Error)
		}
		d := TopicDescription{Name: t.Name, ID: idOf(t.TopicID), Partitions: len(t.Partitions), Configs: map[string]string{}, Overrides: map[string]string{}}
		if len(t.Partitions) > 0 {
			d.ReplicationFactor = len(t.Partitions[0].Replicas)
		}
		described[t.Name] = d
		resources = append(resources, ck.ConfigResource{Type: ck.ResourceTopic, Name: t.Name})
	}
	return described, a.describeConfigs(ctx, resources, described)
}

func (a *Admin) describeConfigs(ctx context.Context, resources []ck.ConfigResource, into map[string]TopicDescription) error {
	if len(resources) == 0 {
		return nil
	}
	results, err := a.admin.DescribeConfigs(ctx, resources)
	if err != nil {
		return a.adminError("describing topics' configs", err)
	}
	for _, r := range results {
		if r.Error.Code() != ck.ErrNoError {
			return a.adminError("describing the configs of "+r.Name, r.Error)
		}
		d := into[r.Name]
		for name, entry := range r.Config {
			d.Configs[name] = entry.Value
			if entry.Source == ck.ConfigSourceDynamicTopic {
				d.Overrides[name] = entry.Value
			}
		}
	}
	return nil
}

// AwaitTopics waits for the broker to answer, then returns the topics' descriptions, or ErrUnknownTopic naming those
// that are missing. A broker that has just started is given a moment to know its topics.
func (a *Admin) AwaitTopics(ctx context.Context, log *slog.Logger, topics ...string) (map[string]TopicDescription, error) {
	var answered time.Time
	for try := 0; ; try++ {
		described, err := a.Describe(ctx, topics...)
		if err == nil {
			if answered.IsZero() {
				answered = time.Now()
			}
			var missing []string
			for _, topic := range topics {
				if _, ok := described[topic]; !ok {
					missing = append(missing, topic)
				}
			}
			if len(missing) == 0 {
				return described, nil
			}
			err = fmt.Errorf("kafka at %s: %w %s; %s", a.bootstrap, ErrUnknownTopic, strings.Join(missing, ", "), remedy(ErrUnknownTopic))
			if time.Since(answered) > 2*time.Second {
				return nil, err
			}
		} else if errors.Is(err, ErrDenied) {
			return nil, err
		} else if try%10 == 0 && log != nil {
			log.Warn("waiting for kafka", "error", err.Error())
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// ListTopics names all topics except the broker's internal ones.
func (a *Admin) ListTopics(ctx context.Context) ([]string, error) {
	metadata, err := a.admin.GetMetadata(nil, true, int(timeoutOf(ctx, adminTimeout).Milliseconds()))
	if err != nil {
		return nil, a.adminError("listing topics", err)
	}
	var names []string
	for name := range metadata.Topics {
		if !strings.HasPrefix(name, "__") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Create topics. One that exists is an error (TopicAlreadyExists tells).
func (a *Admin) Create(ctx context.Context, topics []NewTopic) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	specs := make([]ck.TopicSpecification, len(topics))
	for i, t := range topics {
		specs[i] = ck.TopicSpecification{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication, Config: t.Configs}
		if t.Replication == 0 {
			specs[i].ReplicationFactor = -1
		}
	}
	results, err := a.admin.CreateTopics(ctx, specs)
	return a.topicResults("creating topic", results, err)
}

// TopicAlreadyExists says whether an error of Create is only that.
func TopicAlreadyExists(err error) bool { return Code(err) == int(ck.ErrTopicAlreadyExists) }

// CreatePartitions raises a topic's number of partitions to total.
func (a *Admin) CreatePartitions(ctx context.Context, topic string, total int) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	results, err := a.admin.CreatePartitions(ctx, []ck.PartitionsSpecification{{Topic: topic, IncreaseTo: total}})
	return a.topicResults(fmt.Sprintf("raising to %d partitions topic", total), results, err)
}

// AlterConfigs sets configs of a topic and leaves its others.
func (a *Admin) AlterConfigs(ctx context.Context, topic string, configs map[string]string) error {
	if len(configs) == 0 {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var entries []ck.ConfigEntry
	for name, value := range configs {
		entries = append(entries, ck.ConfigEntry{Name: name, Value: value, IncrementalOperation: ck.AlterConfigOpTypeSet})
	}
	results, err := a.admin.IncrementalAlterConfigs(ctx, []ck.ConfigResource{{Type: ck.ResourceTopic, Name: topic, Config: entries}})
	if err != nil {
		return a.adminError("altering the configs of "+topic, err)
	}
	for _, r := range results {
		if r.Error.Code() != ck.ErrNoError {
			return a.adminError("altering the configs of "+topic, r.Error)
		}
	}
	return nil
}

// Delete topics with all their records. One that does not exist is as good as deleted.
func (a *Admin) Delete(ctx context.Context, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	results, err := a.admin.DeleteTopics(ctx, topics)
	return a.topicResults("deleting topic", results, err, ck.ErrUnknownTopicOrPart)
}

// ClusterID of the cluster.
func (a *Admin) ClusterID(ctx context.Context) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	id, err := a.admin.ClusterID(ctx)
	return id, a.adminError("asking for the cluster's id", err)
}
