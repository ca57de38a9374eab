package market

import "time"

// GapReason says why something is missing; the values are the Avro enum's symbols.
type GapReason string

// Reasons, in the order of the enum GapReason.
const (
	GapUnknown             GapReason = "UNKNOWN"
	GapLoaderRestart       GapReason = "LOADER_RESTART"
	GapConnectionLost      GapReason = "CONNECTION_LOST"
	GapBufferFull          GapReason = "BUFFER_FULL"
	GapFrameTooLarge       GapReason = "FRAME_TOO_LARGE"
	GapSequence            GapReason = "SEQUENCE_GAP"
	GapRotation            GapReason = "ROTATION"
	GapSubscriptionRefused GapReason = "SUBSCRIPTION_REFUSED"
	GapResync              GapReason = "RESYNC"
	GapDeadLetter          GapReason = "DEAD_LETTER" // an event of a book that could not be read, and is not replayed
)

// GapReasons is the enum in the schema's order: the index is the Avro position.
var GapReasons = []GapReason{
	GapUnknown, GapLoaderRestart, GapConnectionLost, GapBufferFull, GapFrameTooLarge,
	GapSequence, GapRotation, GapSubscriptionRefused, GapResync, GapDeadLetter,
}

// Gap is what is missing of which symbols, and why: as JSON, the payload of a raw-frames record of kind GAP.
type Gap struct {
	// VenueSymbols concerned, in the venue's spelling, sorted.
	VenueSymbols []string  `json:"venue_symbols"`
	Channel      string    `json:"channel"` // "trades", "book" or "all"
	Reason       GapReason `json:"reason"`
	Detail       string    `json:"detail"`
	// Frames and Bytes dropped, when the loader dropped them itself.
	Frames int64 `json:"frames,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
	// Missing ids or frames, if known.
	Missing *int64     `json:"missing,omitempty"`
	From    *time.Time `json:"from,omitempty"`
	To      *time.Time `json:"to,omitempty"`
	FromID  string     `json:"from_id,omitempty"`
	ToID    string     `json:"to_id,omitempty"`
}
