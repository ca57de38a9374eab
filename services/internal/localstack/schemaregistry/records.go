package schemaregistry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The records of the topic, in the form and the order of members of Confluent's classes SchemaKey, SchemaValue, ConfigKey
// and so on. Compaction and other registries compare keys byte by byte, so the order matters.

const (
	keySchema        = "SCHEMA"
	keyConfig        = "CONFIG"
	keyMode          = "MODE"
	keyDeleteSubject = "DELETE_SUBJECT"
	keyNoop          = "NOOP"
)

// record is one record of the topic; a nil value is a tombstone.
type record struct {
	key, value []byte
}

type schemaKey struct {
	KeyType string `json:"keytype"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
	Magic   int    `json:"magic"`
}

type subjectKey struct {
	KeyType string  `json:"keytype"`
	Subject *string `json:"subject"` // null for the global level or mode
	Magic   int     `json:"magic"`
}

type noopKey struct {
	KeyType string `json:"keytype"`
	Magic   int    `json:"magic"`
}

// anyKey reads every kind of key.
type anyKey struct {
	KeyType string  `json:"keytype"`
	Subject *string `json:"subject"`
	Version int     `json:"version"`
}

type schemaValue struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	SchemaType string      `json:"schemaType,omitempty"` // left out for Avro
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
	Deleted    bool        `json:"deleted"`
}

type configValue struct {
	CompatibilityLevel string `json:"compatibilityLevel"`
}

type modeValue struct {
	Mode string `json:"mode"`
}

type deleteSubjectValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Reference is a type that a schema uses and a version of another subject defines.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func schemaRecord(v schemaValue) record {
	return record{encode(schemaKey{keySchema, v.Subject, v.Version, 1}), encode(v)}
}

func schemaTombstone(subject string, version int) record {
	return record{key: encode(schemaKey{keySchema, subject, version, 1})}
}

// levelRecord sets the level of a subject, or the global one for ""; the level "" is a tombstone.
func levelRecord(subject, level string) record {
	r := record{key: encode(subjectKey{keyConfig, orNull(subject), 0})}
	if level != "" {
		r.value = encode(configValue{level})
	}
	return r
}

// modeRecord is levelRecord for modes.
func modeRecord(subject, mode string) record {
	r := record{key: encode(subjectKey{keyMode, orNull(subject), 0})}
	if mode != "" {
		r.value = encode(modeValue{mode})
	}
	return r
}

func deleteSubjectRecord(subject string, version int) record {
	return record{encode(subjectKey{keyDeleteSubject, &subject, 0}), encode(deleteSubjectValue{subject, version})}
}

func noopRecord() record { return record{key: encode(noopKey{keyNoop, 0})} }

func orNull(subject string) *string {
	if subject == "" {
		return nil
	}
	return &subject
}

// encode writes JSON as Java's Jackson does: without Go's escapes for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("BUG: encoding %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// apply brings the state up to date with one record of the topic. A record that cannot be understood is an error: it is
// skipped and counted, as Confluent's registry does, because one bad record must not keep every program from starting.
func (s *state) apply(r record) error {
	var key anyKey
	if err := json.Unmarshal(r.key, &key); err != nil {
		return fmt.Errorf("reading key %.200q: %w", r.key, err)
	}
	subject := ""
	if key.Subject != nil {
		subject = *key.Subject
	}
	switch key.KeyType {
	case keyNoop:
		return nil
	case keySchema:
		return s.applySchema(subject, key.Version, r.value)
	case keyConfig:
		var v configValue
		return applySetting(s.levels, subject, r.value, &v, func() string { return v.CompatibilityLevel })
	case keyMode:
		var v modeValue
		return applySetting(s.modes, subject, r.value, &v, func() string { return v.Mode })
	case keyDeleteSubject:
		if r.value == nil {
			return nil
		}
		var v deleteSubjectValue
		if err := json.Unmarshal(r.value, &v); err != nil {
			return fmt.Errorf("reading value of %s: %w", r.key, err)
		}
		s.deleteUpTo(subject, v.Version)
		return nil
	default:
		return fmt.Errorf("reading key %.200q: unknown keytype %q", r.key, key.KeyType)
	}
}

func (s *state) applySchema(subject string, version int, value []byte) error {
	if value == nil {
		s.remove(subject, version)
		return nil
	}
	var v schemaValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading version %d of %s: %w", version, subject, err)
	}
	if v.Subject != subject || v.Version != version || v.ID <= 0 {
		return fmt.Errorf("reading version %d of %s: the value says version %d of %s, id %d", version, subject, v.Version, v.Subject, v.ID)
	}
	s.put(&v)
	return nil
}

func applySetting(settings map[string]string, subject string, value []byte, into any, get func() string) error {
	if value == nil {
		delete(settings, subject)
		return nil
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("reading a setting of %q: %w", subject, err)
	}
	settings[subject] = get()
	return nil
}
