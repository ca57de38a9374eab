package main

import (
	"context"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
)

// letter is a dead letter that waits for the transaction of its block.
type letter struct {
	class       string
	key, value  []byte
	timestampMs int64
}

// letter makes the letter of a bad record. An error means that the registry could not be asked, and that the record has
// to wait.
func (p *product) letter(ctx context.Context, r *kafka.Record, class string, cause error) (letter, error) {
	id, err := p.deps.Registry.ID(ctx, deadletters.Subject)
	if err != nil {
		return letter{}, err
	}
	maker := deadletters.Writer{Group: p.group, SchemaID: id, Producer: p.deps.Producer}
	key, value := maker.Letter(*r, p.topicID, records.WholeRecord, class, cause)
	// A record without a timestamp has -1.
	return letter{class: class, key: []byte(key), value: value, timestampMs: max(r.TimestampMs, 0)}, nil
}

// post puts letters into a transaction.
func post(out kafka.Output, letters []letter) error {
	for _, l := range letters {
		if err := out.Produce(deadletters.Topic, l.key, l.value, l.timestampMs, nil); err != nil {
			return fmt.Errorf("writing dead letter %s: %w", l.key, err)
		}
	}
	return nil
}

// posted counts letters that are in Kafka.
func (p *product) posted(letters []letter) {
	for _, l := range letters {
		p.metrics.deadLetters.WithLabelValues(p.topic, l.class).Inc()
	}
}
