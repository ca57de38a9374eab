package contract

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// Waiver lets one change pass that a semantic rule stops. What a registry would refuse has no waiver: that is a new major
// version.
type Waiver struct {
	// Change is the finding's hash. It names this change and no other: another value in its place is another change.
	Change string
	Rule   rule.Rule
	// Product is a contract's id, or the full name of a shared type.
	Product string
	// Approver is one of the product's owners; Reason is for those who come later.
	Approver, Reason string
	// Expires is the last day, in UTC, on which the waiver holds.
	Expires string

	// File is the path below contracts/.
	File string

	declaration
}

// dayForm is how a waiver writes a day.
const dayForm = time.DateOnly

// maxWaiverDays is how far away a waiver may expire: it covers one change on its way to production, not a habit.
const maxWaiverDays = 366

// LoadWaivers reads waivers/*.yaml, sorted by file. The error is Problems.
func LoadWaivers(fsys fs.FS) ([]Waiver, error) {
	all, problems, err := loadWaivers(fsys)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

func loadWaivers(fsys fs.FS) ([]Waiver, Problems, error) {
	return loadEach(fsys, "waiver", "waivers/*.yaml", ParseWaiver)
}

// ParseWaiver reads one waiver; name is its path below contracts/.
func ParseWaiver(name string, text []byte) (Waiver, Problems) {
	var w Waiver
	var problems Problems
	if w.declaration, problems = declare("waiver", name, text, &w); len(problems) > 0 {
		return Waiver{}, problems
	}
	w.File = name
	if !w.Rule.Waivable() {
		problems = append(problems, w.problem("/rule", fmt.Sprintf("%q is no rule that can be waived", w.Rule),
			"see the table in services/internal/contract/rule; what a registry refuses needs a new major version"))
	}
	if _, err := time.Parse(dayForm, w.Expires); err != nil {
		problems = append(problems, w.problem("/expires", fmt.Sprintf("%q is no day", w.Expires), "write the last day on which it holds, for example 2027-01-31"))
	}
	return w, problems
}

// Expired tells whether the waiver's last day is over.
func (w Waiver) Expired(today time.Time) bool {
	return today.UTC().Format(dayForm) > w.Expires
}

// lintWaivers compares waivers with the contracts, with each other and with the calendar. Whether a waiver waives anything
// is known only where two versions are compared.
func (l linter) lintWaivers(waivers []Waiver, contracts []Contract, subjects []schemas.Subject) Problems {
	var problems Problems
	first := map[string]string{}
	for _, w := range waivers {
		product, isProduct := Find(contracts, w.Product)
		isShared := slices.ContainsFunc(subjects, func(s schemas.Subject) bool { return s.Name == w.Product })
		switch {
		case !isProduct && !isShared:
			problems = append(problems, w.problem("/product", fmt.Sprintf("product %s has no contract", w.Product), "write the id of a contract, or the full name of a shared type"))
		case isProduct && !slices.Contains(product.OwnerUsers, w.Approver):
			problems = append(problems, w.problem("/approver", fmt.Sprintf("%s is not an owner of %s", w.Approver, w.Product),
				"ask one of "+strings.Join(product.OwnerUsers, ", ")+" (contracts/"+product.File+")"))
		}
		if other, taken := first[w.Change]; taken {
			problems = append(problems, w.problem("/change", fmt.Sprintf("%s is waived by contracts/%s already", w.Change, other), "keep one"))
		}
		first[w.Change] = w.File
		if l.today.IsZero() {
			continue
		}
		last, _ := time.Parse(dayForm, w.Expires)
		switch {
		case w.Expired(l.today):
			problems = append(problems, w.problem("/expires", "it expired on "+w.Expires, "remove the file; if the change still has to pass, ask for a new waiver"))
		case last.Sub(l.today) > maxWaiverDays*24*time.Hour:
			problems = append(problems, w.problem("/expires", fmt.Sprintf("%s is more than %d days away", w.Expires, maxWaiverDays), "a waiver covers one change on its way, write an earlier day"))
		}
	}
	return problems
}
