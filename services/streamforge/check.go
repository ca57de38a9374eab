package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// againstRegistry is the base that is no commit.
const againstRegistry = "registry"

type checkCommand struct {
	Registry registry.Config `embed:""`
	Against  string          `name:"against" help:"What to compare with: a commit by any of git's names, or registry for what SCHEMA_REGISTRY_URL holds; default: origin/main, or main where there is no origin."`
	JSON     bool            `name:"json" help:"For a program."`
	Root     string          `name:"root" type:"existingdir" help:"The working tree, or a folder in it; default: this folder."`
}

// Run is the command: exit status 0 when the change is compatible, 3 when it is not, 1 when it could not be judged.
func (c *checkCommand) Run(ctx context.Context) error {
	report, err := c.report(ctx)
	if err != nil {
		return printProblems(err)
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.WriteText(os.Stdout)
	}
	if err != nil {
		return err
	}
	if code := report.ExitCode(); code != check.ExitCompatible {
		return exitError{code}
	}
	return nil
}

func (c *checkCommand) report(ctx context.Context) (check.Report, error) {
	options := check.Options{Dir: c.Root, Against: c.Against, Today: time.Now()}
	if options.Dir == "" {
		options.Dir = "."
	}
	if c.Against == againstRegistry {
		client, err := registry.New(c.Registry, prometheus.NewRegistry())
		if err != nil {
			return check.Report{}, err
		}
		defer client.Close()
		options.Against, options.Registry = "", client
	}
	return check.Run(ctx, options)
}
