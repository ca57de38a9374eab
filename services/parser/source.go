package main

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// source knows which raw-frames the records come from. A topic that is deleted and created again has another id and
// counts its offsets anew; its first records arrive out of turn, so the id is asked for whenever a partition does not
// go on where it was left: after an assignment, a repeated transaction, a reset.
type source struct {
	ask func(context.Context) ([16]byte, error)
	log *slog.Logger

	id         [16]byte
	known      bool
	partitions map[int32]*position
	batch      int64
	last       *position
	lastNumber int32
}

// position is how far a partition has been read and counted.
type position struct {
	next int64
	// ahead is next within the batch of that number, whose partitions may take turns.
	ahead, batch int64
	// counted is where the metrics have got to: what a repeated transaction brings again is not counted again.
	counted int64
}

func newSource(ask func(context.Context) ([16]byte, error), log *slog.Logger) *source {
	return &source{ask: ask, log: log, partitions: map[int32]*position{}}
}

// follow prepares for a batch.
func (s *source) follow(ctx context.Context, batch []kafka.Record) error {
	if s.known && s.continues(batch) {
		return nil
	}
	id, err := s.ask(ctx)
	if err != nil {
		return &subscription.BlockedError{Cause: subscription.CauseTopic, Err: err}
	}
	if s.known && id != s.id {
		s.log.Warn("raw-frames was created again; provenance follows its new id", "old", uuid.UUID(s.id).String(), "new", uuid.UUID(id).String())
		clear(s.partitions)
		s.last = nil
	}
	s.id, s.known = id, true
	// The batch is where its partitions are now, so that a batch that blocks does not ask at every try.
	for i := len(batch) - 1; i >= 0; i-- {
		s.position(batch[i].Partition).next = batch[i].Offset
	}
	return nil
}

// continues says whether every partition of the batch goes on where it was left.
func (s *source) continues(batch []kafka.Record) bool {
	s.batch++
	for i := range batch {
		r := &batch[i]
		p := s.position(r.Partition)
		if p.batch != s.batch {
			p.batch, p.ahead = s.batch, p.next
		}
		if p.ahead != r.Offset {
			return false
		}
		p.ahead++
	}
	return true
}

// done remembers that the batch was handled.
func (s *source) done(batch []kafka.Record) {
	for i := range batch {
		if i+1 == len(batch) || batch[i+1].Partition != batch[i].Partition {
			s.position(batch[i].Partition).next = batch[i].Offset + 1
		}
	}
}

// fresh says whether the record is met for the first time.
func (s *source) fresh(r *kafka.Record) bool { return r.Offset >= s.position(r.Partition).counted }

func (s *source) count(r *kafka.Record) { s.position(r.Partition).counted = r.Offset + 1 }

func (s *source) position(partition int32) *position {
	if s.last != nil && s.lastNumber == partition {
		return s.last
	}
	p := s.partitions[partition]
	if p == nil {
		p = &position{next: -1}
		s.partitions[partition] = p
	}
	s.last, s.lastNumber = p, partition
	return p
}
