package check

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
)

// Registry is what is asked of a registry that serves as the base; package registrybase makes one of a client. Versions
// have the text as the registry keeps it.
type Registry interface {
	URL() string
	LiveVersions(ctx context.Context, subject string) ([]history.Version, error)
	Version(ctx context.Context, subject string, version int) (history.Version, error)
	Compatibility(ctx context.Context, subject string) (avro.Level, bool, error)
	GlobalCompatibility(ctx context.Context) (avro.Level, error)
}

// base is what the working tree is compared with.
type base struct {
	name  string
	store *history.Store
	// current is which version of its subject the base's file is, by subject; with a registry its latest version.
	current map[string]*history.Version
	// files are the schemas' paths in the repository and texts what they hold, by subject.
	files     map[string]string
	texts     map[string]string
	contracts []contract.Contract
	consumers []contract.Consumer
	waivers   []contract.Waiver
	// levels that a registry has in force; the contracts' where it is nil.
	levels map[string]avro.Level
	notes  []string
}

// gitBase takes everything from the history.
func gitBase(h *history.History) (*base, error) {
	b := &base{name: h.Base.String(), store: h.Store, current: map[string]*history.Version{}, files: map[string]string{}, texts: map[string]string{}, notes: h.Notes}
	for name, held := range h.Schemas {
		b.current[name] = held.Version
		b.files[name] = history.SchemasFolder + "/" + held.Path
		b.texts[name] = held.Text
	}
	return b, b.readContracts(history.Folder(h.Files, history.ContractsFolder))
}

func (b *base) readContracts(fsys fs.FS) error {
	var problems contract.Problems
	var err error
	if b.contracts, problems, err = contract.LoadValid(fsys); err != nil {
		return err
	}
	for _, p := range problems {
		b.notes = append(b.notes, fmt.Sprintf("the base's %v; its promises are not compared, and its schema is judged at %s", p, contract.SharedTypeLevel))
	}
	if b.consumers, err = contract.LoadConsumers(fsys, b.contracts); err != nil {
		b.notes = append(b.notes, fmt.Sprintf("the base's declared readers cannot be read (%v); those of the working tree count alone", err))
	}
	if b.waivers, err = contract.LoadWaivers(fsys); err != nil {
		b.notes = append(b.notes, fmt.Sprintf("the base's waivers cannot be read: %v", err))
	}
	return nil
}

// useRegistry replaces versions and levels by those that a registry holds for the given subjects, each after those it
// refers to.
func (b *base) useRegistry(ctx context.Context, r Registry, subjects []string) error {
	b.name = "registry " + r.URL()
	b.store, b.current, b.levels = history.NewStore(), map[string]*history.Version{}, map[string]avro.Level{}
	global, err := r.GlobalCompatibility(ctx)
	if err != nil {
		return err
	}
	texts := registryTexts{registry: r, known: map[string][]string{}}
	for _, name := range subjects {
		versions, err := r.LiveVersions(ctx, name)
		if err != nil {
			return err
		}
		for _, v := range versions {
			referenced, err := texts.below(ctx, v.References, 0)
			if err != nil {
				return err
			}
			b.store.Add(name, v, referenced)
		}
		if all := b.store.Versions(name); len(all) > 0 {
			b.current[name] = all[len(all)-1]
		}
		level, own, err := r.Compatibility(ctx, name)
		if err != nil {
			return err
		}
		if !own {
			level = global
		}
		b.levels[name] = level
	}
	return nil
}

// registryTexts gathers the texts of references from a registry, each version once.
type registryTexts struct {
	registry Registry
	known    map[string][]string
}

// maxReferenceDepth bounds how deep references may lead.
const maxReferenceDepth = 32

// below returns the texts of the references and of theirs, each before its users.
func (t registryTexts) below(ctx context.Context, all []history.Reference, depth int) ([]string, error) {
	if depth > maxReferenceDepth {
		return nil, fmt.Errorf("references in the registry lead deeper than %d", maxReferenceDepth)
	}
	var texts []string
	for _, r := range all {
		key := fmt.Sprintf("%s/%d", r.Subject, r.Version)
		found, ok := t.known[key]
		if !ok {
			s, err := t.registry.Version(ctx, r.Subject, r.Version)
			if err != nil {
				return nil, err
			}
			if found, err = t.below(ctx, s.References, depth+1); err != nil {
				return nil, err
			}
			found = append(slices.Clone(found), s.Text)
			t.known[key] = found
		}
		for _, text := range found {
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	return texts, nil
}

// level of a subject: by the registry when that is the base, else by the base's contract. A subject that the base has no
// contract for is new, or a shared type.
func (b *base) level(subject string, next []contract.Contract) avro.Level {
	if level, ok := b.levels[subject]; ok {
		return level
	}
	for _, contracts := range [][]contract.Contract{b.contracts, next} {
		for _, c := range contracts {
			if c.Subject != subject {
				continue
			}
			if level, err := avro.ParseLevel(c.Compatibility); err == nil {
				return level
			}
		}
		// A base whose contract cannot be read must not be judged by the one that replaces it.
		if b.current[subject] != nil {
			break
		}
	}
	return contract.SharedTypeLevel
}
