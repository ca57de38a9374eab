package contract

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// declaration is what every file has that says one thing in its own form: a consumer, a producer, a waiver, a migration.
type declaration struct {
	kind string // "consumer": the form's name and the first word of a problem
	file string // the path below contracts/
	doc  *document
}

// loadEach reads the files of a kind, sorted, with the kind's own parser. Files with problems are left out.
func loadEach[T any](fsys fs.FS, kind, files string, parse func(name string, text []byte) (T, Problems)) ([]T, Problems, error) {
	names, err := fs.Glob(fsys, files)
	if err != nil {
		return nil, nil, fmt.Errorf("listing %ss: %w", kind, err)
	}
	sort.Strings(names)
	var all []T
	var problems Problems
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s contracts/%s: %w", kind, name, err)
		}
		one, found := parse(name, text)
		problems = append(problems, found...)
		if len(found) == 0 {
			all = append(all, one)
		}
	}
	return all, problems, nil
}

// declare reads one file into a struct by its kind's form.
func declare(kind, name string, text []byte, into any) (declaration, Problems) {
	d := declaration{kind: kind, file: name}
	doc, problems := read(kind, d.subject(), name, text)
	if len(problems) > 0 {
		return d, problems
	}
	d.doc = doc
	encoded, err := json.Marshal(doc.value)
	if err == nil {
		err = json.Unmarshal(encoded, into)
	}
	if err != nil {
		return d, Problems{{Subject: d.subject(), File: name, What: err.Error()}}
	}
	return d, nil
}

// base is the file's name without its ending, and without its kind where that is a part of the name.
func (d declaration) base() string {
	return strings.TrimSuffix(strings.TrimSuffix(path.Base(d.file), ".yaml"), "."+d.kind)
}

func (d declaration) subject() string { return d.kind + " " + d.base() }

func (d declaration) problem(pointer, what, do string) Problem {
	return Problem{Subject: d.subject(), File: d.file, Line: d.doc.line(pointer), What: what, Do: do}
}
