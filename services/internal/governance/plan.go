package governance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// The exit statuses of the commands that show or apply a plan.
const (
	// ExitNoChange: what exists is what is wanted.
	ExitNoChange = 0
	// ExitChanges: something would change.
	ExitChanges = 2
	// ExitRefused: something is wanted that is incompatible or would lose data.
	ExitRefused = 3
)

// Kind of thing that a step changes.
type Kind string

// The kinds, in the order in which a plan changes them: a column is there before the first record that fills it, a schema
// before the producer that looks it up, the right before the topic that it is for, and the topic last, because programs
// begin to work when their topics appear.
const (
	KindTable         Kind = "table"
	KindView          Kind = "view"
	KindSubject       Kind = "subject"
	KindCompatibility Kind = "compatibility"
	KindRight         Kind = "acl"
	KindTopic         Kind = "topic"
)

// Action of a step.
type Action string

// The actions. Only access rights are ever removed, and only when Config.Revoke says so.
const (
	ActionCreate   Action = "create"
	ActionRegister Action = "register"
	ActionSet      Action = "set"
	ActionAlter    Action = "alter"
	ActionGrant    Action = "grant"
	ActionRevoke   Action = "revoke"
)

// Step is one change.
type Step struct {
	Kind   Kind   `json:"kind"`
	Action Action `json:"action"`
	// Object is the name of the table, subject or topic, or the principal of an access right.
	Object string `json:"object"`
	// What will be done, for a person.
	What string `json:"what"`
	// From and To are the values of a setting before and after; From is empty where there is none.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Setting is the name of a topic's setting.
	Setting string `json:"setting,omitempty"`
	// SQL is the statement that ClickHouse will be given.
	SQL string `json:"sql,omitempty"`
	// Schema is the SHA-256 of the schema that is registered, self-contained.
	Schema string `json:"schema,omitempty"`
	// Rights are the access rights that are granted or revoked, all of one principal.
	Rights []Right `json:"rights,omitempty"`
}

// key identifies what a step changes, for comparing plans.
func (s Step) key() string {
	return strings.Join([]string{string(s.Kind), string(s.Action), s.Object, s.Setting, s.From, s.To, s.SQL, s.Schema, fmt.Sprint(s.Rights)}, "\x00")
}

// Refusal is a difference that no step may remove.
type Refusal struct {
	Kind   Kind   `json:"kind"`
	Object string `json:"object"`
	Reason string `json:"reason"`
	// Details are further lines: a registry's messages, for example.
	Details []string `json:"details,omitempty"`
	// Do is what to do instead.
	Do string `json:"do"`
}

// Note is something to know that is no change: a setting that differs on purpose, a part that was not asked, a topic that
// no contract names.
type Note struct {
	Kind   Kind   `json:"kind"`
	Object string `json:"object"`
	Text   string `json:"text"`
}

// Plan is everything that would bring a cluster to what contracts and schemas want, in order.
type Plan struct {
	Steps   []Step    `json:"steps"`
	Refused []Refusal `json:"refused"`
	Notes   []Note    `json:"notes"`
	// Unchanged counts the things that are as wanted.
	Unchanged int `json:"unchanged"`
}

// Empty tells that nothing would change and nothing is refused.
func (p Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Refused) == 0 }

// ExitCode of a command that shows the plan.
func (p Plan) ExitCode() int {
	switch {
	case len(p.Refused) > 0:
		return ExitRefused
	case len(p.Steps) > 0:
		return ExitChanges
	}
	return ExitNoChange
}

// ParsePlan reads what JSON wrote.
func ParsePlan(text []byte) (Plan, error) {
	var read struct {
		Plan
		ExitCode int `json:"exit_code"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&read); err != nil {
		return Plan{}, fmt.Errorf("reading a plan: %w; it is what `streamforge plan --json` wrote", err)
	}
	return read.Plan, nil
}

// JSON of the plan, for programs.
func (p Plan) JSON() ([]byte, error) {
	return json.MarshalIndent(struct {
		Plan
		ExitCode int `json:"exit_code"`
	}{p.Listed(), p.ExitCode()}, "", "  ")
}

// Listed is the plan with empty lists where it has none: a reader of JSON should not have to tell null from [].
func (p Plan) Listed() Plan {
	if p.Steps == nil {
		p.Steps = []Step{}
	}
	if p.Refused == nil {
		p.Refused = []Refusal{}
	}
	if p.Notes == nil {
		p.Notes = []Note{}
	}
	return p
}

// String is the plan for a person: one line a step, statements indented below it, and a summary.
func (p Plan) String() string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d. %-13s %-38s %s\n", i+1, s.Kind, s.Object, s.What)
		if s.SQL != "" {
			b.WriteString(indented(s.SQL) + ";\n")
		}
		for _, right := range s.Rights {
			b.WriteString(indented(right.what()) + "\n")
		}
	}
	for _, r := range p.Refused {
		fmt.Fprintf(&b, "  refused %-9s %s: %s; %s\n", r.Kind, r.Object, r.Reason, r.Do)
		for _, line := range r.Details {
			b.WriteString(indented(line) + "\n")
		}
	}
	for _, n := range p.Notes {
		b.WriteString("  note " + strings.TrimSpace(string(n.Kind)+" "+n.Object) + ": " + n.Text + "\n")
	}
	b.WriteString(p.Summary() + "\n")
	return b.String()
}

// Summary is the plan in one line.
func (p Plan) Summary() string {
	if p.Empty() {
		return fmt.Sprintf("plan: nothing to do, %d things are as their contracts want them", p.Unchanged)
	}
	counts := map[Kind]int{}
	for _, s := range p.Steps {
		counts[s.Kind]++
	}
	var parts []string
	for _, k := range []Kind{KindTable, KindView, KindSubject, KindCompatibility, KindRight, KindTopic} {
		if counts[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d × %s", counts[k], k))
		}
	}
	s := fmt.Sprintf("plan: %d to change", len(p.Steps))
	if len(parts) > 0 {
		s += " (" + strings.Join(parts, ", ") + ")"
	}
	return s + fmt.Sprintf(", %d refused, %d unchanged", len(p.Refused), p.Unchanged)
}

func indented(text string) string {
	return "       " + strings.ReplaceAll(text, "\n", "\n       ")
}

func (p *Plan) refuse(kind Kind, object, reason, do string, details ...string) {
	p.Refused = append(p.Refused, Refusal{Kind: kind, Object: object, Reason: reason, Do: do, Details: details})
}

func (p *Plan) note(kind Kind, object, format string, args ...any) {
	p.Notes = append(p.Notes, Note{Kind: kind, Object: object, Text: fmt.Sprintf(format, args...)})
}

func (p *Plan) step(s Step) { p.Steps = append(p.Steps, s) }
