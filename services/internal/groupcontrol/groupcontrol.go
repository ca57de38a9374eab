// Package groupcontrol carries what an operator wants of a consumer group to its members: a word in a compacted topic that every
// member reads from its beginning before it begins to work, and goes on following. Nobody calls anybody.
package groupcontrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// Topic and Subject of the words.
const (
	Topic   = "group-controls"
	Subject = "group-controls-value"
)

// Word is the last that was said about a group. The zero Word says nothing: the group runs.
type Word struct {
	records.GroupControl
	// Offset of the word in its topic.
	Offset int64
	// Unreadable says why nobody knows what was said.
	Unreadable error
}

// Paused says whether the group's members may begin nothing. A word that this build does not understand holds them up like a
// pause: the next word, from whichever build, takes its place.
func (w Word) Paused() bool {
	return w.Unreadable != nil || w.State != records.GroupRunning && w.Group != ""
}

// Alarm says that the group is held up although nobody is known to have asked for it.
func (w Word) Alarm() bool {
	return w.Paused() && w.State != records.GroupPaused
}

// String is the word for a person.
func (w Word) String() string {
	switch {
	case w.Unreadable != nil:
		return fmt.Sprintf("held up, the word on the group at offset %d of %s cannot be read (%s); say it again with `streamforge pause` or `streamforge resume`", w.Offset, Topic, w.Unreadable)
	case w.Alarm():
		return fmt.Sprintf("held up, the word on the group at offset %d of %s asks for what this build does not know; run a newer one, or say it with `streamforge pause` or `streamforge resume`", w.Offset, Topic)
	case w.Paused():
		return fmt.Sprintf("paused by %s since %s: %s", w.RequestedBy, time.UnixMicro(w.RequestedAt).UTC().Format(time.RFC3339), w.Reason)
	case w.Group == "":
		return "running"
	}
	return fmt.Sprintf("running, resumed by %s at %s: %s", w.RequestedBy, time.UnixMicro(w.RequestedAt).UTC().Format(time.RFC3339), w.Reason)
}

// Message makes the record that says a word; schemaID is that of this build's GroupControl in the registry.
func Message(schemaID int, control records.GroupControl) kafka.Message {
	return kafka.Message{Topic: Topic, Partition: -1, Key: []byte(control.Group), Value: control.AppendAvro(registry.AppendWireHeader(nil, schemaID))}
}

// Say writes a word as a producer of that name, and returns when Kafka has it. An error leaves open whether it does; the word may be said
// again.
func Say(ctx context.Context, client kafka.ClientConfig, producerName string, schemaID int, control records.GroupControl) error {
	var refused error
	producer, err := kafka.NewProducer(client, kafka.ProducerConfig{ProducerName: producerName, OnDelivery: func(d kafka.Delivery) {
		refused = errors.Join(refused, d.Err)
	}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	m := Message(schemaID, control)
	if err = producer.Produce(&m); err == nil {
		err = producer.Flush(ctx)
	}
	producer.Close()
	return errors.Join(err, refused)
}

// words are the last ones by group, as a reader of the topic comes to know them.
type words struct {
	values *subscription.Values
	last   map[string]Word
}

func newWords(source subscription.SchemaSource) (*words, error) {
	subject, err := schemas.Get(Subject)
	if err != nil {
		return nil, err
	}
	own, err := schemas.SelfContained(subject)
	if err != nil {
		return nil, err
	}
	return &words{values: subscription.NewValues(source, Subject, own), last: map[string]Word{}}, nil
}

// note takes a record of the topic. An error means that it cannot be read now.
func (w *words) note(ctx context.Context, r kafka.Record) error {
	group := string(r.Key)
	if r.Value == nil {
		delete(w.last, group)
		return nil
	}
	word := Word{Offset: r.Offset}
	body, err := w.values.Body(ctx, r.Value)
	var bad *subscription.BadRecord
	switch {
	case errors.As(err, &bad):
		word.Unreadable = err
	case err != nil:
		return fmt.Errorf("%s[%d] offset %d: %w", Topic, r.Partition, r.Offset, err)
	default:
		if err := word.DecodeAvro(body); err != nil {
			word = Word{Offset: r.Offset, Unreadable: err}
		} else if word.Group != group {
			word = Word{Offset: r.Offset, Unreadable: fmt.Errorf("its key is %q, its group %q", group, word.Group)}
		}
	}
	w.last[group] = word
	return nil
}

// Current reads the last word on every group that anything was said of. A topic that does not exist is kafka.ErrUnknownTopic.
func Current(ctx context.Context, client kafka.ClientConfig, source subscription.SchemaSource) (map[string]Word, error) {
	w, err := newWords(source)
	if err != nil {
		return nil, err
	}
	err = kafka.ReadAll(ctx, client, []string{Topic}, func(r kafka.Record) error { return w.note(ctx, r) })
	return w.last, err
}
