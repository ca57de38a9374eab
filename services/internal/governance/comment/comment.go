// Package comment writes the judgement of a pull request as one Markdown comment. The same report gives the same bytes, so
// that a comment is updated only when something changed; all that it quotes is taken for hostile; and whatever the report
// holds, the comment fits GitHub.
package comment

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/governance/check"
)

// Marker begins every comment: by it the next run finds the comment to update. The verdict stands in it so that a workflow
// can tell "nothing changed" without reading Markdown.
const Marker = "<!-- streamforge:pr-check "

// maxBytes is below GitHub's 65,536 characters of a comment; a character has at least one byte.
const maxBytes = 60_000

// Input is a report, or why there is none.
type Input struct {
	Report check.Report `json:"report"`
	// NotJudged are the reasons why there is no report; nothing else counts then.
	NotJudged []string `json:"notJudged,omitempty"`
}

// detail is how much a comment says of each thing. What does not fit in full is written shorter, the same way every time.
type detail struct {
	rows, subjects, findings, readers, messages, sql, text int
}

var details = []detail{
	{rows: 100, subjects: 40, findings: 40, readers: 40, messages: 6000, sql: 12000, text: 700},
	{rows: 100, subjects: 20, findings: 15, readers: 15, messages: 1500, sql: 4000, text: 400},
	{rows: 60, subjects: 10, findings: 6, readers: 6, messages: 0, sql: 1500, text: 250},
	{rows: 30, subjects: 4, findings: 3, readers: 3, messages: 0, sql: 0, text: 120},
	{rows: 0, subjects: 0, findings: 0, readers: 0, messages: 0, sql: 0, text: 60},
}

// Markdown is the comment.
func Markdown(in Input) string {
	if len(in.NotJudged) > 0 {
		return notJudged(in.NotJudged)
	}
	var written string
	for _, d := range details {
		w := writer{in: in, detail: d}
		written = w.comment()
		if len(written) <= maxBytes {
			break
		}
	}
	return written
}

// notJudged is the comment when there is no report.
func notJudged(reasons []string) string {
	d := details[0]
	var b strings.Builder
	fmt.Fprintf(&b, "%snot-judged -->\n### ⛔ Schemas and contracts: could not be judged\n\n", Marker)
	for i, r := range reasons {
		line := "- ❌ " + text(r, d.text) + "\n"
		if b.Len()+len(line) > maxBytes-200 {
			fmt.Fprintf(&b, "- and %s\n", plural(len(reasons)-i, "more", "more"))
			break
		}
		b.WriteString(line)
	}
	b.WriteString("\nThe same on your machine, without any server: `make pr-check`.\n")
	return b.String()
}

type writer struct {
	in     Input
	detail detail
	out    strings.Builder
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

func (w *writer) comment() string {
	r := w.in.Report
	verdict := r.Verdict()
	w.line("%s%s -->", Marker, verdict)
	subjects := slices.Clone(r.Subjects)
	// What stops the change is read first, and is the last to be cut.
	sort.SliceStable(subjects, func(i, j int) bool { return rank(subjects[i]) < rank(subjects[j]) })
	switch verdict {
	case check.Incompatible:
		w.line("### ❌ Schemas and contracts: this would break readers\n")
	case check.Compatible:
		w.line("### ✅ Schemas and contracts: compatible\n")
	default:
		w.line("### Schemas and contracts: nothing changed\n")
	}
	w.line("Compared with %s: %s.\n", code(r.Base, 100), w.counts())
	w.notes()
	if len(subjects) > 0 {
		w.table(subjects)
	}
	for _, s := range subjects[:min(len(subjects), w.detail.subjects)] {
		w.subject(s)
	}
	if more := len(subjects) - w.detail.subjects; more > 0 {
		w.line("%s not shown here: `streamforge schemas check` lists them all.\n", plural(more, "more subject is", "more subjects are"))
	}
	w.approvals(subjects)
	if verdict == check.Incompatible {
		w.line("---\nThe same on your machine, without any server: `make pr-check`. What each edit does, with its SQL: CONTRIBUTING.md, “What an edit does”.")
	}
	return strings.TrimRight(w.out.String(), "\n") + "\n"
}

func rank(s check.Subject) int {
	return slices.Index([]check.Verdict{check.Incompatible, check.Compatible, check.Unchanged}, s.Verdict())
}

func (w *writer) counts() string {
	stopped, passed := 0, 0
	for _, s := range w.in.Report.Subjects {
		switch s.Verdict() {
		case check.Incompatible:
			stopped++
		case check.Compatible:
			passed++
		}
	}
	var parts []string
	if stopped > 0 {
		parts = append(parts, fmt.Sprintf("**%d incompatible**", stopped))
	}
	if passed > 0 {
		parts = append(parts, fmt.Sprintf("%d compatible", passed))
	}
	return strings.Join(append(parts, plural(w.in.Report.Same, "subject unchanged", "subjects unchanged")), ", ")
}

func (w *writer) notes() {
	notes := w.in.Report.Notes
	for _, n := range notes[:min(len(notes), w.detail.findings)] {
		w.line("> ℹ️ %s\n", text(n, w.detail.text))
	}
}

func (w *writer) table(subjects []check.Subject) {
	if w.detail.rows == 0 {
		return
	}
	w.line("| | subject | level | version | a registry says | this check adds |")
	w.line("|---|---|---|---|---|---|")
	for _, s := range subjects[:min(len(subjects), w.detail.rows)] {
		w.line("| %s | %s | %s | %s | %s | %s |", sign(s.Verdict()), cell(s.Name, w.detail.text), cell(string(s.Level), 40), versions(s),
			tally(s, check.Confluent), tally(s, check.Semantic))
	}
	w.line("")
}

func sign(v check.Verdict) string {
	switch v {
	case check.Incompatible:
		return "❌"
	case check.Compatible:
		return "✅"
	}
	return "➖"
}

func versions(s check.Subject) string {
	switch {
	case s.Removed:
		return fmt.Sprintf("v%d, file removed", s.Before)
	case s.Before == 0:
		return "new"
	case s.Before == s.After:
		return fmt.Sprintf("v%d", s.Before)
	}
	return fmt.Sprintf("v%d → v%d", s.Before, s.After)
}

// tally is a layer's verdict in few words.
func tally(s check.Subject, layer check.Layer) string {
	counts := map[string]int{}
	for _, f := range s.Findings {
		if f.Layer == layer {
			counts[kind(f)]++
		}
	}
	var parts []string
	for _, k := range []string{"breaking", "waived", "warning", "note"} {
		if n := counts[k]; n > 0 {
			word := k
			if n > 1 && (k == "warning" || k == "note") {
				word += "s"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case layer == check.Confluent:
		return "compatible"
	}
	return "nothing"
}

func kind(f check.Finding) string {
	if f.WaivedBy != "" {
		return "waived"
	}
	return string(f.Severity)
}

func (w *writer) subject(s check.Subject) {
	w.line("#### %s %s\n", sign(s.Verdict()), code(s.Name, w.detail.text))
	w.line("%s\n", w.about(s))
	w.findings(s, check.Confluent)
	w.findings(s, check.Semantic)
	w.readers(s)
	w.sql(s)
	w.suggestion(s)
	w.messages(s)
}

// suggestion ends, where it can, with a field to copy, which therefore stands as a block of code.
func (w *writer) suggestion(s check.Subject) {
	w.compatibleWay(s)
	if s.NextMajor != "" {
		w.line("**Or the next major version:** %s moves the change to %s, with a contract and a migration of its own, and leaves this product to its readers.\n",
			code("streamforge product draft "+strings.TrimSuffix(s.Name, "-value"), w.detail.text), code(s.NextMajor, w.detail.text))
	}
}

func (w *writer) compatibleWay(s check.Subject) {
	if s.Suggestion == "" || len(s.Suggestion) > w.detail.text {
		return
	}
	words, field := s.Suggestion, ""
	if i := strings.IndexByte(words, '{'); i >= 0 && json.Valid([]byte(words[i:])) {
		words, field = strings.TrimSpace(words[:i]), words[i:]
	}
	w.line("**A compatible way:** %s\n", text(words, w.detail.text))
	if field != "" {
		w.line("%s", fence("json", field))
	}
}

func (w *writer) about(s check.Subject) string {
	about := code(s.File, 200)
	if s.Product != "" {
		about += ", product " + code(s.Product, w.detail.text)
	} else {
		about += ", a shared type"
	}
	if s.Owner != "" {
		about += " of " + code(s.Owner, w.detail.text)
	}
	return about
}

func (w *writer) findings(s check.Subject, layer check.Layer) {
	var found []check.Finding
	for _, f := range s.Findings {
		if f.Layer == layer {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return
	}
	if layer == check.Confluent {
		w.line("**A registry refuses it** (Confluent's rules at %s). No waiver lets this pass: another way, or a new major version.\n", code(string(s.Level), 40))
	} else {
		w.line("**What the registry's rules do not see**\n")
	}
	for _, f := range found[:min(len(found), w.detail.findings)] {
		w.finding(f)
	}
	if more := len(found) - w.detail.findings; more > 0 {
		w.line("- and %s", plural(more, "more", "more"))
	}
	w.line("")
}

func (w *writer) finding(f check.Finding) {
	mark := map[string]string{"breaking": "❌", "waived": "☑️", "warning": "⚠️", "note": "ℹ️"}[kind(f)]
	reason := reasonOf(f, w.detail.text)
	tail := code(f.Rule, 80)
	if len(f.Versions) > 0 {
		tail += " against " + ranges(f.Versions)
	}
	if f.Severity == check.Breaking && f.Hash != "" && f.WaivedBy == "" {
		tail += ", " + code(f.Hash, 80)
	}
	w.line("- %s %s (%s)", mark, reason, tail)
	if f.WaivedBy != "" {
		w.line("  <br>Waived by %s", code("contracts/"+f.WaivedBy, 200))
	} else if f.Do != "" {
		w.line("  <br>Instead: %s", text(f.Do, w.detail.text))
	}
}

// reasonOf is the sentence, with the field's name as a name, and put before it where the sentence does not say it.
func reasonOf(f check.Finding, limit int) string {
	rest, begins := strings.CutPrefix(f.Reason, f.Path+" ")
	switch {
	case f.Path == "", !begins && strings.Contains(f.Reason, f.Path):
		return text(f.Reason, limit)
	case begins:
		return code(f.Path, limit) + " " + text(rest, limit)
	}
	return code(f.Path, limit) + ": " + text(f.Reason, limit)
}

// ranges writes versions as people do: "v1–v3, v5".
func ranges(numbers []int) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(numbers)))
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		part := "v" + strconv.Itoa(sorted[i])
		switch {
		case j > i+1:
			part += "–v" + strconv.Itoa(sorted[j])
		case j == i+1:
			part += ", v" + strconv.Itoa(sorted[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

func (w *writer) sql(s check.Subject) {
	if len(s.SQL) == 0 {
		return
	}
	statements := make([]string, len(s.SQL))
	for i, statement := range s.SQL {
		statements[i] = strings.TrimSpace(statement)
		if !strings.HasPrefix(statements[i], "--") {
			statements[i] = strings.TrimRight(statements[i], ";") + ";"
		}
	}
	all := strings.Join(statements, "\n")
	if len(all) > w.detail.sql {
		w.line("**ClickHouse**: %s, too long for here; `make plan` shows them.\n", plural(len(statements), "statement", "statements"))
		return
	}
	w.line("**ClickHouse**\n")
	w.line("%s", fence("sql", all))
}

func (w *writer) messages(s check.Subject) {
	if len(s.Messages) == 0 || w.detail.messages == 0 {
		return
	}
	lines := make([]string, len(s.Messages))
	for i, m := range s.Messages {
		lines[i] = short(m, w.detail.messages/4)
	}
	all := strings.Join(lines, "\n")
	if len(all) > w.detail.messages {
		all = strings.ToValidUTF8(all[:w.detail.messages], "") + "…"
	}
	w.line("<details><summary>The registry's own words</summary>\n")
	w.line("%s\n</details>\n", fence("text", all))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
