package schemaregistry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// state is everything the topic says. It does no input or output.
type state struct {
	subjects map[string]map[int]*schemaValue
	ids      map[int]map[string]map[int]bool // id to subject to versions
	contents map[string]int                  // what a schema says to its id
	levels   map[string]string               // "" is the global one
	modes    map[string]string
	maxID    int
}

func newState() *state {
	return &state{
		subjects: map[string]map[int]*schemaValue{},
		ids:      map[int]map[string]map[int]bool{},
		contents: map[string]int{},
		levels:   map[string]string{},
		modes:    map[string]string{},
	}
}

// content is what makes two schemas the same: the text in the registry's form, and the references.
func content(v *schemaValue) string {
	var b strings.Builder
	b.WriteString(v.Schema)
	for _, r := range v.References {
		fmt.Fprintf(&b, "\x00%s\x00%s\x00%d", r.Name, r.Subject, r.Version)
	}
	return b.String()
}

func (s *state) put(v *schemaValue) {
	versions := s.subjects[v.Subject]
	if versions == nil {
		versions = map[int]*schemaValue{}
		s.subjects[v.Subject] = versions
	}
	if old := versions[v.Version]; old != nil && old.ID != v.ID {
		s.remove(v.Subject, v.Version)
		s.subjects[v.Subject] = versions
	}
	versions[v.Version] = v
	bySubject := s.ids[v.ID]
	if bySubject == nil {
		bySubject = map[string]map[int]bool{}
		s.ids[v.ID] = bySubject
	}
	if bySubject[v.Subject] == nil {
		bySubject[v.Subject] = map[int]bool{}
	}
	bySubject[v.Subject][v.Version] = true
	if _, known := s.contents[content(v)]; !known {
		s.contents[content(v)] = v.ID
	}
	s.maxID = max(s.maxID, v.ID)
}

func (s *state) remove(subject string, version int) {
	v := s.subjects[subject][version]
	if v == nil {
		return
	}
	delete(s.subjects[subject], version)
	if len(s.subjects[subject]) == 0 {
		delete(s.subjects, subject)
	}
	delete(s.ids[v.ID][subject], version)
	if len(s.ids[v.ID][subject]) == 0 {
		delete(s.ids[v.ID], subject)
	}
	if len(s.ids[v.ID]) == 0 {
		delete(s.ids, v.ID)
		delete(s.contents, content(v))
	}
}

func (s *state) deleteUpTo(subject string, version int) {
	for n, v := range s.subjects[subject] {
		if n <= version {
			deleted := *v
			deleted.Deleted = true
			s.subjects[subject][n] = &deleted
		}
	}
}

// filter says which versions count.
type filter int

const (
	live filter = iota
	withDeleted
	deletedOnly
)

func (f filter) includes(v *schemaValue) bool {
	return f == withDeleted || v.Deleted == (f == deletedOnly)
}

// versions returns the versions of a subject in ascending order.
func (s *state) versions(subject string, f filter) []*schemaValue {
	var all []*schemaValue
	for _, n := range slices.Sorted(maps.Keys(s.subjects[subject])) {
		if v := s.subjects[subject][n]; f.includes(v) {
			all = append(all, v)
		}
	}
	return all
}

// names returns the subjects that have a version by the filter. A subject counts as deleted when all its versions are.
func (s *state) names(prefix string, f filter) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.subjects)) {
		alive := len(s.versions(name, live)) > 0
		if strings.HasPrefix(name, prefix) && (f == withDeleted || alive == (f == live)) {
			all = append(all, name)
		}
	}
	return all
}

// version returns one version; latest is -1.
func (s *state) version(subject string, version int, f filter) *schemaValue {
	if version == latest {
		all := s.versions(subject, f)
		if len(all) == 0 {
			return nil
		}
		return all[len(all)-1]
	}
	if v := s.subjects[subject][version]; v != nil && f.includes(v) {
		return v
	}
	return nil
}

// byID returns any version that has the id, deleted ones too: records written with it must stay readable.
func (s *state) byID(id int) *schemaValue {
	for _, subject := range slices.Sorted(maps.Keys(s.ids[id])) {
		for _, version := range slices.Sorted(maps.Keys(s.ids[id][subject])) {
			return s.subjects[subject][version]
		}
	}
	return nil
}

// usesOf lists the versions that have the id.
func (s *state) usesOf(id int, f filter) []*schemaValue {
	var all []*schemaValue
	for _, subject := range slices.Sorted(maps.Keys(s.ids[id])) {
		for _, version := range slices.Sorted(maps.Keys(s.ids[id][subject])) {
			if v := s.subjects[subject][version]; f.includes(v) {
				all = append(all, v)
			}
		}
	}
	return all
}

// referencedBy lists the ids of the live schemas that refer to a version.
func (s *state) referencedBy(subject string, version int) []int {
	ids := map[int]bool{}
	for _, versions := range s.subjects {
		for _, v := range versions {
			for _, r := range v.References {
				if !v.Deleted && r.Subject == subject && r.Version == version {
					ids[v.ID] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

const (
	defaultLevel = "BACKWARD"
	defaultMode  = "READWRITE"
)

// levelFor is the level that applies to a subject.
func (s *state) levelFor(subject string) string {
	if level := s.levels[subject]; level != "" {
		return level
	}
	return s.globalLevel()
}

func (s *state) globalLevel() string {
	if level := s.levels[""]; level != "" {
		return level
	}
	return defaultLevel
}

// modeFor is the mode that applies to a subject.
func (s *state) modeFor(subject string) string {
	global := s.globalMode()
	if mode := s.modes[subject]; mode != "" && global != "READONLY_OVERRIDE" {
		return mode
	}
	return global
}

func (s *state) globalMode() string {
	if mode := s.modes[""]; mode != "" {
		return mode
	}
	return defaultMode
}
