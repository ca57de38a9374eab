package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

// Reference is a type that a version uses and a version of another subject defines.
type Reference struct {
	Name    string
	Subject string
	Version int
}

// Version is one version of a subject as a registry keeps it.
type Version struct {
	Number int
	// Text is the registry's own form under normalize=true, with referenced types by name.
	Text       string
	References []Reference
	// Since is the first commit that held the content; empty when nobody knows.
	Since string

	referenced []string // texts of the references and of theirs, each before its users
	parsed     *avro.Schema
}

// Schema parses the version, once. What was accepted earlier is not judged again.
func (v *Version) Schema() (*avro.Schema, error) {
	if v.parsed != nil {
		return v.parsed, nil
	}
	s, err := avro.Parse(v.Text, v.referenced, avro.KeepInvalidDefaults())
	if err != nil {
		return nil, err
	}
	v.parsed = s
	return s, nil
}

// Candidate reads a text that says the same as the version in the way in which a registry reads a new schema under
// normalize=true, to judge it: strictly, since the normal form forgets a default that does not fit, for example.
func (v *Version) Candidate(text string) (*avro.Schema, error) {
	s, err := avro.Parse(text, v.referenced)
	if err != nil {
		return nil, withoutPrefix(err)
	}
	return s.Normalized(), nil
}

func (v *Version) content() string {
	var b strings.Builder
	b.WriteString(v.Text)
	for _, r := range v.References {
		fmt.Fprintf(&b, "\x00%s\x00%s\x00%d", r.Name, r.Subject, r.Version)
	}
	return b.String()
}

// Store holds the versions of subjects and registers new ones by a registry's rules, without judging compatibility.
type Store struct {
	subjects map[string]*subject
}

type subject struct {
	versions []*Version // the oldest first
	byWords  map[string]*Version
	// asWritten remembers what a text with its references turned out to be, so that nothing is parsed twice.
	asWritten map[string]outcome
}

type outcome struct {
	version *Version
	err     error
}

// NewStore makes an empty Store.
func NewStore() *Store { return &Store{subjects: map[string]*subject{}} }

func (s *Store) subject(name string) *subject {
	known := s.subjects[name]
	if known == nil {
		known = &subject{byWords: map[string]*Version{}, asWritten: map[string]outcome{}}
		s.subjects[name] = known
	}
	return known
}

// Versions of a subject, the oldest first.
func (s *Store) Versions(name string) []*Version {
	known := s.subjects[name]
	if known == nil {
		return nil
	}
	return slices.Clone(known.versions)
}

// Add puts a version that a registry holds into the store. referenced are the texts of its references and of theirs, each
// before its users.
func (s *Store) Add(name string, v Version, referenced []string) {
	v.referenced = referenced
	known := s.subject(name)
	known.versions = append(known.versions, &v)
	known.byWords[v.content()] = &v
	// A registry may hold what was registered without normalize=true, or write Avro down in its own way.
	if parsed, err := v.Schema(); err == nil {
		normal := v
		normal.Text = parsed.Normalized().String()
		if _, taken := known.byWords[normal.content()]; !taken {
			known.byWords[normal.content()] = &v
		}
	}
}

// RefusedError says that a registry would not take a schema.
type RefusedError struct {
	Subject string
	Err     error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %v", e.Subject, e.Err) }

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// Register finds the version that holds a schema, or adds one. versionOf says which version of a referenced subject is
// meant. The error is a *RefusedError.
func (s *Store) Register(written schemas.Subject, versionOf func(subject string) *Version, since string) (*Version, error) {
	known := s.subject(written.Name)
	references, referenced, missing := resolve(written, versionOf)
	key := (&Version{Text: written.Text, References: references}).content()
	if before, ok := known.asWritten[key]; ok {
		return before.version, before.err
	}
	v, err := known.register(written.Text, references, referenced, since)
	if err != nil {
		if missing != "" {
			err = fmt.Errorf("it uses %s, which no schema defines", missing)
		}
		err = &RefusedError{written.Name, err}
	}
	known.asWritten[key] = outcome{v, err}
	return v, err
}

// resolve names the versions of the references, and gathers their texts. A type that nobody defines is named; whether the
// schema can do without is Avro's to say.
func resolve(written schemas.Subject, versionOf func(string) *Version) (references []Reference, texts []string, missing string) {
	for _, r := range written.References {
		v := versionOf(r.Subject)
		if v == nil {
			missing = r.Name
			continue
		}
		references = append(references, Reference{Name: r.Name, Subject: r.Subject, Version: v.Number})
		for _, text := range append(slices.Clone(v.referenced), v.Text) {
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	// The registry's own order, by which it also compares.
	slices.SortFunc(references, func(a, b Reference) int { return strings.Compare(a.Name, b.Name) })
	return references, texts, missing
}

func (k *subject) register(text string, references []Reference, referenced []string, since string) (*Version, error) {
	// What is held already is found whatever its defaults are: they were judged when it came.
	lenient, err := avro.Parse(text, referenced, avro.KeepInvalidDefaults())
	if err != nil {
		return nil, withoutPrefix(err)
	}
	normal := lenient.Normalized()
	v := &Version{Text: normal.String(), References: references, Since: since, referenced: referenced}
	if held := k.byWords[v.content()]; held != nil {
		return held, nil
	}
	if held := k.writtenOut(normal, references); held != nil {
		return held, nil
	}
	if _, err := avro.Parse(text, referenced); err != nil {
		return nil, withoutPrefix(err)
	}
	v.Number = 1
	if n := len(k.versions); n > 0 {
		v.Number = k.versions[n-1].Number + 1
	}
	k.versions = append(k.versions, v)
	k.byWords[v.content()] = v
	return v, nil
}

// writtenOut finds the version that says the same as a schema which has the types of that version's references written out.
func (k *subject) writtenOut(normal *avro.Schema, references []Reference) *Version {
	if len(references) > 0 {
		return nil
	}
	text := ""
	for _, held := range slices.Backward(k.versions) {
		if len(held.References) == 0 {
			continue
		}
		if text == "" {
			text = normal.SelfContained()
		}
		if s, err := held.Schema(); err == nil && s.SelfContained() == text {
			return held
		}
	}
	return nil
}

// withoutPrefix leaves out "parsing schema:", which says nothing here.
func withoutPrefix(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "parsing schema: ") {
		return inner
	}
	return err
}
