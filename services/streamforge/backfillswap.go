//go:build cgo

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/backfill"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
)

// swapReason begins the reason of a swap's pause, by which the same command knows it again.
const swapReason = "backfill swap"

// backfillSwap lets the new table take the live one's place.
type backfillSwap struct {
	backfillTarget
	AcceptFaults bool          `name:"accept-faults" help:"Also when the new table lacks what the live one or Kafka has, of a backfill that begins later, for example: it stays in the replaced tables."`
	Settle       time.Duration `name:"settle" default:"30s" hidden:"" help:"Within which every writer has heard of the pause and ended its last transaction."`
}

// maxBehind is how many records the new table may lack when the live one is paused: what is behind that is caught up before.
const maxBehind = 100_000

// Run is the command.
func (c *backfillSwap) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	b, err := c.open(ctx)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	defer b.close()
	live := contract.WriterGroup(c.Topic)
	state, err := b.layout.Look(ctx, b.store)
	if err != nil {
		return err
	}
	word, err := b.wordOn(ctx, c.Kafka, live)
	if err != nil {
		return err
	}
	ours := heldBySwap(word)
	switch {
	case state == backfill.None && !ours:
		return fmt.Errorf("nothing is beside the table of %s; begin with `streamforge backfill start %s`", c.Topic, c.Topic)
	case word.Paused() && !ours:
		return fmt.Errorf("%s: %s; resume it first", live, word)
	case !ours:
		if err := c.pause(ctx, b); err != nil {
			return err
		}
		if word, err = b.wordOn(ctx, c.Kafka, live); err != nil {
			return err
		}
	}
	if state == backfill.Filling {
		if err := c.drained(ctx, b); err != nil {
			return err
		}
	}
	if state != backfill.None {
		stamp := time.UnixMicro(word.RequestedAt).UTC().Format("20060102T150405")
		if err := b.layout.Exchange(ctx, b.store, stamp, func(s string) { fmt.Println(s) }); err != nil {
			return fmt.Errorf("%w; the same command goes on from here", err)
		}
	}
	return c.finish(ctx, b)
}

// pause waits until the new table lacks little, and pauses the live one.
func (c *backfillSwap) pause(ctx context.Context, b *beside) error {
	if foreign, err := b.layout.Foreign(ctx, b.store); err != nil || len(foreign) > 0 {
		return cmp.Or(err, foreignViews(foreign))
	}
	if err := c.await(ctx, "the new table to lack little", func() (bool, string, error) {
		left, err := b.behind(ctx, c.Kafka)
		return left <= maxBehind, fmt.Sprintf("%d records behind", left), err
	}); err != nil {
		return err
	}
	return c.sayTo(ctx, contract.WriterGroup(c.Topic), records.GroupPaused, swapReason+": go on with `streamforge backfill swap "+c.Topic+"`")
}

// drained waits until both groups have committed the same, the new table is found right, and no insert of either can still come.
func (c *backfillSwap) drained(ctx context.Context, b *beside) error {
	settled := time.Now().Add(c.Settle)
	horizon, err := b.horizon(ctx)
	if err != nil {
		return err
	}
	var since time.Time
	same := func() (bool, string, error) {
		plans, err := b.plans(ctx)
		if err != nil {
			return false, "", err
		}
		left, err := b.behind(ctx, c.Kafka)
		if plans > 0 || left > 0 || err != nil {
			since = time.Time{}
			return false, fmt.Sprintf("%d records behind, blocks under way at %d partitions", left, plans), err
		}
		// Before it is settled, a writer that has not heard of the pause may plan another block.
		if now := time.Now(); since.IsZero() && now.After(settled) {
			since = now
		}
		return !since.IsZero(), "the same", nil
	}
	if err := c.await(ctx, "both tables to be the same", same); err != nil {
		return err
	}
	if err := c.judge(ctx, b); err != nil {
		return err
	}
	return c.await(ctx, "inserts that may still be under way to be past", func() (bool, string, error) {
		if ok, how, err := same(); !ok || err != nil {
			return false, how, err
		}
		wait := time.Until(since.Add(horizon))
		return wait <= 0, fmt.Sprintf("another %s", wait.Round(time.Second)), nil
	})
}

// judge refuses a new table that lacks anything.
func (c *backfillSwap) judge(ctx context.Context, b *beside) error {
	sound, err := c.verifyBeside(ctx, b, os.Stdout)
	if err != nil {
		return err
	}
	older, err := b.older(ctx)
	if err != nil || c.AcceptFaults || sound && older == 0 {
		return err
	}
	what := "the new table is not right"
	if older > 0 {
		what = fmt.Sprintf("%s rows of the live table are older than the new one's first, as a rule because Kafka no longer holds their records", group(older))
	}
	return fmt.Errorf("%s; the live one is paused: `streamforge backfill drop --beside %s` gives the backfill up and lets it go on, --accept-faults leaves what the new one lacks, and what views made of it, in the replaced tables", what, c.Topic)
}

// older says how many rows of the live table are of before the new one's beginning.
func (b *beside) older(ctx context.Context) (n int64, err error) {
	live, other := b.layout.Tables[0].Live, b.layout.Tables[0].Beside
	rows, err := b.store.Query(ctx, fmt.Sprintf("SELECT toInt64(count()) FROM %s AS l LEFT JOIN (SELECT _topic_id, _partition, min(_offset) AS first FROM %s GROUP BY _topic_id, _partition) AS n"+
		" ON l._topic_id = n._topic_id AND l._partition = n._partition WHERE n.first IS NULL OR l._offset < n.first SETTINGS join_use_nulls = 1", live, other))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// await asks every second until it is so, and tells what it waits for.
func (c *backfillSwap) await(ctx context.Context, what string, ask func() (bool, string, error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := time.Time{}
	for {
		done, how, err := ask()
		if err == nil && done {
			return nil
		}
		if err != nil {
			how = err.Error() // A broker that is away comes back.
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			fmt.Printf("waiting for %s: %s\n", what, how)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted while waiting for %s (%s); the same command goes on from here", what, how)
		case <-tick.C:
		}
	}
}

// plans counts the partitions at which one of the two groups has a block under way.
func (b *beside) plans(ctx context.Context) (n int, err error) {
	for _, group := range []string{contract.WriterGroup(b.topic), backfill.Group(b.topic)} {
		offsets, err := b.admin.GroupOffsets(ctx, group, b.parts)
		if err != nil {
			return 0, err
		}
		for _, o := range offsets {
			if o.Offset >= 0 && o.Metadata != "" && !strings.HasPrefix(o.Metadata, backfill.CompletedMark+" ") {
				n++
			}
		}
	}
	return n, nil
}

// horizon is the longest that an insert of either group may still be on its way: the greatest window of a table or a view's target,
// at the contract's greatest rate of parts.
func (b *beside) horizon(ctx context.Context) (time.Duration, error) {
	most := 0
	for _, p := range b.layout.Tables {
		for _, name := range []string{p.Live, p.Beside} {
			t, err := b.store.Table(ctx, b.store.Database(), name)
			if err != nil {
				return 0, err
			}
			tokens, _ := t.Window()
			most = max(most, tokens)
		}
	}
	return time.Duration(most) * time.Second / time.Duration(max(1, b.live.Contract.Sink.MaxPartsPerSecond)), nil
}

// finish settles the letters, ends the backfill's group and lets the live one go on. Each step may be repeated.
func (c *backfillSwap) finish(ctx context.Context, b *beside) error {
	if err := c.letters(ctx, b); err != nil {
		return err
	}
	if err := c.sayTo(ctx, backfill.Group(c.Topic), records.GroupPaused, "the table has taken the live one's place; end the writers with --backfill="+c.Topic); err != nil {
		return err
	}
	if err := c.sayTo(ctx, contract.WriterGroup(c.Topic), records.GroupRunning, "backfill swapped"); err != nil {
		return err
	}
	old, err := b.layout.Old(ctx, b.store)
	fmt.Printf("%s is the new table; end the writers with --backfill=%s. What was there: %s (`streamforge backfill drop %s`)\n",
		b.layout.Tables[0].Live, c.Topic, strings.Join(old, ", "), c.Topic)
	return err
}

// letters makes the letters of the backfill's group those of the live one: of what is no row of the new table, whatever the old
// one made of it. An open letter of the live group whose row is there now is answered.
func (c *backfillSwap) letters(ctx context.Context, b *beside) error {
	live, ours := contract.WriterGroup(c.Topic), backfill.Group(c.Topic)
	id, err := b.admin.TopicID(ctx, c.Topic)
	if err != nil {
		return err
	}
	words, err := lastWords(ctx, c.Kafka, func(w *deadletters.Word) bool {
		return w.Letter.TopicID == id && w.Letter.Item == records.WholeRecord && isOpen(w) && (w.Letter.Group == live || w.Letter.Group == ours)
	})
	if err != nil {
		return err
	}
	var taken, answered []deadletters.Word
	for _, w := range words {
		if w.Letter.Group == ours {
			taken = append(taken, w)
			continue
		}
		rows, err := b.store.Query(ctx, fmt.Sprintf("SELECT 1 FROM %s WHERE _topic_id = toUUID(?) AND _partition = ? AND _offset = ? LIMIT 1", b.layout.Tables[0].Live),
			uuid.UUID(id).String(), w.Letter.Partition, w.Letter.Offset)
		if err != nil {
			return err
		}
		if rows.Next() {
			answered = append(answered, w)
		}
		err = rows.Err()
		rows.Close()
		if err != nil {
			return err
		}
	}
	choice := letterChoice{clusterFlags: c.clusterFlags}
	// First theirs, then ours: broken off in between, the letter is taken over once more.
	if _, err := choice.write(ctx, taken, func(w *deadletters.Writer, of deadletters.Word) kafka.Message {
		l := of.Letter
		l.Group = live
		return w.Again(l, l.ErrorClass, errors.New(l.Error))
	}); err != nil {
		return err
	}
	if _, err := choice.write(ctx, taken, func(w *deadletters.Writer, of deadletters.Word) kafka.Message {
		return w.Resolve(of.Letter, records.DeadLetterDiscarded, "taken over by "+live)
	}); err != nil {
		return err
	}
	_, err = choice.write(ctx, answered, func(w *deadletters.Writer, of deadletters.Word) kafka.Message {
		return w.Resolve(of.Letter, records.DeadLetterReplayed, "its row came with a backfill")
	})
	return err
}

// heldBySwap says that the pause of a group is a swap's.
func heldBySwap(word groupcontrol.Word) bool {
	return word.Paused() && strings.HasPrefix(word.Reason, swapReason)
}
