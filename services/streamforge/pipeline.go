//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
)

// source says where the pipeline's frames come from.
type source struct {
	// venues to connect to for real; empty: the simulator.
	venues []string
	// replay is a recording's path; empty: the simulator makes the data up.
	replay string
	// speed of a replay: 1..100, or "max".
	speed string
	// symbols, seed and rate of the simulator's synthetic source.
	symbols int
	seed    int64
	rate    float64
}

// pipeline is the programs between the venues and ClickHouse, on a stack.
type pipeline struct {
	stack  *localstack.Stack
	dir    string
	source source
	// simulator is host:port; empty with live venues.
	simulator string
	// settled waits until no transaction is open on the pipeline's topics.
	settled func(ctx context.Context) error
	// beforeStop is called when a program has nothing left to do and is about to be stopped; nil: not.
	beforeStop func(program string)
}

// maxSymbolsPerFeed lets a busy venue spread over several partitions.
const maxSymbolsPerFeed = 75

// liveSymbols are what a connection to a live venue asks for when nothing else is said.
var liveSymbols = map[string][]string{
	"binance":      {"BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "BNB-USDT"},
	"binance-usdm": {"BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP"},
	"kraken":       {"BTC-USD", "ETH-USD", "SOL-USD"},
	"coinbase":     {"BTC-USD", "ETH-USD", "SOL-USD"},
	"okx":          {"BTC-USDT", "ETH-USDT", "BTC-USDT-PERP"},
	"bybit":        {"BTC-USDT", "ETH-USDT", "SOL-USDT"},
	"bybit-linear": {"BTC-USDT-PERP", "ETH-USDT-PERP"},
}

// feed is one slot of the loader's configuration file.
type feed struct {
	Name      string   `yaml:"name"`
	Venue     string   `yaml:"venue"`
	Symbols   []string `yaml:"symbols"`
	Channels  []string `yaml:"channels,omitempty"`
	Depth     int      `yaml:"depth,omitempty"`
	WebSocket string   `yaml:"websocket,omitempty"`
	REST      string   `yaml:"rest,omitempty"`
	Replay    bool     `yaml:"replay,omitempty"`
}

// program finds a binary of the platform beside this one.
func programPath(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("program %s is not beside %s; run `make build`", name, self)
	}
	return path, nil
}

// start brings up writer, parser, simulator and loader, so that nothing flows before its consumer is there.
func (p *pipeline) start(ctx context.Context, progress func(string)) error {
	for _, name := range []string{"writer", "parser"} {
		if err := p.run(ctx, name, nil); err != nil {
			return err
		}
	}
	if len(p.source.venues) == 0 {
		if err := p.startSimulator(ctx); err != nil {
			return err
		}
	}
	feeds, err := p.feeds(ctx)
	if err != nil {
		return err
	}
	config, err := yaml.Marshal(map[string]any{"feeds": feeds})
	if err != nil {
		return err
	}
	path := filepath.Join(p.dir, "loader.yaml")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return fmt.Errorf("writing the loader's configuration: %w", err)
	}
	progress(fmt.Sprintf("loader: %d feeds in %s", len(feeds), path))
	return p.run(ctx, "loader", []string{"--config", path})
}

func (p *pipeline) run(ctx context.Context, name string, args []string) error {
	path, err := programPath(name)
	if err != nil {
		return err
	}
	start := p.stack.Program
	if name == "loader" && len(p.source.venues) > 0 {
		// A live venue that cannot be reached is tried again and again; everything else need not wait for it.
		start = p.stack.ProgramUnready
	}
	_, err = start(ctx, name, path, args, append(staticMembership(name), p.tolerance(name)...))
	return err
}

// staticMembership names the one writer of this machine to its groups, so that after a kill -9 its successor gets the
// partitions back at once instead of after the session's timeout. (The parser's transactional id does the same for it.)
func staticMembership(name string) []string {
	if name == "writer" {
		return []string{"WRITER_INSTANCE_ID=local"}
	}
	return nil
}

// tolerance lifts the parser's limit of bad frames for a recording: its frames are what they are, and the replay is there to
// say how many of them are bad. With the limit a flood of them would be waited out.
func (p *pipeline) tolerance(name string) []string {
	if name == "parser" && p.source.replay != "" {
		return []string{"PARSER_DEAD_LETTER_RATE=1"}
	}
	return nil
}

func (p *pipeline) startSimulator(ctx context.Context) error {
	// Held until this process ends: a simulator that is started again must find it.
	listen, err := port.Reserve(0)
	if err != nil {
		return err
	}
	p.simulator = listen.Address()
	args := []string{"--listen", p.simulator, "--ledger", p.ledger()}
	if p.source.replay != "" {
		args = append(args, "--source", "replay", "--replay", p.source.replay, "--speed", p.source.speed)
	} else {
		args = append(args, "--source", "synthetic", "--seed", strconv.FormatInt(p.source.seed, 10),
			"--symbols", strconv.Itoa(p.source.symbols), "--rate", strconv.FormatFloat(p.source.rate, 'g', -1, 64))
	}
	return p.run(ctx, "venue-simulator", args)
}

// ledger is the simulator's own record of what it sent.
func (p *pipeline) ledger() string { return filepath.Join(p.dir, "ledger.txt") }

// feeds makes the loader's configuration: of the live venues, of the recording, or of what the simulator offers.
func (p *pipeline) feeds(ctx context.Context) ([]feed, error) {
	switch {
	case len(p.source.venues) > 0:
		return liveFeeds(p.source.venues), nil
	case p.source.replay != "":
		return p.replayFeed()
	default:
		return p.simulatedFeeds(ctx)
	}
}

// checkVenues names a venue that this build does not know, before anything is started.
func checkVenues(venues []string) error {
	for _, name := range venues {
		if _, err := all.Get(name); err != nil {
			return err
		}
	}
	return nil
}

func liveFeeds(venues []string) []feed {
	var feeds []feed
	for _, name := range venues {
		feeds = append(feeds, feed{Name: name + "-0", Venue: name, Symbols: liveSymbols[name]})
	}
	return feeds
}

func (p *pipeline) replayFeed() ([]feed, error) {
	recording, err := capture.Open(p.source.replay)
	if err != nil {
		return nil, err
	}
	adapter, err := all.Get(recording.Venue)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", p.source.replay, err)
	}
	var symbols []string
	var unknown error
	for _, venueSymbol := range recording.Symbols {
		instrument, err := adapter.FromVenue(venueSymbol)
		if err != nil {
			unknown = err
			continue // its frames are loaded all the same, and become dead letters that name the symbol
		}
		symbols = append(symbols, instrument.Symbol)
	}
	if len(symbols) == 0 {
		return nil, fmt.Errorf("recording %s: none of its %d symbols is known; the last one: %w", p.source.replay, len(recording.Symbols), unknown)
	}
	return []feed{{Name: "replay", Venue: recording.Venue, Symbols: symbols, WebSocket: "ws://" + p.simulator + "/replay", Replay: true}}, nil
}

func (p *pipeline) simulatedFeeds(ctx context.Context) ([]feed, error) {
	var offered map[string][]string
	if err := p.control(ctx, http.MethodGet, "/control/symbols", &offered); err != nil {
		return nil, err
	}
	venues := make([]string, 0, len(offered))
	for name := range offered {
		venues = append(venues, name)
	}
	sort.Strings(venues)
	var feeds []feed
	for _, name := range venues {
		adapter, err := all.Get(name)
		if err != nil {
			return nil, err
		}
		var symbols []string
		for _, venueSymbol := range offered[name] {
			instrument, err := adapter.FromVenue(venueSymbol)
			if err != nil {
				return nil, fmt.Errorf("the simulator offers %q at %s: %w", venueSymbol, name, err)
			}
			symbols = append(symbols, instrument.Symbol)
		}
		// The busiest symbols stand first; dealing them out in turn gives every feed its share of them.
		slots := (len(symbols) + maxSymbolsPerFeed - 1) / maxSymbolsPerFeed
		for slot := range slots {
			f := feed{Name: fmt.Sprintf("%s-%d", name, slot), Venue: name, WebSocket: "ws://" + p.simulator + "/" + name, REST: "http://" + p.simulator + "/" + name}
			for i := slot; i < len(symbols); i += slots {
				f.Symbols = append(f.Symbols, symbols[i])
			}
			feeds = append(feeds, f)
		}
	}
	return feeds, nil
}

// simulatorTotals is the simulator's own count of what it sent.
type simulatorTotals struct {
	Frames           int64 `json:"frames"`
	Trades           int64 `json:"trades"`
	OrderbookUpdates int64 `json:"orderbook_updates"`
	Snapshots        int64 `json:"snapshots"`
	RESTSnapshots    int64 `json:"rest_snapshots"`
	Finished         bool  `json:"finished"`
}

// control calls the simulator.
func (p *pipeline) control(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.simulator+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("calling the simulator: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("calling the simulator: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator answers %s to %s %s: %s", response.Status, method, path, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, into)
}

// drain ends the pipeline from its source on, each program only when it has taken in all that the one before left.
func (p *pipeline) drain(ctx context.Context, lag func(context.Context, string) (int64, error), progress func(string)) (simulatorTotals, error) {
	var totals simulatorTotals
	var errs []error
	if p.simulator != "" {
		if err := p.control(ctx, http.MethodPost, "/control/drain", &totals); err != nil {
			errs = append(errs, err)
		}
		p.awaitReceived(ctx, totals)
	}
	progress("loader: draining")
	errs = append(errs, p.stack.StopProgram("loader"))
	for _, step := range []struct{ program, group string }{{"parser", "parser"}, {"writer", "writer."}} {
		if err := awaitZero(ctx, step.group, lag); err != nil {
			errs = append(errs, err)
		}
		if p.beforeStop != nil {
			p.beforeStop(step.program)
		}
		progress(step.program + ": draining")
		errs = append(errs, p.stack.StopProgram(step.program))
		// What it wrote last must be there to be read, or the next one's lag would be zero too soon. Before it has stopped
		// there is always a transaction open.
		errs = append(errs, p.settle(ctx))
	}
	errs = append(errs, p.stack.StopProgram("venue-simulator"))
	return totals, errors.Join(errs...)
}

// settlePatience bounds the wait for open transactions: a killed producer's ends after ten seconds.
const settlePatience = time.Minute

func (p *pipeline) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	return p.settled(ctx)
}

// receivedPatience bounds the wait for the loader to take in more of what the simulator sent; a frame that a fault dropped on
// the way never comes.
const receivedPatience = 4 * time.Second

// awaitReceived waits until the loader has counted all that was sent: a REST body that is still on its way when the loader
// is told to end would be missing without being lost by anybody.
func (p *pipeline) awaitReceived(ctx context.Context, totals simulatorTotals) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	most, since := int64(-1), time.Now()
	for time.Since(since) < receivedPatience {
		kinds := scrapeBy(ctx, p.stack.HTTP("loader"), "streamforge_loader_records_total", "kind")
		received := int64(kinds["FRAME"] + kinds["REST_SNAPSHOT"])
		if received >= totals.Frames+totals.RESTSnapshots {
			return
		}
		if received > most {
			most, since = received, time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drainPatience bounds the wait for a group that makes no progress.
const drainPatience = 60 * time.Second

func awaitZero(ctx context.Context, group string, lag func(context.Context, string) (int64, error)) error {
	least, since := int64(-1), time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := lag(ctx, group)
		if err == nil && left == 0 {
			return nil
		}
		if err == nil && (least < 0 || left < least) {
			least, since = left, time.Now()
		}
		if time.Since(since) > drainPatience {
			return fmt.Errorf("group %s makes no progress: %d records are left after %s (%v)", group, left, drainPatience, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
