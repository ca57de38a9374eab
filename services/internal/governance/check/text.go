package check

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for a person at a terminal.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "compared with %s: %s\n", r.Base, r.summary())
	for _, s := range r.Subjects {
		b.WriteString("\n")
		s.writeText(&b, r.Clusters)
	}
	if r.Verdict() == Incompatible && len(r.Clusters) == 0 {
		b.WriteString("\ndeclared readers only: there is no snapshot of a cluster (`streamforge evidence` takes one)\n")
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) summary() string {
	counts := map[Verdict]int{}
	for _, s := range r.Subjects {
		counts[s.Verdict()]++
	}
	var parts []string
	for _, v := range []Verdict{Incompatible, Compatible} {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	if r.Same > 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%d %s", r.Same, Unchanged))
	}
	return strings.Join(parts, ", ")
}

func (s Subject) writeText(b *strings.Builder, clusters []string) {
	fmt.Fprintf(b, "%s  %s  %s, %s  (%s)\n", strings.ToUpper(string(s.Verdict())), s.Name, s.step(), s.Level, s.File)
	for _, layer := range []Layer{Confluent, Semantic} {
		for _, f := range s.Findings {
			if f.Layer == layer {
				f.writeText(b)
			}
		}
	}
	for _, r := range s.Readers {
		fmt.Fprintf(b, "  concerns %s (%s): it reads %s%s\n", r.Group, r.Owner, strings.Join(r.Reads, ", "), after(", ", lifeOf(r, clusters)))
	}
	for _, u := range s.Undeclared {
		fmt.Fprintf(b, "  not declared: %s, %s (%s); what it reads nobody knows, ask for a contracts/consumers file\n", u.Group, u.Life, u.Cluster)
	}
	for _, w := range s.Written {
		fmt.Fprintf(b, "  on the wire: %s, last written on %s by %s (%s)\n", w.name(), w.LastWritten, w.by(), w.Cluster)
	}
	if s.Suggestion != "" {
		fmt.Fprintf(b, "  instead: %s\n", s.Suggestion)
	}
	if s.NextMajor != "" {
		fmt.Fprintf(b, "  or: `streamforge product draft %s` moves the change to %s, with a contract and a migration of its own\n", strings.TrimSuffix(s.Name, "-value"), s.NextMajor)
	}
	for _, statement := range s.SQL {
		fmt.Fprintf(b, "  %s\n", indented(statement))
	}
}

// name of the version that is on the wire.
func (w Written) name() string {
	if w.Version > 0 {
		return fmt.Sprintf("v%d", w.Version)
	}
	return fmt.Sprintf("schema id %d, which is no version of this subject", w.SchemaID)
}

func (w Written) by() string {
	if len(w.Producers) == 0 {
		return "a producer without a name"
	}
	return strings.Join(w.Producers, ", ")
}

// step is what would happen to the subject's versions.
func (s Subject) step() string {
	switch {
	case s.Removed:
		return "removed"
	case s.After == 0:
		return "refused"
	case s.Before == 0:
		return fmt.Sprintf("new, version %d", s.After)
	case s.Before == s.After:
		return fmt.Sprintf("still version %d", s.Before)
	case s.After < s.Before:
		return fmt.Sprintf("version %d, back to %d", s.Before, s.After)
	}
	return fmt.Sprintf("version %d → %d", s.Before, s.After)
}

// lifeOf a declared reader by the snapshots; empty without any.
func lifeOf(r Reader, clusters []string) string {
	if r.Live == "" && len(clusters) > 0 {
		return "in no snapshot"
	}
	return r.Live
}

func (f Finding) writeText(b *strings.Builder) {
	severity := string(f.Severity)
	if f.WaivedBy != "" {
		severity = "waived by contracts/" + f.WaivedBy
	}
	rule := f.Rule
	if f.Cause != "" {
		rule += " (" + f.Cause + ")"
	}
	fmt.Fprintf(b, "  %s: %s %s%s\n", severity, f.Layer, rule, after(" at ", f.Path))
	fmt.Fprintf(b, "    %s%s\n", f.Reason, after("; against ", versionsText(f.Versions)))
	if f.Do != "" {
		fmt.Fprintf(b, "    do: %s\n", f.Do)
	}
	if f.Hash != "" && f.Severity == Breaking && f.WaivedBy == "" {
		fmt.Fprintf(b, "    a waiver names: %s\n", f.Hash)
	}
}

// versionsText names versions: "version 3", "versions 3, 2, 1".
func versionsText(all []int) string {
	if len(all) == 0 {
		return ""
	}
	words := make([]string, len(all))
	for i, n := range all {
		words[i] = fmt.Sprint(n)
	}
	if len(all) == 1 {
		return "version " + words[0]
	}
	return "versions " + strings.Join(words, ", ")
}

// after puts a word before a text that is not empty.
func after(word, text string) string {
	if text == "" {
		return ""
	}
	return word + text
}

func indented(statement string) string { return strings.ReplaceAll(statement, "\n", "\n  ") }
