//go:build !cgo

package main

// commandLine of a build without cgo.
type commandLine struct {
	Schemas schemasCommand `cmd:"" help:"Schemas: check a change."`
	offline
}

type schemasCommand struct {
	Check checkCommand `cmd:"" help:"Judge the working tree's schemas and contracts against what main holds, from git alone."`
}
