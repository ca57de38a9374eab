package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// Poll returns the next batch, empty when nothing came within MaxBatchWait. The records are valid until the next call.
// What passes by itself (a broker that is away, an expelled member, a fatal error of the client, which is made anew) is
// logged and counted; an error means that a person or the caller has to decide, or that ctx has ended.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.client == nil {
		if c.closing {
			return nil, ErrClosed
		}
		if err := c.reopen(ctx); err != nil || c.client == nil {
			return nil, err
		}
	}
	count, bytes, err := c.client.Gather(c.config.MaxBatchWait, c.config.headers())
	if err != nil {
		c.metrics.failures.WithLabelValues("poll").Inc()
		return nil, wrap("polling", err)
	}
	c.reserve(bytes)
	c.records, c.headers, c.spans = c.records[:0], c.headers[:0], c.spans[:0]
	c.positions.beginBatch()
	for count > 0 {
		copied := c.client.Copy(c.arena, c.config.headers(), c.add)
		if copied > 0 {
			break
		}
		// The first record alone is larger than the arena.
		c.arena = make([]byte, max(2*len(c.arena), 1<<20))
	}
	c.parseHeaders()
	c.count()
	// After the records of the same batch, whose positions lie before their partition's end.
	for _, e := range c.ended {
		c.positions.advance(e.TopicPartition, e.Offset)
	}
	c.ended = c.ended[:0]
	if c.rebalanced {
		c.rebalanced = false
		c.positions.guard()
	}
	return c.finishPoll()
}

// reserve makes room for a batch, up to a bound, and gives the room of an unusual batch back.
func (c *Consumer) reserve(bytes uint64) {
	want := int(min(bytes, maxArenaBytes))
	if want > len(c.arena) || len(c.arena) > maxArenaBytes {
		c.arena = make([]byte, min(max(want+want/4, 64<<10), maxArenaBytes))
	}
}

// add takes one record of the batch out of the arena.
func (c *Consumer) add(raw *rdkafka.Raw) {
	at := raw.Position
	key, at := take(c.arena, at, raw.KeyLength)
	value, at := take(c.arena, at, raw.ValueLength)
	if raw.Code != 0 {
		c.errorRecord(raw, string(value))
		return
	}
	if !c.positions.take(raw.Topic, raw.Partition, raw.Offset) {
		c.metrics.again.Inc()
		return
	}
	c.records = append(c.records, Record{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset, TimestampMs: raw.TimestampMs, Key: key, Value: value, message: raw.Message})
	if raw.HeadersLen > 0 {
		c.spans = append(c.spans, headerSpan{record: len(c.records) - 1, bytes: c.arena[at : at+uint64(raw.HeadersLen)]})
	}
}

// headerSpan is where the headers of one record stand.
type headerSpan struct {
	record int
	bytes  []byte
	end    int // in Consumer.headers, when parsed
}

// parseHeaders gives the records their headers, once the batch is complete: until then the slice that holds them all
// may still move.
func (c *Consumer) parseHeaders() {
	for i := range c.spans {
		for rest := c.spans[i].bytes; len(rest) > 0; {
			var name, value []byte
			name, value, rest = rdkafka.NextHeader(rest)
			c.headers = append(c.headers, Header{Name: c.intern(name), Value: value})
		}
		c.spans[i].end = len(c.headers)
	}
	begin := 0
	for _, span := range c.spans {
		c.records[span.record].Headers = c.headers[begin:span.end:span.end]
		begin = span.end
	}
}

// HeadersOf returns the headers of a record of the last batch, of a consumer with HeadersLater, until the next Poll or Close.
func (c *Consumer) HeadersOf(r *Record) []Header {
	if c.client == nil {
		return nil
	}
	var headers []Header
	for rest := c.client.HeadersOf(r.message); len(rest) > 0; {
		var name, value []byte
		name, value, rest = rdkafka.NextHeader(rest)
		headers = append(headers, Header{Name: string(name), Value: value})
	}
	return headers
}

func (c *Consumer) intern(name []byte) string {
	if known, ok := c.names[string(name)]; ok {
		return known
	}
	text := string(name)
	if len(c.names) < maxHeaderNames {
		c.names[text] = text
	}
	return text
}

func take(arena []byte, at uint64, length int32) ([]byte, uint64) {
	if length < 0 {
		return nil, at
	}
	end := at + uint64(length)
	return arena[at:end:end], end
}

// count counts what the batch brought.
func (c *Consumer) count() {
	if len(c.records) == 0 {
		return
	}
	bytes := 0
	for i := range c.records {
		bytes += len(c.records[i].Key) + len(c.records[i].Value)
	}
	c.metrics.records.Add(float64(len(c.records)))
	c.metrics.bytes.Add(float64(bytes))
	c.metrics.batches.Inc()
}

// errorRecord judges an error that came in place of a record.
func (c *Consumer) errorRecord(raw *rdkafka.Raw, text string) {
	where := TopicPartition{Topic: raw.Topic, Partition: raw.Partition}
	err := &rdkafka.Error{Code: raw.Code, Text: text}
	c.metrics.failures.WithLabelValues("record").Inc()
	switch kind := classify(raw.Code); {
	case raw.Code == rdkafka.LocalPartitionEOF:
		// The end lies after the control records, which no reader sees.
		c.ended = append(c.ended, Committed{TopicPartition: where, Offset: raw.Offset})
	case raw.Code == rdkafka.LocalMaxPollExceeded:
		// librdkafka rejoins by itself with the next calls.
		c.metrics.maxPoll.Inc()
		c.log.Warn("not polled for longer than max.poll.interval.ms: expelled from the group; rejoining", "error", text)
	case kind == ErrUnknownTopic && raw.Topic != "":
		if _, known := c.unknown[raw.Topic]; !known {
			c.unknown[raw.Topic] = time.Now()
			c.log.Warn("topic is unknown to the cluster; waiting for it", "topic", raw.Topic, "remedy", remedy(ErrUnknownTopic))
		}
	case kind == ErrNoOffset && c.config.NoReset:
		c.fail(wrap(fmt.Sprintf("reading %s for group %s, which may not guess where to begin", where, c.config.Group), err))
	case raw.Code == rdkafka.TopicAuthorizationFailed || raw.Code == rdkafka.GroupAuthorizationFailed:
		c.fail(wrap(fmt.Sprintf("reading %s for group %s", orDefault(raw.Topic, "topics"), c.config.Group), err))
	default:
		c.log.Warn("consumer error; going on", "topic", raw.Topic, "partition", raw.Partition, "error", err.Error())
	}
}

// fail keeps the first error for the end of Poll.
func (c *Consumer) fail(err error) {
	if c.failed == nil {
		c.failed = err
	}
}

// finishPoll returns the batch, unless something was found that the caller must know first.
func (c *Consumer) finishPoll() ([]Record, error) {
	if len(c.records) > 0 {
		return c.records, nil
	}
	if err := c.failed; err != nil {
		c.failed = nil
		return nil, err
	}
	if fatal := c.client.Fatal(); fatal != nil {
		c.abandon(fatal)
		return nil, nil
	}
	return nil, c.checkUnknown()
}

// checkUnknown gives up on a topic that is still unknown after a while.
func (c *Consumer) checkUnknown() error {
	for topic, since := range c.unknown {
		if time.Since(since) < unknownTopicPatience {
			continue
		}
		// It may exist by now, with none of its partitions for this member.
		_, _, err := c.client.Watermarks(topic, 0, 5*time.Second)
		var low *rdkafka.Error
		if errors.As(err, &low) && classify(low.Code) == ErrUnknownTopic {
			return wrap(fmt.Sprintf("reading topic %q for group %s", topic, c.config.Group), low)
		}
		delete(c.unknown, topic)
	}
	return nil
}

// abandon drops a client that is of no more use: its partitions count as lost.
func (c *Consumer) abandon(fatal error) {
	wait := c.retry.NextBackOff()
	c.retryAt = time.Now().Add(wait)
	c.log.Error("consumer failed for good; making it anew", "error", fatal.Error(), "wait", wait.Round(time.Millisecond).String())
	c.shared.recreated.Inc()
	if lost := c.Assignment(); len(lost) > 0 && len(c.config.Assign) == 0 {
		c.metrics.lost.Add(float64(len(lost)))
		c.disown(lost)
		if c.config.OnRevoked != nil {
			c.config.OnRevoked(lost, true)
		}
	}
	c.client.destroy(true)
	c.client = nil
}

// reopen makes the client anew when its pause is over.
func (c *Consumer) reopen(ctx context.Context) error {
	timer := time.NewTimer(min(time.Until(c.retryAt), c.config.MaxBatchWait))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if time.Now().Before(c.retryAt) {
		return nil
	}
	return c.open()
}

// rebalance runs inside Gather and Close.
func (c *Consumer) rebalance(code rdkafka.Code, low []rdkafka.Partition) {
	c.metrics.rebalances.Inc()
	parts := highPartitions(low)
	var err error
	switch {
	case code == rdkafka.AssignPartitions && c.closing:
		// librdkafka 2.13.0 tells of an assignment that waited when the group was left, and of its revocation next. To answer the
		// first ends the group's state machine, and whatever is asked of it in the second is never answered: Close would hang.
	case code == rdkafka.AssignPartitions:
		err = c.onAssign(parts, low)
	case code == rdkafka.RevokePartitions:
		err = c.onRevoke(parts, low)
	default:
		c.log.Warn("rebalance failed; waiting for the next", "error", rdkafka.NewError(code).Error())
		err = c.client.Assign(nil)
	}
	if err != nil {
		c.metrics.failures.WithLabelValues("rebalance").Inc()
		c.log.Error("taking over an assignment failed", "error", err.Error())
	}
}

func (c *Consumer) onAssign(parts []TopicPartition, low []rdkafka.Partition) error {
	if c.config.Start != nil && len(parts) > 0 {
		starts, err := c.config.Start(parts)
		if err != nil {
			c.fail(fmt.Errorf("finding where %d partitions of group %s begin: %w", len(parts), c.config.Group, err))
			return c.client.Assign(nil)
		}
		for _, s := range starts {
			for i := range low {
				if low[i].Topic == s.Topic && low[i].Partition == s.Partition {
					low[i].Offset = s.Offset
				}
			}
		}
	}
	var err error
	if c.client.Cooperative() {
		err = c.client.IncrementalAssign(low)
	} else {
		err = c.client.Assign(low)
	}
	c.own(parts)
	if err == nil {
		// librdkafka (2.13.0) keeps a partition that was paused when it was taken away paused when it comes back.
		err = c.Resume(parts)
	}
	c.retry.Reset()
	c.log.Info("partitions assigned", "count", len(parts), "total", len(c.Assignment()))
	if c.config.OnAssigned != nil {
		c.config.OnAssigned(parts)
	}
	return err
}

func (c *Consumer) onRevoke(parts []TopicPartition, low []rdkafka.Partition) error {
	lost := c.client.Lost()
	if lost {
		c.metrics.lost.Add(float64(len(parts)))
	} else {
		c.metrics.revoked.Add(float64(len(parts)))
	}
	if c.config.OnRevoked != nil && len(parts) > 0 {
		c.config.OnRevoked(parts, lost)
	}
	c.disown(parts)
	c.log.Info("partitions revoked", "count", len(parts), "lost", lost, "total", len(c.Assignment()))
	if c.client.Cooperative() {
		return c.client.IncrementalUnassign(low)
	}
	return c.client.Assign(nil)
}
