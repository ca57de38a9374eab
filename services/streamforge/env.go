//go:build cgo

package main

import (
	"fmt"
	"strings"
)

// envCommand prints the addresses of what runs, for a shell.
type envCommand struct{}

// Run is the command.
func (envCommand) Run(cli *commandLine) error {
	state, err := running(cli)
	if err != nil {
		return err
	}
	for _, variable := range state.Addresses.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Printf("export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return nil
}
