package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/history"
)

// What try-breaking renames. The field's name stands once in the file, with this white space.
const (
	tryFile = "schemas/market/raw-trades.avsc"
	tryFrom = `"name": "price"`
	tryTo   = `"name": "trade_price"`
)

type tryBreakingCommand struct {
	Root string `name:"root" type:"existingdir" default:"." help:"The working tree, or a folder in it."`
}

// Run is the command: it shows what a pull request that renames a field reads as its comment. Nothing of the working tree
// is touched, and nothing of it is looked at: the change is made to the last commit.
func (c *tryBreakingCommand) Run(ctx context.Context) error {
	// In a git hook these name the repository that the hook is for, and would win over the temporary one.
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	repository, err := history.Open(ctx, c.Root)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "In a temporary worktree of the last commit, %s says %s instead of %s. The pull request would read:\n\n", tryFile, tryTo, tryFrom)
	began := time.Now()
	judged, err := inWorktree(ctx, repository.Top, func(tree string) (judgement, error) {
		if err := renameIn(filepath.Join(tree, filepath.FromSlash(tryFile))); err != nil {
			return judgement{}, err
		}
		// The last commit is its own base, whatever branches and remotes this clone has.
		j := judgePullRequest(ctx, tree, "HEAD")
		return j, j.err
	})
	if err != nil {
		return err
	}
	fmt.Print(judged.markdown())
	if judged.status != check.ExitIncompatible {
		return fmt.Errorf("the check says %s; renaming a field that has readers should be incompatible: BUG", judged.verdict)
	}
	fmt.Fprintf(os.Stderr, "\nThe check took %.1f s and no server; in CI it ends with status %d. The worktree is removed.\n", time.Since(began).Seconds(), judged.status)
	return nil
}

func renameIn(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), tryFrom); n != 1 {
		return fmt.Errorf("%s holds %s %d times and not once; tell services/streamforge/trybreaking.go what to rename instead", tryFile, tryFrom, n)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), tryFrom, tryTo, 1)), 0o644)
}

// inWorktree makes a worktree of the last commit outside of the repository, lets do work in it, and removes it however do
// ends. Git's own list of worktrees is left as it was.
func inWorktree(ctx context.Context, repository string, do func(tree string) (judgement, error)) (j judgement, err error) {
	folder, err := os.MkdirTemp("", "streamforge-try-")
	if err != nil {
		return j, fmt.Errorf("making a folder for the worktree: %w", err)
	}
	// The list has names without symbolic links.
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	tree := filepath.Join(folder, "tree")
	defer func() {
		// An interrupt must not end the tidying up as well.
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		// Forced twice: git locks a worktree that it is still making.
		removed := git(tidy, repository, "worktree", "remove", "--force", "--force", tree)
		if _, missing := os.Stat(tree); missing != nil && !listed(tidy, repository, tree) {
			removed = nil
		}
		err = errors.Join(err, removed, os.RemoveAll(folder))
	}()
	// The hooks of the repository (post-checkout) are no part of the try.
	if err := git(ctx, repository, "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--quiet", "--detach", tree, "HEAD"); err != nil {
		return j, err
	}
	return do(tree)
}

// listed tells whether git still knows a worktree.
func listed(ctx context.Context, repository, tree string) bool {
	var out bytes.Buffer
	command := gitCommand(ctx, repository, "worktree", "list", "--porcelain")
	command.Stdout = &out
	return command.Run() != nil || strings.Contains(out.String(), "worktree "+tree+"\n")
}

func git(ctx context.Context, repository string, args ...string) error {
	var complaint bytes.Buffer
	command := gitCommand(ctx, repository, args...)
	command.Stderr = &complaint
	if err := command.Run(); err != nil {
		return fmt.Errorf("git %s: %s: %w", strings.Join(args, " "), strings.TrimSpace(complaint.String()), err)
	}
	return nil
}

// gitCommand runs in a process group of its own, so that Ctrl-C in a terminal ends this program's waiting and not the
// tidying up; a cancelled context asks git to end, which removes what it has begun.
func gitCommand(ctx context.Context, repository string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "git", append([]string{"-C", repository, "--no-pager"}, args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 5 * time.Second
	return command
}
