package comment

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/streamforge/streamforge/services/internal/governance/check"
)

// readers says who is concerned, by declaration and by what lives on a cluster.
func (w *writer) readers(s check.Subject) {
	if s.Product == "" {
		return
	}
	if len(s.Findings) == 0 {
		// A change that only adds concerns nobody who is declared; of the others nobody knows.
		if lines := w.undeclared(s); len(lines) > 0 {
			w.line("**Who reads it undeclared**\n\n%s\n", strings.Join(lines, "\n"))
		}
		return
	}
	lines := w.declared(s)
	lines = append(lines, w.undeclared(s)...)
	lines = append(lines, w.onTheWire(s)...)
	if len(w.in.Report.Clusters) == 0 {
		if len(lines) == 0 {
			lines = append(lines, "- nobody has declared to read what changes")
		}
		lines = append(lines, "", "Declared readers only: there is no snapshot of a cluster (`streamforge evidence` takes one).")
	} else if len(lines) == 0 {
		lines = append(lines, "- nobody: no declared reader reads it, and no other group is on the product")
	}
	title := "Who reads what changes"
	if s.Verdict() == check.Incompatible {
		title = "Who breaks"
	}
	w.line("**%s**\n", title)
	for _, l := range lines {
		w.line("%s", l)
	}
	w.line("")
}

func (w *writer) declared(s check.Subject) []string {
	var lines []string
	readers := slices.Clone(s.Readers)
	sort.SliceStable(readers, func(i, j int) bool { return readers[i].Group < readers[j].Group })
	for _, r := range readers[:min(len(readers), w.detail.readers)] {
		line := "- " + code(r.Group, w.detail.text)
		if r.Owner != "" {
			line += " (" + code(r.Owner, w.detail.text) + ")"
		}
		if len(r.Reads) > 0 {
			line += " reads " + w.list(r.Reads)
		}
		switch {
		case r.Live != "":
			line += ", " + text(r.Live, w.detail.text)
		case len(w.in.Report.Clusters) > 0:
			line += ", in no snapshot"
		}
		lines = append(lines, line)
	}
	if more := len(readers) - w.detail.readers; more > 0 {
		lines = append(lines, "- and "+plural(more, "more group", "more groups"))
	}
	return lines
}

// undeclared are the groups that live on the product and that no file names: what they read nobody knows.
func (w *writer) undeclared(s check.Subject) []string {
	var lines []string
	for _, u := range s.Undeclared {
		lines = append(lines, fmt.Sprintf("- ⚠️ %s is **not declared**: %s (%s); what it reads nobody knows, ask for a contracts/consumers file",
			code(u.Group, w.detail.text), text(u.Life, w.detail.text), text(u.Cluster, w.detail.text)))
	}
	return w.bounded(lines, "more undeclared group", "more undeclared groups")
}

// onTheWire are the versions that producers write: an old one among them means that a producer has not followed yet.
func (w *writer) onTheWire(s check.Subject) []string {
	var lines []string
	for _, v := range s.Written {
		name := fmt.Sprintf("schema id %d, which is no version of this subject,", v.SchemaID)
		if v.Version > 0 {
			name = fmt.Sprintf("v%d", v.Version)
		}
		by := "a producer without a name"
		if len(v.Producers) > 0 {
			by = w.list(v.Producers)
		}
		when := "was last produced on "
		if v.Today {
			when = "was still produced on "
		}
		lines = append(lines, fmt.Sprintf("- %s %s by %s (%s)", name, when+text(v.LastWritten, w.detail.text), by, text(v.Cluster, w.detail.text)))
	}
	return w.bounded(lines, "more version on the wire", "more versions on the wire")
}

func (w *writer) bounded(lines []string, one, many string) []string {
	if more := len(lines) - w.detail.readers; more > 0 {
		return append(lines[:w.detail.readers], "- and "+plural(more, one, many))
	}
	return lines
}

func (w *writer) list(names []string) string {
	const most = 12
	var parts []string
	for _, n := range names[:min(len(names), most)] {
		parts = append(parts, code(n, w.detail.text))
	}
	if more := len(names) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// approvals names whose word the change needs: the owners of what changes, and those of the groups that it concerns. Names
// are not mentions: GitHub asks reviewers itself, by CODEOWNERS, and a branch must not be able to wake anybody it likes.
func (w *writer) approvals(subjects []check.Subject) {
	wanted := map[string][]string{}
	add := func(team, why string) {
		if team != "" && !slices.Contains(wanted[team], why) {
			wanted[team] = append(wanted[team], why)
		}
	}
	for _, s := range subjects {
		if s.Verdict() == check.Unchanged {
			continue
		}
		if s.Product != "" {
			add(s.Owner, "owns "+code(s.Product, w.detail.text))
		}
	}
	for _, s := range subjects {
		for _, r := range s.Readers {
			if len(r.Reads) > 0 {
				add(r.Owner, "answers for "+code(r.Group, w.detail.text)+", which reads "+w.list(r.Reads))
			}
		}
	}
	if len(wanted) == 0 || w.detail.rows == 0 {
		return
	}
	teams := make([]string, 0, len(wanted))
	for team := range wanted {
		teams = append(teams, team)
	}
	sort.Strings(teams)
	var lines []string
	for _, team := range teams {
		lines = append(lines, fmt.Sprintf("- %s %s", code(team, w.detail.text), strings.Join(w.bounded(wanted[team], "more reason", "more reasons"), "; ")))
	}
	w.line("#### Approvals wanted\n")
	for _, l := range w.bounded(lines, "more team", "more teams") {
		w.line("%s", l)
	}
	w.line("")
}
