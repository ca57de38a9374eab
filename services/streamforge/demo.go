//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// demoCommand starts everything, shows it, and proves it.
type demoCommand struct {
	stackFlags
	Duration time.Duration `name:"duration" env:"DURATION" help:"End by itself after this time; 0 waits for Ctrl-C."`
	Venues   []string      `name:"venues" env:"VENUES" help:"Connect to these live venues instead of the simulator: binance,binance-usdm,kraken,coinbase,okx,bybit,bybit-linear."`
	Symbols  int           `name:"symbols" default:"60" help:"Symbols that the simulator offers."`
	Seed     int64         `name:"seed" default:"1" help:"Seed of the simulator."`
	Rate     float64       `name:"rate" default:"1" help:"Multiplies the simulator's rate of frames."`
}

// Run is the command.
func (d *demoCommand) Run(ctx context.Context, cli *commandLine) error {
	began := time.Now()
	progress := func(line string) { fmt.Printf("%5.1fs  %s\n", time.Since(began).Seconds(), line) }
	dir := cli.folder("demo")
	if err := errors.Join(checkFree(dir), checkVenues(d.Venues)); err != nil {
		return err
	}
	if err := installParts(ctx, cli, d.Stack, d.stackFlags); err != nil {
		return err
	}
	// A demo begins with nothing, so that its figures are its own.
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clearing the last demo's data: %w", err)
	}
	began = time.Now()
	s, err := startSession(ctx, cli, d.stackFlags, dir, progress)
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: dir, source: source{venues: d.Venues, symbols: d.Symbols, seed: d.Seed, rate: d.Rate}}
	err = d.flow(ctx, s, p, began)
	return errors.Join(err, s.close())
}

func (d *demoCommand) flow(ctx context.Context, s *session, p *pipeline, began time.Time) error {
	if err := p.start(ctx, s.progress); err != nil {
		return err
	}
	if err := s.writeState(d.Stack, p.simulator, true); err != nil {
		return err
	}
	if len(d.Venues) == 0 {
		if err := s.awaitFirstRow(ctx); err != nil {
			return err
		}
		s.progress(fmt.Sprintf("first row in ClickHouse, %.1f s after the start", time.Since(began).Seconds()))
	}

	view := newSampler(s)
	d.watch(ctx, view)
	// From here on a second Ctrl-C ends the program at once; the first one has asked for the drain.
	drain, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	_, err := p.drain(drain, s.lag, s.progress)
	if err != nil {
		s.progress("draining: " + oneLine(err))
	}
	proof, proofErr := s.prove(drain, p)
	if proofErr != nil {
		return errors.Join(err, proofErr)
	}
	p50, p99 := view.latency.Quantiles()
	for _, line := range proof.details {
		fmt.Println("  " + line)
	}
	if p.simulator != "" {
		d.offer()
	}
	fmt.Printf("demo: frames=%d trades=%d orderbook_updates=%d rows=%d lost=%d duplicated=%d dead_letters=%d p50=%dms p99=%dms\n",
		proof.frames, proof.trades, proof.books, proof.rows, proof.lost, proof.duplicated, proof.deadLetters, p50.Milliseconds(), p99.Milliseconds())
	if err != nil || proof.lost != 0 || proof.duplicated != 0 || proof.deadLetters != 0 {
		return errors.Join(err, exitError{1})
	}
	return nil
}

// offer names what one may try next.
func (d *demoCommand) offer() {
	fmt.Println(strings.TrimSpace(`
next:  make up                                  the same in the background; make status, make down
       make sql Q='SELECT symbol, count() FROM raw_trades GROUP BY symbol ORDER BY 2 DESC LIMIT 5'
       make replay CAPTURE=path SPEED=max       a recording of a venue through the pipeline`))
}

// watch shows the pipeline until Ctrl-C or until the duration is over.
func (d *demoCommand) watch(ctx context.Context, view *sampler) {
	if d.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Duration)
		defer cancel()
	}
	probing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		view.latency.Run(probing)
		close(done)
	}()
	title := "simulated venues, " + d.Stack + " stack"
	if len(d.Venues) > 0 {
		title = "live: " + strings.Join(d.Venues, ", ") + ", " + d.Stack + " stack"
	}
	if err := show(ctx, os.Stdout, term.IsTerminal(int(os.Stdout.Fd())), title, view.Sample); err != nil {
		fmt.Println("the live view ended:", err)
	}
	stop()
	<-done
}

// firstRowPatience bounds the wait for the first row from the simulator.
const firstRowPatience = 60 * time.Second

// awaitFirstRow returns when a SELECT shows a trade.
func (s *session) awaitFirstRow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstRowPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var rows uint64
	var err error
	for {
		if err = s.db.QueryRowContext(ctx, "SELECT count() FROM raw_trades").Scan(&rows); err == nil && rows > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no row in ClickHouse after %s (last answer: %v); the newest errors of the programs: %s",
				firstRowPatience, err, strings.Join(newLogTail(s.stack).Errors(), "; "))
		case <-tick.C:
		}
	}
}
