package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/comment"
)

type prCheckCommand struct {
	Base   string `name:"base" help:"What to compare with, a commit by any of git's names; default: origin/main, or main where there is no origin."`
	Output string `name:"output" type:"path" help:"Write the comment to this file and one line to standard output; default: the comment to standard output."`
	Data   string `name:"data" type:"path" help:"Also write what the comment is made of to this file, for pr-comment."`
	Root   string `name:"root" type:"existingdir" default:"." help:"The working tree, or a folder in it."`
}

// Run is the command: exit status 0 when the change is compatible, 3 when it is not, 1 when it could not be judged. The
// comment is written in each case, so that whoever opened the pull request reads the reason there.
func (c *prCheckCommand) Run(ctx context.Context) error {
	judgement := judgePullRequest(ctx, c.Root, c.Base)
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Data != "" {
		if err := writeData(c.Data, judgement.input); err != nil {
			return err
		}
	}
	if c.Output == "" {
		fmt.Print(judgement.markdown())
		return judgement.exit()
	}
	if err := os.WriteFile(c.Output, []byte(judgement.markdown()), 0o644); err != nil {
		return fmt.Errorf("writing the comment: %w", err)
	}
	fmt.Printf("%s; the comment is in %s\n", judgement.verdict, c.Output)
	return judgement.exit()
}

func writeData(name string, in comment.Input) error {
	var data bytes.Buffer
	if err := in.Encode(&data); err != nil {
		return err
	}
	return os.WriteFile(name, data.Bytes(), 0o644)
}

type prCommentCommand struct {
	Data string `arg:"" type:"existingfile" help:"What pr-check --data wrote."`
}

// Run is the command.
func (c *prCommentCommand) Run() error {
	file, err := os.Open(c.Data)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	in, err := comment.Decode(file)
	if err != nil {
		return err
	}
	fmt.Print(comment.Markdown(in))
	return nil
}

// judgement is a pull request's comment, and how its check ends.
type judgement struct {
	input   comment.Input
	verdict string
	status  int
	err     error
}

func (j judgement) markdown() string { return comment.Markdown(j.input) }

func (j judgement) exit() error {
	switch {
	// What is wrong with files stands in the comment, a line each.
	case errors.As(j.err, new(contract.Problems)):
		return exitError{j.status}
	case j.err != nil:
		return j.err
	case j.status != check.ExitCompatible:
		return exitError{j.status}
	}
	return nil
}

// judgePullRequest compares the working tree around dir with a base and writes the comment.
func judgePullRequest(ctx context.Context, dir, base string) judgement {
	report, err := check.Run(ctx, check.Options{Dir: dir, Against: base, Today: time.Now()})
	if err != nil {
		return notJudged(err)
	}
	return judgement{input: comment.Input{Report: report}, verdict: string(report.Verdict()), status: report.ExitCode()}
}

func notJudged(err error) judgement {
	j := judgement{verdict: "not judged", status: check.ExitNotJudged, err: err}
	var problems contract.Problems
	if !errors.As(err, &problems) {
		j.input.NotJudged = []string{err.Error()}
		return j
	}
	for _, p := range problems {
		j.input.NotJudged = append(j.input.NotJudged, p.Error())
	}
	return j
}
