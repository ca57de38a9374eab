package groupcontrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// followEvery is how soon a member knows of a word.
const followEvery = 400 * time.Millisecond

// Follower knows the last word on every group, from when it has read the topic to its end. Its methods may be called from any
// goroutine.
type Follower struct {
	log   *slog.Logger
	words *words
	known chan struct{} // closed when the topic was read to its end, or does not exist

	mu     sync.Mutex
	last   map[string]Word
	heard  time.Time // when the last successful look began
	reason error     // why it could not be read the last time
}

// NewFollower makes one; nothing connects before Run.
func NewFollower(source subscription.SchemaSource, log *slog.Logger) (*Follower, error) {
	w, err := newWords(source)
	if err != nil {
		return nil, err
	}
	return &Follower{log: log.With("part", "group-controls"), words: w, known: make(chan struct{}), last: map[string]Word{}}, nil
}

// Last word on a group.
func (f *Follower) Last(group string) Word {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[group]
}

// Lease bounds for how long a member begins work without having heard what was said. Whoever has said a word may rely on it after a
// Lease, and the time that a member's last transaction takes: no member begins anything against it.
const Lease = 10 * time.Second

// Fresh says that what Last returns was true a Lease ago at the most. It is so too of a topic that does not exist.
func (f *Follower) Fresh() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.heard) < Lease
}

// Await waits until the words are known, or ctx ends.
func (f *Follower) Await(ctx context.Context) error {
	select {
	case <-f.known:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("whether the group is paused is not known yet: %w", errors.Join(f.reason, ctx.Err()))
	}
}

// Run follows the topic until ctx ends. What fails is tried again; meanwhile what was said last holds.
func (f *Follower) Run(ctx context.Context, client kafka.ClientConfig, admin *kafka.Admin) {
	tail := kafka.NewTail(client, admin, Topic)
	said := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := tail.CatchUp(ctx, func() { clear(f.words.last) }, func(r kafka.Record) error { return f.words.note(ctx, r) })
		if ctx.Err() != nil {
			return
		}
		f.publish(began, err)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != said && text != "" {
			f.log.Warn("words on groups cannot be read; what was said last holds", "error", text)
		}
		said = text
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
}

// publish makes known what was read. Where the topic does not exist nothing was ever said: an installation that is older than the
// topic goes on as before. One that was there and is gone leaves what was said, as it may be back at once.
func (f *Follower) publish(began time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reason = err
	if err == nil {
		f.last = maps.Clone(f.words.last)
	}
	if err == nil || errors.Is(err, kafka.ErrUnknownTopic) {
		f.heard = began
		select {
		case <-f.known:
		default:
			close(f.known)
		}
	}
}
