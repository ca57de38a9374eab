package registry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/schemas"
)

// AwaitID is ID for a program that starts: while the registry is away it waits, with backoff and one log line, until ctx
// ends. Whatever the registry has answered, ErrNotRegistered above all, is returned at once: waiting would not mend it.
func (c *Client) AwaitID(ctx context.Context, subject string, log *slog.Logger) (int, error) {
	return await(ctx, c, log, func() (int, error) { return c.ID(ctx, subject) })
}

// AwaitLookup is Lookup that waits as AwaitID does.
func (c *Client) AwaitLookup(ctx context.Context, s schemas.Subject, log *slog.Logger) (Schema, error) {
	return await(ctx, c, log, func() (Schema, error) { return c.Lookup(ctx, s) })
}

func await[T any](ctx context.Context, c *Client, log *slog.Logger, ask func() (T, error)) (T, error) {
	told := false
	return backoff.Retry(ctx, func() (T, error) {
		answer, err := ask()
		switch {
		case err == nil:
			return answer, nil
		case !errors.Is(err, ErrUnavailable):
			return answer, backoff.Permanent(err)
		case !told:
			told = true
			log.Warn("waiting for the schema registry", "url", c.config.URL, "error", err.Error())
		}
		return answer, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.2,
	}), backoff.WithMaxElapsedTime(0))
}
