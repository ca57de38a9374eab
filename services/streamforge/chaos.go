//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/streamforge/proof"
)

// chaosCommand runs the pipeline under load, kills or stops parts of it, and then proves what must hold all the same:
// whatever entered raw-frames comes out exactly once, and what did not enter is named by a GAP.
type chaosCommand struct {
	stackFlags
	Duration  time.Duration `name:"duration" default:"60s" help:"How long the load lasts."`
	Kill      []string      `name:"kill" help:"Programs to kill -9 in turn: loader,parser,writer, or a part: broker,registry,clickhouse."`
	Every     time.Duration `name:"every" default:"3s" help:"Time between two kills."`
	Outage    string        `name:"outage" help:"One part or program that is stopped for a while: clickhouse, registry, broker, writer …"`
	OutageFor time.Duration `name:"outage-for" default:"60s" help:"How long."`
	Symbols   int           `name:"symbols" default:"60" help:"Symbols that the simulator offers."`
	Seed      int64         `name:"seed" default:"1" help:"Seed of the simulator."`
	Rate      float64       `name:"rate" default:"1" help:"Multiplies the simulator's rate of frames."`
}

// chaos is a campaign under way.
type chaos struct {
	command *chaosCommand
	session *session
	view    *sampler

	kills       map[string]int
	slowest     time.Duration
	worstResume string
	// framesPerSecond before and during an outage.
	before, during float64
	lagAtEnd       time.Duration
}

// Run is the command.
func (c *chaosCommand) Run(ctx context.Context, cli *commandLine) error {
	s, err := startSession(ctx, cli, c.stackFlags, sessionConfig{use: "chaos", fresh: true, progress: timedProgress})
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: s.dir, source: source{symbols: c.Symbols, seed: c.Seed, rate: c.Rate}}
	return errors.Join(c.campaign(ctx, s, p), s.close())
}

func (c *chaosCommand) campaign(ctx context.Context, s *session, p *pipeline) error {
	if err := p.start(ctx, s.progress); err != nil {
		return err
	}
	if err := s.awaitFirstRow(ctx); err != nil {
		return err
	}
	run := &chaos{command: c, session: s, kills: map[string]int{}, view: newSampler(ctx, s)}
	if c.Outage != "" {
		if err := run.outage(ctx); err != nil {
			return err
		}
	} else if err := run.killing(ctx); err != nil {
		return err
	}
	if _, err := p.drain(ctx, s.lag, s.progress); err != nil {
		return err
	}
	l, err := proof.ReadLedger(p.ledger())
	if err != nil {
		return err
	}
	result, err := s.proveAgainst(ctx, nil)
	if err != nil {
		return err
	}
	return run.report(result, l)
}

// resumePatience bounds the wait for rows after a kill.
const resumePatience = 3 * time.Minute

// killing kills one after another until the time is over. Whatever was killed has come back and works when it returns, however
// long that takes the machine: what is told to drain in its very start could not say what it missed.
func (r *chaos) killing(ctx context.Context) error {
	end := time.NewTimer(r.command.Duration)
	defer end.Stop()
	tick := time.NewTicker(r.command.Every)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return nil
		case <-end.C:
			return nil
		case <-tick.C:
		}
		name := r.command.Kill[turn%len(r.command.Kill)]
		bounded, cancel := context.WithTimeout(ctx, resumePatience)
		err := r.kill(bounded, name)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after the kill of %s: %w", name, err)
		}
	}
}

func (r *chaos) kill(ctx context.Context, name string) error {
	process := r.session.stack.Process(name)
	if process == nil {
		return fmt.Errorf("nothing of the name %s runs; --kill takes loader, parser, writer, broker, registry, clickhouse", name)
	}
	before, err := r.rows(ctx)
	if err != nil && name != "clickhouse" {
		return err
	}
	pid := process.PID()
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s (process %d): %w", name, pid, err)
	}
	r.kills[name]++
	if err := process.AwaitRestart(ctx, pid); err != nil {
		return err
	}
	// Rows that were on their way when the program died may still arrive, so that rows must be seen to grow twice: once
	// for these, and again for what came after.
	for range 2 {
		if before, err = r.awaitMore(ctx, before); err != nil {
			return err
		}
	}
	took := time.Since(killed)
	if took > r.slowest {
		r.slowest, r.worstResume = took, name
	}
	r.session.progress(fmt.Sprintf("killed %s (process %d); rows flow again after %d ms", name, pid, took.Milliseconds()))
	return nil
}

// rows counts trades that a SELECT shows.
func (r *chaos) rows(ctx context.Context) (uint64, error) {
	var rows uint64
	err := r.session.db.QueryRowContext(ctx, "SELECT count() FROM raw_trades").Scan(&rows)
	return rows, err
}

func (r *chaos) awaitMore(ctx context.Context, than uint64) (uint64, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if rows, err := r.rows(ctx); err == nil && rows > than {
			return rows, nil
		}
		select {
		case <-ctx.Done():
			return than, ctx.Err()
		case <-tick.C:
		}
	}
}

// outage stops one part for a while and watches what the others do.
func (r *chaos) outage(ctx context.Context) error {
	process := r.session.stack.Process(r.command.Outage)
	if process == nil {
		return fmt.Errorf("nothing of the name %s runs; --outage takes clickhouse, registry, broker, loader, parser or writer", r.command.Outage)
	}
	var err error
	if r.before, err = r.framesPerSecond(ctx, 10*time.Second); err != nil {
		return err
	}
	if err := process.Hold(); err != nil {
		return err
	}
	r.session.progress(fmt.Sprintf("%s is stopped for %s; before: %.0f frames/s", r.command.Outage, r.command.OutageFor, r.before))
	r.during, err = r.framesPerSecond(ctx, r.command.OutageFor)
	process.Release()
	if err != nil {
		return err
	}
	left, _ := r.session.lag(ctx, "writer.")
	r.session.progress(fmt.Sprintf("%s is started again; during the outage: %.0f frames/s through the parser, %d records wait for the writer", r.command.Outage, r.during, left))
	released := time.Now()
	if err := awaitZeroish(ctx, r.session.lag); err != nil {
		return err
	}
	r.lagAtEnd = time.Since(released)
	r.session.progress(fmt.Sprintf("caught up %.1f s after the restart", r.lagAtEnd.Seconds()))
	return nil
}

// awaitZeroish waits until a running pipeline is as good as caught up: under load a few records are always on the way.
func awaitZeroish(ctx context.Context, lag func(context.Context, string) (int64, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	const few = 5000
	for {
		left, err := lag(ctx, "writer.")
		if err == nil && left < few {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the writer has not caught up: %d records are left (%v)", left, err)
		case <-tick.C:
		}
	}
}

// framesPerSecond is what the parser decodes over a while, which needs the loader as well.
func (r *chaos) framesPerSecond(ctx context.Context, over time.Duration) (float64, error) {
	decoded := func() float64 {
		return scrape(ctx, r.session.stack.HTTP("parser"))["streamforge_parser_frames_total"]
	}
	began, first := time.Now(), decoded()
	timer := time.NewTimer(over)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-timer.C:
	}
	return (decoded() - first) / time.Since(began).Seconds(), nil
}

// report prints the verdict. A killed loader cannot receive: what the simulator sent meanwhile is "unreceived" and must
// be covered by a GAP, which is not a loss of the pipeline.
func (r *chaos) report(p *proof.Result, l *proof.Ledger) error {
	for _, line := range p.Details {
		fmt.Println("  " + line)
	}
	unreceived := p.Unreceived(l)
	total := 0
	var kills []string
	for _, name := range r.command.Kill {
		total += r.kills[name]
		kills = append(kills, fmt.Sprintf("%s:%d", name, r.kills[name]))
	}
	var silent int64
	if restarts := int64(r.kills["loader"]); p.RestartGaps < restarts {
		silent = restarts - p.RestartGaps
		fmt.Printf("  %d restarts of the loader left no GAP\n", silent)
	}
	if unreceived > 0 && p.Gaps == 0 {
		silent++
		fmt.Printf("  %d frames were not received and no GAP says so\n", unreceived)
	}
	// Rows that a killed writer inserted twice are told apart from records that stand in a topic twice.
	duplicated := p.Duplicated - p.RowDoubles
	fmt.Printf("chaos: kills=%d (%s) frames=%d trades=%d rows=%d lost=%d duplicated=%d row_doubles=%d dead_letters=%d unreceived=%d gaps=%d silent=%d slowest_resume=%dms\n",
		total, strings.Join(kills, " "), p.Frames, p.Trades, p.Rows, p.Lost, duplicated, p.RowDoubles, p.DeadLetters, unreceived, p.Gaps, silent, r.slowest.Milliseconds())
	if r.command.Outage != "" {
		fmt.Printf("chaos: outage=%s for=%s frames_per_second_before=%.0f during=%.0f caught_up_after=%.1fs\n",
			r.command.Outage, r.command.OutageFor, r.before, r.during, r.lagAtEnd.Seconds())
	}
	if p.Lost != 0 || duplicated != 0 || p.DeadLetters != 0 || silent != 0 {
		return exitError{1}
	}
	return nil
}
