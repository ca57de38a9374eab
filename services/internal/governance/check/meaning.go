package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

// meaning is the second layer: what the two versions of a product, or of a shared type, mean otherwise; and what the change
// is to the table.
func (j judging) meaning(out *Subject, held history.Held) error {
	next, err := held.Version.Schema()
	if err != nil {
		return fmt.Errorf("%s: %w", out.File, err)
	}
	var previous *avro.Schema
	if current := j.base.current[held.Name]; current != nil {
		if previous, err = current.Schema(); err != nil {
			return fmt.Errorf("%s, version %d: %w", held.Name, current.Number, err)
		}
	}
	before, after := j.product(held.Name)
	var found []semantics.Finding
	switch {
	case before != nil && after != nil:
		from, to := semantics.Product{Contract: *before, Schema: previous}, semantics.Product{Contract: *after, Schema: next}
		found = semantics.Compare(from, to, j.readers)
		j.table(out, &from, to)
	case before != nil:
		found = semantics.Removed(*before, j.readers)
	case after != nil && previous == nil:
		found = semantics.Added(*after, j.base.contracts)
		j.table(out, nil, semantics.Product{Contract: *after, Schema: next})
	case previous != nil:
		found = semantics.CompareSchemas(subjectOrProduct(*out), previous, next, j.readers)
	}
	j.settle(out, before, found)
	return nil
}

func subjectOrProduct(s Subject) string {
	if s.Product != "" {
		return s.Product
	}
	return s.Name
}

// loss judges a subject whose file is gone.
func (j judging) loss(out *Subject) {
	before, after := j.product(out.Name)
	switch {
	case before != nil && after == nil:
		j.settle(out, before, semantics.Removed(*before, j.readers))
	case after != nil:
		out.Findings = append(out.Findings, Finding{
			Layer: Confluent, Rule: SubjectRemoved, Severity: Breaking,
			Reason: fmt.Sprintf("%s is gone and the contract of %s still names its subject: nothing can be built with it any more", out.File, after.ID),
			Do:     "put the file back, or retire the product: its contract goes with it",
		})
	default:
		out.Findings = append(out.Findings, Finding{
			Layer: Confluent, Rule: SubjectRemoved, Severity: Note,
			Reason: fmt.Sprintf("%s is gone and no schema uses it; a registry keeps the subject, so that its records stay readable", out.File),
		})
	}
}

// settle applies the waivers, takes the findings over and names who reads what they are about.
func (j judging) settle(out *Subject, before *contract.Contract, found []semantics.Finding) {
	w := semantics.Waivers{Product: subjectOrProduct(*out), Given: j.tree.waivers, Base: j.base.waivers, Today: j.today}
	if before != nil {
		w.Owners = before.OwnerUsers
	}
	changed := out.Before != out.After || len(found) > 0
	for _, f := range w.Waive(found) {
		// A waiver that has done its work is worth a word where something changes, and none where nothing does.
		if !changed && f.Severity == Note {
			continue
		}
		out.Findings = append(out.Findings, Finding{
			Layer: Semantic, Rule: string(f.Rule), Severity: f.Severity, Path: f.Path, Paths: f.Paths, Reason: f.Reason, Do: f.Do, Hash: f.Hash, WaivedBy: f.WaivedBy,
		})
	}
	out.Readers = affected(out.Product, out.Findings, j.readers)
}

// table adds the SQL.
func (j judging) table(out *Subject, from *semantics.Product, to semantics.Product) {
	change, err := semantics.Table(from, to, ddl.Options{})
	if err != nil {
		return // a finding of the comparison, and of the contracts' lint
	}
	out.SQL = change.Statements
	if len(change.Stays) > 0 && out.Before != out.After {
		for _, column := range change.Stays {
			out.SQL = append(out.SQL, fmt.Sprintf("-- column %s stays in %s: its rows are kept, new rows get its default", column, to.Contract.Sink.Table))
		}
	}
}

// affected lists the declared groups that a breaking finding concerns, with the fields of theirs that it touches. A group
// that only a finding about the whole product concerns is listed with all of its fields.
func affected(product string, findings []Finding, readers []contract.Consumer) []Reader {
	var out []Reader
	for _, r := range readers {
		for _, read := range r.Reads {
			if product == "" || read.Product != product {
				continue
			}
			fields, whole := touchedBy(findings, read.Fields)
			if whole && len(fields) == 0 {
				fields = slices.Clone(read.Fields)
			}
			if len(fields) > 0 {
				slices.Sort(fields)
				out = append(out, Reader{Group: r.Group, Owner: r.Owner, Reads: slices.Compact(fields)})
			}
		}
	}
	return out
}

// touchedBy lists those of a reader's fields that breaking findings are about, and tells whether one is about the whole.
func touchedBy(findings []Finding, fields []string) (touched []string, whole bool) {
	for _, f := range findings {
		if f.Severity != Breaking || !rule.Rule(f.Rule).ConcernsReaders() {
			continue
		}
		places := f.Paths
		if len(places) == 0 {
			places = []string{f.Path}
		}
		for _, place := range places {
			if place == "" {
				whole = true
				continue
			}
			for _, field := range fields {
				if contract.Touches(field, place) {
					touched = append(touched, field)
				}
			}
		}
	}
	return touched, whole
}

// allReaders joins the declarations of both sides: who takes a declaration back in the same change still reads until then.
func allReaders(base, next []contract.Consumer) []contract.Consumer {
	var all []contract.Consumer
	index := map[string]int{}
	for _, c := range slices.Concat(next, base) {
		i, known := index[c.Group]
		if !known {
			index[c.Group] = len(all)
			c.Reads = slices.Clone(c.Reads)
			all = append(all, c)
			continue
		}
		for _, read := range c.Reads {
			all[i].Reads = addRead(all[i].Reads, read)
		}
	}
	slices.SortFunc(all, func(a, b contract.Consumer) int { return strings.Compare(a.Group, b.Group) })
	return all
}

func addRead(reads []contract.Read, more contract.Read) []contract.Read {
	i := slices.IndexFunc(reads, func(r contract.Read) bool { return r.Product == more.Product })
	if i < 0 {
		return append(reads, more)
	}
	fields := slices.Clone(reads[i].Fields)
	for _, f := range more.Fields {
		if !slices.Contains(fields, f) {
			fields = append(fields, f)
		}
	}
	reads[i].Fields = fields
	return reads
}
