//go:build !cgo

package main

// commandLine of a build without cgo.
type commandLine struct {
	Schemas schemasCommand `cmd:"" help:"Schemas: check a change."`
	Product struct {
		Draft productDraftCommand `cmd:"" help:"Draft the next major version from the working tree's incompatible change: contract, schema, migration."`
	} `cmd:"" help:"From one major version of a product to the next."`
	offline
}

type schemasCommand struct {
	Check gitCheck `cmd:"" help:"Judge the working tree's schemas and contracts against what main holds, from git alone."`
}
