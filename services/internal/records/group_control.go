package records

// GroupState is what a consumer group is to do; the values are the Avro enum's positions.
type GroupState uint8

// States in the order of the enum GroupState.
const (
	GroupUnknown GroupState = iota
	GroupRunning
	GroupPaused
)

// GroupControl is a value of group-controls. Its Kafka key is the group.
type GroupControl struct {
	Group       string
	State       GroupState
	Reason      string
	RequestedBy string
	RequestedAt int64 // µs since 1970 UTC
}

// AppendAvro writes the record's body.
func (c *GroupControl) AppendAvro(dst []byte) []byte {
	dst = appendString(dst, c.Group)
	dst = appendLong(dst, int64(c.State))
	dst = appendString(dst, c.Reason)
	dst = appendString(dst, c.RequestedBy)
	return appendLong(dst, c.RequestedAt)
}

// DecodeAvro reads a body.
func (c *GroupControl) DecodeAvro(body []byte) error {
	r := reader{rest: body}
	c.Group = r.string("group")
	c.State = GroupState(r.enum("state", 3))
	c.Reason = r.string("reason")
	c.RequestedBy = r.string("requested_by")
	c.RequestedAt = r.long("requested_at")
	return r.end("group-controls record")
}
