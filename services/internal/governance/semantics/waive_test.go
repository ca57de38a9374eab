package semantics_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

func day(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestAWaiverLetsOneChangePassAndNoOther(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	next.Contract.MessageKey = "venue"
	next.Contract.Topic.Partitions = 32
	found := semantics.Compare(base, next, nil)
	if len(found) != 2 {
		t.Fatalf("%+v", found)
	}
	waiver := contract.Waiver{Change: found[0].Hash, Rule: found[0].Rule, Product: "raw-trades", Approver: base.Contract.OwnerUsers[0], Expires: "2026-12-31", File: "waivers/key.yaml"}
	given := func(change func(*contract.Waiver)) semantics.Waivers {
		w := waiver
		change(&w)
		return semantics.Waivers{Product: "raw-trades", Owners: base.Contract.OwnerUsers, Given: []contract.Waiver{w}, Today: day("2026-12-31")}
	}
	for name, c := range map[string]struct {
		waivers semantics.Waivers
		waived  bool
		extra   rule.Rule
	}{
		"the right one":         {given(func(*contract.Waiver) {}), true, ""},
		"expired":               {given(func(w *contract.Waiver) { w.Expires = "2026-12-30" }), false, rule.WaiverExpired},
		"another change":        {given(func(w *contract.Waiver) { w.Change = "change-0000000000000000" }), false, rule.WaiverUnmatched},
		"another rule":          {given(func(w *contract.Waiver) { w.Rule = rule.ScaleChanged }), false, rule.WaiverUnmatched},
		"another product":       {given(func(w *contract.Waiver) { w.Product = "raw-frames" }), false, ""},
		"not an owner":          {given(func(w *contract.Waiver) { w.Approver = "somebody" }), false, rule.WaiverUnapproved},
		"a type without owners": {semantics.Waivers{Product: "raw-trades", Given: []contract.Waiver{waiver}, Today: day("2026-12-01")}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := c.waivers.Waive(found)
			if out[0].Stops() == c.waived || !out[1].Stops() || c.waived != (out[0].WaivedBy == "waivers/key.yaml") {
				t.Errorf("%+v", out[:2])
			}
			if (c.extra == "") != (len(out) == 2) || c.extra != "" && (out[2].Rule != c.extra || !strings.Contains(out[2].Reason, "contracts/waivers/key.yaml") || out[2].Hash != "") {
				t.Errorf("%+v", out)
			}
		})
	}
	if slices.ContainsFunc(found, func(f semantics.Finding) bool { return f.WaivedBy != "" }) {
		t.Error("the findings given were changed")
	}
}

func TestAWaiverOfAnotherHashIsToldTheRightOne(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	next.Contract.MessageKey = "venue"
	found := semantics.Compare(base, next, nil)
	w := contract.Waiver{Change: "change-0000000000000000", Rule: rule.KeyChanged, Product: "raw-trades", Expires: "2026-12-31", File: "waivers/key.yaml"}
	out := semantics.Waivers{Product: "raw-trades", Given: []contract.Waiver{w}, Today: day("2026-12-01")}.Waive(found)
	if len(out) != 2 || !strings.Contains(out[1].Do, found[0].Hash) || out[1].Severity != rule.Warning {
		t.Errorf("%+v", out)
	}
	// Merged, the change is in the base and the waiver has done its work.
	done := semantics.Waivers{Product: "raw-trades", Given: []contract.Waiver{w}, Base: []contract.Waiver{w}, Today: day("2026-12-01")}.Waive(nil)
	if len(done) != 1 || done[0].Severity != rule.Note || !strings.Contains(done[0].Reason, "has done its work") {
		t.Errorf("%+v", done)
	}
}
