//go:build cgo

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/backfill"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/completeness"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// backfillCommand makes a table again.
type backfillCommand struct {
	Start  backfillStart  `cmd:"" help:"Make a table and views beside the live ones, and say where the writer that fills them begins."`
	Status backfillStatus `cmd:"" help:"Show how far it is, and whether what is there is right."`
	Swap   backfillSwap   `cmd:"" help:"Pause the live table, let the new one catch up and take its place, go on. Broken off, the same command goes on."`
	Drop   backfillDrop   `cmd:"" help:"Remove the tables that were replaced; with --beside a backfill that is given up."`
}

// backfillTarget is the topic whose table is made again.
type backfillTarget struct {
	clusterFlags
	Topic string `arg:"" help:"Topic of the table."`
}

// beside is what a backfill is done with.
type beside struct {
	topic  string
	layout backfill.Layout
	live   completeness.Product
	store  *clickhouse.Client
	admin  *kafka.Admin
	client *registry.Client
	parts  []kafka.TopicPartition
}

func (b *beside) close() {
	b.store.Close()
	b.admin.Close()
	b.client.Close()
}

func (c *backfillTarget) open(ctx context.Context) (*beside, error) {
	switch {
	case c.ClickHouse == "":
		return nil, errors.New("no ClickHouse; set CLICKHOUSE_URL, or start a stack with `make up`")
	case c.Cluster != "" || c.Sharded:
		return nil, errors.New("tables of a cluster cannot be made again yet: a replicated table's path in Keeper is named after the table")
	}
	things, err := wantedThings()
	if err != nil {
		return nil, err
	}
	products, err := verified(things, []string{c.Topic})
	if err != nil {
		return nil, err
	}
	connection, err := openDriver(ctx, c.ClickHouse)
	if err != nil {
		return nil, err
	}
	tuning, err := knownTuning(ctx, connection)
	_ = connection.Close()
	if err != nil {
		return nil, err
	}
	b := &beside{topic: c.Topic, live: products[0]}
	if b.store, err = clickhouse.New(clickhouse.Config{URL: c.ClickHouse}); err != nil {
		return nil, err
	}
	if b.layout, err = backfill.LayoutOf(b.live.Contract, b.live.Views, b.live.Schema, b.store.Database(), ddl.Options{Tuning: tuning}); err != nil {
		return nil, err
	}
	if b.client, err = registry.New(c.Registry, prometheus.NewRegistry()); err != nil {
		return nil, err
	}
	if b.admin, err = kafka.NewAdmin(c.Kafka); err != nil {
		return nil, err
	}
	described, err := b.admin.Describe(ctx, c.Topic)
	if err != nil {
		b.close()
		return nil, err
	}
	t := described[c.Topic]
	b.parts = t.TopicPartitions()
	return b, nil
}

// backfillStart begins.
type backfillStart struct {
	backfillTarget
	FromBeginning bool      `name:"from-beginning" xor:"from" required:"" help:"From the first record that Kafka holds."`
	FromOffset    *int64    `name:"from-offset" xor:"from" required:"" help:"From this offset of every partition."`
	FromTime      time.Time `name:"from-time" xor:"from" required:"" help:"From the first record at or after, RFC 3339: 2026-01-02T15:04:05Z."`
}

// Run is the command.
func (c *backfillStart) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	b, err := c.open(ctx)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	defer b.close()
	if foreign, err := b.layout.Foreign(ctx, b.store); err != nil || len(foreign) > 0 {
		return cmp.Or(err, foreignViews(foreign))
	}
	state, err := b.layout.Look(ctx, b.store)
	switch {
	case err != nil:
		return err
	case state == backfill.Exchanged:
		return fmt.Errorf("a swap was broken off; finish it with `streamforge backfill swap %s`", c.Topic)
	case state == backfill.None:
		// The offsets first: the tables say that they are set.
		if err := c.begin(ctx, b); err != nil {
			return err
		}
	}
	for _, statement := range b.layout.Create {
		if err := b.store.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	fmt.Printf("%s is made; fill it with one writer or several: bin/writer --backfill=%s [--max-rows-per-second=50000]\n`streamforge backfill status %s` shows how far it is\n",
		b.layout.Tables[0].Beside, c.Topic, c.Topic)
	return nil
}

func foreignViews(names []string) error {
	return fmt.Errorf("%s are filled from the table and stand in no contract: what they are to hold of the new table is for you to decide; drop them first", strings.Join(names, ", "))
}

// begin commits where the backfill begins, never behind what the live group has committed, and lets its group run.
func (c *backfillStart) begin(ctx context.Context, b *beside) error {
	held, err := b.admin.Offsets(ctx, b.parts, true)
	if err != nil {
		return err
	}
	from := map[kafka.TopicPartition]int64{}
	if !c.FromTime.IsZero() {
		if from, err = b.admin.OffsetForTime(ctx, b.parts, c.FromTime); err != nil {
			return err
		}
	}
	live, err := b.admin.GroupOffsets(ctx, contract.WriterGroup(c.Topic), b.parts)
	if err != nil {
		return err
	}
	var starts []kafka.Committed
	for _, l := range live {
		at := max(from[l.TopicPartition], held[l.TopicPartition].Earliest)
		if c.FromOffset != nil {
			// A partition that is shorter begins at its end: the broker knows no offset behind it.
			at = min(max(*c.FromOffset, at), held[l.TopicPartition].Latest)
		}
		if l.Offset >= 0 {
			at = min(at, max(l.Offset, held[l.TopicPartition].Earliest))
		}
		starts = append(starts, kafka.Committed{TopicPartition: l.TopicPartition, Offset: at})
	}
	if err := b.admin.SetGroupOffsets(ctx, backfill.Group(c.Topic), starts); err != nil {
		return fmt.Errorf("%w; end the writers with --backfill=%s first", err, c.Topic)
	}
	return c.sayTo(ctx, backfill.Group(c.Topic), records.GroupRunning, "backfill start")
}

// backfillStatus looks.
type backfillStatus struct{ backfillTarget }

// Run is the command. Its exit status is 1 when the new table is not sound.
func (c *backfillStatus) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	b, err := c.open(ctx)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	defer b.close()
	state, err := b.layout.Look(ctx, b.store)
	if err != nil {
		return err
	}
	fmt.Printf("backfill of %s: %s\n", c.Topic, state)
	if old, err := b.layout.Old(ctx, b.store); err != nil {
		return err
	} else if len(old) > 0 {
		fmt.Printf("replaced: %s (`streamforge backfill drop %s`)\n", strings.Join(old, ", "), c.Topic)
	}
	if state != backfill.Filling {
		return nil
	}
	left, err := b.behind(ctx, c.Kafka)
	if err != nil {
		return err
	}
	fmt.Printf("behind the live group: %d records\n", left)
	sound, err := c.verifyBeside(ctx, b, os.Stdout)
	if err == nil && !sound {
		err = exitError{1}
	}
	return err
}

// behind counts the records that one of the two groups has committed and the other has not.
func (b *beside) behind(ctx context.Context, client kafka.ClientConfig) (left int64, err error) {
	live, err := b.admin.GroupOffsets(ctx, contract.WriterGroup(b.topic), b.parts)
	if err != nil {
		return 0, err
	}
	ours, err := b.admin.GroupOffsets(ctx, backfill.Group(b.topic), b.parts)
	if err != nil {
		return 0, err
	}
	held, err := b.admin.Offsets(ctx, b.parts, true)
	if err != nil {
		return 0, err
	}
	ranges, most := map[kafka.TopicPartition]kafka.OffsetRange{}, int64(0)
	for i, tp := range b.parts {
		first := held[tp].Earliest
		x, y := max(first, live[i].Offset), max(first, ours[i].Offset)
		if x != y {
			ranges[tp] = kafka.OffsetRange{Earliest: min(x, y), Latest: max(x, y)}
			most += max(x, y) - min(x, y)
		}
	}
	if most > 10*maxBehind {
		return most, nil // Too many to be counted; transactions' markers are among them.
	}
	err = kafka.ReadRanges(ctx, client, ranges, func(kafka.Record) error { left++; return nil })
	return left, err
}

// verifyBeside compares the new table and its views with the topic, as `streamforge verify` does with the live ones.
func (c *backfillTarget) verifyBeside(ctx context.Context, b *beside, out io.Writer) (sound bool, err error) {
	product := b.live
	product.Contract, product.Views, product.Group = backfill.Contract(b.live.Contract), backfill.Views(b.live.Views), backfill.Group(b.topic)
	reports, err := completeness.Verify(ctx, completeness.Deps{Kafka: c.Kafka, Admin: b.admin, ClickHouse: b.store, Time: completeness.Times(b.client)}, []completeness.Product{product})
	if err != nil {
		return false, err
	}
	return reports[0].Sound(), (&verifyCommand{}).print(out, reports)
}

// backfillDrop removes what is not used any more.
type backfillDrop struct {
	backfillTarget
	Beside bool `name:"beside" help:"Give a backfill up that has not taken the live table's place."`
	Yes    bool `name:"yes" short:"y" help:"Do not ask."`
}

// Run is the command.
func (c *backfillDrop) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	b, err := c.open(ctx)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	defer b.close()
	state, err := b.layout.Look(ctx, b.store)
	if err != nil {
		return err
	}
	if state == backfill.Exchanged {
		return fmt.Errorf("a swap was broken off; finish it with `streamforge backfill swap %s`", c.Topic)
	}
	old, err := b.layout.Old(ctx, b.store)
	if err != nil {
		return err
	}
	names := slices.Clone(old)
	if c.Beside && state == backfill.Filling {
		names = append(names, b.layout.Tables[0].Beside+" and its views")
	}
	if len(names) == 0 {
		return errors.New("there is nothing to drop")
	}
	if !(&letterChoice{Yes: c.Yes}).agreed("Drop " + strings.Join(names, ", ") + "?") {
		return errors.New("nothing was done")
	}
	if c.Beside {
		if err := c.sayTo(ctx, backfill.Group(c.Topic), records.GroupPaused, "backfill given up"); err != nil {
			return err
		}
	}
	if err := b.layout.Drop(ctx, b.store, old, c.Beside); err != nil {
		return err
	}
	if word, err := b.wordOn(ctx, c.Kafka, contract.WriterGroup(c.Topic)); err != nil {
		return err
	} else if c.Beside && heldBySwap(word) {
		if err := c.sayTo(ctx, contract.WriterGroup(c.Topic), records.GroupRunning, "backfill given up"); err != nil {
			return err
		}
	}
	fmt.Println("dropped: " + strings.Join(names, ", "))
	return nil
}

// wordOn is the last word on a group.
func (b *beside) wordOn(ctx context.Context, client kafka.ClientConfig, group string) (groupcontrol.Word, error) {
	words, err := groupcontrol.Current(ctx, client, b.client)
	return words[group], err
}
