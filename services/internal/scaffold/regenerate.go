package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// Regenerated makes those files of a consumer anew that follow from its schemas alone: the events' types, the samples of its
// test, and the pinned schemas. What it reads is taken from its declaration, its language from what lies in its folder.
func (c *Catalog) Regenerated(name string) (Request, []File, error) {
	i := slices.IndexFunc(c.consumers, func(declared contract.Consumer) bool { return declared.Group == name && declared.File != "" })
	if i < 0 {
		return Request{}, nil, fmt.Errorf("no consumer %q is declared: there is no contracts/consumers/%s.yaml; without --regenerate it is made", name, name)
	}
	r := Request{Name: name, Owner: c.consumers[i].Owner}
	folder := path.Join("services", name)
	pinned := path.Join(folder, "schemas")
	generated := []string{path.Join(folder, "events.go"), path.Join(folder, "events_test.go")}
	python := path.Join(folder, snake(name)+"_consumer")
	switch {
	case c.has(path.Join(folder, "events.go")):
		r.Kind = Go
	case c.has(path.Join(python, "records.py")):
		r.Kind, pinned = Python, path.Join(python, "schemas")
		generated = []string{path.Join(python, "records.py"), path.Join(folder, "tests", "samples.py")}
	default:
		return r, nil, fmt.Errorf("%s holds neither events.go nor %s_consumer/records.py: it was not made by this command", folder, snake(name))
	}
	for _, read := range c.consumers[i].Reads {
		p, err := c.product(read.Product)
		if err != nil {
			return r, nil, err
		}
		if !c.has(path.Join(pinned, p.Topic.Name+".avsc")) {
			return r, nil, fmt.Errorf("contracts/%s reads %s, and %s holds no %s.avsc: a product more is wired by hand; make a consumer of a scratch name to see how",
				c.consumers[i].File, read.Product, pinned, p.Topic.Name)
		}
		r.Topics = append(r.Topics, p.Topic.Name)
	}
	all, err := c.files(r)
	if err != nil {
		return r, nil, err
	}
	return r, slices.DeleteFunc(all, func(f File) bool {
		return !slices.Contains(generated, f.Path) && path.Dir(f.Path) != pinned
	}), nil
}

func (c *Catalog) has(name string) bool {
	_, err := os.Stat(filepath.Join(c.Root, filepath.FromSlash(name)))
	return err == nil
}

// Overwrite puts files in the place of those that are there and returns the paths of those that it changed. Each is written
// beside its place first, so that an interrupt leaves the old or the new.
func Overwrite(root string, files []File) (changed []string, err error) {
	for _, f := range files {
		name := filepath.Join(root, filepath.FromSlash(f.Path))
		have, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return changed, fmt.Errorf("writing %s: %w", f.Path, err)
		}
		if err == nil && bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), f.Text) {
			continue
		}
		if err := replace(name, f.Text); err != nil {
			return changed, fmt.Errorf("writing %s: %w", f.Path, err)
		}
		changed = append(changed, f.Path)
	}
	return changed, nil
}

func replace(name string, text []byte) error {
	beside, err := os.CreateTemp(filepath.Dir(name), "."+strings.TrimPrefix(filepath.Base(name), ".")+"-")
	if err != nil {
		return err
	}
	_, err = beside.Write(text)
	if err = errors.Join(err, beside.Chmod(0o644), beside.Close()); err == nil {
		err = os.Rename(beside.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside.Name()))
	}
	return nil
}
