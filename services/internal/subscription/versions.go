package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// checkVersions refuses to start a program that could not read what a live version of the schema may have written: better
// at its deployment than at the first such record. It waits for a registry that is away.
func (s *Subscription) checkVersions(ctx context.Context, r *route) error {
	versions, err := s.liveVersions(ctx, r.product.Subject)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fmt.Errorf("subject %s has no version at %s; run `make register-schemas`", r.product.Subject, s.deps.Registry.URL())
	}
	for _, v := range versions {
		if _, err := avro.NewProjection(v.Text, r.own); err != nil {
			return fmt.Errorf("%s version %d (id %d) cannot be read by this build: %w; build the program against a schema that reads every live version", r.product.Subject, v.Version, v.ID, err)
		}
	}
	return nil
}

func (s *Subscription) liveVersions(ctx context.Context, subject string) ([]registry.Schema, error) {
	told := false
	return backoff.Retry(ctx, func() ([]registry.Schema, error) {
		versions, err := s.deps.Registry.LiveVersions(ctx, subject)
		switch {
		case err == nil:
			return versions, nil
		case !errors.Is(err, registry.ErrUnavailable):
			return nil, backoff.Permanent(err)
		case !told:
			told = true
			s.deps.Log.Warn("waiting for the schema registry", "subject", subject, "error", err.Error())
		}
		return nil, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second, RandomizationFactor: 0.2,
	}), backoff.WithMaxElapsedTime(0))
}
