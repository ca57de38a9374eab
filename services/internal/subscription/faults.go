package subscription

import (
	"errors"

	"github.com/streamforge/streamforge/services/internal/deadletters"
)

// Causes of a standstill: the values of the label cause of the metric blocked_batches_total. A program may have more of its own.
const (
	CauseRegistry  = "registry"   // the registry is away
	CauseUnknownID = "unknown-id" // the registry has denied an id, not yet for long
	CauseSchema    = "schema"     // an id resolves to a schema that this build cannot read
	CauseTopic     = "topic"      // the broker does not tell the topic's id
	CauseOutput    = "output"     // a dead letter cannot be produced
	CauseFlood     = "flood"      // too large a share of a minute's records is bad
	CauseHandler   = "handler"    // a handler returned an error
	CauseRule      = "rule"       // a value breaks a field rule of its contract that blocks
)

// classRejected is the class of the dead letters that a handler asks for.
const classRejected = "rejected"

// BadRecord is a fault of the record itself, which goes to the dead letters.
type BadRecord struct {
	// Class is one of the classes of package deadletters, or "rejected".
	Class string
	Cause error
}

func (b *BadRecord) Error() string { return b.Class + ": " + b.Cause.Error() }

// Unwrap returns the cause.
func (b *BadRecord) Unwrap() error { return b.Cause }

// Reject is what a handler returns for an event that could be read and still makes no sense: its record goes to the dead
// letters, and the next one is handled. Any other error of a handler blocks.
func Reject(cause error) error { return &BadRecord{classRejected, cause} }

// BlockedError is a cause that is not in the record: nothing is committed, and the batch is tried again with growing
// pauses until the cause is mended.
type BlockedError struct {
	Cause string
	Err   error
}

func (b *BlockedError) Error() string { return b.Err.Error() }

// Unwrap returns the cause.
func (b *BlockedError) Unwrap() error { return b.Err }

// CauseOf is the cause of a standstill, for a metric's label.
func CauseOf(err error) string {
	var blocked *BlockedError
	var flood *deadletters.FloodError
	switch {
	case errors.As(err, &flood):
		return CauseFlood
	case errors.As(err, &blocked):
		return blocked.Cause
	}
	return CauseHandler
}
