package convert

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// entry is a record as coordinates see it.
type entry struct {
	offset int64
	// source is the offset, in the other topic's partition of the same number, of the record that this one was made from;
	// native for one that was not, and foreign for one that was made from a topic that is not there any more.
	source int64
}

const (
	native  int64 = -1
	foreign int64 = -2
)

// converted tells whether an entry was made from a record of the other topic.
func (e entry) converted() bool { return e.source >= 0 }

// partitionLog is one partition of one of the two topics. Where both versions are written by one origin at a time, the order of
// the entries is the order of their sources.
type partitionLog interface {
	// span is from the first offset that is kept up to the end.
	span() (first, end int64)
	// read hands the readable entries from an offset on and before another to take, in order, until it returns false.
	read(ctx context.Context, from, to int64, take func(entry) bool) error
}

// firstWindow is how many offsets are looked at first, and windowGrowth by how much more each further look takes in: what is
// looked for is mostly near the end, and so each search costs what it has to go back.
const (
	firstWindow  = 1024
	windowGrowth = 8
)

// backwards hands windows from hi down to lo to look, the last one first, until look is content.
func backwards(lo, hi int64, look func(from, to int64) (enough bool, err error)) error {
	for size := int64(firstWindow); hi > lo; size *= windowGrowth {
		from := max(lo, hi-size)
		if enough, err := look(from, hi); enough || err != nil {
			return err
		}
		hi = from
	}
	return nil
}

// entryOf reads a record's coordinates; other is the topic that it may have been made from.
func entryOf(r *kafka.Record, other *kafka.TopicDescription) (entry, error) {
	source, converted, err := SourceOf(r)
	switch {
	case err != nil:
		return entry{}, err
	case !converted || source.Topic != other.Name:
		return entry{r.Offset, native}, nil
	case source.TopicID != other.ID || source.Partition != r.Partition:
		return entry{r.Offset, foreign}, nil
	}
	return entry{r.Offset, source.Offset}, nil
}

// kafkaLog is a partition on a broker. It remembers the window that was read ahead.
type kafkaLog struct {
	client kafka.ClientConfig
	tp     kafka.TopicPartition
	held   kafka.OffsetRange
	other  *kafka.TopicDescription

	window  kafka.OffsetRange
	entries []entry
}

func (l *kafkaLog) span() (first, end int64) { return l.held.Earliest, l.held.Latest }

func (l *kafkaLog) read(ctx context.Context, from, to int64, take func(entry) bool) error {
	from, to = max(from, l.held.Earliest), min(to, l.held.Latest)
	if from >= l.window.Earliest && from < l.window.Latest {
		for _, e := range l.entries {
			if e.offset >= from && e.offset < to && !take(e) {
				return nil
			}
		}
		from = min(to, l.window.Latest)
	}
	for r, err := range kafka.Range(ctx, l.client, l.tp, kafka.OffsetRange{Earliest: from, Latest: to}) {
		if err != nil {
			return err
		}
		e, err := entryOf(&r, l.other)
		if err != nil {
			return err
		}
		if !take(e) {
			return nil
		}
	}
	return nil
}

// logs are all partitions of both versions, as they are now. Their ends count what is inside of open transactions: a reader of
// committed records waits for these to be decided.
type logs struct {
	from, to         kafka.TopicDescription
	fromLog, toLog   []*kafkaLog
	upDone, downDone []int64 // up to where the converters have come in from and to; kafka.OffsetNone where they have not begun
}

// openLogs asks in this order: what the converters have done, then the ends of what they write, so that all they have done is
// before these.
func openLogs(ctx context.Context, c Cluster, p *Pair) (*logs, error) {
	described, err := c.Admin.Describe(ctx, p.From.Topic.Name, p.To.Topic.Name)
	if err != nil {
		return nil, err
	}
	l := &logs{from: described[p.From.Topic.Name], to: described[p.To.Topic.Name]}
	for side, d := range map[*Side]kafka.TopicDescription{&p.From: l.from, &p.To: l.to} {
		if d.Name == "" {
			return nil, refuse("topic %s does not exist; `streamforge apply` creates it", side.Topic.Name)
		}
	}
	if l.from.Partitions != l.to.Partitions {
		return nil, refuse("%s has %d partitions and %s %d: no record of one has a place in the other", l.from.Name, l.from.Partitions, l.to.Name, l.to.Partitions)
	}
	if l.upDone, err = offsetsOf(ctx, c.Admin, p.Group(Up), l.from); err != nil {
		return nil, err
	}
	if l.downDone, err = offsetsOf(ctx, c.Admin, p.Group(Down), l.to); err != nil {
		return nil, err
	}
	if l.toLog, err = logsOf(ctx, c, l.to, &l.from); err != nil {
		return nil, err
	}
	l.fromLog, err = logsOf(ctx, c, l.from, &l.to)
	return l, err
}

func offsetsOf(ctx context.Context, admin *kafka.Admin, group string, d kafka.TopicDescription) ([]int64, error) {
	committed, err := admin.GroupOffsets(ctx, group, d.TopicPartitions())
	offsets := make([]int64, len(committed))
	for i, c := range committed {
		offsets[i] = c.Offset
	}
	return offsets, err
}

func logsOf(ctx context.Context, c Cluster, d kafka.TopicDescription, other *kafka.TopicDescription) ([]*kafkaLog, error) {
	ranges, err := c.Admin.Offsets(ctx, d.TopicPartitions(), false)
	if err != nil {
		return nil, err
	}
	all := make([]*kafkaLog, d.Partitions)
	for i, tp := range d.TopicPartitions() {
		all[i] = &kafkaLog{client: c.Kafka, tp: tp, held: ranges[tp], other: other}
	}
	return all, nil
}

// readAhead reads a window of each partition with one consumer; window says which.
func readAhead(ctx context.Context, c Cluster, all []*kafkaLog, window func(l *kafkaLog) (from, to int64)) error {
	byPartition := map[kafka.TopicPartition]*kafkaLog{}
	ranges := map[kafka.TopicPartition]kafka.OffsetRange{}
	for _, l := range all {
		from, to := window(l)
		l.window = kafka.OffsetRange{Earliest: max(from, l.held.Earliest), Latest: min(to, l.held.Latest)}
		l.entries = nil
		byPartition[l.tp], ranges[l.tp] = l, l.window
	}
	return kafka.ReadRanges(ctx, c.Kafka, ranges, func(r kafka.Record) error {
		l := byPartition[kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}]
		e, err := entryOf(&r, l.other)
		l.entries = append(l.entries, e)
		return err
	})
}

// RefusedError is why something is not done; nothing was changed.
type RefusedError struct{ Reason string }

func (r *RefusedError) Error() string { return r.Reason }

func refuse(format string, arguments ...any) error {
	return &RefusedError{fmt.Sprintf(format, arguments...)}
}

// Refused tells whether an error says that nothing was done, and why, rather than that something failed.
func Refused(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}
