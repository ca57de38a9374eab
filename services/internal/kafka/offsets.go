package kafka

import (
	"context"
	"fmt"
	"time"

	ck "github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// GroupDescription is a consumer group as the cluster has it.
type GroupDescription struct {
	Group, State, Protocol string
	Members                []GroupMember
}

// GroupMember is one member of a group.
type GroupMember struct {
	ID, InstanceID, ClientID, Host string
	Assignment                     []TopicPartition
}

// OffsetRange of a partition: of the first record kept, and after the last.
type OffsetRange struct{ Earliest, Latest int64 }

// Groups lists and describes all consumer groups.
func (a *Admin) Groups(ctx context.Context) ([]GroupDescription, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	listed, err := a.admin.ListConsumerGroups(ctx)
	if err != nil {
		return nil, a.adminError("listing consumer groups", err)
	}
	if len(listed.Errors) > 0 {
		return nil, a.adminError("listing consumer groups", listed.Errors[0])
	}
	if len(listed.Valid) == 0 {
		return nil, nil
	}
	names := make([]string, len(listed.Valid))
	for i, g := range listed.Valid {
		names[i] = g.GroupID
	}
	result, err := a.admin.DescribeConsumerGroups(ctx, names)
	if err != nil {
		return nil, a.adminError("describing consumer groups", err)
	}
	var groups []GroupDescription
	for _, g := range result.ConsumerGroupDescriptions {
		if g.Error.Code() != ck.ErrNoError {
			return nil, a.adminError("describing consumer group "+g.GroupID, g.Error)
		}
		d := GroupDescription{Group: g.GroupID, State: g.State.String(), Protocol: g.PartitionAssignor}
		for _, m := range g.Members {
			member := GroupMember{ID: m.ConsumerID, InstanceID: m.GroupInstanceID, ClientID: m.ClientID, Host: m.Host}
			for _, tp := range m.Assignment.TopicPartitions {
				member.Assignment = append(member.Assignment, TopicPartition{Topic: *tp.Topic, Partition: tp.Partition})
			}
			d.Members = append(d.Members, member)
		}
		groups = append(groups, d)
	}
	return groups, nil
}

func clientPartitions(parts []TopicPartition) []ck.TopicPartition {
	list := make([]ck.TopicPartition, len(parts))
	for i := range parts {
		list[i] = ck.TopicPartition{Topic: &parts[i].Topic, Partition: parts[i].Partition, Offset: ck.OffsetInvalid}
	}
	return list
}

// GroupOffsets reads the committed positions of a group; Offset is OffsetNone where nothing was committed. Positions
// inside an open transaction are not seen: what was committed before is.
func (a *Admin) GroupOffsets(ctx context.Context, group string, parts []TopicPartition) ([]Committed, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	result, err := a.admin.ListConsumerGroupOffsets(ctx, []ck.ConsumerGroupTopicPartitions{{Group: group, Partitions: clientPartitions(parts)}})
	// Some brokers say of a group that nobody has heard of that it does not exist, others that it has committed nothing.
	if err = a.adminError("reading the offsets of group "+group, err); err != nil && Code(err) != int(ck.ErrGroupIDNotFound) {
		return nil, err
	}
	found := map[TopicPartition]Committed{}
	for _, g := range result.ConsumerGroupsTopicPartitions {
		for _, p := range g.Partitions {
			if p.Error != nil {
				return nil, a.adminError(fmt.Sprintf("reading the offset of group %s in %s[%d]", group, *p.Topic, p.Partition), p.Error)
			}
			tp := TopicPartition{Topic: *p.Topic, Partition: p.Partition}
			c := Committed{TopicPartition: tp, Offset: int64(p.Offset)}
			if p.Metadata != nil {
				c.Metadata = *p.Metadata
			}
			found[tp] = c
		}
	}
	offsets := make([]Committed, len(parts))
	for i, tp := range parts {
		c, ok := found[tp]
		if !ok || c.Offset < 0 {
			c = Committed{TopicPartition: tp, Offset: OffsetNone}
		}
		offsets[i] = c
	}
	return offsets, nil
}

// Offsets reads the ends of partitions, for a read_committed reader or for one that reads everything.
func (a *Admin) Offsets(ctx context.Context, parts []TopicPartition, readCommitted bool) (map[TopicPartition]OffsetRange, error) {
	earliest, err := a.listOffsets(ctx, parts, ck.EarliestOffsetSpec, readCommitted)
	if err != nil {
		return nil, err
	}
	latest, err := a.listOffsets(ctx, parts, ck.LatestOffsetSpec, readCommitted)
	if err != nil {
		return nil, err
	}
	ranges := make(map[TopicPartition]OffsetRange, len(parts))
	for _, tp := range parts {
		ranges[tp] = OffsetRange{Earliest: earliest[tp], Latest: latest[tp]}
	}
	return ranges, nil
}

// OffsetForTime finds the first record at or after a time in each partition; the end where there is none.
func (a *Admin) OffsetForTime(ctx context.Context, parts []TopicPartition, at time.Time) (map[TopicPartition]int64, error) {
	offsets, err := a.listOffsets(ctx, parts, ck.NewOffsetSpecForTimestamp(at.UnixMilli()), true)
	if err != nil {
		return nil, err
	}
	var after []TopicPartition
	for tp, offset := range offsets {
		if offset < 0 {
			after = append(after, tp)
		}
	}
	ends, err := a.listOffsets(ctx, after, ck.LatestOffsetSpec, true)
	for tp, end := range ends {
		offsets[tp] = end
	}
	return offsets, err
}

func (a *Admin) listOffsets(ctx context.Context, parts []TopicPartition, spec ck.OffsetSpec, readCommitted bool) (map[TopicPartition]int64, error) {
	offsets := make(map[TopicPartition]int64, len(parts))
	if len(parts) == 0 {
		return offsets, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	isolation := ck.IsolationLevelReadUncommitted
	if readCommitted {
		isolation = ck.IsolationLevelReadCommitted
	}
	question := make(map[ck.TopicPartition]ck.OffsetSpec, len(parts))
	for _, tp := range clientPartitions(parts) {
		question[tp] = spec
	}
	// While a partition's leadership moves, or a topic has just been made, a broker refuses for a moment.
	retry := time.NewTicker(leaderRetry)
	defer retry.Stop()
	for {
		leaderless, err := a.askOffsets(ctx, question, isolation, offsets)
		if leaderless == nil || err != nil {
			return offsets, err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, leaderless
		}
	}
}

// leaderRetry is the pause before a partition without a leader is asked again.
const leaderRetry = 100 * time.Millisecond

// askOffsets puts into offsets what each partition answers. leaderless is the refusal of one that has no leader now.
func (a *Admin) askOffsets(ctx context.Context, question map[ck.TopicPartition]ck.OffsetSpec, isolation ck.IsolationLevel, offsets map[TopicPartition]int64) (leaderless, err error) {
	result, err := a.admin.ListOffsets(ctx, question, ck.SetAdminIsolationLevel(isolation))
	if err != nil {
		return nil, a.adminError("asking for offsets", err)
	}
	for tp, info := range result.ResultInfos {
		refusal := func() error {
			return a.adminError(fmt.Sprintf("asking for the offsets of %s[%d]", *tp.Topic, tp.Partition), info.Error)
		}
		switch info.Error.Code() {
		case ck.ErrNoError:
			offsets[TopicPartition{Topic: *tp.Topic, Partition: tp.Partition}] = int64(info.Offset)
		case ck.ErrLeaderNotAvailable, ck.ErrNotLeaderForPartition, ck.ErrFencedLeaderEpoch, ck.ErrUnknownLeaderEpoch:
			leaderless = refusal()
		default:
			return nil, refusal()
		}
	}
	return leaderless, nil
}
