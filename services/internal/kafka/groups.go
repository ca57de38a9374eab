package kafka

import (
	"context"
	"fmt"

	ck "github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// Reads tells whether a member of the group has a partition of the topic. Members whose assignments are not known (yet)
// count: rather a reader too many than one too few.
func (g GroupDescription) Reads(topic string) bool {
	assigned := false
	for _, m := range g.Members {
		for _, tp := range m.Assignment {
			if tp.Topic == topic {
				return true
			}
			assigned = true
		}
	}
	return len(g.Members) > 0 && !assigned
}

// SetGroupOffsets commits positions, with their metadata, in the name of a group that has no members; of one that has, the
// broker refuses it.
func (a *Admin) SetGroupOffsets(ctx context.Context, group string, offsets []Committed) error {
	if len(offsets) == 0 {
		return nil
	}
	list := make([]ck.TopicPartition, len(offsets))
	for i := range offsets {
		o := &offsets[i]
		if len(o.Metadata) > MaxMetadataBytes {
			return fmt.Errorf("setting the offset of group %s in %s: metadata of %d bytes, a broker takes %d", group, o.TopicPartition, len(o.Metadata), MaxMetadataBytes)
		}
		list[i] = ck.TopicPartition{Topic: &o.Topic, Partition: o.Partition, Offset: ck.Offset(o.Offset)}
		if o.Metadata != "" {
			list[i].Metadata = &o.Metadata
		}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	result, err := a.admin.AlterConsumerGroupOffsets(ctx, []ck.ConsumerGroupTopicPartitions{{Group: group, Partitions: list}})
	if err != nil {
		return a.adminError("setting the offsets of group "+group, err)
	}
	for _, g := range result.ConsumerGroupsTopicPartitions {
		for _, p := range g.Partitions {
			if p.Error != nil {
				return a.adminError(fmt.Sprintf("setting the offset of group %s in %s[%d]", group, *p.Topic, p.Partition), p.Error)
			}
		}
	}
	return nil
}
