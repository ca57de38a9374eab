//go:build cgo

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/governance/migration/convert"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// convertCommand is a program like the others: it runs until it is told to stop, and drains.
type convertCommand struct {
	App          app.Config         `embed:""`
	Kafka        kafka.ClientConfig `embed:""`
	Registry     registry.Config    `embed:""`
	Convert      convert.Config     `embed:""`
	declarations `embed:""`
	Migration    string `arg:"" help:"The later version, raw-trades.v2, or its migration file."`
	Direction    string `name:"direction" required:"" enum:"up,down" help:"up while the earlier version is written by its producer, down once the later one is."`
	UntilDrained bool   `name:"until-drained" help:"End once every record is converted. The producer of what is read must have stopped."`
}

// Run is the command.
func (c *convertCommand) Run(ctx context.Context, cli *commandLine) error {
	declared, err := c.load()
	if err != nil {
		return err
	}
	pair, err := declared.pair(c.Migration)
	if err != nil {
		return err
	}
	cluster := clusterFlags{Kafka: c.Kafka, Registry: c.Registry}
	cluster.resolve(cli)
	a := app.New("convert", c.App)
	client, err := registry.New(cluster.Registry, a.Registry)
	if err != nil {
		return err
	}
	defer client.Close()
	direction := convert.Direction(c.Direction)
	converter, err := convert.New(pair, direction, c.Convert, subscription.Deps{
		Kafka: cluster.Kafka, Registry: client, Contracts: declared.Contracts, Log: a.Log, Metrics: a.Registry, Producer: a.Producer(),
	})
	if err != nil {
		return err
	}
	a.Ready("convert", converter.Ready)
	a.Add("convert", converter)
	if !c.UntilDrained {
		return a.Run(ctx)
	}
	return untilDrained(ctx, a, cluster.Kafka, pair, direction, converter)
}

// untilDrained runs the converter until it has nothing left to do.
func untilDrained(ctx context.Context, a *app.App, config kafka.ClientConfig, pair *convert.Pair, direction convert.Direction, converter *convert.Converter) error {
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return err
	}
	defer admin.Close()
	working, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	go func() {
		watched <- pair.AwaitDrained(working, admin, direction)
		stop()
	}()
	err = a.Run(working)
	stop()
	if drained := <-watched; err != nil || drained != nil {
		if err == nil {
			err = fmt.Errorf("%w; it has stopped, and is not drained", drained)
		}
		return err
	}
	converted, skipped := converter.Counts()
	from, to := pair.From.ID, pair.To.ID
	if direction == convert.Down {
		from, to = to, from
	}
	_, err = fmt.Fprintf(os.Stdout, "convert: drained: every record of %s has been converted to %s (%d now, %d had come from there)\n", from, to, converted, skipped)
	return err
}
