package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
)

// codeOwnersFile is where GitHub looks for it.
const codeOwnersFile = ".github/CODEOWNERS"

type codeOwnersCommand struct {
	Root  string `name:"root" type:"existingdir" default:"." help:"The working tree, or a folder in it."`
	Check bool   `name:"check" help:"Write nothing; exit status 3 when the file is not what would be written."`
}

// Run is the command.
func (c *codeOwnersCommand) Run(ctx context.Context) error {
	repository, err := history.Open(ctx, c.Root)
	if err != nil {
		return err
	}
	want, err := codeOwners(repository.Top)
	if err != nil {
		return err
	}
	file := filepath.Join(repository.Top, filepath.FromSlash(codeOwnersFile))
	have, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	switch {
	case bytes.Equal(have, want):
		fmt.Println(codeOwnersFile + " is as the contracts say")
		return nil
	case c.Check:
		fmt.Println(codeOwnersFile + " is not what the contracts say; `streamforge codeowners` writes it")
		return exitError{3}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, want, 0o644); err != nil {
		return err
	}
	fmt.Println(codeOwnersFile + " written")
	return nil
}

// ownedPath is a line of the file.
type ownedPath struct {
	path  string
	teams []string
}

// codeOwners writes the file from the contracts of a working tree. A team of a contract is the team of that name in the
// organisation that the repository belongs to.
func codeOwners(top string) ([]byte, error) {
	organisation, err := organisationOf(filepath.Join(top, "go.mod"))
	if err != nil {
		return nil, err
	}
	folder := os.DirFS(filepath.Join(top, history.ContractsFolder))
	all, err := contract.Load(folder)
	if err != nil {
		return nil, err
	}
	consumers, err := contract.LoadConsumers(folder, all)
	if err != nil {
		return nil, err
	}
	subjects, err := schemas.Load(os.DirFS(filepath.Join(top, history.SchemasFolder)))
	if err != nil {
		return nil, err
	}
	waivers, err := contract.LoadWaivers(folder)
	if err != nil {
		return nil, err
	}
	producers, err := contract.LoadProducers(folder, all, consumers)
	if err != nil {
		return nil, err
	}
	o := ownership{contracts: all, consumers: consumers, producers: producers, subjects: subjects, waivers: waivers}
	return renderOwners(organisation, o.general(), o.files())
}

var modulePath = regexp.MustCompile(`(?m)^module github\.com/([A-Za-z0-9-]+)/`)

func organisationOf(goMod string) (string, error) {
	text, err := os.ReadFile(goMod)
	if err != nil {
		return "", fmt.Errorf("reading the organisation: %w", err)
	}
	m := modulePath.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s names no module of github.com/<organisation>/, so that its teams have no name on GitHub", goMod)
	}
	return string(m[1]), nil
}

// ownership is what the files say of who answers for what.
type ownership struct {
	contracts []contract.Contract
	consumers []contract.Consumer
	producers []contract.Producer
	subjects  []schemas.Subject
	waivers   []contract.Waiver
}

// general rules cover files that no contract names yet: any owner of a product may take a new one in.
func (o ownership) general() []ownedPath {
	var teams []string
	for _, c := range o.contracts {
		teams = append(teams, c.Owner)
	}
	return []ownedPath{{"/.github/", teams}, {"/contracts/", teams}, {"/schemas/", teams}}
}

// files are the rules of single files. A shared type is everybody's who uses it; a waiver is its product's, since a
// change must not excuse itself.
func (o ownership) files() []ownedPath {
	var paths []ownedPath
	for _, c := range o.contracts {
		paths = append(paths, ownedPath{"/contracts/" + c.File, []string{c.Owner}})
	}
	for _, c := range o.consumers {
		if c.File != "" {
			paths = append(paths, ownedPath{"/contracts/" + c.File, []string{c.Owner}})
		}
	}
	for _, p := range o.producers {
		paths = append(paths, ownedPath{"/contracts/" + p.File, []string{p.Owner}})
	}
	for _, s := range o.subjects {
		if teams := o.teamsOf(s.Name, nil); len(teams) > 0 {
			paths = append(paths, ownedPath{"/schemas/" + s.Path, teams})
		}
	}
	for _, w := range o.waivers {
		teams := o.teamsOf(w.Product, nil)
		if c, ok := contract.Find(o.contracts, w.Product); ok {
			teams = []string{c.Owner}
		}
		if len(teams) > 0 {
			paths = append(paths, ownedPath{"/contracts/" + w.File, teams})
		}
	}
	sort.Slice(paths, func(i, j int) bool { return paths[i].path < paths[j].path })
	return paths
}

// teamsOf a subject: its contract's owner, and those of every subject that refers to it.
func (o ownership) teamsOf(subject string, seen []string) []string {
	if slices.Contains(seen, subject) {
		return nil
	}
	seen = append(seen, subject)
	var teams []string
	for _, c := range o.contracts {
		if c.Subject == subject {
			teams = append(teams, c.Owner)
		}
	}
	for _, s := range o.subjects {
		if slices.ContainsFunc(s.References, func(r schemas.Reference) bool { return r.Subject == subject }) {
			teams = append(teams, o.teamsOf(s.Name, seen)...)
		}
	}
	return teams
}

var (
	// teamName is what GitHub takes for a team; anything else would make the whole line void without a word.
	teamName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	// plainPath needs no quoting in the file.
	plainPath = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
)

func renderOwners(organisation string, groups ...[]ownedPath) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Written by `streamforge codeowners` from the contracts; a test holds the two together. The last line that fits decides.\n" +
		"# With several teams on a line the word of one is enough for GitHub: the check's comment names all whose word is wanted.\n")
	for _, group := range groups {
		b.WriteByte('\n')
		width := 0
		for _, p := range group {
			width = max(width, len(p.path))
		}
		for _, p := range group {
			if !plainPath.MatchString(p.path) || path.Clean(p.path) != strings.TrimSuffix(p.path, "/") {
				return nil, fmt.Errorf("%q cannot stand in %s; rename the file", p.path, codeOwnersFile)
			}
			teams := slices.Compact(slices.Sorted(slices.Values(p.teams)))
			names := make([]string, len(teams))
			for i, team := range teams {
				if !teamName.MatchString(team) {
					return nil, fmt.Errorf("%s: the owner %q is no name of a team on GitHub; write letters, digits and dashes", p.path, team)
				}
				names[i] = "@" + organisation + "/" + team
			}
			fmt.Fprintf(&b, "%-*s %s\n", width, p.path, strings.Join(names, " "))
		}
	}
	return b.Bytes(), nil
}
