package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

type contractsCommand struct {
	Lint lintCommand `cmd:"" help:"Check every contract: form, owners, units, agreement with its schema."`
}

type lintCommand struct {
	Dir string `arg:"" optional:"" type:"existingdir" help:"Folder of the contracts; default: those of this build."`
}

// Run is the command.
func (l *lintCommand) Run() error {
	var fsys fs.FS = contracts.FS
	if l.Dir != "" {
		fsys = os.DirFS(l.Dir)
	}
	subjects, err := schemas.All()
	if err != nil {
		return err
	}
	if err := contract.Lint(fsys, subjects, contract.WithSink(ddl.Mappable), contract.WithToday(time.Now())); err != nil {
		return printProblems(err)
	}
	fmt.Println("contracts: all well")
	return nil
}

// printProblems shows what is wrong with files, a line each; any other error is returned as it is.
func printProblems(err error) error {
	var problems contract.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems {
		fmt.Println(p.Error())
	}
	return exitError{1}
}
