package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// replayer performs the replays that people ask the group for: what is made of a letter, and the word that it was replayed, are one
// Kafka transaction. All parsers of a group write these under one transactional id, so that only the last who registered it can
// commit, and he has read, before he begins, all that those before him said. internal/deadletters/README.md has the whole argument.
type replayer struct {
	group, producer string
	parser          *Parser
	requests        *deadletters.Requests
	transactor      *kafka.Transactor
	replays         *prometheus.CounterVec
	log             *slog.Logger

	// holds says that the transactional id is ours, as far as we know.
	holds bool
	words int       // of the group, when we looked last
	turn  time.Time // not before this does a parser that does not hold it take it
	idle  time.Time // since when there was nothing to do
	said  string
}

const (
	// replayPause is the time between looks at dead-letters.
	replayPause = time.Second
	// turnPause, and as much again by chance, is how long nobody has answered when another parser takes the requests over.
	turnPause = 3 * time.Second
	// fencedPause, likewise, is how long a parser leaves the requests to the one who took them from it.
	fencedPause = 30 * time.Second
	// idlePause is how long the producer is kept when there is nothing to replay.
	idlePause = time.Minute
	// replayTimeout bounds one replay, so that one that hangs does not hold up the others for ever.
	replayTimeout = time.Minute
)

func (s *Service) newReplayer(k known) (*replayer, error) {
	log := s.deps.Log.With("part", "replay")
	// Rules are not for two goroutines, and what is judged again is not counted again.
	rules, err := newFieldRules(s.deps.Contracts, subscription.NewRuleCounter(nil, s.config.Group), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	r := &replayer{
		group: s.config.Group, producer: s.deps.Producer, log: log, replays: s.metrics.replays,
		parser:   s.parser(k, rules, newSource(nil, log)),
		requests: deadletters.NewRequests(s.deps.Kafka, s.admin, func(group string) bool { return group == s.config.Group }),
	}
	r.transactor, err = kafka.NewTransactor(s.deps.Kafka, kafka.TransactorConfig{
		Group: s.config.Group, TransactionalID: s.config.Group + "-replay", Producer: s.deps.Producer,
	}, log, prometheus.NewRegistry())
	return r, err
}

// run replays until ctx ends. Whatever fails is tried again: a request stays open until its group has answered it.
func (r *replayer) run(ctx context.Context) {
	defer r.release(0)
	for ctx.Err() == nil {
		err := r.round(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != r.said {
			r.said = err.Error()
			r.log.Warn("replays are waiting", "error", r.said)
		}
		select {
		case <-ctx.Done():
		case <-time.After(replayPause):
		}
	}
}

func (r *replayer) round(ctx context.Context) error {
	if err := r.requests.CatchUp(ctx); err != nil {
		return err
	}
	now := time.Now()
	if len(r.requests.Open) == 0 {
		if r.holds && now.Sub(r.idle) > idlePause {
			r.release(0)
		}
		return nil
	}
	if !r.holds {
		if r.words != r.requests.Words {
			r.words = r.requests.Words
			r.await(turnPause)
		}
		if now.Before(r.turn) {
			return nil
		}
		if err := r.take(ctx); err != nil {
			return err
		}
	}
	r.idle = now
	var failed error
	for key, request := range r.requests.Open {
		err := r.perform(ctx, request)
		switch {
		case err == nil:
			delete(r.requests.Open, key)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			r.replays.WithLabelValues("waiting").Inc()
			failed = fmt.Errorf("replay of %s: %w", key, err)
		}
		if !r.holds {
			return failed
		}
	}
	return failed
}

// await leaves the requests to others for a while.
func (r *replayer) await(pause time.Duration) {
	r.turn = later(r.turn, time.Now().Add(pause+rand.N(pause)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// take registers the transactional id, which ends what others had open under it and keeps them from committing, and then reads
// all that they have committed.
func (r *replayer) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	r.await(turnPause)
	if err := r.transactor.Open(ctx); err != nil {
		return err
	}
	if err := r.requests.CatchUpWithAll(ctx); err != nil {
		r.release(0)
		return err
	}
	r.holds = true
	r.log.Info("replaying dead letters", "requests", len(r.requests.Open))
	return nil
}

// release gives the transactional id up.
func (r *replayer) release(pause time.Duration) {
	r.transactor.Close()
	if r.holds = false; pause > 0 {
		r.await(pause)
	}
}

// perform answers one request.
func (r *replayer) perform(ctx context.Context, request deadletters.Request) error {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	letter, asked, err := r.requests.Read(ctx, request)
	if err != nil || !asked {
		return err
	}
	already, err := r.requests.Replayed(ctx, request)
	if err != nil {
		return err
	}
	var made string
	outcome := "repeated"
	if already {
		made = "was replayed before this was asked for"
	} else {
		outcome = "replayed"
		err = r.commit(ctx, func(out kafka.Output) (kafka.Message, error) {
			if made, err = r.parser.replay(ctx, &letter, out); err != nil {
				return kafka.Message{}, err
			}
			return r.resolved(letter, made), nil
		})
	}
	var bad *subscription.BadRecord
	switch {
	case !r.holds:
	case already:
		err = r.commit(ctx, func(kafka.Output) (kafka.Message, error) { return r.resolved(letter, made), nil })
	case errors.As(err, &bad):
		outcome = "failed"
		err = r.commit(ctx, func(kafka.Output) (kafka.Message, error) {
			return r.parser.letters.Again(letter, bad.Class, bad.Cause), nil
		})
	}
	if err != nil {
		return err
	}
	r.replays.WithLabelValues(outcome).Inc()
	if bad != nil {
		r.log.Warn("replay failed", "letter", request.Key, "class", bad.Class, "error", bad.Cause.Error())
	} else {
		r.log.Info("replayed", "letter", request.Key, "outcome", outcome, "made", made)
	}
	return nil
}

func (r *replayer) resolved(letter records.DeadLetter, made string) kafka.Message {
	return r.parser.letters.Resolve(letter, records.DeadLetterReplayed, "replayed by "+r.producer+": "+made+"; "+letter.Resolution)
}

// commit writes a replay's records and the word on its letter, or nothing. What keeps it from committing, other than the letter, costs
// the transactional id: whoever has it next reads how far this came.
func (r *replayer) commit(ctx context.Context, produce func(kafka.Output) (kafka.Message, error)) error {
	var refused error
	err := r.transactor.Commit(ctx, nil, nil, func(out kafka.Output) error {
		word, err := produce(out)
		if refused = err; err != nil {
			return err
		}
		return out.Produce(word.Topic, word.Key, word.Value, word.TimestampMs, word.Headers)
	})
	switch {
	case err == nil, refused != nil && !errors.Is(err, kafka.ErrOutcomeUnknown):
		return err
	case errors.Is(err, kafka.ErrFenced):
		r.release(fencedPause)
		return fmt.Errorf("another parser of the group replays: %w", err)
	}
	r.release(turnPause)
	return err
}

// replay makes of a letter what its record, or its item of it, would become today, and says what that was. Events of books are left
// out: their books have had a GAP, and went on from a snapshot. A *subscription.BadRecord says that there is still nothing to
// make of it; what was produced until then must not be committed.
func (p *Parser) replay(ctx context.Context, letter *records.DeadLetter, out kafka.Output) (made string, err error) {
	still := func(format string, arguments ...any) error {
		return &subscription.BadRecord{Class: letter.ErrorClass, Cause: fmt.Errorf(format, arguments...)}
	}
	switch {
	case letter.Value == nil:
		return "", still("%s", noted(letter.Error, "not replayed: the letter holds no value"))
	case strings.HasPrefix(letter.Error, standsForTheRest):
		return "", still("%s", noted(letter.Error, "not replayed: nobody knows which items were produced; discard the letter"))
	}
	record := kafka.Record{
		Topic: letter.Topic, Partition: letter.Partition, Offset: letter.Offset, Key: letter.Key, Value: letter.Value, TimestampMs: letter.RecordTime / 1000,
	}
	for _, h := range letter.Headers {
		record.Headers = append(record.Headers, kafka.Header{Name: h.Name, Value: h.Value})
	}
	// The record is where the letter says, and was counted when it failed.
	p.source.id, p.source.known = letter.TopicID, true
	p.source.position(letter.Partition).counted = math.MaxInt64
	p.only, p.tally = letter.Item, recordTally{}
	o := &replayOutput{Output: out, parser: p, letter: letter}
	if _, err := p.parse(ctx, &record, o); err != nil {
		return "", err
	}
	switch {
	case o.bad != nil:
		return "", o.bad
	case o.trades+o.gaps+o.letters > 0:
		return fmt.Sprintf("%d trades, %d gaps, %d letters of its items", o.trades, o.gaps, o.letters), nil
	case o.books > 0:
		return "", still("events of a book are not replayed: the book has had a GAP, and went on from a snapshot; discard the letter")
	case letter.Item != records.WholeRecord:
		return "", still("%s", noted(letter.Error, "not replayed: this build finds nothing at this item of the frame"))
	}
	return "the frame holds nothing for a product", nil
}

// noted adds a note to an error's text, once however often it is added.
func noted(text, note string) string {
	note = " (" + note + ")"
	return strings.TrimSuffix(text, note) + note
}

// replayOutput takes what a replay may produce on to the transaction.
type replayOutput struct {
	kafka.Output
	parser *Parser
	letter *records.DeadLetter

	trades, gaps, books, letters int
	bad                          *subscription.BadRecord
}

// Produce implements kafka.Output.
func (o *replayOutput) Produce(topic string, key, value []byte, timestampMs int64, headers []kafka.Header) error {
	switch topic {
	case topicBooks:
		o.books++
		return nil
	case topicGaps:
		// Those that tell of a letter were told when it was written.
		if o.parser.frame.Kind != records.FrameGap {
			return nil
		}
		o.gaps++
	case topicTrades:
		o.trades++
	case deadletters.Topic:
		if o.letter.Item != records.WholeRecord || string(key) == o.letter.KafkaKey() {
			return o.refuse(value)
		}
		o.letters++
	}
	return o.Output.Produce(topic, key, value, timestampMs, headers)
}

// refuse remembers why the letter fails again.
func (o *replayOutput) refuse(value []byte) error {
	var again records.DeadLetter
	_, body, err := registry.ParseWire(value)
	if err == nil {
		err = again.DecodeAvro(body)
	}
	if err != nil {
		return err
	}
	o.bad = &subscription.BadRecord{Class: again.ErrorClass, Cause: errors.New(again.Error)}
	return nil
}
