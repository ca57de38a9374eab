package migration

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// WithJoin writes where v2's rows take over into the text of a migration file, in place of what it said about it before. The
// rest of the text, its comments included, stays as it is. name is the file's, for messages.
func WithJoin(name string, text []byte, join contract.Join) ([]byte, error) {
	var out bytes.Buffer
	inside := false
	for line := range strings.Lines(string(text)) {
		if inside = strings.HasPrefix(line, "joinAt:") || inside && strings.HasPrefix(line, " "); !inside {
			out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	offsets := strings.ReplaceAll(strings.Trim(fmt.Sprint(join.Offsets), "[]"), " ", ", ")
	fmt.Fprintf(&out, "joinAt:\n  topicId: %s\n  offsets: [%s]\n", join.TopicID, offsets)
	if _, problems := contract.ParseMigration(name, out.Bytes()); len(problems) > 0 {
		return nil, problems
	}
	return out.Bytes(), nil
}
