package convert

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// FindJoin finds the offsets of the earlier version from which on the later one holds every record: where the up-converter
// began, in each partition.
func FindJoin(ctx context.Context, c Cluster, p *Pair) (contract.Join, error) {
	l, err := openLogs(ctx, c, p)
	if err != nil {
		return contract.Join{}, err
	}
	join := contract.Join{TopicID: uuid.UUID(l.from.ID).String(), Offsets: make([]int64, l.from.Partitions)}
	if p.Migration.JoinAt != nil {
		if p.Migration.JoinAt.TopicID != join.TopicID {
			return join, refuse("contracts/%s joins at offsets of topic id %s; %s has id %s now: it was deleted and created again", p.Migration.File, p.Migration.JoinAt.TopicID, l.from.Name, join.TopicID)
		}
		return *p.Migration.JoinAt, nil
	}
	begun := false
	for _, done := range l.upDone {
		begun = begun || done >= 0
	}
	if !begun {
		return join, refuse("group %s has converted nothing yet; run `streamforge convert %s --direction up` first", p.Group(Up), p.To.ID)
	}
	for _, k := range l.toLog {
		if k.held.Earliest > 0 {
			return join, refuse("%s begins at offset %d: retention has taken its first records, which say where the rows meet", k.tp, k.held.Earliest)
		}
	}
	if err := readAhead(ctx, c, l.toLog, func(*kafkaLog) (from, to int64) { return 0, firstWindow }); err != nil {
		return join, err
	}
	for i := range join.Offsets {
		if join.Offsets[i], err = l.joinAt(ctx, i); err != nil {
			return join, err
		}
	}
	return join, nil
}

// joinAt looks at the first record of the later version's partition.
func (l *logs) joinAt(ctx context.Context, partition int) (int64, error) {
	from, to := l.fromLog[partition], l.toLog[partition]
	first, found := entry{}, false
	if err := to.read(ctx, 0, to.held.Latest, func(e entry) bool {
		first, found = e, true
		return false
	}); err != nil {
		return 0, err
	}
	switch {
	case found && first.converted():
		return first.source, nil
	case !found:
		// What the converter has not come to yet, it will convert.
		return max(from.held.Earliest, l.upDone[partition]), nil
	}
	// The later version was the origin when this partition got its first record: the earlier has copies of it alone, or will.
	at := from.held.Latest
	err := from.read(ctx, from.held.Earliest, from.held.Latest, func(e entry) bool {
		if e.converted() {
			at = e.offset
		}
		return !e.converted()
	})
	return at, err
}

// joinLines is a joinAt that stands in a migration file.
var joinLines = regexp.MustCompile(`(?m)^joinAt:.*\n(?:[ \t]+.*\n|\n)*`)

// WithJoin is the text of a migration file with a join in it; everything else stays as it was written.
func WithJoin(name string, text []byte, join contract.Join) ([]byte, error) {
	kept := strings.TrimRight(joinLines.ReplaceAllString(strings.TrimRight(string(text), "\n")+"\n", ""), "\n")
	offsets := strings.Trim(strings.ReplaceAll(fmt.Sprint(join.Offsets), " ", ", "), "[]")
	written := fmt.Appendf(nil, "%s\n# Written by `streamforge product join`: from these offsets on the later topic holds every record.\njoinAt:\n  topicId: %s\n  offsets: [%s]\n", withoutNote(kept), join.TopicID, offsets)
	if _, problems := contract.ParseMigration(name, written); len(problems) > 0 {
		return nil, fmt.Errorf("BUG: writing the join into %s: %w", name, problems)
	}
	return written, nil
}

// withoutNote takes away the comment that an earlier writing has left before its joinAt.
func withoutNote(text string) string {
	lines := strings.Split(text, "\n")
	for len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], "# Written by `streamforge product join`") {
		lines = lines[:len(lines)-1]
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// offsetsBefore tells how many readable records stand at or after a group's offsets and before others.
func offsetsBefore(ctx context.Context, c Cluster, topic string, committed, before []int64) (int64, error) {
	ranges := map[kafka.TopicPartition]kafka.OffsetRange{}
	for i := range before {
		ranges[kafka.TopicPartition{Topic: topic, Partition: int32(i)}] = kafka.OffsetRange{Earliest: max(committed[i], 0), Latest: before[i]}
	}
	count := int64(0)
	err := kafka.ReadRanges(ctx, c.Kafka, ranges, func(kafka.Record) error {
		count++
		return nil
	})
	return count, err
}
