//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// demoCommand starts everything, shows it, and proves it.
type demoCommand struct {
	stackFlags
	Duration timeSpan `name:"duration" env:"DURATION" help:"End by itself after this time, such as 20s; 0 waits for Ctrl-C."`
	Venues   []string `name:"venues" env:"VENUES" help:"Connect to these live venues instead of the simulator: binance,binance-usdm,kraken,coinbase,okx,bybit,bybit-linear."`
	Symbols  int      `name:"symbols" default:"60" help:"Symbols that the simulator offers."`
	Seed     int64    `name:"seed" default:"1" help:"Seed of the simulator."`
	Rate     float64  `name:"rate" default:"1" help:"Multiplies the simulator's rate of frames."`
}

// timeSpan is a time on the command line, never negative; a number alone is seconds.
type timeSpan time.Duration

// UnmarshalText reads a flag or variable.
func (s *timeSpan) UnmarshalText(text []byte) error {
	word := string(text)
	if _, err := strconv.ParseFloat(word, 64); err == nil {
		word += "s"
	}
	d, err := time.ParseDuration(word)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a time such as 20s or 2m", text)
	}
	*s = timeSpan(d)
	return nil
}

// Run is the command.
func (d *demoCommand) Run(ctx context.Context, cli *commandLine) error {
	if err := checkVenues(d.Venues); err != nil {
		return err
	}
	s, err := startSession(ctx, cli, d.stackFlags, sessionConfig{use: "demo", fresh: true, progress: timedProgress})
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: s.dir, source: source{venues: d.Venues, symbols: d.Symbols, seed: d.Seed, rate: d.Rate}}
	return errors.Join(d.flow(ctx, s, p), s.close())
}

func (d *demoCommand) flow(ctx context.Context, s *session, p *pipeline) error {
	if err := p.start(ctx, s.progress); err != nil {
		return err
	}
	defer s.publish(context.WithoutCancel(ctx), p.simulator)()
	if len(d.Venues) == 0 {
		if err := s.awaitFirstRow(ctx); err != nil {
			return err
		}
		s.progress(fmt.Sprintf("first row in ClickHouse, %.1f s after the start", time.Since(s.began).Seconds()))
	}

	view := newSampler(ctx, s)
	view.lagPatience = 500 * time.Millisecond
	d.watch(ctx, view)
	// From here on a second Ctrl-C ends the program at once; the first one has asked for the drain.
	drain, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	_, err := p.drain(drain, s.lag, s.progress)
	if err != nil {
		s.progress("draining: " + oneLine(err))
	}
	result, proofErr := s.prove(drain, p)
	if proofErr != nil {
		return errors.Join(err, proofErr)
	}
	p50, p99 := view.latency.Quantiles()
	for _, line := range result.Details {
		fmt.Println("  " + line)
	}
	if p.simulator != "" {
		fmt.Println(offered(s.busiestPartition(drain)))
	}
	fmt.Printf("demo: frames=%d trades=%d orderbook_updates=%d rows=%d lost=%d duplicated=%d dead_letters=%d p50=%dms p99=%dms\n",
		result.Frames, result.Trades, result.Books, result.Rows, result.Lost, result.Duplicated, result.DeadLetters, p50.Milliseconds(), p99.Milliseconds())
	if err != nil || result.Lost != 0 || result.Duplicated != 0 || result.DeadLetters != 0 {
		return errors.Join(err, exitError{1})
	}
	return nil
}

// busiestPartition of raw-trades is where its most traded symbol is; a symbol has the same one in every stack.
func (s *session) busiestPartition(ctx context.Context) int {
	var partition int32
	// Where no answer comes any one will do: it is an example.
	_ = s.db.QueryRowContext(ctx, "SELECT _partition FROM raw_trades GROUP BY _partition ORDER BY count() DESC LIMIT 1").Scan(&partition)
	return int(partition)
}

// offered names what one may try next.
func offered(partition int) string {
	return strings.TrimSpace(`
next:  make up                                  the same in the background; make status, make down
       make sql Q='SELECT symbol, count() FROM raw_trades GROUP BY symbol ORDER BY 2 DESC LIMIT 5'
       make tail TOPIC=raw-trades               its records, live and decoded (after make up)
       make trace TABLE=raw_trades PARTITION=` + strconv.Itoa(partition) + ` OFFSET=0   a row back to the venue's own bytes (after make up)
       make try-breaking                        a schema change that breaks readers, and what its pull request would say
       make new-consumer NAME=momentum TOPICS=raw-trades KIND=python
       make replay CAPTURE=path SPEED=max       a recording of a venue through the pipeline`)
}

// watch shows the pipeline until Ctrl-C or until the duration is over.
func (d *demoCommand) watch(ctx context.Context, view *sampler) {
	if d.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(d.Duration))
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
	if err := show(ctx, os.Stdout, isTerminal(os.Stdout), title, view.Sample); err != nil {
		fmt.Println("the live view ended:", err)
	}
	stop()
	<-done
}

// ownRows is the condition on a topic's table for the rows of this pipeline's records.
func (s *session) ownRows(topic string) string {
	from := make([]string, maxPartitions)
	for partition := range from {
		from[partition] = fmt.Sprint(s.found.Offsets[kafka.TopicPartition{Topic: topic, Partition: int32(partition)}])
	}
	return fmt.Sprintf("_topic_id = '%s' AND _offset >= [%s][_partition + 1]", s.found.TopicIDs[topic], strings.Join(from, ","))
}

// firstRowPatience bounds the wait for the first row from the simulator.
const firstRowPatience = 2 * time.Minute

// awaitFirstRow returns when a SELECT shows a trade.
func (s *session) awaitFirstRow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstRowPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var rows uint64
	var err error
	// A ClickHouse of one's own may hold the rows of other runs.
	query := "SELECT count() FROM raw_trades WHERE " + s.ownRows("raw-trades")
	for {
		if err = s.db.QueryRowContext(ctx, query).Scan(&rows); err == nil && rows > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no row in ClickHouse after %s (last answer: %v); the newest errors of the programs: %s",
				firstRowPatience, err, strings.Join(s.logs.Errors(), "; "))
		case <-tick.C:
		}
	}
}
