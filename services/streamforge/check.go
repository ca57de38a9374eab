package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/streamforge/streamforge/services/internal/governance/check"
)

// againstRegistry is the base that is no commit.
const againstRegistry = "registry"

// checkFlags are the check from git alone, in every build.
type checkFlags struct {
	JSON bool   `name:"json" help:"For a program."`
	Root string `name:"root" type:"existingdir" default:"." help:"The working tree, or a folder in it."`
}

func (c *checkFlags) options(against string) check.Options {
	return check.Options{Dir: c.Root, Against: against, Today: time.Now()}
}

// show prints the report and ends as its verdict says: exit status 0 when the change is compatible, 3 when it is not.
func (c *checkFlags) show(report check.Report) error {
	var err error
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
