//go:build cgo

package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/check/registrybase"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// checkCommand is the check with a registry as one more base.
type checkCommand struct {
	checkFlags
	Registry registry.Config `embed:""`
	Against  string          `name:"against" help:"What to compare with: a commit by any of git's names, or registry for what SCHEMA_REGISTRY_URL holds; default: origin/main, or main where there is no origin."`
}

// Run is the command: exit status 0 when the change is compatible, 3 when it is not, 1 when it could not be judged.
func (c *checkCommand) Run(ctx context.Context) error {
	report, err := c.report(ctx)
	if err != nil {
		return printProblems(err)
	}
	return c.show(report)
}

func (c *checkCommand) report(ctx context.Context) (check.Report, error) {
	if c.Against != againstRegistry {
		return check.Run(ctx, c.options(c.Against))
	}
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return check.Report{}, err
	}
	defer client.Close()
	options := c.options("")
	options.Registry = registrybase.New(client)
	return check.Run(ctx, options)
}
