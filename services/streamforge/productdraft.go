package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

type productDraftCommand struct {
	Product string `arg:"" help:"The product whose schema the working tree changes, raw-trades."`
	Against string `help:"The commit that holds the product as it is; default: where the branch left origin/main."`
	Root    string `type:"existingdir" default:"." help:"The working tree, or a folder in it."`
}

// drafted are the files of a next major version, path in the repository to text, and those of the version before it as the
// base has them.
type drafted struct {
	files, restored map[string]string
	from, to        string
	undecided       int
}

// Run is the command: it moves an incompatible change of the working tree to a next major version of the product. What was
// written is in the new files; the earlier version is the base's again.
func (c *productDraftCommand) Run(ctx context.Context) error {
	repository, err := history.Open(ctx, c.Root)
	if err != nil {
		return err
	}
	base, err := repository.Base(ctx, c.Against)
	if err != nil {
		return err
	}
	if fork, err := repository.Fork(ctx, base); err == nil && fork != "" && c.Against == "" {
		base = history.Commit{Hash: fork, Name: base.Name}
	}
	held, err := repository.Files(ctx, base.Hash)
	if err != nil {
		return err
	}
	d, err := draft(os.DirFS(repository.Top), held, c.Product, base)
	if err != nil {
		return err
	}
	for name := range d.files {
		if _, err := os.Stat(filepath.Join(repository.Top, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already; remove it to draft it anew, or edit it", name)
		}
	}
	// The new files first: until they are there, the working tree holds the only copy of the change.
	for _, files := range []map[string]string{d.files, d.restored} {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(repository.Top, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	d.report(base)
	return nil
}

func (d drafted) report(base history.Commit) {
	for _, name := range sortedNames(d.files) {
		fmt.Println("wrote    " + name)
	}
	for _, name := range sortedNames(d.restored) {
		fmt.Printf("restored %s as %s has it\n", name, base)
	}
	if d.undecided > 0 {
		fmt.Printf("%d decision(s) are yours: each `decide` of the migration says what and which rule to write in its place; `streamforge contracts lint` refuses the file until then\n", d.undecided)
	}
	fmt.Println("next: look at what was guessed, then `streamforge contracts lint`, and `streamforge codeowners`")
}

// draft works out the files. tree is the working tree, held the base's schemas and contracts.
func draft(tree fs.FS, held map[string]string, product string, base history.Commit) (drafted, error) {
	now, subjects, err := productIn(tree, product)
	if err != nil {
		return drafted{}, err
	}
	i := indexOfSubject(subjects, now.Subject)
	if i < 0 {
		return drafted{}, fmt.Errorf("subject %s of %s has no schema in this working tree", now.Subject, product)
	}
	contractFile, schemaFile := history.ContractsFolder+"/"+now.File, history.SchemasFolder+"/"+subjects[i].Path
	if held[schemaFile] == "" {
		return drafted{}, fmt.Errorf("%s is not in %s: a product that nobody has yet needs no next version", schemaFile, base)
	}
	if held[schemaFile] == subjects[i].Text {
		return drafted{}, fmt.Errorf("%s is what %s has: change it as the next version should be, then draft", schemaFile, base)
	}
	before, err := schemas.Load(history.Folder(held, history.SchemasFolder))
	if err != nil {
		return drafted{}, fmt.Errorf("the schemas of %s: %w", base, err)
	}
	d := drafted{from: product, to: now.NextID(), files: map[string]string{}, restored: map[string]string{schemaFile: held[schemaFile]}}
	next, err := nextSchema(subjects[i], d.to)
	if err != nil {
		return d, err
	}
	texts := [2]string{}
	if texts[0], err = schemas.SelfContainedAmong(before[indexOfSubject(before, now.Subject)], before); err != nil {
		return d, err
	}
	if texts[1], err = schemas.SelfContainedAmong(next, subjects); err != nil {
		return d, err
	}
	folder := path.Dir(now.File)
	file, err := migration.NewDraft(folder+"/"+d.to+".migration.yaml", d.from, d.to, texts[0], texts[1])
	if err != nil {
		return d, err
	}
	d.undecided = file.Undecided
	schema, err := avro.Parse(texts[1], nil)
	if err != nil {
		return d, err
	}
	text, err := fs.ReadFile(tree, contractFile)
	if err != nil {
		return d, err
	}
	said, err := now.NextMajor(folder+"/"+d.to+".yaml", text, schema, file.Renamed)
	if err != nil {
		return d, err
	}
	if kept := held[contractFile]; kept != "" && kept != string(text) {
		d.restored[contractFile] = kept
	}
	d.files[history.SchemasFolder+"/"+next.Path] = next.Text
	d.files[history.ContractsFolder+"/"+folder+"/"+d.to+".yaml"] = string(said)
	d.files[history.ContractsFolder+"/"+folder+"/"+d.to+".migration.yaml"] = string(file.Text)
	return d, nil
}

// productIn reads a product's contract and the schemas of a working tree.
func productIn(tree fs.FS, product string) (contract.Contract, []schemas.Subject, error) {
	contracts, err := fs.Sub(tree, history.ContractsFolder)
	if err != nil {
		return contract.Contract{}, nil, err
	}
	all, _, err := contract.LoadValid(contracts)
	if err != nil {
		return contract.Contract{}, nil, err
	}
	c, ok := contract.Find(all, product)
	if !ok {
		return c, nil, fmt.Errorf("product %s has no contract that can be read below %s/; `streamforge contracts lint` says what is wrong", product, history.ContractsFolder)
	}
	files, err := fs.Sub(tree, history.SchemasFolder)
	if err != nil {
		return c, nil, err
	}
	subjects, err := schemas.Load(files)
	return c, subjects, err
}

func indexOfSubject(all []schemas.Subject, name string) int {
	for i, s := range all {
		if s.Name == name {
			return i
		}
	}
	return -1
}

// nextSchema is the schema under the next version's names: file, and namespace. Types that it defines get the namespace with
// it; shared types stay who they are.
func nextSchema(s schemas.Subject, id string) (schemas.Subject, error) {
	var named struct{ Namespace string }
	if err := json.Unmarshal([]byte(s.Text), &named); err != nil || named.Namespace == "" {
		return schemas.Subject{}, fmt.Errorf("schemas/%s has no namespace", s.Path)
	}
	_, major, _ := strings.Cut(id, ".v")
	bare, _, _ := strings.Cut(named.Namespace, ".v")
	text := strings.Replace(s.Text, `"`+named.Namespace+`"`, `"`+bare+".v"+major+`"`, 1)
	return schemas.Parse(path.Dir(s.Path)+"/"+id+".avsc", []byte(text))
}

func sortedNames(files map[string]string) []string {
	return slices.Sorted(maps.Keys(files))
}
