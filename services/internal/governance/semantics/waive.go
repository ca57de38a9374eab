package semantics

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// Waivers are what may let findings of one product pass.
type Waivers struct {
	// Product that the findings are about: a contract's id, or the full name of a shared type.
	Product string
	// Owners who may approve, by the BASE's contract; empty where there is none.
	Owners []string
	// Given are the waivers of the new version, Base those that the base has already.
	Given, Base []contract.Waiver
	// Today decides which have expired.
	Today time.Time
}

// Waive marks the findings that a waiver lets pass, and adds what is wrong with the product's waivers. A waiver that the base
// has as well and that matches nothing has done its work; it is noted, so that somebody removes it.
func (w Waivers) Waive(findings []Finding) []Finding {
	out := slices.Clone(findings)
	for _, waiver := range w.Given {
		if waiver.Product != w.Product {
			continue
		}
		i := slices.IndexFunc(out, func(f Finding) bool { return f.Hash != "" && f.Hash == waiver.Change && f.Rule == waiver.Rule })
		switch {
		case i < 0:
			out = append(out, w.unmatched(waiver, findings))
		case waiver.Expired(w.Today):
			out = append(out, about(waiver, rule.WaiverExpired, fmt.Sprintf("expired on %s and lets %s pass no longer", waiver.Expires, waiver.Rule), "ask for a new waiver"))
		case len(w.Owners) > 0 && !slices.Contains(w.Owners, waiver.Approver):
			out = append(out, about(waiver, rule.WaiverUnapproved, fmt.Sprintf("is approved by %s, and the owners of %s are %s", waiver.Approver, w.Product, strings.Join(w.Owners, ", ")), "ask an owner to approve it"))
		default:
			out[i].WaivedBy = waiver.File
		}
	}
	return out
}

func (w Waivers) unmatched(waiver contract.Waiver, findings []Finding) Finding {
	spent := slices.ContainsFunc(w.Base, func(b contract.Waiver) bool { return b.Change == waiver.Change })
	if spent {
		f := about(waiver, rule.WaiverUnmatched, "has done its work: the change is in the base", "remove the file")
		f.Severity = rule.Note
		return f
	}
	do := "remove the file"
	for _, f := range findings {
		if f.Rule == waiver.Rule {
			do = fmt.Sprintf("if the change of %s is meant, write change: %s", orWhole(f.Path), f.Hash)
			break
		}
	}
	return about(waiver, rule.WaiverUnmatched, fmt.Sprintf("waives %s of %s, and there is no such change", waiver.Change, waiver.Product), do)
}

func about(waiver contract.Waiver, r rule.Rule, what, do string) Finding {
	return Finding{Rule: r, Severity: rule.Overrides(nil).Of(r), Reason: "contracts/" + waiver.File + " " + what, Do: do}
}
