package registry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// AwaitID is ID for a program that starts: while the registry is away it waits, with backoff and one log line, until ctx
// ends. Whatever the registry has answered, ErrNotRegistered above all, is returned at once: waiting would not mend it.
func (c *Client) AwaitID(ctx context.Context, subject string, log *slog.Logger) (int, error) {
	told := false
	return backoff.Retry(ctx, func() (int, error) {
		id, err := c.ID(ctx, subject)
		switch {
		case err == nil:
			return id, nil
		case !errors.Is(err, ErrUnavailable):
			return 0, backoff.Permanent(err)
		case !told:
			told = true
			log.Warn("waiting for the schema registry", "url", c.config.URL, "error", err.Error())
		}
		return 0, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.2,
	}), backoff.WithMaxElapsedTime(0))
}
