// The streamforge command: the local stack, the demo and its proof, replays of recordings, contracts and schemas.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
)

// commandLine is every command and flag, for kong.
type commandLine struct {
	Dir      string `name:"dir" env:"STREAMFORGE_DIR" default:".streamforge" type:"path" help:"Folder of the local stack's data, logs and state."`
	CacheDir string `name:"cache-dir" env:"STREAMFORGE_CACHE_DIR" type:"path" help:"Folder of downloaded parts; default: the user's cache."`

	Demo      demoCommand      `cmd:"" help:"Start everything, show it living, then prove that nothing was lost."`
	Replay    replayCommand    `cmd:"" help:"Send a recording of a venue through the pipeline and count what comes out."`
	Chaos     chaosCommand     `cmd:"" help:"Kill or stop parts of a pipeline under load, then prove that nothing was lost."`
	Load      loadCommand      `cmd:"" help:"Run the pipeline at a rate: sustained or not, and what each program costs."`
	Up        upCommand        `cmd:"" help:"Start the stack and the pipeline in the background."`
	Status    statusCommand    `cmd:"" help:"Show what runs, where, and whether it is well."`
	Down      downCommand      `cmd:"" help:"Drain and end what up started."`
	SQL       sqlCommand       `cmd:"" name:"sql" help:"Ask ClickHouse: a prompt, or one query."`
	Plan      planCommand      `cmd:"" help:"Show what apply would change."`
	Apply     applyCommand     `cmd:"" help:"Register schemas, create topics and tables as the contracts say."`
	Schemas   schemasCommand   `cmd:"" help:"Schemas: register."`
	Contracts contractsCommand `cmd:"" help:"Contracts: lint."`
	Install   installCommand   `cmd:"" help:"Fetch what the local stack needs, now rather than at the first start."`
	Local     localCommand     `cmd:"" hidden:"" help:"One part of the local stack, in the foreground."`
	Supervise superviseCommand `cmd:"" hidden:"" help:"What up starts in the background."`
}

// exitError ends the program with a status of its own and without a message.
type exitError struct{ status int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func main() {
	var cli commandLine
	k := kong.Parse(&cli, kong.Name("streamforge"),
		kong.Description("StreamForge: a crypto-market platform of data products on Kafka and ClickHouse."))
	if cli.CacheDir == "" {
		if cache, err := os.UserCacheDir(); err == nil {
			cli.CacheDir = filepath.Join(cache, "streamforge")
		} else {
			cli.CacheDir = filepath.Join(cli.Dir, "cache")
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(&cli); err != nil {
		var exit exitError
		if errors.As(err, &exit) {
			os.Exit(exit.status)
		}
		fmt.Fprintln(os.Stderr, "streamforge: "+oneLine(err))
		os.Exit(1)
	}
}
