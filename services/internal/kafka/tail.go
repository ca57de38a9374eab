package kafka

import (
	"context"
	"fmt"
	"time"
)

// describeEvery is how often a Tail looks whether its topic has more partitions.
const describeEvery = time.Minute

// Tail reads a topic from its beginning on without a group, each time what has come since the last. It is not safe for
// concurrent use.
type Tail struct {
	// AheadKBytes bounds what is fetched ahead, in KiB; 0 for the default.
	AheadKBytes int

	client ClientConfig
	admin  *Admin
	topic  string

	id        [16]byte
	parts     []TopicPartition
	described time.Time
	next      map[TopicPartition]int64
}

// NewTail makes a Tail that has read nothing.
func NewTail(client ClientConfig, admin *Admin, topic string) *Tail {
	return &Tail{client: client, admin: admin, topic: topic, next: map[TopicPartition]int64{}}
}

// Rewind makes the next CatchUp begin at the beginning again.
func (t *Tail) Rewind() { clear(t.next) }

// CatchUp hands the readable records between the last call's end and the topic's end now to read, each partition in order of
// offset; a record is valid until read returns. A record that read refuses is the first of its partition at the next call. When
// the topic is another than at the last call, deleted and made again under its name, anew is called first and all of it is
// read. A topic that does not exist is ErrUnknownTopic.
func (t *Tail) CatchUp(ctx context.Context, anew func(), read func(Record) error) error {
	if err := t.look(ctx, anew); err != nil {
		return err
	}
	held, err := t.admin.Offsets(ctx, t.parts, true)
	if err != nil {
		return err
	}
	ranges := map[TopicPartition]OffsetRange{}
	for tp, r := range held {
		ranges[tp] = OffsetRange{Earliest: max(r.Earliest, t.next[tp]), Latest: r.Latest}
	}
	err = ReadRangesAhead(ctx, t.client, t.AheadKBytes, ranges, func(r Record) error {
		if err := read(r); err != nil {
			return err
		}
		t.next[TopicPartition{r.Topic, r.Partition}] = r.Offset + 1
		return nil
	})
	if err != nil {
		return err
	}
	for tp, r := range ranges {
		t.next[tp] = r.Latest // Behind control records, too.
	}
	return nil
}

// look finds out whether the topic is still the same, and which partitions it has.
func (t *Tail) look(ctx context.Context, anew func()) error {
	id, err := t.admin.TopicID(ctx, t.topic)
	if err != nil {
		return err
	}
	if id == t.id && time.Since(t.described) < describeEvery {
		return nil
	}
	described, err := t.admin.Describe(ctx, t.topic)
	if err != nil {
		return err
	}
	d, exists := described[t.topic]
	if !exists {
		return fmt.Errorf("reading topic %s: %w; %s", t.topic, ErrUnknownTopic, remedy(ErrUnknownTopic))
	}
	if d.ID != t.id && t.parts != nil {
		t.Rewind()
		anew()
	}
	t.id, t.parts, t.described = d.ID, d.TopicPartitions(), time.Now()
	return nil
}
