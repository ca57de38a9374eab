package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"testing/fstest"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
)

// The folders of a repository that the check is about.
const (
	SchemasFolder   = "schemas"
	ContractsFolder = "contracts"
)

// maxNotes bounds what is said about files of the past that could not be registered.
const maxNotes = 20

// History is what a registry would hold after every commit of a base, and the base's own files.
type History struct {
	Base Commit
	*Store
	// Schemas are the base's, each with the version it is.
	Schemas map[string]Held
	// Files are the base's schemas and contracts, path to text.
	Files map[string]string
	// Notes name the files of the past that were left out, and why.
	Notes []string
}

// Held is a schema of a tree with the version that it is.
type Held struct {
	schemas.Subject
	Version *Version
}

// Read works out the history up to a base.
func (r *Repository) Read(ctx context.Context, base Commit) (*History, error) {
	steps, err := r.log(ctx, base.Hash, SchemasFolder, ContractsFolder)
	if err != nil {
		return nil, err
	}
	h := &History{Base: base, Store: NewStore()}
	w := walk{history: h, files: map[string]string{}, contracts: map[string]string{}, parsed: map[string]parsedFile{}, skipped: map[string]bool{}}
	if w.texts, err = r.blobs(ctx, wantedBlobs(steps)); err != nil {
		return nil, err
	}
	for _, s := range steps {
		w.step(s)
	}
	h.Schemas = w.held
	h.Files = w.tip()
	if n := len(h.Notes) - maxNotes; n > 0 {
		h.Notes = append(h.Notes[:maxNotes], fmt.Sprintf("and %d more files of the past that were left out", n))
	}
	return h, nil
}

// wantedBlobs are all texts of schemas, and those of the contracts that the last commit has.
func wantedBlobs(steps []step) []string {
	wanted := map[string]bool{}
	contracts := map[string]string{}
	for _, s := range steps {
		for _, c := range s.changes {
			switch {
			case isContract(c.path):
				contracts[c.path] = c.blob
			case isSchema(c.path) && c.blob != "" && !absent(c.blob):
				wanted[c.blob] = true
			}
		}
	}
	for _, blob := range contracts {
		if blob != "" && !absent(blob) {
			wanted[blob] = true
		}
	}
	ids := make([]string, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

// absent tells git's id of nothing.
func absent(blob string) bool { return strings.Trim(blob, "0") == "" }

// isSchema and isContract go by the form that packages schemas, contracts and evidence read: one folder deep.
func isSchema(name string) bool {
	matched, _ := path.Match(SchemasFolder+"/*/*.avsc", name)
	return matched
}

func isContract(name string) bool {
	matched, _ := path.Match(ContractsFolder+"/*/*.yaml", name)
	snapshot, _ := path.Match(ContractsFolder+"/"+evidence.Folder+"/*.json", name)
	return matched || snapshot
}

// walk replays the commits.
type walk struct {
	history   *History
	texts     map[string]string // by blob
	files     map[string]string // schema files of the commit that was replayed last, path to blob
	contracts map[string]string
	parsed    map[string]parsedFile
	held      map[string]Held
	skipped   map[string]bool
}

type parsedFile struct {
	subject schemas.Subject
	err     error
}

func (w *walk) step(s step) {
	changed := false
	for _, c := range s.changes {
		files := w.contracts
		if isSchema(c.path) {
			files, changed = w.files, true
		} else if !isContract(c.path) {
			continue
		}
		if c.blob == "" || absent(c.blob) {
			delete(files, c.path)
		} else {
			files[c.path] = c.blob
		}
	}
	if !changed {
		return
	}
	var all []schemas.Subject
	for _, name := range sortedKeys(w.files) {
		subject, err := w.parse(name, w.files[name])
		if err != nil {
			w.skip(name, s.commit, err)
			continue
		}
		all = append(all, subject)
	}
	var refused []Refused
	w.held, refused = w.history.RegisterAll(all, s.commit)
	for _, r := range refused {
		w.skip(SchemasFolder+"/"+r.Path, s.commit, r.Err)
	}
}

// parse reads a file's names once for each content and place.
func (w *walk) parse(name, blob string) (schemas.Subject, error) {
	key := name + "\x00" + blob
	known, ok := w.parsed[key]
	if !ok {
		text, read := w.texts[blob]
		if read {
			known.subject, known.err = schemas.Parse(strings.TrimPrefix(name, SchemasFolder+"/"), []byte(text))
		} else {
			known.err = errTooLarge
		}
		w.parsed[key] = known
	}
	return known.subject, known.err
}

// skip says once for each content of a file that no registry would have taken it.
func (w *walk) skip(name, commit string, err error) {
	key := name + "\x00" + w.files[name]
	if w.skipped[key] {
		return
	}
	w.skipped[key] = true
	w.history.Notes = append(w.history.Notes, fmt.Sprintf("%s as of %s is left out: %v", name, short(commit), err))
}

// tip are the files of the commit that was replayed last.
func (w *walk) tip() map[string]string {
	files := map[string]string{}
	for _, side := range []map[string]string{w.files, w.contracts} {
		for name, blob := range side {
			if text, ok := w.texts[blob]; ok {
				files[name] = text
			}
		}
	}
	return files
}

// Folder is a part of Files as the loaders of schemas and contracts read it.
func Folder(files map[string]string, folder string) fs.FS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		if inside, ok := strings.CutPrefix(name, folder+"/"); ok {
			fsys[inside] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return fsys
}

// Refused is a schema that a registry would not take.
type Refused struct {
	schemas.Subject
	Err error
}

// RegisterAll registers the schemas of one tree, a shared type before its users, and returns which version each of them is
// and which would be refused. Of two files for one subject the first by path counts.
func (s *Store) RegisterAll(all []schemas.Subject, since string) (map[string]Held, []Refused) {
	held := make(map[string]Held, len(all))
	var refused []Refused
	refuse := func(f schemas.Subject, err error) { refused = append(refused, Refused{f, err}) }
	byName := map[string]schemas.Subject{}
	for _, f := range all {
		if first, twice := byName[f.Name]; twice {
			refuse(f, fmt.Errorf("the subject %s belongs to %s/%s already", f.Name, SchemasFolder, first.Path))
			continue
		}
		byName[f.Name] = f
	}
	versionOf := func(name string) *Version {
		if h, ok := held[name]; ok {
			return h.Version
		}
		return nil
	}
	for _, f := range inOrder(byName) {
		v, err := s.Register(f, versionOf, since)
		if err != nil {
			var reason *RefusedError
			if errors.As(err, &reason) {
				err = reason.Err
			}
			refuse(f, err)
			continue
		}
		held[f.Name] = Held{f, v}
	}
	return held, refused
}

// inOrder sorts by name, each after those it refers to. Those in a circle come in some fixed order: the first of them will
// find its reference missing, as in a registry.
func inOrder(byName map[string]schemas.Subject) []schemas.Subject {
	ordered := make([]schemas.Subject, 0, len(byName))
	seen := map[string]bool{}
	var place func(name string)
	place = func(name string) {
		f, ok := byName[name]
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, r := range f.References {
			place(r.Subject)
		}
		ordered = append(ordered, f)
	}
	for _, name := range sortedKeys(byName) {
		place(name)
	}
	return ordered
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
