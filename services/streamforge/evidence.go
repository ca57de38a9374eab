//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
	"github.com/streamforge/streamforge/services/internal/governance/evidence/snapshot"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/registry"
)

type evidenceCommand struct {
	clusterFlags
	Cluster string `name:"cluster" help:"The name that people call the cluster by; the file is named after it. Default: local, for the stack that runs here."`
	Records int    `name:"records" default:"200" help:"How many of the newest records of each partition to look at."`
	Output  string `name:"output" type:"path" help:"The file to write, - for standard output; default: contracts/evidence/<cluster>.json of this repository."`
}

// Run is the command: it reads from the cluster and changes nothing there.
func (e *evidenceCommand) Run(ctx context.Context, cli *commandLine) error {
	kind := e.resolve(cli)
	switch {
	case e.Cluster == "" && kind != "":
		e.Cluster = "local"
	case e.Cluster == "":
		return errors.New("say with --cluster what the cluster is called: the name stands in the comments of pull requests")
	}
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return err
	}
	client, err := registry.New(e.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer client.Close()
	taken, err := snapshot.Take(ctx, e.Kafka, client, snapshot.Config{Cluster: e.Cluster, RecordsPerPartition: e.Records, Contracts: all, Now: time.Now()})
	if err != nil {
		return err
	}
	text, err := taken.Encode()
	if err != nil {
		return err
	}
	if e.Output == "-" {
		_, err := os.Stdout.Write(text)
		return err
	}
	file, err := e.file(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	groups, versions := 0, 0
	for _, p := range taken.Products {
		groups, versions = groups+len(p.Groups), versions+len(p.Versions)
	}
	fmt.Printf("%s: %d products with %d groups and %d schema versions on the wire; commit it, and pull requests say whom they break\n", file, len(taken.Products), groups, versions)
	return nil
}

func (e *evidenceCommand) file(ctx context.Context) (string, error) {
	if e.Output != "" {
		return e.Output, nil
	}
	repository, err := history.Open(ctx, ".")
	if err != nil {
		return "", fmt.Errorf("%w; or name the file with --output", err)
	}
	return filepath.Join(repository.Top, history.ContractsFolder, evidence.Folder, e.Cluster+".json"), nil
}
