//go:build !cgo

package main

import (
	"context"
	"errors"

	"github.com/streamforge/streamforge/services/internal/governance/check"
)

// gitCheck is the check of a build without cgo.
type gitCheck struct {
	checkFlags
	Against string `name:"against" help:"What to compare with, a commit by any of git's names; default: origin/main, or main where there is no origin."`
}

// Run is the command: exit status 0 when the change is compatible, 3 when it is not, 1 when it could not be judged.
func (c *gitCheck) Run(ctx context.Context) error {
	if c.Against == againstRegistry {
		return errors.New("this build compares with commits alone; `make build` makes bin/streamforge, which can ask a registry")
	}
	report, err := check.Run(ctx, c.options(c.Against))
	if err != nil {
		return printProblems(err)
	}
	return c.show(report)
}
