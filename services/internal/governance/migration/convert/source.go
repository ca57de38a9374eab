package convert

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// HeaderSource is the header of a converted record: which record it was made from.
const HeaderSource = "converted-from"

// Source is where a converted record comes from. As a header's value it is "raw-trades/<topic id>/<partition>/<offset>", the
// id as a UUID: a topic that is deleted and created again has another.
type Source struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	Offset    int64
}

// String is the header's value.
func (s Source) String() string {
	return fmt.Sprintf("%s/%s/%d/%d", s.Topic, uuid.UUID(s.TopicID), s.Partition, s.Offset)
}

// ParseSource reads a header's value.
func ParseSource(text string) (Source, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 4 && parts[0] != "" {
		id, err := uuid.Parse(parts[1])
		partition, badPartition := strconv.ParseInt(parts[2], 10, 32)
		offset, badOffset := strconv.ParseInt(parts[3], 10, 64)
		s := Source{Topic: parts[0], TopicID: id, Partition: int32(partition), Offset: offset}
		// One form: what is read is what would be written.
		if err == nil && badPartition == nil && badOffset == nil && partition >= 0 && offset >= 0 && s.String() == text {
			return s, nil
		}
	}
	return Source{}, fmt.Errorf("header %s is %q; it is topic/topic id/partition/offset", HeaderSource, text)
}

// SourceOf a record; not converted when it has no such header.
func SourceOf(r *kafka.Record) (source Source, converted bool, err error) {
	for _, h := range r.Headers {
		if h.Name == HeaderSource {
			source, err = ParseSource(string(h.Value))
			return source, err == nil, err
		}
	}
	return Source{}, false, nil
}
