package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Load reads every <domain>/<product>.yaml of fsys, sorted by product. It fails with Problems, one line for each thing that
// is wrong with the files; what is wrong between contracts and schemas is Lint's to say. Folders that hold other things
// than contracts (consumers, producers, waivers) migrations (<product>.migration.yaml) and views (<view>.view.yaml) are left out.
func Load(fsys fs.FS) ([]Contract, error) {
	names, err := contractFiles(fsys)
	if err != nil {
		return nil, err
	}
	all, problems, err := parseAll(fsys, names)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no contract found; a product's contract is contracts/<domain>/<product>.yaml")
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all, nil
}

// LoadValid reads what Load reads, for files that are what they are: those with problems are left out of the result, and
// none at all is no error. An older version of the repository need not have today's form.
func LoadValid(fsys fs.FS) ([]Contract, Problems, error) {
	names, err := contractFiles(fsys)
	if err != nil {
		return nil, nil, err
	}
	all, problems, err := parseAll(fsys, names)
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all, problems, err
}

// parseAll reads the named files; those with problems are left out of the result.
func parseAll(fsys fs.FS, names []string) ([]Contract, Problems, error) {
	var all []Contract
	var problems Problems
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading contract contracts/%s: %w", name, err)
		}
		c, found := Parse(name, text)
		problems = append(problems, found...)
		if len(found) == 0 {
			all = append(all, c)
		}
	}
	return all, append(problems, twice(all)...), nil
}

func contractFiles(fsys fs.FS) ([]string, error) {
	names, err := fs.Glob(fsys, "*/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing contracts: %w", err)
	}
	sort.Strings(names)
	var kept []string
	for _, name := range names {
		domain := path.Dir(name)
		if domain == "consumers" || domain == "producers" || domain == "waivers" || strings.HasSuffix(name, migrationEnding) || strings.HasSuffix(name, viewEnding) {
			continue
		}
		kept = append(kept, name)
	}
	return kept, nil
}

// Parse reads one contract; name is its path below contracts/. The contract is valid only when there are no problems.
func Parse(name string, text []byte) (Contract, Problems) {
	subject := "contract " + strings.TrimSuffix(path.Base(name), ".yaml")
	doc, problems := read("contract", subject, name, text)
	if len(problems) > 0 {
		return Contract{}, problems
	}
	d := decoder{doc: doc, subject: subject, file: name}
	c := d.contract()
	if len(d.problems) > 0 {
		return Contract{}, d.problems
	}
	return c, nil
}

// read parses a file and compares it with the JSON Schema of its kind.
func read(kindOfFile, subject, name string, text []byte) (*document, Problems) {
	doc, err := parseDocument(text)
	if err != nil {
		fault := asYAMLError(err)
		return nil, Problems{{Subject: subject, File: name, Line: fault.line, What: fault.what, Do: "mend the YAML"}}
	}
	faults, err := checkForm(kindOfFile, doc.value)
	if err != nil {
		return nil, Problems{{Subject: subject, File: name, What: err.Error()}}
	}
	var problems Problems
	for _, f := range faults {
		problems = append(problems, Problem{Subject: subject, File: name, Line: doc.line(f.pointer), What: f.what, Do: f.do})
	}
	return doc, problems
}

// twice reports what two contracts both claim.
func twice(all []Contract) Problems {
	var problems Problems
	owner := map[string]Contract{}
	claim := func(c Contract, what, name, pointer string) {
		key := what + " " + name
		if first, taken := owner[key]; taken {
			problems = append(problems, c.problem(pointer, fmt.Sprintf("the %s belongs to contracts/%s already", key, first.File), "give it a name of its own"))
			return
		}
		owner[key] = c
	}
	for _, c := range all {
		claim(c, "product", c.ID, "/id")
		if c.Sink != nil {
			claim(c, "table", c.Sink.Table, "/servers")
		}
	}
	return problems
}
