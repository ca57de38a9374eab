package rule_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

var update = flag.Bool("update", false, "write the README's table anew")

// TestTheReadmeHasTheTable keeps the page that people read equal to what the check does.
func TestTheReadmeHasTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| rule | severity | what happened |\n|---|---|---|\n")
	seen := map[rule.Rule]bool{}
	for _, in := range rule.All() {
		if seen[in.Rule] {
			t.Errorf("%s stands twice in the table", in.Rule)
		}
		seen[in.Rule] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", in.Rule, in.Severity, in.Means)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- table -->\n", "<!-- /table -->"
	head, rest, ok := strings.Cut(string(text), from)
	_, tail, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("README.md lacks %q or %q", from, to)
	}
	want := head + from + b.String() + to + tail
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatal("the README's table is not the rules'; write it anew: go test ./services/internal/contract/rule -update")
	}
	if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSeverities(t *testing.T) {
	if !rule.Note.Below(rule.Warning) || !rule.Warning.Below(rule.Breaking) || rule.Breaking.Below(rule.Breaking) || rule.Breaking.Below(rule.Note) {
		t.Error("breaking is worse than warning, and warning than note")
	}
	overrides := rule.Overrides{rule.DocRemoved: rule.Breaking}
	if got := overrides.Of(rule.DocRemoved); got != rule.Breaking {
		t.Errorf("an override does not count: %s", got)
	}
	if got := overrides.Of(rule.ScaleChanged); got != rule.Breaking {
		t.Errorf("scale-changed is %s", got)
	}
	// A rule that nobody knows must not pass unnoticed.
	if got := rule.Overrides(nil).Of("made-up"); got != rule.Breaking {
		t.Errorf("an unknown rule is %s", got)
	}
	if rule.WaiverExpired.Waivable() || rule.Rule("READER_FIELD_MISSING_DEFAULT_VALUE").Waivable() || !rule.ScaleChanged.Waivable() {
		t.Error("a semantic rule can be waived; a registry's finding and a waiver's own cannot")
	}
}
