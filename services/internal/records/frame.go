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
func (f *Frame) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	f.Kind = FrameKind(r.enum("kind", len(frameKinds)))
	keep(&f.Venue, r.bytes("venue"))
	keep(&f.Feed, r.bytes("feed"))
	f.LoaderEpoch = r.long("loader_epoch")
	f.Connection = r.long("connection")
	f.Sequence = r.long("sequence")
	keepOptional(&f.VenueSymbol, &r, "venue_symbol")
	keepOptional(&f.Request, &r, "request")
	f.ReceivedAt = r.long("received_at")
	f.Payload = r.bytes("payload")
	return r.end("raw-frames record")
}

func keep(s *string, b []byte) {
	if *s != string(b) {
		*s = string(b)
	}
}

func keepOptional(s *string, r *reader, field string) {
	if r.optional(field) {
		keep(s, r.bytes(field))
	} else {
		*s = ""
	}
}

// FrameKey is the Kafka key of a feed's records.
func FrameKey(venue, feed string) string { return venue + "/" + feed }

// SplitKey takes a key of the form venue/x apart.
func SplitKey(key string) (venue, rest string, ok bool) { return strings.Cut(key, "/") }
