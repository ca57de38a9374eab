package check

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
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
}

// readTree reads the schemas and contracts below a folder. The error is contract.Problems when contracts are wrong: what they
// promise cannot be compared then.
func readTree(top string) (workingTree, error) {
	var t workingTree
	if err := t.readSchemas(filepath.Join(top, history.SchemasFolder)); err != nil {
		return t, err
	}
	fsys := os.DirFS(filepath.Join(top, history.ContractsFolder))
	var err error
	if t.contracts, err = contract.Load(fsys); err != nil {
		return t, err
	}
	if t.consumers, err = contract.LoadConsumers(fsys, t.contracts); err != nil {
		return t, err
	}
	t.waivers, err = contract.LoadWaivers(fsys)
	return t, err
}

func (t *workingTree) readSchemas(folder string) error {
	fsys := os.DirFS(folder)
	names, err := fs.Glob(fsys, "*/*.avsc")
	if err != nil {
		return fmt.Errorf("listing schemas: %w", err)
	}
	if len(names) == 0 {
		return fmt.Errorf("%s holds no schema; a product's is <domain>/<product>.avsc", folder)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("reading schema %s: %w", filepath.Join(folder, name), err)
		}
		s, err := schemas.Parse(name, text)
		if err != nil {
			t.unread = append(t.unread, history.Refused{Subject: schemas.Subject{Name: fallbackName(name), Path: name, Text: string(text)}, Err: err})
			continue
		}
		t.schemas = append(t.schemas, s)
	}
	return nil
}

// fallbackName is what a file's subject would be called if it could be read.
func fallbackName(name string) string {
	s, err := schemas.Parse(name, []byte(`{}`))
	if err != nil {
		return name
	}
	return s.Name
}
