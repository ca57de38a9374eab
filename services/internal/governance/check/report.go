package check

import (
	"encoding/json"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// Severity says what a finding does to a change; the words and their order are the rules' own.
type Severity = rule.Severity

// The severities, the worst first.
const (
	Breaking = rule.Breaking
	Warning  = rule.Warning
	Note     = rule.Note
)

// Layer tells the two kinds of findings apart: what every registry would say, and what only this check sees.
type Layer string

const (
	// Confluent findings are Avro Java's rules at the contract's level. No waiver lets them pass.
	Confluent Layer = "confluent"
	// Semantic findings are changes of meaning that those rules let through.
	Semantic Layer = "semantic"
)

// Rules of the Confluent layer that are no avro.IncompatibilityType.
const (
	// NotAccepted: a registry would refuse the schema before it compares anything.
	NotAccepted = "INVALID_SCHEMA"
	// Ambiguous: the rules refuse to judge, since a field and its aliases fit several of the other version's fields.
	Ambiguous = "AMBIGUOUS_FIELD"
	// SubjectRemoved: the file is gone. A registry keeps the subject, but no program can be built with it any more.
	SubjectRemoved = "SUBJECT_REMOVED"
)

// Finding is one reason for a verdict.
type Finding struct {
	Layer Layer `json:"layer"`
	// Rule is an avro.IncompatibilityType or one of the constants above in the Confluent layer, a rule.Rule in the other.
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// Cause is what is really wrong inside a union, where a registry only says MISSING_UNION_BRANCH; else empty.
	Cause string `json:"cause,omitempty"`
	// Path of the field by name, "bids[].price"; empty for the schema or the contract as a whole.
	Path string `json:"path"`
	// Paths are all places of it, when a type that changed stands in several; Path is the first of them.
	Paths []string `json:"paths,omitempty"`
	// Reason is a sentence for a person, with the field's name and the values.
	Reason string `json:"reason"`
	// Do is what to do instead.
	Do string `json:"do,omitempty"`
	// Versions of the history against which it fails, newest first; empty in the semantic layer, which compares with the
	// latest alone.
	Versions []int `json:"versions,omitempty"`
	// Hash of the change, for a waiver; stable over formatting. Empty where nothing can be waived.
	Hash string `json:"hash,omitempty"`
	// WaivedBy is the waiver's file below contracts/, when one holds.
	WaivedBy string `json:"waivedBy,omitempty"`
}

// Stops tells whether the finding makes its subject incompatible.
func (f Finding) Stops() bool { return f.Severity == Breaking && f.WaivedBy == "" }

// Reader is a group that a finding concerns.
type Reader struct {
	Group string `json:"group"`
	Owner string `json:"owner"`
	// Reads are the affected fields among those that it reads, by name.
	Reads []string `json:"reads"`
	// Live is "live on 2026-11-22" by a snapshot of a cluster; empty without one.
	Live string `json:"live,omitempty"`
}

// Subject is the judgement over one subject.
type Subject struct {
	// Name in the registry; Product is its contract's id, empty for a shared type; File is the schema's path in the
	// repository, the base's when the file is gone.
	Name    string `json:"name"`
	Product string `json:"product,omitempty"`
	File    string `json:"file"`
	// Owner is the team that answers for the product by the base's contract: a change must not appoint its own approvers. Of a
	// product that the base does not have it is the new contract's.
	Owner string `json:"owner,omitempty"`
	// Level by the base's contract.
	Level avro.Level `json:"level"`
	// Before is the version that the base's file is, 0 for a new subject; After the version that registering would give: the
	// same when nothing changed, an earlier one when a content returns, and 0 when a registry would refuse it.
	Before int `json:"before"`
	After  int `json:"after"`
	// Removed: the working tree has no file for the subject any more.
	Removed  bool      `json:"removed,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Messages are a registry's own for the newest version that fails, as /compatibility/…?verbose=true answers.
	Messages []string `json:"messages,omitempty"`
	Readers  []Reader `json:"readers,omitempty"`
	// Undeclared and Written are what snapshots of clusters say of the product.
	Undeclared []Undeclared `json:"undeclared,omitempty"`
	Written    []Written    `json:"written,omitempty"`
	// SQL is what ClickHouse would have to be told, in order.
	SQL []string `json:"sql,omitempty"`
	// Suggestion is a compatible way to the same end, when one is known.
	Suggestion string `json:"suggestion,omitempty"`
	// NextMajor is the product that `streamforge product draft` would move the change to, where something stops it.
	NextMajor string `json:"next_major,omitempty"`
}

// Verdict on a subject, a contract or a whole report.
type Verdict string

// The verdicts.
const (
	Unchanged    Verdict = "unchanged"
	Compatible   Verdict = "compatible"
	Incompatible Verdict = "incompatible"
)

// Verdict of the subject: incompatible when a finding stops it.
func (s Subject) Verdict() Verdict {
	for _, f := range s.Findings {
		if f.Stops() {
			return Incompatible
		}
	}
	if s.Before == s.After && len(s.Findings) == 0 {
		return Unchanged
	}
	return Compatible
}

// Report is the whole judgement. Subjects that are unchanged and without findings are counted and not listed.
type Report struct {
	// Base is what was compared with: "origin/main at 636986f", or "registry http://…".
	Base string `json:"base"`
	// Subjects are sorted by name, a shared type before its users; those that a registry would refuse and those that are gone
	// come last.
	Subjects []Subject `json:"subjects"`
	// Same is the number of subjects that did not change.
	Same int `json:"same"`
	// Clusters of which there is a snapshot; none means that only declared readers are known.
	Clusters []string `json:"clusters,omitempty"`
	// Notes are what a reader must know to trust the verdict: files that were skipped, evidence that was not there.
	Notes []string `json:"notes,omitempty"`
}

// Verdict of the report: the worst of its subjects.
func (r Report) Verdict() Verdict {
	worst := Unchanged
	for _, s := range r.Subjects {
		switch s.Verdict() {
		case Incompatible:
			return Incompatible
		case Compatible:
			worst = Compatible
		}
	}
	return worst
}

// Exit statuses of the commands that show a report.
const (
	ExitCompatible   = 0
	ExitNotJudged    = 1
	ExitIncompatible = 3
)

// ExitCode is 3 when the report is incompatible, else 0. A check that could not be made has no report: the command ends
// with 1.
func (r Report) ExitCode() int {
	if r.Verdict() == Incompatible {
		return ExitIncompatible
	}
	return ExitCompatible
}

// MarshalJSON adds the verdicts, which a program must not have to work out.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	return json.Marshal(struct {
		Verdict Verdict `json:"verdict"`
		plain
	}{r.Verdict(), plain(r)})
}

// MarshalJSON adds the verdict.
func (s Subject) MarshalJSON() ([]byte, error) {
	type plain Subject
	return json.Marshal(struct {
		Verdict Verdict `json:"verdict"`
		plain
	}{s.Verdict(), plain(s)})
}
