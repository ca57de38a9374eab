//go:build cgo

package main

import (
	"os"
	"path/filepath"
)

// commandLine is every command and flag, for kong.
type commandLine struct {
	Dir      string `name:"dir" env:"STREAMFORGE_DIR" default:".streamforge" type:"path" help:"Folder of the local stack's data, logs and state."`
	CacheDir string `name:"cache-dir" env:"STREAMFORGE_CACHE_DIR" type:"path" help:"Folder of downloaded parts; default: the user's cache."`

	Demo        demoCommand        `cmd:"" help:"Start everything, show it living, then prove that nothing was lost."`
	Replay      replayCommand      `cmd:"" help:"Send a recording of a venue through the pipeline and count what comes out."`
	Chaos       chaosCommand       `cmd:"" help:"Kill or stop parts of a pipeline under load, then prove that nothing was lost."`
	Load        loadCommand        `cmd:"" help:"Run the pipeline at a rate: sustained or not, and what each program costs."`
	Up          upCommand          `cmd:"" help:"Start the stack and the pipeline in the background."`
	Status      statusCommand      `cmd:"" help:"Show what runs, where, and whether it is well."`
	Down        downCommand        `cmd:"" help:"Drain and end what up started."`
	Env         envCommand         `cmd:"" help:"Print the addresses of what runs, for a shell: eval \"$(bin/streamforge env)\""`
	SQL         sqlCommand         `cmd:"" name:"sql" help:"Ask ClickHouse: a prompt, or one query."`
	Tail        tailCommand        `cmd:"" help:"Show a topic's records, live and decoded."`
	Trace       traceCommand       `cmd:"" help:"Lead a row back to its record and to the venue's own bytes."`
	DeadLetters deadLettersCommand `cmd:"" name:"dead-letters" help:"What could not be processed: list, show, replay, discard."`
	Verify      verifyCommand      `cmd:"" help:"Prove that the tables and views hold what the topics hold, offset by offset; changes nothing."`
	Manifest    manifestCommand    `cmd:"" help:"What tables hold of a day and group, written down and checked later."`
	Pause       pauseCommand       `cmd:"" help:"Ask the writers to pause a topic: what is planned goes into its table, nothing after it. Without a topic: what is paused."`
	Resume      resumeCommand      `cmd:"" help:"Ask the writers to go on with a topic."`
	Backfill    backfillCommand    `cmd:"" help:"Make a topic's table again beside the live one and let it take its place: start, status, swap, drop."`
	Plan        planCommand        `cmd:"" help:"Show what apply would change."`
	Apply       applyCommand       `cmd:"" help:"Register schemas, create topics and tables as the contracts say."`
	Schemas     schemasCommand     `cmd:"" help:"Schemas: check a change, register."`
	Convert     convertCommand     `cmd:"" help:"Write the records of one major version of a product into the other's topic: a migration's running part."`
	Product     productCommand     `cmd:"" help:"From one major version of a product to the next: compare, cutover, join, retire."`
	Evidence    evidenceCommand    `cmd:"" help:"Write a dated snapshot of what lives on a cluster: groups, and schema versions by producer."`
	offline
	Install   installCommand   `cmd:"" help:"Fetch what the local stack needs, now rather than at the first start."`
	Local     localCommand     `cmd:"" hidden:"" help:"One part of the local stack, in the foreground."`
	Supervise superviseCommand `cmd:"" hidden:"" help:"What up starts in the background."`
}

type schemasCommand struct {
	Check    provenCheck     `cmd:"" help:"Judge the working tree's schemas and contracts against what main holds, from git alone."`
	Register registerCommand `cmd:"" help:"Register every schema, shared types first, each at its contract's compatibility level."`
}

// AfterApply finds the cache where nobody named one.
func (c *commandLine) AfterApply() error {
	if c.CacheDir != "" {
		return nil
	}
	c.CacheDir = filepath.Join(c.Dir, "cache")
	if cache, err := os.UserCacheDir(); err == nil {
		c.CacheDir = filepath.Join(cache, "streamforge")
	}
	return nil
}
