// Package schemas holds every Avro schema of the platform, one file a subject, and the order in which a registry must
// learn them: a shared type before the types that name it.
package schemas

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

//go:embed */*.avsc
var files embed.FS

// Reference names a type that a schema uses and another subject defines, in the registry's terms.
type Reference struct {
	// Name is the full name of the type as the schema writes it.
	Name string
	// Subject is the subject that defines it; by the house rule the type's full name.
	Subject string
}

// Subject is one schema file.
type Subject struct {
	// Name is the registry's subject: "<topic>-value", or the full name of a shared type.
	Name string
	// Path of the file below schemas/, for messages.
	Path string
	// Text is the schema exactly as the file holds it.
	Text string
	// References are the types that Text uses and does not define, in order of first use.
	References []Reference
}

// Topic returns the topic whose values the subject describes, and false for a shared type.
func (s Subject) Topic() (string, bool) { return strings.CutSuffix(s.Name, "-value") }

// All returns the embedded schemas, a shared type before its users.
func All() ([]Subject, error) { return Load(files) }

// Load reads every <domain>/*.avsc of fsys. A file whose name begins with a capital letter is a shared type and its
// subject is the type's full name; any other is the value of the topic it is named after.
func Load(fsys fs.FS) ([]Subject, error) {
	names, err := fs.Glob(fsys, "*/*.avsc")
	if err != nil {
		return nil, fmt.Errorf("listing schemas: %w", err)
	}
	sort.Strings(names)
	var all []Subject
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("reading schema %s: %w", name, err)
		}
		subject, err := Parse(name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, subject)
	}
	return inOrder(all)
}

// Get returns the embedded schema of one subject.
func Get(subject string) (Subject, error) {
	all, err := All()
	if err != nil {
		return Subject{}, err
	}
	for _, s := range all {
		if s.Name == subject {
			return s, nil
		}
	}
	return Subject{}, fmt.Errorf("subject %s: no such schema in this build; add schemas/<domain>/%s.avsc", subject, strings.TrimSuffix(subject, "-value"))
}

// SelfContained returns the schema's text with every referenced type written out where it is first used, for libraries
// that know no references.
func SelfContained(s Subject) (string, error) {
	all, err := All()
	if err != nil {
		return "", err
	}
	return SelfContainedAmong(s, all)
}

// SelfContainedAmong is SelfContained with the schemas of another working tree.
func SelfContainedAmong(s Subject, all []Subject) (string, error) {
	byName := make(map[string]string, len(all))
	for _, other := range all {
		byName[other.Name] = other.Text
	}
	return Inline(s.Text, func(fullName string) (string, bool) {
		text, ok := byName[fullName]
		return text, ok
	})
}

// Parse reads one schema file; name is its path below schemas/. Whether the schema is right beyond its names is not judged
// here.
func Parse(name string, text []byte) (Subject, error) {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return Subject{}, fmt.Errorf("schema %s is not JSON: %w", name, err)
	}
	base := strings.TrimSuffix(path.Base(name), ".avsc")
	if base == "" {
		return Subject{}, fmt.Errorf("schema %s: the file is named after its topic or its type", name)
	}
	s := Subject{Name: base + "-value", Path: name, Text: string(text)}
	if base[0] >= 'A' && base[0] <= 'Z' {
		record, ok := tree.(map[string]any)
		if !ok {
			return Subject{}, fmt.Errorf("schema %s: a shared type is a named type", name)
		}
		if s.Name, _ = record["name"].(string); !strings.Contains(s.Name, ".") {
			if namespace, _ := record["namespace"].(string); namespace != "" {
				s.Name = namespace + "." + s.Name
			}
		}
	}
	for _, used := range undefined(tree) {
		s.References = append(s.References, Reference{Name: used, Subject: used})
	}
	return s, nil
}

// inOrder sorts so that every reference stands before its user.
func inOrder(all []Subject) ([]Subject, error) {
	known := map[string]bool{}
	for _, s := range all {
		known[s.Name] = true
	}
	var ordered []Subject
	placed := map[string]bool{}
	for len(ordered) < len(all) {
		before := len(ordered)
		for _, s := range all {
			ready := !placed[s.Name]
			for _, r := range s.References {
				if !known[r.Subject] {
					return nil, fmt.Errorf("schema %s uses %s, which no file below schemas/ defines", s.Path, r.Name)
				}
				ready = ready && placed[r.Subject]
			}
			if ready {
				ordered = append(ordered, s)
				placed[s.Name] = true
			}
		}
		if len(ordered) == before {
			return nil, fmt.Errorf("schemas refer to each other in a circle: %v", slices.Collect(names(all, placed)))
		}
	}
	return ordered, nil
}

func names(all []Subject, except map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, s := range all {
			if !except[s.Name] && !yield(s.Name) {
				return
			}
		}
	}
}
