package main

import (
	"errors"

	"github.com/streamforge/streamforge/services/internal/deadletters"
)

// blockedError is a cause that is not in the record: the partition waits until it is mended.
type blockedError struct {
	// cause is the metric's label: registry, unknown-id, schema, venue, topic, output.
	cause string
	err   error
}

func (b *blockedError) Error() string { return b.err.Error() }
func (b *blockedError) Unwrap() error { return b.err }

func causeOf(err error) string {
	var blocked *blockedError
	var flood *deadletters.FloodError
	switch {
	case errors.As(err, &flood):
		return "flood"
	case errors.As(err, &blocked):
		return blocked.cause
	}
	return "other"
}
