package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// AwaitReadable returns an error when a live version of a subject may have written what cannot be read by own, the text of a
// self-contained schema: better at a program's deployment than at the first such record. It waits for a registry that is away.
func AwaitReadable(ctx context.Context, client *registry.Client, subject, own string, log *slog.Logger) error {
	versions, err := liveVersions(ctx, client, subject, log)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fmt.Errorf("subject %s has no version at %s; run `make register-schemas`", subject, client.URL())
	}
	for _, v := range versions {
		if _, err := avro.NewProjection(v.Text, own); err != nil {
			return fmt.Errorf("%s version %d (id %d) cannot be read by this build: %w; build the program against a schema that reads every live version", subject, v.Version, v.ID, err)
		}
	}
	return nil
}

func liveVersions(ctx context.Context, client *registry.Client, subject string, log *slog.Logger) ([]registry.Schema, error) {
	told := false
	return backoff.Retry(ctx, func() ([]registry.Schema, error) {
		versions, err := client.LiveVersions(ctx, subject)
		switch {
		case err == nil:
			return versions, nil
		case !errors.Is(err, registry.ErrUnavailable):
			return nil, backoff.Permanent(err)
		case !told:
			told = true
			log.Warn("waiting for the schema registry", "subject", subject, "error", err.Error())
		}
		return nil, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.2,
	}), backoff.WithMaxElapsedTime(0))
}
