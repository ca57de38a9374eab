package deadletters

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
)

// Request is where an open request stands: letters are large, so they are read when their turn has come.
type Request struct {
	Key   string
	Group string
	// Source is the partition of the letter's record.
	Source int32

	partition int32 // of dead-letters
	offset    int64
	follows   int64 // offset of the word that was asked about, or -1
}

// maxRequests bounds what is remembered; what is beyond is found when these are done.
const maxRequests = 100_000

// Requests are the replays that people ask some groups for. It is not safe for concurrent use.
type Requests struct {
	// Open requests by the letter's key.
	Open map[string]Request
	// Words counts the words of our groups that were read: while it grows, somebody is at work.
	Words int

	client kafka.ClientConfig
	admin  *kafka.Admin
	ours   func(group string) bool
	tail   *kafka.Tail
	more   bool // requests that Open had no room for
}

// NewRequests finds the requests to the groups that are ours. It reads nothing yet.
func NewRequests(client kafka.ClientConfig, admin *kafka.Admin, ours func(group string) bool) *Requests {
	return &Requests{Open: map[string]Request{}, client: client, admin: admin, ours: ours, tail: kafka.NewTail(client, admin, Topic)}
}

// CatchUp reads what dead-letters has since the last time, so that a request that was withdrawn or answered is open no longer.
func (q *Requests) CatchUp(ctx context.Context) error {
	if q.more && len(q.Open) < maxRequests/2 {
		q.more = false
		q.tail.Rewind()
	}
	return q.tail.CatchUp(ctx, func() { clear(q.Open) }, func(r kafka.Record) error {
		q.note(r)
		return nil
	})
}

// CatchUpWithAll is CatchUp up to the topic's end, and not just to where the first open transaction holds readers back: it
// waits until those have ended.
func (q *Requests) CatchUpWithAll(ctx context.Context) error {
	if err := q.admin.AwaitCommitted(ctx, Topic); err != nil {
		return err
	}
	return q.CatchUp(ctx)
}

// note remembers a request to our groups, and forgets what another word follows on.
func (q *Requests) note(record kafka.Record) {
	group, _, _ := strings.Cut(string(record.Key), "/")
	if !q.ours(group) {
		return
	}
	q.Words++
	delete(q.Open, string(record.Key))
	word, err := ReadWord(record)
	if err != nil || !word.Asked {
		return // A word that cannot be read asks for nothing; dead-letters' own consumer alarms.
	}
	if len(q.Open) >= maxRequests {
		q.more = true
		return
	}
	q.Open[string(record.Key)] = Request{
		Key: string(record.Key), Group: group, Source: word.Letter.Partition,
		partition: record.Partition, offset: record.Offset, follows: word.follows,
	}
}

// Read reads the letter of a request. It says false when the word is gone or is none for us: another has followed, and is read by itself.
func (q *Requests) Read(ctx context.Context, r Request) (records.DeadLetter, bool, error) {
	tp := kafka.TopicPartition{Topic: Topic, Partition: r.partition}
	for record, err := range kafka.Range(ctx, q.client, tp, kafka.OffsetRange{Earliest: r.offset, Latest: r.offset + 1}) {
		if err != nil {
			return records.DeadLetter{}, false, err
		}
		word, err := ReadWord(record)
		if err != nil {
			return records.DeadLetter{}, false, err
		}
		return word.Letter, word.Asked && word.Letter.KafkaKey() == r.Key, nil
	}
	return records.DeadLetter{}, false, nil
}

// Replayed says whether the letter was replayed between the word that the request is about and the request: whoever asked had not
// seen it yet.
func (q *Requests) Replayed(ctx context.Context, r Request) (bool, error) {
	tp := kafka.TopicPartition{Topic: Topic, Partition: r.partition}
	for record, err := range kafka.Range(ctx, q.client, tp, kafka.OffsetRange{Earliest: r.follows + 1, Latest: r.offset}) {
		if err != nil {
			return false, err
		}
		if string(record.Key) != r.Key {
			continue
		}
		if word, err := ReadWord(record); err == nil && word.Letter.Status == records.DeadLetterReplayed {
			return true, nil
		}
	}
	return false, nil
}

// followsHeader is the Kafka header of a request that says which word of the topic it is about, by its offset.
const followsHeader = "replay-follows"

func readFollows(value []byte) int64 {
	if offset, err := strconv.ParseInt(string(value), 10, 64); err == nil && offset >= 0 {
		return offset
	}
	return -1
}

func follows(offset int64) kafka.Header {
	return kafka.Header{Name: followsHeader, Value: fmt.Append(nil, offset)}
}
