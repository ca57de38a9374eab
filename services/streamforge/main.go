// The streamforge command: the local stack, the demo and its proof, replays of recordings, contracts and schemas.
//
// Built without cgo it holds what needs no broker and no database alone: the commands of the struct offline.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// offline are the commands that need files and git alone. The files that they stand in have no build tag.
type offline struct {
	Contracts contractsCommand `cmd:"" help:"Contracts: lint."`
	New       newCommand       `cmd:"" help:"Make something new: a consumer."`

	PRCheck     prCheckCommand     `cmd:"" name:"pr-check" help:"Write the comment of a pull request: verdict, reasons, whom it breaks, the SQL."`
	PRComment   prCommentCommand   `cmd:"" name:"pr-comment" help:"Write the comment from what pr-check --data wrote."`
	TryBreaking tryBreakingCommand `cmd:"" name:"try-breaking" help:"Rename a field in a temporary worktree and show that comment."`
	CodeOwners  codeOwnersCommand  `cmd:"" name:"codeowners" help:"Write .github/CODEOWNERS from the contracts."`
}

// exitError ends the program with a status of its own and without a message.
type exitError struct{ status int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func main() {
	forgetEmpty("DRY_RUN", "SINK")
	var cli commandLine
	k := kong.Parse(&cli, kong.Name("streamforge"),
		kong.Description("StreamForge: a crypto-market platform of data products on Kafka and ClickHouse."))
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

// forgetEmpty unsets variables that hold nothing: make and CI systems pass a switch that nobody set on like that.
func forgetEmpty(variables ...string) {
	for _, name := range variables {
		if os.Getenv(name) == "" {
			_ = os.Unsetenv(name) // Fails for a malformed name alone.
		}
	}
}

// oneLine makes of an error, joined ones included, what fits a line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}
