package main

import (
	"context"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// Registry is what the loader asks of the schema registry.
type Registry interface {
	ID(ctx context.Context, subject string) (int, error)
	subscription.SchemaSource
}

// newValues reads the values of a subject, whichever live version wrote them, as this build's schema would have written them.
func newValues(r Registry, subject string) (*subscription.Values, error) {
	own, err := schemas.Get(subject)
	if err != nil {
		return nil, err
	}
	text, err := schemas.SelfContained(own)
	if err != nil {
		return nil, err
	}
	return subscription.NewValues(r, subject, text), nil
}
