package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

const (
	resyncTopic   = "orderbook-resyncs"
	resyncSubject = resyncTopic + "-value"
	resyncRetry   = 5 * time.Second
)

// resyncReader reads the whole of orderbook-resyncs from the loader's start on, without a group, and hands each request to
// the links that have its symbol.
type resyncReader struct {
	admin    Admin
	consumer func(kafka.ConsumerConfig) (Consumer, error)
	values   *subscription.Values
	log      *slog.Logger
	metrics  *metrics
	topicID  [16]byte                      // of raw-frames: what coordinates must name
	links    map[string]map[string][]*link // venue → venue symbol → links
}

// run reads until ctx ends. What fails is tried again: a loader without resyncs still loads.
func (r *resyncReader) run(ctx context.Context) {
	var positions map[int32]int64
	complaint := complaint{}
	for ctx.Err() == nil {
		err := r.read(ctx, &positions)
		if ctx.Err() != nil {
			return
		}
		if complaint.due(err) {
			r.log.Warn("cannot read resync requests; trying again", "topic", resyncTopic, "error", err.Error())
		}
		if !sleep(ctx, jitter(resyncRetry)) {
			return
		}
	}
}

func (r *resyncReader) read(ctx context.Context, positions *map[int32]int64) error {
	assignment, err := r.assignment(ctx, positions)
	if err != nil {
		return err
	}
	consumer, err := r.consumer(kafka.ConsumerConfig{Assign: assignment, MaxBatchWait: 50 * time.Millisecond, QueuedMaxKBytes: 1024})
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range batch {
			if err := r.take(ctx, batch[i].Value); err != nil {
				return fmt.Errorf("%s[%d] offset %d: %w", resyncTopic, batch[i].Partition, batch[i].Offset, err)
			}
			(*positions)[batch[i].Partition] = batch[i].Offset + 1
		}
	}
	return ctx.Err()
}

// assignment covers all partitions from where the last attempt stood; at first, from the end as it is now.
func (r *resyncReader) assignment(ctx context.Context, positions *map[int32]int64) ([]kafka.Committed, error) {
	topics, err := r.admin.Describe(ctx, resyncTopic)
	if err != nil {
		return nil, err
	}
	topic, exists := topics[resyncTopic]
	if !exists {
		*positions = map[int32]int64{} // whatever comes into a topic made later came after the start
		return nil, errors.New("the topic does not exist; create it with `streamforge apply`")
	}
	var parts []kafka.TopicPartition
	for p := range int32(topic.Partitions) {
		parts = append(parts, kafka.TopicPartition{Topic: resyncTopic, Partition: p})
	}
	ranges, err := r.admin.Offsets(ctx, parts, true)
	if err != nil {
		return nil, err
	}
	first := *positions == nil
	if first {
		*positions = map[int32]int64{}
	}
	var assignment []kafka.Committed
	for _, part := range parts {
		offset, known := (*positions)[part.Partition]
		switch {
		case known && offset >= ranges[part].Earliest && offset <= ranges[part].Latest:
		case first:
			offset = ranges[part].Latest
		default:
			offset = ranges[part].Earliest
		}
		(*positions)[part.Partition] = offset
		assignment = append(assignment, kafka.Committed{TopicPartition: part, Offset: offset})
	}
	return assignment, nil
}

// take answers one request. An error means that it could not be read now and should be read again: what stands behind it
// waits, too.
func (r *resyncReader) take(ctx context.Context, value []byte) error {
	var request records.OrderbookResync
	body, err := r.values.Body(ctx, value)
	var blocked *subscription.BlockedError
	if errors.As(err, &blocked) {
		r.metrics.resyncsBlocked.Set(1)
		r.metrics.resyncIn.WithLabelValues("blocked").Inc()
		return err
	}
	r.metrics.resyncsBlocked.Set(0)
	if err == nil {
		err = request.DecodeAvro(body)
	}
	if err != nil {
		// The loader has no dead letters: a request that cannot be read is asked again by the one who needs the book.
		r.metrics.resyncIn.WithLabelValues("unreadable").Inc()
		r.log.Warn("resync request cannot be read; left out", "error", err.Error())
		return nil
	}
	links := r.links[request.Venue][request.VenueSymbol]
	if len(links) == 0 {
		r.metrics.resyncIn.WithLabelValues("others").Inc()
		return nil
	}
	r.metrics.resyncIn.WithLabelValues("own").Inc()
	for _, l := range links {
		l.resync(&request, r.topicID)
	}
	return nil
}

// resync answers a request with a fresh snapshot, unless one is there or on its way.
func (l *link) resync(request *records.OrderbookResync, topicID [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.symbols[request.VenueSymbol]
	answer := l.judge(s, request, topicID)
	l.metrics.add(l.metrics.resyncs, answer)
	if answer == "answered" {
		l.want(s, "resync")
	}
	l.log.Info("resync requested", "venue_symbol", request.VenueSymbol, "answer", answer, "reason", request.Reason)
}

// judge says what to do with a request. With link.mu held.
func (l *link) judge(s *symbol, request *records.OrderbookResync, topicID [16]byte) string {
	n := &s.snapshot
	since := request.BrokenSince
	switch {
	case l.feed.Replay:
		return "replay"
	case l.live == nil:
		return "not_connected" // a new connection brings a fresh book
	case since.TopicID == topicID && since.Partition != partitionOf(string(l.lane.key), l.lane.partitions):
		return "other_feed"
	case request.RequestedAt < l.freshAt:
		return "before_connection"
	case n.inFlight || n.wanted:
		return "under_way"
	case n.pending > 0:
		return "just_published" // it will stand after the break, which was read from Kafka already
	case since.TopicID == topicID && n.offset > since.Offset:
		return "published_since"
	}
	return "answered"
}
