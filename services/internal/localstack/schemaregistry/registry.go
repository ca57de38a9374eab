package schemaregistry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// latest is the number that stands for the newest version.
const latest = -1

// log is where records are made durable. append returns when the broker has acknowledged all of them; load gives every
// record from the beginning.
type log interface {
	append(ctx context.Context, records ...record) error
	load(ctx context.Context, each func(record)) error
}

// errRecordTooLarge says that the broker refuses a record for its size.
var errRecordTooLarge = errors.New("record too large")

// Registry is the rules: what may be registered, deleted and changed.
type Registry struct {
	log     log
	skipped func(error)

	writes sync.Mutex   // one write after another, over the wait for the broker
	mutex  sync.RWMutex // guards what follows, never held over a wait
	state  *state
	loaded bool // the topic has been read once
	unsure bool // the outcome of a write is unknown, so the topic must be read again before the next
}

func newRegistry(l log, skipped func(error)) *Registry {
	return &Registry{log: l, skipped: skipped, state: newState()}
}

// load reads the whole topic.
func (r *Registry) load(ctx context.Context) error {
	fresh := newState()
	err := r.log.load(ctx, func(rec record) {
		if err := fresh.apply(rec); err != nil {
			r.skipped(err)
		}
	})
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	// Ids stay unique within this process even when the topic forgot the largest.
	fresh.maxID = max(fresh.maxID, r.state.maxID)
	r.state, r.loaded, r.unsure = fresh, true, false
	return nil
}

// read calls f with the state.
func (r *Registry) read(f func(*state) error) error {
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	if !r.loaded {
		return errStore("The schema registry is starting: the topic %s has not been read yet", topicName)
	}
	return f(r.state)
}

// write calls decide with the state and makes the records it returns durable before it answers. When the broker's answer
// stays out, nobody knows whether the records were written: the topic is read again before the next write.
func (r *Registry) write(ctx context.Context, decide func(*state) ([]record, error)) error {
	r.writes.Lock()
	defer r.writes.Unlock()
	if err := r.reloadIfUnsure(ctx); err != nil {
		return err
	}
	var records []record
	err := r.read(func(s *state) (err error) {
		records, err = decide(s)
		return err
	})
	if err != nil || len(records) == 0 {
		return err
	}
	if err := r.log.append(ctx, records...); err != nil {
		if errors.Is(err, errRecordTooLarge) {
			return errTooLarge("Register operation failed")
		}
		r.mutex.Lock()
		r.unsure = true
		r.mutex.Unlock()
		return errStore("Register schema operation failed while writing to the Kafka store: %v", err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, rec := range records {
		if err := r.state.apply(rec); err != nil {
			return errStore("BUG: applying own record: %v", err)
		}
	}
	return nil
}

func (r *Registry) reloadIfUnsure(ctx context.Context) error {
	r.mutex.RLock()
	unsure := r.unsure
	r.mutex.RUnlock()
	if !unsure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := r.load(ctx); err != nil {
		return errStore("Reading the topic %s again: %v", topicName, err)
	}
	return nil
}

// request is what a client says of a schema.
type request struct {
	Schema     string      `json:"schema"`
	SchemaType string      `json:"schemaType"`
	References []Reference `json:"references"`
	ID         *int        `json:"id"`
	Version    int         `json:"version"`
	Metadata   any         `json:"metadata"`
	RuleSet    any         `json:"ruleSet"`
}

// parse reads the request's schema and puts it into the registry's own form. isNew validates defaults: what was accepted
// earlier is not judged again.
func (s *state) parse(q *request, isNew, normalize bool) (*schemaValue, *avro.Schema, error) {
	if q.SchemaType != "" && q.SchemaType != "AVRO" {
		return nil, nil, errInvalidSchema("Invalid schema type %s", q.SchemaType)
	}
	if q.Metadata != nil || q.RuleSet != nil {
		return nil, nil, errInvalidSchema("Invalid schema, details: metadata and ruleSet are not supported by the local stack's schema registry")
	}
	if strings.TrimSpace(q.Schema) == "" {
		return nil, nil, errInvalidSchema("Empty schema")
	}
	texts, err := s.resolve(q.References)
	if err != nil {
		return nil, nil, err
	}
	var options []avro.Option
	if !isNew {
		options = append(options, avro.KeepInvalidDefaults())
	}
	parsed, err := avro.Parse(q.Schema, texts, options...)
	if err != nil {
		return nil, nil, errInvalidSchema("Invalid schema of type AVRO, details: %v", err)
	}
	v := &schemaValue{References: slices.Clone(q.References)}
	if normalize {
		parsed = parsed.Normalized()
		slices.SortFunc(v.References, compareReferences)
		v.References = slices.Compact(v.References)
	}
	for i, reference := range v.References {
		if reference.Version == latest {
			v.References[i].Version = s.version(reference.Subject, latest, live).Version
		}
	}
	v.Schema = parsed.String()
	return v, parsed, nil
}

func compareReferences(a, b Reference) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := strings.Compare(a.Subject, b.Subject); c != 0 {
		return c
	}
	return a.Version - b.Version
}

// resolve returns the texts of the references and of theirs, each before its users.
func (s *state) resolve(references []Reference) ([]string, error) {
	var texts []string
	seen := map[string]bool{}
	var walk func([]Reference, int) error
	walk = func(all []Reference, depth int) error {
		for _, r := range all {
			if r.Name == "" || r.Subject == "" || depth > 64 {
				return errInvalidSchema("Invalid schema, details: the provided reference is null or empty: name %q, subject %q", r.Name, r.Subject)
			}
			if seen[r.Name] {
				continue
			}
			seen[r.Name] = true
			v := s.version(r.Subject, r.Version, withDeleted)
			if v == nil {
				return errInvalidSchema("Invalid schema of type AVRO, details: No schema reference found for subject \"%s\" and version %d", r.Subject, r.Version)
			}
			if err := walk(v.References, depth+1); err != nil {
				return err
			}
			texts = append(texts, v.Schema)
		}
		return nil
	}
	return texts, walk(references, 0)
}

// parsed reads a registered version.
func (s *state) parsed(v *schemaValue) (*avro.Schema, error) {
	_, schema, err := s.parse(&request{Schema: v.Schema, References: v.References}, false, false)
	return schema, err
}

// lookup finds the version of the subject that says the same as v.
func (s *state) lookup(subject string, v *schemaValue, parsed *avro.Schema, f filter) *schemaValue {
	all := s.versions(subject, f)
	slices.Reverse(all)
	for _, known := range all {
		if content(known) == content(v) {
			return known
		}
	}
	if len(v.References) > 0 {
		return nil
	}
	// The schema may be sent with the types of its references written out.
	for _, known := range all {
		if len(known.References) == 0 {
			continue
		}
		if schema, err := s.parsed(known); err == nil && schema.SelfContained() == parsed.SelfContained() {
			return known
		}
	}
	return nil
}

// incompatibilities are Confluent's messages for a candidate against the given versions at the level in force.
func (s *state) incompatibilities(subject string, candidate *avro.Schema, against []*schemaValue) ([]string, error) {
	level := avro.Level(s.levelFor(subject))
	var earlier []avro.Version
	for _, v := range against {
		schema, err := s.parsed(v)
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, avro.Version{Number: v.Version, Schema: schema})
	}
	return level.Check(candidate, earlier), nil
}

// Register adds a schema to a subject and returns its id.
func (r *Registry) Register(ctx context.Context, subject string, q *request, normalize bool) (id int, err error) {
	err = r.write(ctx, func(s *state) ([]record, error) {
		var records []record
		id, records, err = s.register(subject, q, normalize)
		return records, err
	})
	return id, err
}

func (s *state) register(subject string, q *request, normalize bool) (int, []record, error) {
	importing := q.ID != nil && *q.ID >= 0
	// What is registered already is found whatever the mode is, and its default is not judged again.
	if v, parsed, err := s.parse(q, false, normalize); err == nil {
		if known := s.lookup(subject, v, parsed, live); known != nil && q.Version == 0 && (!importing || *q.ID == known.ID) {
			return known.ID, nil, nil
		}
	}
	if err := s.checkMode(subject, importing); err != nil {
		return 0, nil, err
	}
	alive := s.versions(subject, live)
	if strings.TrimSpace(q.Schema) == "" && len(alive) > 0 {
		previous := alive[len(alive)-1]
		return previous.ID, nil, nil
	}
	v, parsed, err := s.parse(q, !importing, normalize)
	if err != nil {
		return 0, nil, err
	}
	if !importing {
		messages, err := s.incompatibilities(subject, parsed, alive)
		if err != nil {
			return 0, nil, err
		}
		if len(messages) > 0 {
			return 0, nil, errIncompatible(subject, "["+strings.Join(messages, ", ")+"]")
		}
	}
	return s.newVersion(subject, v, q, importing)
}

func (s *state) checkMode(subject string, importing bool) error {
	mode := s.modeFor(subject)
	switch {
	case mode == "READONLY" || mode == "READONLY_OVERRIDE":
		return errNotPermitted("Subject %s is in read-only mode", subject)
	case importing && mode != "IMPORT":
		return errNotPermitted("Subject %s is not in import mode", subject)
	case !importing && mode != "READWRITE":
		return errNotPermitted("Subject %s is not in read-write mode", subject)
	}
	return nil
}

// newVersion numbers the version and gives it the id that its content already has, or the next one.
func (s *state) newVersion(subject string, v *schemaValue, q *request, importing bool) (int, []record, error) {
	next := 1
	for n := range s.subjects[subject] {
		next = max(next, n+1)
	}
	v.Subject, v.Version = subject, next
	if q.Version > 0 {
		if q.Version != next && !importing {
			return 0, nil, errInvalidSchema("Version is not one more than previous version")
		}
		v.Version = q.Version
	}
	v.ID = s.maxID + 1
	if id, known := s.contents[content(v)]; known {
		v.ID = id
	}
	if importing {
		v.ID = *q.ID
		if other := s.byID(v.ID); other != nil && content(other) != content(v) {
			return 0, nil, errNotPermitted("Overwrite new schema with id %d is not permitted.", v.ID)
		}
	}
	var records []record
	for _, deleted := range s.versions(subject, deletedOnly) {
		if deleted.ID == v.ID && deleted.Version < v.Version {
			// The id is alive again under the new version; the old deleted one is no longer needed to read records.
			records = append(records, schemaTombstone(subject, deleted.Version))
		}
	}
	return v.ID, append(records, schemaRecord(*v)), nil
}

// DeleteSubject deletes every version and returns their numbers.
func (r *Registry) DeleteSubject(ctx context.Context, subject string, permanent bool) (versions []int, err error) {
	err = r.write(ctx, func(s *state) ([]record, error) {
		all := s.versions(subject, withDeleted)
		alive := s.versions(subject, live)
		if len(all) == 0 {
			return nil, errSubjectNotFound(subject)
		}
		if !permanent && len(alive) == 0 {
			return nil, errSubjectSoftDeleted(subject)
		}
		if err := s.checkWritable(subject); err != nil {
			return nil, err
		}
		affected := alive
		if permanent {
			affected = all
		}
		for _, v := range affected {
			if len(s.referencedBy(subject, v.Version)) > 0 {
				return nil, errReferenceExists(subject, v.Version)
			}
			if permanent && !v.Deleted {
				return nil, errSubjectNotSoftDeleted(subject)
			}
			versions = append(versions, v.Version)
		}
		if !permanent {
			return append([]record{deleteSubjectRecord(subject, versions[len(versions)-1])}, s.forgetSettings(subject)...), nil
		}
		var records []record
		for _, n := range versions {
			records = append(records, schemaTombstone(subject, n))
		}
		return records, nil
	})
	return versions, err
}

func (s *state) checkWritable(subject string) error {
	if mode := s.modeFor(subject); mode == "READONLY" || mode == "READONLY_OVERRIDE" {
		return errNotPermitted("Subject %s is in read-only mode", subject)
	}
	return nil
}

// forgetSettings takes away the level and the mode of a subject that has no live version left.
func (s *state) forgetSettings(subject string) []record {
	var records []record
	if s.modes[subject] != "" {
		records = append(records, modeRecord(subject, ""))
	}
	if s.levels[subject] != "" {
		records = append(records, levelRecord(subject, ""))
	}
	return records
}

// DeleteVersion deletes one version and returns its number. text is the version as the client wrote it.
func (r *Registry) DeleteVersion(ctx context.Context, subject, text string, permanent bool) (version int, err error) {
	number, err := parseVersion(text)
	if err != nil {
		return 0, err
	}
	err = r.write(ctx, func(s *state) ([]record, error) {
		v := s.version(subject, number, withDeleted)
		if number == latest && !permanent {
			v = s.version(subject, number, live)
		}
		switch {
		case v == nil && len(s.versions(subject, withDeleted)) == 0:
			return nil, errSubjectNotFound(subject)
		case v == nil:
			return nil, errVersionNotFound(number)
		case v.Deleted && !permanent:
			return nil, errVersionSoftDeleted(subject, text)
		}
		if err := s.checkWritable(subject); err != nil {
			return nil, err
		}
		if len(s.referencedBy(subject, v.Version)) > 0 {
			return nil, errReferenceExists(subject, v.Version)
		}
		if permanent && !v.Deleted {
			return nil, errVersionNotSoftDeleted(subject, text)
		}
		version = v.Version
		if permanent {
			return []record{schemaTombstone(subject, version)}, nil
		}
		deleted := *v
		deleted.Deleted = true
		records := []record{schemaRecord(deleted)}
		if len(s.versions(subject, live)) == 1 {
			records = append(records, s.forgetSettings(subject)...)
		}
		return records, nil
	})
	return version, err
}

// SetLevel sets the level of a subject, or the global one for "".
func (r *Registry) SetLevel(ctx context.Context, subject string, level avro.Level) error {
	return r.write(ctx, func(s *state) ([]record, error) {
		if err := s.checkWritable(subject); err != nil {
			return nil, err
		}
		return []record{levelRecord(subject, string(level))}, nil
	})
}

// ClearLevel takes a level away and returns it.
func (r *Registry) ClearLevel(ctx context.Context, subject string) (level string, err error) {
	err = r.write(ctx, func(s *state) ([]record, error) {
		if level = s.levels[subject]; level == "" {
			if subject == "" {
				level = defaultLevel
				return nil, nil
			}
			return nil, errSubjectNotFound(subject)
		}
		if err := s.checkWritable(subject); err != nil {
			return nil, err
		}
		return []record{levelRecord(subject, "")}, nil
	})
	return level, err
}

// SetMode sets the mode of a subject, or the global one for "".
func (r *Registry) SetMode(ctx context.Context, subject, mode string, force bool) error {
	return r.write(ctx, func(s *state) ([]record, error) {
		var records []record
		if mode == "IMPORT" && s.modeFor(subject) != "IMPORT" && !force {
			affected := []string{subject}
			if subject == "" {
				affected = s.names("", withDeleted)
			}
			for _, name := range affected {
				if len(s.versions(name, live)) > 0 {
					return nil, errNotPermitted("Cannot import since found existing subjects")
				}
				for _, v := range s.versions(name, withDeleted) {
					records = append(records, schemaTombstone(name, v.Version))
				}
			}
		}
		return append(records, modeRecord(subject, mode)), nil
	})
}

// ClearMode takes a mode away and returns it.
func (r *Registry) ClearMode(ctx context.Context, subject string) (mode string, err error) {
	err = r.write(ctx, func(s *state) ([]record, error) {
		if mode = s.modes[subject]; mode == "" {
			return nil, errSubjectNotFound(subject)
		}
		return []record{modeRecord(subject, "")}, nil
	})
	return mode, err
}

// isLoaded says whether the topic has been read.
func (r *Registry) isLoaded() bool {
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	return r.loaded
}
