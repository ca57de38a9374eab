package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// CutOver moves a consumer group from the earlier version to the later one.
type CutOver struct {
	Group      string          `json:"group"`
	From       string          `json:"from"`
	To         string          `json:"to"`
	Partitions []PartitionMove `json:"partitions"`
}

// PartitionMove is what happens in one partition.
type PartitionMove struct {
	Partition int32 `json:"partition"`
	// Stopped is the group's offset in the earlier version; kafka.OffsetNone where it has committed nothing, which then means
	// from the beginning.
	Stopped int64 `json:"stopped"`
	// Was and At are its offsets in the later version, before and after.
	Was int64 `json:"was"`
	At  int64 `json:"at"`
	// marked tells that the commit in the earlier version says already that the group has gone.
	marked bool
}

// Changed tells whether there is anything to commit.
func (c CutOver) Changed() bool {
	return slices.ContainsFunc(c.Partitions, func(m PartitionMove) bool { return m.At != m.Was || m.Stopped >= 0 && !m.marked })
}

// leftFor is the metadata of a group's commits on a version that it has left for another. A commit that the group makes there
// afterwards has other metadata, so that what still lives there shows.
func leftFor(topic string) string { return "left for " + topic }

// maxReaders bounds how many partitions are read beside one another.
const maxReaders = 4

// PlanCutOver finds where a group goes on. The error is Refused where the group may not be moved (now).
func PlanCutOver(ctx context.Context, c Cluster, p *Pair, group string) (CutOver, error) {
	cut := CutOver{Group: group, From: p.From.Topic.Name, To: p.To.Topic.Name}
	if err := mayCutOver(ctx, c, p, group); err != nil {
		return cut, err
	}
	l, err := openLogs(ctx, c, p)
	if err != nil {
		return cut, err
	}
	stopped, err := c.Admin.GroupOffsets(ctx, group, l.from.TopicPartitions())
	if err != nil {
		return cut, err
	}
	was, err := offsetsOf(ctx, c.Admin, group, l.to)
	if err != nil {
		return cut, err
	}
	if !slices.ContainsFunc(stopped, func(s kafka.Committed) bool { return s.Offset >= 0 }) {
		return cut, refuse("group %s has committed nothing on %s; a new group simply starts on %s", group, cut.From, cut.To)
	}
	begin := make([]int64, len(stopped))
	for i, s := range stopped {
		cut.Partitions = append(cut.Partitions, PartitionMove{
			Partition: int32(i), Stopped: s.Offset, Was: was[i], marked: s.Metadata == leftFor(cut.To),
		})
		begin[i] = s.Offset
		if s.Offset < 0 {
			begin[i] = l.fromLog[i].held.Earliest
		}
		if begin[i] > l.fromLog[i].held.Latest {
			return cut, refuse("group %s is at offset %d of %s, which ends at %d: the topic is not the one that the group has read", group, s.Offset, l.fromLog[i].tp, l.fromLog[i].held.Latest)
		}
	}
	return cut, l.place(ctx, c, p, &cut, begin)
}

func mayCutOver(ctx context.Context, c Cluster, p *Pair, group string) error {
	switch {
	case group == p.Group(Up) || group == p.Group(Down):
		return refuse("group %s is the converter itself", group)
	case group == contract.WriterGroup(p.From.Topic.Name):
		return refuse("group %s fills the table of %s; %s has a table of its own, and `streamforge product join %s` says where their rows meet", group, p.From.ID, p.To.ID, p.To.ID)
	}
	groups, err := c.Admin.Groups(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(groups, func(g kafka.GroupDescription) bool { return g.Group == group })
	if i < 0 {
		return refuse("group %s does not exist on this cluster", group)
	}
	if members := groups[i].Members; len(members) > 0 {
		var names []string
		for _, m := range members {
			names = append(names, fmt.Sprintf("%s at %s", m.ClientID, m.Host))
		}
		return refuse("group %s has %d members (%s); stop them first, or they would go on reading where they are; one with an instance id of its own is remembered for its session's timeout", group, len(members), strings.Join(names, ", "))
	}
	return nil
}

// place finds the later version's offset for each partition.
func (l *logs) place(ctx context.Context, c Cluster, p *Pair, cut *CutOver, begin []int64) error {
	if err := readAhead(ctx, c, l.fromLog, func(k *kafkaLog) (from, to int64) {
		stopped := begin[k.tp.Partition]
		return min(stopped-firstWindow, max(l.upDone[k.tp.Partition], 0)), stopped + 1
	}); err != nil {
		return err
	}
	if err := readAhead(ctx, c, l.toLog, func(k *kafkaLog) (from, to int64) { return k.held.Latest - firstWindow, k.held.Latest }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReaders)
	for i := range cut.Partitions {
		group.Go(func() error {
			m := &cut.Partitions[i]
			if err := l.passed(ctx, p, i, begin[i], cut.Group); err != nil {
				return err
			}
			at, err := place(ctx, begin[i], l.fromLog[i], l.toLog[i], l.downDone[i])
			if err != nil {
				return err
			}
			// A group that is there, or has gone on from there, stays where it is.
			if m.At = m.Was; m.Was < at {
				m.At, err = firstAt(ctx, l.toLog[i], at)
			}
			return err
		})
	}
	return group.Wait()
}

// passed refuses a group that is ahead of the converter: what it has read would come after its new offset, and be read again.
func (l *logs) passed(ctx context.Context, p *Pair, partition int, stopped int64, group string) error {
	ahead := 0
	err := l.fromLog[partition].read(ctx, max(l.upDone[partition], 0), stopped, func(e entry) bool {
		if e.source == native {
			ahead++
		}
		return true
	})
	if err == nil && ahead > 0 {
		err = refuse("group %s has read %d records of %s that %s has not converted yet; run `streamforge convert %s --direction up` until it has, then try again",
			group, ahead, l.fromLog[partition].tp, p.Group(Up), p.To.ID)
	}
	return err
}

// Commit moves the group. It may be done again.
func (c CutOver) Commit(ctx context.Context, admin *kafka.Admin) error {
	var offsets []kafka.Committed
	for _, m := range c.Partitions {
		offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: c.To, Partition: m.Partition}, Offset: m.At})
		if m.Stopped >= 0 {
			offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: c.From, Partition: m.Partition}, Offset: m.Stopped, Metadata: leftFor(c.To)})
		}
	}
	return admin.SetGroupOffsets(ctx, c.Group, offsets)
}
