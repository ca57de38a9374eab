package check

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
	"github.com/streamforge/streamforge/services/internal/governance/history"
)

// workingTree is what is judged: the files as they lie there, committed or not.
type workingTree struct {
	schemas []schemas.Subject
	// unread are files that are no schema at all.
	unread    []history.Refused
	contracts []contract.Contract
	consumers []contract.Consumer
	waivers   []contract.Waiver
	// evidence are the snapshots of clusters, none when there are none.
	evidence []evidence.Snapshot
}

// readFiles reads the schemas and contracts of a working tree, path to text. What is no file of its own (a link, a folder) is
// left out, as in the history.
func readFiles(top string) (map[string]string, error) {
	files := map[string]string{}
	fsys := os.DirFS(top)
	for _, pattern := range []string{history.SchemasFolder + "/*/*.avsc", history.ContractsFolder + "/*/*.yaml", history.ContractsFolder + "/" + evidence.Folder + "/*.json"} {
		names, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", pattern, err)
		}
		for _, name := range names {
			about, err := os.Lstat(filepath.Join(top, name))
			if err != nil {
				return nil, err
			}
			if !about.Mode().IsRegular() {
				continue
			}
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", filepath.Join(top, name), err)
			}
			files[name] = string(text)
		}
	}
	return files, nil
}

// parseTree reads the schemas and contracts among files. The error is contract.Problems when contracts are wrong: what they
// promise cannot be compared then.
func parseTree(top string, files map[string]string) (workingTree, error) {
	var t workingTree
	for _, name := range slices.Sorted(maps.Keys(files)) {
		short, ok := strings.CutPrefix(name, history.SchemasFolder+"/")
		if !ok {
			continue
		}
		s, err := schemas.Parse(short, []byte(files[name]))
		if err != nil {
			t.unread = append(t.unread, history.Refused{Subject: schemas.Subject{Name: fallbackName(short), Path: short, Text: files[name]}, Err: err})
			continue
		}
		t.schemas = append(t.schemas, s)
	}
	if len(t.schemas)+len(t.unread) == 0 {
		return t, fmt.Errorf("%s holds no schema; a product's is <domain>/<product>.avsc", filepath.Join(top, history.SchemasFolder))
	}
	fsys := history.Folder(files, history.ContractsFolder)
	var err error
	if t.contracts, err = contract.Load(fsys); err != nil {
		return t, err
	}
	if t.consumers, err = contract.LoadConsumers(fsys, t.contracts); err != nil {
		return t, err
	}
	if t.waivers, err = contract.LoadWaivers(fsys); err != nil {
		return t, err
	}
	t.evidence, err = evidence.Load(fsys)
	return t, err
}

// fallbackName is what a file's subject would be called if it could be read.
func fallbackName(name string) string {
	s, err := schemas.Parse(name, []byte(`{}`))
	if err != nil || s.Name == "" {
		return name
	}
	return s.Name
}

// merged is what merging would make of the files that only one side has touched since the branch forked off: a branch that
// lags behind does not take back what the base has done since. A file that both have touched stays as it is here, and is named.
func merged(ours, fork, theirs map[string]string) (files map[string]string, both []string) {
	files = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(allNames(ours, fork, theirs))) {
		our, weHave := ours[name]
		was, wasThere := fork[name]
		their, theyHave := theirs[name]
		untouched := weHave == wasThere && sameText(our, was)
		touchedThere := theyHave != wasThere || !sameText(their, was)
		switch {
		case untouched:
			our, weHave = their, theyHave
		case touchedThere && (weHave != theyHave || !sameText(our, their)):
			both = append(both, name)
		}
		if weHave {
			files[name] = our
		}
	}
	return files, both
}

func allNames(sides ...map[string]string) map[string]bool {
	names := map[string]bool{}
	for _, side := range sides {
		for name := range side {
			names[name] = true
		}
	}
	return names
}

// sameText leaves line ends out: git may write them otherwise into a working tree.
func sameText(a, b string) bool {
	return a == b || strings.ReplaceAll(a, "\r\n", "\n") == strings.ReplaceAll(b, "\r\n", "\n")
}
