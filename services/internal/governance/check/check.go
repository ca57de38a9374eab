package check

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
)

// Options say what is compared with what.
type Options struct {
	// Dir is the working tree, or a folder in it.
	Dir string
	// Against is the base, a commit by any of git's names; empty for origin/main, or main where there is no origin.
	Against string
	// Registry replaces git as the source of versions and levels; contracts still come from git. Nil for git alone.
	Registry Registry
	// Today decides which waivers have expired.
	Today time.Time
}

// Run makes the check. An error means that it could not be judged.
func Run(ctx context.Context, o Options) (Report, error) {
	repository, err := history.Open(ctx, o.Dir)
	if err != nil {
		return Report{}, err
	}
	commit, err := repository.Base(ctx, o.Against)
	if err != nil {
		return Report{}, err
	}
	past, err := repository.Read(ctx, commit)
	if err != nil {
		return Report{}, err
	}
	b, err := gitBase(past)
	if err != nil {
		return Report{}, err
	}
	files, err := readFiles(repository.Top)
	if err != nil {
		return Report{}, err
	}
	if files, err = b.catchUp(ctx, repository, past, files); err != nil {
		return Report{}, err
	}
	tree, err := parseTree(repository.Top, files)
	if err != nil {
		return Report{}, err
	}
	if o.Registry != nil {
		if err := b.useRegistry(ctx, o.Registry, subjectNames(b, tree)); err != nil {
			return Report{}, err
		}
	}
	return judge(b, tree, o.Today)
}

// catchUp adds to the working tree's files what the base has done since the branch forked off.
func (b *base) catchUp(ctx context.Context, r *history.Repository, past *history.History, files map[string]string) (map[string]string, error) {
	fork, err := r.Fork(ctx, past.Base)
	if err != nil || fork == past.Base.Hash {
		return files, err
	}
	if fork == "" {
		b.notes = append(b.notes, fmt.Sprintf("the working tree and %s have no commit in common; the files are compared as they are", past.Base.Name))
		return files, nil
	}
	then, err := r.Files(ctx, fork)
	if err != nil {
		return nil, err
	}
	files, both := merged(files, then, past.Files)
	b.notes = append(b.notes, fmt.Sprintf("the working tree lacks commits of %s; files that it did not touch are taken as they are there", past.Base.Name))
	for _, name := range both {
		b.notes = append(b.notes, fmt.Sprintf("%s was changed here and on %s; it is judged as it is here, merge first for a sure verdict", name, past.Base.Name))
	}
	return files, nil
}

// subjectNames lists the subjects of both sides.
func subjectNames(b *base, tree workingTree) []string {
	var names []string
	for name := range b.files {
		names = append(names, name)
	}
	for _, s := range tree.schemas {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// judge compares the two sides, subject by subject.
func judge(b *base, tree workingTree, today time.Time) (Report, error) {
	j := judging{base: b, tree: tree, today: today, readers: allReaders(b.consumers, tree.consumers), earlier: map[string][]*history.Version{}}
	for _, name := range subjectNames(b, tree) {
		j.earlier[name] = b.store.Versions(name)
	}
	held, refused := b.store.RegisterAll(tree.schemas, "")
	j.held = held
	report := Report{Base: b.name, Notes: b.notes}
	var all []Subject
	for _, name := range inOrder(held) {
		s, err := j.subject(held[name])
		if err != nil {
			return Report{}, err
		}
		all = append(all, s)
	}
	for _, r := range append(refused, tree.unread...) {
		all = append(all, j.refused(r))
	}
	all = append(all, j.removed()...)
	for _, snapshot := range tree.evidence {
		report.Clusters = append(report.Clusters, snapshot.Cluster)
	}
	for _, s := range all {
		if s.Verdict() == Unchanged {
			report.Same++
			continue
		}
		j.lives(&s)
		report.Subjects = append(report.Subjects, s)
	}
	return report, nil
}

// judging is a comparison under way.
type judging struct {
	base  *base
	tree  workingTree
	today time.Time
	// readers are the declared ones of both sides.
	readers []contract.Consumer
	// earlier are the versions from before the working tree's were added.
	earlier map[string][]*history.Version
	// held are the working tree's schemas and which versions they are.
	held map[string]history.Held
}

// inOrder sorts by name, shared types before their users.
func inOrder(held map[string]history.Held) []string {
	var names []string
	seen := map[string]bool{}
	var place func(name string)
	place = func(name string) {
		if _, ok := held[name]; !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, r := range held[name].Subject.References {
			place(r.Subject)
		}
		names = append(names, name)
	}
	sorted := make([]string, 0, len(held))
	for name := range held {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	for _, name := range sorted {
		place(name)
	}
	return names
}

func (j judging) start(s schemas.Subject) Subject {
	out := Subject{Name: s.Name, File: history.SchemasFolder + "/" + s.Path, Level: j.base.level(s.Name, j.tree.contracts)}
	for _, c := range slices.Concat(j.base.contracts, j.tree.contracts) {
		if c.Subject == s.Name {
			out.Product, out.Owner = c.ID, c.Owner
			break
		}
	}
	if current := j.base.current[s.Name]; current != nil {
		out.Before = current.Number
	}
	return out
}

// subject judges one that a registry would take.
func (j judging) subject(held history.Held) (Subject, error) {
	out := j.start(held.Subject)
	current := j.base.current[held.Name]
	if held.Version == current && held.Text == j.base.texts[held.Name] {
		out.After = held.Version.Number
		err := j.meaning(&out, held)
		return out, err
	}
	// The text may be new although its content is held already; it is judged as a registry judges a new schema.
	candidate, err := held.Version.Candidate(held.Text)
	if err != nil {
		return j.refused(history.Refused{Subject: held.Subject, Err: err}), nil
	}
	out.After = held.Version.Number
	if held.Version != current {
		var earlier []avro.Version
		for _, v := range j.earlier[held.Name] {
			s, err := v.Schema()
			if err != nil {
				return out, fmt.Errorf("%s, version %d: %w", held.Name, v.Number, err)
			}
			earlier = append(earlier, avro.Version{Number: v.Number, Schema: s})
		}
		failed := out.Level.CheckAll(candidate, earlier)
		out.Findings, out.Messages = compatibility(candidate, failed), out.Level.Verbose(failed)
		out.Suggestion = suggest(candidate, failed)
	}
	err = j.meaning(&out, held)
	product := slices.IndexFunc(j.base.contracts, func(c contract.Contract) bool { return c.Subject == held.Name })
	if held.Version != current && product >= 0 && out.Verdict() == Incompatible {
		out.NextMajor = j.base.contracts[product].NextID()
	}
	return out, err
}

// refused is a subject whose schema no registry would take.
func (j judging) refused(r history.Refused) Subject {
	out := j.start(r.Subject)
	out.Findings = []Finding{{
		Layer: Confluent, Rule: NotAccepted, Severity: Breaking,
		Reason: fmt.Sprintf("a registry would refuse %s: %v", out.File, strings.TrimPrefix(r.Err.Error(), "schema "+r.Path+" ")),
		Do:     "mend the schema; nothing can be registered or built with it",
	}}
	return out
}

// removed are the subjects that the base has a file for and the working tree has none. The registry keeps them: their
// records must stay readable.
func (j judging) removed() []Subject {
	present := map[string]bool{}
	for _, s := range j.tree.schemas {
		present[s.Name] = true
	}
	for _, r := range j.tree.unread {
		present[r.Name] = true
	}
	var gone []string
	for name := range j.base.files {
		if !present[name] {
			gone = append(gone, name)
		}
	}
	sort.Strings(gone)
	var all []Subject
	for _, name := range gone {
		file := j.base.files[name]
		out := j.start(schemas.Subject{Name: name, Path: strings.TrimPrefix(file, history.SchemasFolder+"/")})
		out.After, out.Removed = out.Before, true
		j.loss(&out)
		all = append(all, out)
	}
	return all
}

// product finds a subject's contracts on both sides.
func (j judging) product(subject string) (before, after *contract.Contract) {
	return contractOf(j.base.contracts, subject), contractOf(j.tree.contracts, subject)
}

func contractOf(all []contract.Contract, subject string) *contract.Contract {
	i := slices.IndexFunc(all, func(c contract.Contract) bool { return c.Subject == subject })
	if i < 0 {
		return nil
	}
	return &all[i]
}
