package registry

import (
	"encoding/binary"
	"fmt"
)

// HeaderSize is the length of the wire format's header in bytes: a zero and the schema's id.
const HeaderSize = 5

// WireError says that a value does not begin with the wire format's header. It is the record's own fault, whatever the
// state of the registry.
type WireError struct {
	Length int  // of the value in bytes
	First  byte // its first byte, when it has one
}

func (e *WireError) Error() string {
	if e.Length < HeaderSize {
		return fmt.Sprintf("value of %d bytes is too short for a schema id: %d bytes are needed", e.Length, HeaderSize)
	}
	return fmt.Sprintf("value of %d bytes begins with 0x%02x, not with the wire format's 0x00", e.Length, e.First)
}

// AppendWireHeader appends the wire format's header: a zero byte and the schema's id, big-endian.
func AppendWireHeader(dst []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), uint32(id)) //nolint:gosec // ids are positive 32-bit numbers by the registry's contract
}

// ParseWire splits a value into the id of the schema that wrote it and the body, which aliases value.
func ParseWire(value []byte) (id int, body []byte, err error) {
	if len(value) < HeaderSize || value[0] != 0 {
		e := &WireError{Length: len(value)}
		if len(value) > 0 {
			e.First = value[0]
		}
		return 0, nil, e
	}
	return int(int32(binary.BigEndian.Uint32(value[1:HeaderSize]))), value[HeaderSize:], nil //nolint:gosec // the wrap to a negative id is wanted: the registry answers that it does not know it
}
