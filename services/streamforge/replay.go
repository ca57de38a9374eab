//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/streamforge/proof"
)

// replayCommand sends a recording through the whole pipeline and counts what comes out.
type replayCommand struct {
	stackFlags
	Recording string `arg:"" type:"existingfile" help:"The recording; its format is recognised from the file."`
	Speed     string `name:"speed" default:"1" help:"1 to 100 times the recorded pace, or max."`
}

// Validate checks the speed before anything is started.
func (r *replayCommand) Validate() error {
	if n, err := strconv.ParseFloat(r.Speed, 64); r.Speed != "max" && (err != nil || n < 1 || n > 100) {
		return fmt.Errorf("--speed %q: it is a number from 1 to 100, or max", r.Speed)
	}
	return nil
}

// Run is the command.
func (r *replayCommand) Run(ctx context.Context, cli *commandLine) error {
	sent, err := payloadsOf(r.Recording)
	if err != nil {
		return err
	}
	s, err := startSession(ctx, cli, r.stackFlags, sessionConfig{use: "replay", fresh: true, progress: timedProgress})
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: s.dir, source: source{replay: r.Recording, speed: r.Speed}}
	return errors.Join(r.flow(ctx, s, p, sent), s.close())
}

// payloadsOf reads the recording itself: what must arrive, byte for byte.
func payloadsOf(path string) (*proof.Ledger, error) {
	recording, err := capture.Open(path)
	if err != nil {
		return nil, err
	}
	if recording.Cut != "" {
		fmt.Printf("recording %s: %s; what stands before is replayed\n", path, recording.Cut)
	}
	if len(recording.Symbols) == 0 {
		return nil, fmt.Errorf("recording %s: no frame of it names a symbol of %s, so there is nothing to subscribe to; is it a recording of that venue?", path, recording.Venue)
	}
	return proof.Sent(func(yield func([]byte, error) bool) {
		for entry, err := range recording.Entries() {
			if !yield(entry.Payload, err) {
				return
			}
		}
	})
}

func (r *replayCommand) flow(ctx context.Context, s *session, p *pipeline, sent *proof.Ledger) error {
	if err := p.start(ctx, s.progress); err != nil {
		return err
	}
	defer s.publish(context.WithoutCancel(ctx), p.simulator)()
	if err := awaitReplayed(ctx, p); err != nil {
		return err
	}
	s.progress("the recording has been sent")
	var unknown int64
	p.beforeStop = func(program string) {
		if program == "parser" {
			unknown = int64(scrape(ctx, s.stack.HTTP("parser"))["streamforge_parser_unknown_frames_total"])
		}
	}
	if _, err := p.drain(ctx, s.lag, s.progress); err != nil {
		return err
	}
	result, err := s.proveAgainst(ctx, sent)
	if err != nil {
		return err
	}
	for _, line := range result.Details {
		fmt.Println("  " + line)
	}
	fmt.Printf("replay: frames=%d trades=%d snapshots=%d updates=%d gaps=%d dead_letters=%d unknown=%d\n",
		result.Frames, result.Trades, result.Snapshots, result.Updates, result.Gaps, result.DeadLetters, unknown)
	if result.Lost != 0 || result.Duplicated != 0 {
		return exitError{1}
	}
	return nil
}

// awaitReplayed waits until the simulator has sent the last line.
func awaitReplayed(ctx context.Context, p *pipeline) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var totals simulatorTotals
		if err := p.control(ctx, "GET", "/control/ledger", &totals); err != nil {
			return err
		}
		if totals.Finished {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
