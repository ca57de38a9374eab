//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// pauseCommand asks the writers' group of a topic to pause, or lists what is paused.
type pauseCommand struct {
	clusterFlags
	Topic  string `arg:"" optional:"" help:"Topic whose table gets no more rows."`
	Reason string `name:"reason" help:"Why, for those who come after."`
}

// Run is the command.
func (c *pauseCommand) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	switch {
	case c.Topic == "":
		return orNothingRuns(kind, c.list(ctx, os.Stdout))
	case strings.TrimSpace(c.Reason) == "":
		return errors.New("say why, for those who find the table standing still: --reason")
	}
	group, err := c.say(ctx, c.Topic, records.GroupPaused, c.Reason)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	fmt.Printf("%s is asked to pause; its writers do within a second, `streamforge status` shows it\n", group)
	return nil
}

// list shows the groups that are paused.
func (c *pauseCommand) list(ctx context.Context, out io.Writer) error {
	words, err := c.words(ctx)
	if err != nil {
		return err
	}
	paused := 0
	for _, group := range slices.Sorted(maps.Keys(words)) {
		if words[group].Paused() {
			paused++
			fmt.Fprintf(out, "%s: %s\n", visible(group), visible(words[group].String()))
		}
	}
	fmt.Fprintf(out, "paused groups: %d\n", paused)
	return nil
}

// resumeCommand asks the writers' group of a topic to go on.
type resumeCommand struct {
	clusterFlags
	Topic  string `arg:"" help:"Topic whose table is to get rows again."`
	Reason string `name:"reason" help:"What is done, for those who come after."`
}

// Run is the command.
func (c *resumeCommand) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	group, err := c.say(ctx, c.Topic, records.GroupRunning, c.Reason)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	fmt.Printf("%s is asked to go on; its writers do within a second\n", group)
	return nil
}

// say writes a word on the group that writes a topic into its table.
func (f *clusterFlags) say(ctx context.Context, topic string, state records.GroupState, reason string) (group string, err error) {
	things, err := wantedThings()
	if err != nil {
		return "", err
	}
	if _, err := verified(things, []string{topic}); err != nil {
		return "", err
	}
	group = contract.WriterGroup(topic)
	words, err := f.words(ctx)
	if err != nil {
		return "", err
	}
	if word := words[group]; heldBySwap(word) {
		return "", fmt.Errorf("%s: %s; or give it up with `streamforge backfill drop --beside %s`", group, word, topic)
	}
	return group, f.sayTo(ctx, group, state, reason)
}

// words are the last ones on all groups.
func (f *clusterFlags) words(ctx context.Context) (map[string]groupcontrol.Word, error) {
	client, err := registry.New(f.Registry, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return groupcontrol.Current(ctx, f.Kafka, client)
}

// sayTo writes a word on a group, and waits until Kafka has it.
func (f *clusterFlags) sayTo(ctx context.Context, group string, state records.GroupState, reason string) error {
	client, err := registry.New(f.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer client.Close()
	id, err := client.ID(ctx, groupcontrol.Subject)
	if err != nil {
		return err
	}
	return groupcontrol.Say(ctx, f.Kafka, "streamforge@"+app.Version(), id, records.GroupControl{
		Group: group, State: state, Reason: reason, RequestedBy: person(), RequestedAt: time.Now().UnixMicro(),
	})
}
