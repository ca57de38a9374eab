package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

type contractsCommand struct {
	Lint lintCommand `cmd:"" help:"Check every contract: form, owners, units, agreement with its schema, what ClickHouse can hold, readers, waivers."`
}

type lintCommand struct {
	Dir string `arg:"" optional:"" type:"existingdir" help:"Folder of the contracts, with the schemas in schemas/ beside it; default: contracts/ here, and where there is none those of this build."`
}

// Run is the command.
func (l *lintCommand) Run(ctx context.Context) error {
	dir := l.Dir
	if dir == "" && isFolder(history.ContractsFolder) {
		dir = history.ContractsFolder
	}
	var files fs.FS = contracts.FS
	if dir != "" {
		files = os.DirFS(dir)
	}
	subjects, err := schemasBeside(dir)
	if err != nil {
		return err
	}
	options := []contract.Option{contract.WithSink(ddl.Mappable), contract.WithMigrations(migration.Judge), contract.WithViews(ddl.Viewable), contract.WithToday(time.Now())}
	remark := ""
	versions, err := versionsOf(ctx, dir, subjects)
	if err == nil {
		options = append(options, contract.WithVersions(versions))
	} else {
		remark = fmt.Sprintf(" (readers are compared with the schemas as they are, and not with the versions that they name: %v)", err)
	}
	if err := contract.Lint(files, subjects, options...); err != nil {
		return printProblems(err)
	}
	fmt.Println("contracts: all well" + remark)
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// schemasBeside reads the schemas next to a folder of contracts, and those of this build where there are none.
func schemasBeside(dir string) ([]schemas.Subject, error) {
	beside := filepath.Join(dir, "..", history.SchemasFolder)
	if dir == "" || !isFolder(beside) {
		return schemas.All()
	}
	return schemas.Load(os.DirFS(beside))
}

// versionsOf works out from git which versions the subjects have, the files as they are now included.
func versionsOf(ctx context.Context, dir string, subjects []schemas.Subject) (func(subject string) []*avro.Schema, error) {
	if dir == "" {
		return nil, errors.New("the contracts of a build have no history")
	}
	repository, err := history.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	base, err := repository.Base(ctx, "")
	if err != nil {
		return nil, err
	}
	past, err := repository.Read(ctx, base)
	if err != nil {
		return nil, err
	}
	past.RegisterAll(subjects, "")
	return func(subject string) []*avro.Schema {
		var all []*avro.Schema
		for _, v := range past.Versions(subject) {
			s, err := v.Schema()
			if err != nil {
				return nil // what cannot be read is the check's to tell, not a reader's fault
			}
			all = append(all, s)
		}
		return all
	}, nil
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
