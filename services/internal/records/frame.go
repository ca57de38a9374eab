package records

import "strings"

// FrameKind says what a raw-frames record holds; the values are the Avro enum's positions.
type FrameKind uint8

// Kinds in the order of the enum FrameKind.
const (
	FrameUnknown FrameKind = iota
	FrameData
	FrameRESTSnapshot
	FrameGap
	FrameOpen
	FrameClose
)

var frameKinds = [...]string{"UNKNOWN", "FRAME", "REST_SNAPSHOT", "GAP", "OPEN", "CLOSE"}

// String is the enum's symbol.
func (k FrameKind) String() string {
	if int(k) < len(frameKinds) {
		return frameKinds[k]
	}
	return frameKinds[0]
}

// Frame is a value of raw-frames.
type Frame struct {
	Kind        FrameKind
	Venue, Feed string
	LoaderEpoch int64
	Connection  int64
	Sequence    int64
	VenueSymbol string // empty: null
	Request     string // empty: null
	ReceivedAt  int64  // µs since 1970 UTC
	Payload     []byte
}

// AppendAvro writes the record's body.
func (f *Frame) AppendAvro(dst []byte) []byte {
	dst = appendLong(dst, int64(f.Kind))
	dst = appendString(dst, f.Venue)
	dst = appendString(dst, f.Feed)
	dst = appendLong(dst, f.LoaderEpoch)
	dst = appendLong(dst, f.Connection)
	dst = appendLong(dst, f.Sequence)
	dst = appendOptString(dst, f.VenueSymbol)
	dst = appendOptString(dst, f.Request)
	dst = appendLong(dst, f.ReceivedAt)
	return appendString(dst, f.Payload)
}

// DecodeAvro reads a body. Payload aliases body; a string is copied only when it differs from what f already holds, so
// that a Frame reused for the records of one feed allocates nothing.
func (f *Frame) DecodeAvro(body []byte) error { return f.DecodeInterned(body, nil) }

// DecodeInterned is DecodeAvro for records of many feeds in turn: strings that names has seen are not copied again.
func (f *Frame) DecodeInterned(body []byte, names *Names) error {
	r := reader{rest: body}
	f.Kind = FrameKind(r.enum("kind", len(frameKinds)))
	names.keep(&f.Venue, r.bytes("venue"))
	names.keep(&f.Feed, r.bytes("feed"))
	f.LoaderEpoch = r.long("loader_epoch")
	f.Connection = r.long("connection")
	f.Sequence = r.long("sequence")
	names.keepOptional(&f.VenueSymbol, &r, "venue_symbol")
	names.keepOptional(&f.Request, &r, "request")
	f.ReceivedAt = r.long("received_at")
	f.Payload = r.bytes("payload")
	return r.end("raw-frames record")
}

// Names holds strings that come again and again, within a bound. A nil *Names copies each that differs from the last.
// Not safe for concurrent use.
type Names struct {
	known map[string]string
}

// NewNames makes an empty one.
func NewNames() *Names { return &Names{known: map[string]string{}} }

const (
	maxNames = 4096
	// maxNameBytes keeps long strings out: they are no names.
	maxNameBytes = 256
)

func (n *Names) keep(s *string, b []byte) {
	if *s == string(b) {
		return
	}
	if n == nil || len(b) > maxNameBytes {
		*s = string(b)
		return
	}
	known, ok := n.known[string(b)]
	if !ok {
		if len(n.known) >= maxNames {
			clear(n.known)
		}
		known = string(b)
		n.known[known] = known
	}
	*s = known
}

func (n *Names) keepOptional(s *string, r *reader, field string) {
	if r.optional(field) {
		n.keep(s, r.bytes(field))
	} else {
		*s = ""
	}
}

func keep(s *string, b []byte) { (*Names)(nil).keep(s, b) }

func keepOptional(s *string, r *reader, field string) { (*Names)(nil).keepOptional(s, r, field) }

// FrameKey is the Kafka key of a feed's records.
func FrameKey(venue, feed string) string { return venue + "/" + feed }

// SplitKey takes a key of the form venue/x apart.
func SplitKey(key string) (venue, rest string, ok bool) { return strings.Cut(key, "/") }
