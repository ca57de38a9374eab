package avro

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Level is a compatibility level of a registry.
type Level string

// The seven levels. BACKWARD: a reader with the new schema reads data of the latest version; FORWARD: a reader with the
// latest version reads data of the new schema; FULL: both; TRANSITIVE: against every version.
const (
	LevelNone               Level = "NONE"
	LevelBackward           Level = "BACKWARD"
	LevelBackwardTransitive Level = "BACKWARD_TRANSITIVE"
	LevelForward            Level = "FORWARD"
	LevelForwardTransitive  Level = "FORWARD_TRANSITIVE"
	LevelFull               Level = "FULL"
	LevelFullTransitive     Level = "FULL_TRANSITIVE"
)

// ParseLevel reads a level in any case of letters.
func ParseLevel(s string) (Level, error) {
	level := Level(strings.ToUpper(s))
	switch level {
	case LevelNone, LevelBackward, LevelBackwardTransitive, LevelForward, LevelForwardTransitive, LevelFull, LevelFullTransitive:
		return level, nil
	}
	return "", fmt.Errorf("compatibility level %q: must be one of NONE, BACKWARD, FORWARD, FULL, BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE, FULL_TRANSITIVE", s)
}

// Backward tells whether a new schema must read older data.
func (l Level) Backward() bool {
	return strings.HasPrefix(string(l), "BACKWARD") || strings.HasPrefix(string(l), "FULL")
}

// Forward tells whether older schemas must read new data.
func (l Level) Forward() bool {
	return strings.HasPrefix(string(l), "FORWARD") || strings.HasPrefix(string(l), "FULL")
}

// Transitive tells whether every version counts and not the latest alone.
func (l Level) Transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

// Version is one registered version of a subject.
type Version struct {
	// Number is the version's number in the subject; 0 when it has none.
	Number int
	Schema *Schema
}

// VersionVerdict is what is wrong between a candidate and one version.
type VersionVerdict struct {
	Version Version
	// Backward is why the candidate cannot read the version's data, Forward why the version cannot read the candidate's.
	Backward, Forward []Incompatibility
	// BackwardErr and ForwardErr are set where the rules refuse to judge, which a registry counts as incompatible.
	BackwardErr, ForwardErr error
	// Messages is the same in a registry's words, ending with the version and its schema.
	Messages []string
}

// Check compares a candidate with the earlier versions (oldest first) and returns a registry's messages: those of the newest
// version that fails, none when the candidate may be registered.
func (l Level) Check(candidate *Schema, earlier []Version) []string {
	return l.Verbose(l.check(candidate, earlier, true))
}

// Verbose is what a registry answers under verbose=true to a candidate that failed against these versions, the newest first.
func (l Level) Verbose(failed []VersionVerdict) []string {
	if len(failed) == 0 {
		return nil
	}
	return append(slices.Clone(failed[0].Messages), "{validateFields: 'false', compatibility: '"+string(l)+"'}")
}

// CheckAll is Check for people: every version that fails, the newest first.
func (l Level) CheckAll(candidate *Schema, earlier []Version) []VersionVerdict {
	return l.check(candidate, earlier, false)
}

func (l Level) check(candidate *Schema, earlier []Version, firstOnly bool) []VersionVerdict {
	if l == LevelNone {
		return nil
	}
	var failed []VersionVerdict
	for i := len(earlier) - 1; i >= 0; i-- {
		verdict := l.compare(candidate, earlier[i])
		if len(verdict.Messages) > 0 {
			failed = append(failed, verdict)
			if firstOnly {
				break
			}
		}
		if !l.Transitive() {
			break
		}
	}
	return failed
}

func (l Level) compare(candidate *Schema, earlier Version) VersionVerdict {
	v := VersionVerdict{Version: earlier}
	if l.Forward() {
		var messages []string
		v.Forward, messages, v.ForwardErr = describe(earlier.Schema, candidate, "old", "new")
		// At FULL a registry names the old schema only after the backward part: when only the forward part fails, it is not named.
		if len(messages) > 0 && !l.Backward() {
			messages = append(messages, describeVersion(earlier)...)
		}
		v.Messages = messages
	}
	if l.Backward() {
		var messages []string
		v.Backward, messages, v.BackwardErr = describe(candidate, earlier.Schema, "new", "old")
		if len(messages) > 0 {
			messages = append(messages, describeVersion(earlier)...)
		}
		v.Messages = append(v.Messages, messages...)
	}
	return v
}

func describe(reader, writer *Schema, readerWord, writerWord string) ([]Incompatibility, []string, error) {
	found, err := Incompatibilities(reader, writer)
	if err != nil {
		return nil, []string{"Unexpected exception during compatibility check: " + err.Error()}, err
	}
	var messages []string
	for _, f := range found {
		messages = append(messages, f.Describe(readerWord, writerWord))
	}
	return found, messages, nil
}

// Describe is the incompatibility in a registry's words; the two words say which schema is the reader and which the writer:
// "new" and "old".
func (f Incompatibility) Describe(reader, writer string) string {
	var description string
	switch f.Type {
	case FixedSizeMismatch:
		description = fmt.Sprintf("The size of FIXED type field at path '%s' in the %s schema does not match with the %s schema", f.Location, reader, writer)
	case TypeMismatch:
		description = fmt.Sprintf("The type (path '%s') of a field in the %s schema does not match with the %s schema", f.Location, reader, writer)
	case NameMismatch:
		description = fmt.Sprintf("The name of the schema has changed (path '%s')", f.Location)
	case MissingEnumSymbols:
		description = fmt.Sprintf("The %s schema is missing enum symbols '%s' at path '%s' in the %s schema", reader, f.Message, f.Location, writer)
	case MissingUnionBranch:
		description = fmt.Sprintf("The %s schema is missing a type inside a union field at path '%s' in the %s schema", reader, f.Location, writer)
	case ReaderFieldMissingDefaultValue:
		description = fmt.Sprintf("The field '%s' at path '%s' in the %s schema has no default value and is missing in the %s schema", f.Message, f.Location, reader, writer)
	}
	return fmt.Sprintf("{errorType:'%s', description:'%s', additionalInfo:'%s'}", f.Type, description, f.Message)
}

// maxSchemaInMessage is where a registry cuts a schema in a message, in bytes.
const maxSchemaInMessage = 10 * 1024

func describeVersion(v Version) []string {
	var messages []string
	if v.Number > 0 {
		messages = append(messages, fmt.Sprintf("{oldSchemaVersion: %d}", v.Number))
	}
	text := v.Schema.String()
	if len(text) <= maxSchemaInMessage {
		return append(messages, fmt.Sprintf("{oldSchema: '%s'}", text))
	}
	cut := maxSchemaInMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return append(messages, fmt.Sprintf("{oldSchema: <truncated> '%s...'}", text[:cut]))
}
