//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/streamforge/proof"
)

// loadCommand runs the pipeline at a rate, watches whether it keeps up, then drains and proves it like the demo.
type loadCommand struct {
	stackFlags
	Duration timeSpan `name:"duration" env:"DURATION" default:"60s" help:"How long the load lasts."`
	Rate     float64  `name:"rate" env:"RATE" default:"145.2" help:"Multiplies the simulator's 800 frames/s; 145.2 is 20 times the busiest second of the recordings."`
	Symbols  int      `name:"symbols" default:"210" help:"Symbols a venue that the simulator offers."`
	Seed     int64    `name:"seed" default:"1" help:"Seed of the simulator."`
	Profile  string   `name:"profile" type:"path" help:"Folder for a CPU profile of each program, taken over the middle third of the load."`
}

// Run is the command.
func (l *loadCommand) Run(ctx context.Context, cli *commandLine) error {
	if l.Profile != "" {
		// The children inherit it: /debug/pprof is off otherwise.
		if err := os.Setenv("PPROF", "true"); err != nil {
			return err
		}
		if err := os.MkdirAll(l.Profile, 0o755); err != nil {
			return fmt.Errorf("making the folder of the profiles: %w", err)
		}
	}
	s, err := startSession(ctx, cli, l.stackFlags, sessionConfig{use: "load", fresh: true, progress: timedProgress})
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: s.dir, source: source{symbols: l.Symbols, seed: l.Seed, rate: l.Rate}}
	return errors.Join(l.flow(ctx, s, p), s.close())
}

func (l *loadCommand) flow(ctx context.Context, s *session, p *pipeline) error {
	if err := p.start(ctx, s.progress); err != nil {
		return err
	}
	if err := s.awaitFirstRow(ctx); err != nil {
		return err
	}
	meter, err := newLagMeter(ctx, s.admin, s.groups())
	if err != nil {
		return err
	}
	run := &load{command: l, session: s, pipeline: p, meter: meter, logs: s.logs, cpu: newCPUAccount(s.stack)}
	if err := run.watch(ctx); err != nil {
		return err
	}
	// What a program did for the frames of the load, its catching up included, is read right before it is stopped.
	run.cpu.Read()
	p.beforeStop = func(string) { run.cpu.Read() }
	totals, err := p.drain(ctx, run.patientLag, s.progress)
	if err != nil {
		s.progress("draining: " + oneLine(err))
	}
	run.cpu.Read()
	result, proofErr := s.prove(ctx, p)
	if proofErr != nil {
		return errors.Join(err, proofErr)
	}
	return errors.Join(err, run.report(result, totals.Frames+totals.RESTSnapshots))
}

// patientLag is the session's lag when the meter's is near its end. The exact one reads records, and would take part of
// the processor time that a pipeline needs to catch up.
func (r *load) patientLag(ctx context.Context, prefix string) (int64, error) {
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-timer.C:
	}
	lags, err := r.meter.Measure(ctx)
	if err != nil {
		return 0, err
	}
	var records int64
	for _, lag := range lags {
		if strings.HasPrefix(lag.Group, prefix) {
			records += lag.Records
		}
	}
	if records > fewRecords {
		return records, nil
	}
	return r.session.lag(ctx, prefix)
}

// fewRecords is below which control records of transactions may be all that is left.
const fewRecords = 5000

// load is a run under way.
type load struct {
	command  *loadCommand
	session  *session
	pipeline *pipeline
	meter    *lagMeter
	logs     *logTail
	cpu      *cpuAccount

	first, last throughput
	lags        []float64 // the longest lag of any group in seconds, a sample each
}

// throughput is what each program has done so far.
type throughput struct {
	at                             time.Time
	sent, received, parsed, rows   float64
	slippedSeconds, droppedByVenue float64
	gaps, loaderDropped            float64
}

// perSecond is the rate between two looks at one of their counts.
func perSecond(from, to throughput, count func(throughput) float64) float64 {
	if seconds := to.at.Sub(from.at).Seconds(); seconds > 0 {
		return (count(to) - count(from)) / seconds
	}
	return 0
}

func sentFrames(t throughput) float64     { return t.sent }
func receivedFrames(t throughput) float64 { return t.received }
func parsedFrames(t throughput) float64   { return t.parsed }
func writtenRows(t throughput) float64    { return t.rows }

// look asks every program for its counts. A program that does not answer keeps what it said last.
func (r *load) look(ctx context.Context) throughput {
	now := r.last
	now.at = time.Now()
	stack := r.session.stack
	var totals simulatorTotals
	if err := r.pipeline.control(ctx, http.MethodGet, "/control/ledger", &totals); err == nil {
		now.sent = float64(totals.Frames + totals.RESTSnapshots)
	}
	if m := scrape(ctx, stack.HTTP("venue-simulator")); m != nil {
		now.slippedSeconds = m["streamforge_simulator_slipped_seconds_total"]
		now.droppedByVenue = m["streamforge_simulator_frames_dropped_total"]
	}
	if m := scrape(ctx, stack.HTTP("loader")); m != nil {
		now.received = m["streamforge_loader_records_total"]
		now.gaps = m["streamforge_loader_gaps_total"]
		now.loaderDropped = m["streamforge_loader_dropped_frames_total"]
	}
	if m := scrape(ctx, stack.HTTP("parser")); m != nil {
		now.parsed = m["streamforge_parser_frames_total"]
	}
	if m := scrape(ctx, stack.HTTP("writer")); m != nil {
		now.rows = m["streamforge_writer_rows_total"]
	}
	return now
}

// watch prints a line a second until the load's time is over.
func (r *load) watch(ctx context.Context) error {
	r.cpu.Begin()
	r.first = r.look(ctx)
	r.last = r.first
	profiles := r.profile(ctx)
	timer := time.NewTimer(time.Duration(r.command.Duration))
	defer timer.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			r.last = r.look(ctx)
			return <-profiles
		case <-tick.C:
			r.line(ctx)
		}
	}
}

func (r *load) line(ctx context.Context) {
	now := r.look(ctx)
	lags, err := r.meter.Measure(ctx)
	var longest float64
	groups := make([]string, 0, len(lags))
	for _, g := range lags {
		longest = max(longest, g.Seconds)
		if g.Records > 0 {
			groups = append(groups, fmt.Sprintf("%s=%.1fs/%d", g.Group, g.Seconds, g.Records))
		}
	}
	if err == nil {
		r.lags = append(r.lags, longest)
	} else {
		groups = append(groups, "unknown: "+oneLine(err))
	}
	fmt.Printf("%4.0fs sent/s=%-6.0f received/s=%-6.0f parsed/s=%-6.0f rows/s=%-6.0f lag: %s\n", now.at.Sub(r.first.at).Seconds(),
		perSecond(r.last, now, sentFrames), perSecond(r.last, now, receivedFrames), perSecond(r.last, now, parsedFrames), perSecond(r.last, now, writtenRows),
		strings.Join(groups, " "))
	for _, e := range r.logs.Errors() {
		fmt.Println("      error: " + e)
	}
	r.last = now
}

// maxSustainedLag is how many seconds the slowest group may be behind at the worst in the second half of a load that
// counts as sustained; maxLagGrowth is by how many the average of its last quarter may be above that of the quarter before.
const (
	maxSustainedLag = 5.0
	maxLagGrowth    = 1.0
)

// lagBounded judges the second half of the lags: short, and not growing.
func lagBounded(lags []float64) bool {
	n := len(lags)
	if n < 4 {
		return false
	}
	for _, lag := range lags[n/2:] {
		if lag > maxSustainedLag {
			return false
		}
	}
	return mean(lags[n*3/4:]) <= mean(lags[n/2:n*3/4])+maxLagGrowth
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// report prints the processor time and the verdict. That a load is not sustained is a result and no failure; that
// something was lost or doubled is one.
func (r *load) report(p *proof.Result, frames int64) error {
	for _, line := range p.Details {
		fmt.Println("  " + line)
	}
	r.cpu.Print(os.Stdout, float64(frames)-r.first.sent)
	if r.last.slippedSeconds > 0 {
		fmt.Printf("  the simulator was %.1f s late and shifted its clock by them\n", r.last.slippedSeconds)
	}
	var worst float64
	for _, lag := range r.lags {
		worst = max(worst, lag)
	}
	sustained := "no"
	// The GAPs of the drain do not count: there the venue ends its connections before the loader does.
	if p.Lost == 0 && r.last.gaps == 0 && r.last.slippedSeconds == 0 && r.last.droppedByVenue == 0 && lagBounded(r.lags) {
		sustained = "yes"
	}
	rate := func(count func(throughput) float64) float64 { return perSecond(r.first, r.last, count) }
	fmt.Printf("load: stack=%s offered=%.0f/s received=%.0f/s parsed=%.0f/s rows=%.0f/s max_lag=%.1fs sustained=%s frames=%d trades=%d gaps=%d loader_dropped=%d lost=%d duplicated=%d dead_letters=%d\n",
		r.command.Stack, rate(sentFrames), rate(receivedFrames), rate(parsedFrames), rate(writtenRows), worst, sustained,
		p.Frames, p.Trades, int64(r.last.gaps), int64(r.last.loaderDropped), p.Lost, p.Duplicated, p.DeadLetters)
	if p.Lost != 0 || p.Duplicated != 0 || p.DeadLetters != 0 {
		return exitError{1}
	}
	return nil
}
