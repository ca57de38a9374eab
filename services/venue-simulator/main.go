// Command venue-simulator is a venue to test against: it speaks the dialects of Binance spot, Binance USD-M futures and
// Kraken v2 over a synthetic market, or replays a recording. See the README beside this file.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/venue-simulator/simulator"
)

type flags struct {
	app.Config `embed:""`

	Listen     string `name:"listen" env:"LISTEN" default:"127.0.0.1:0" help:"Address of WebSocket, REST and control; port 0 picks a free one."`
	ListenFile string `name:"listen-file" env:"LISTEN_FILE" type:"path" help:"File that the chosen address is written to."`
	Source     string `name:"source" env:"SOURCE" default:"" enum:",synthetic,replay" help:"synthetic or replay; by default replay when --replay is given."`
	Replay     string `name:"replay" env:"REPLAY" type:"path" help:"Recording to serve once at /replay; its format is recognised."`
	Speed      string `name:"speed" env:"SPEED" default:"1" help:"Speed of a replay: 1 to 100, or max."`
	Ledger     string `name:"ledger" env:"LEDGER" type:"path" help:"File with one line a frame sent."`

	Seed            uint64   `name:"seed" env:"SEED" default:"1" help:"Seed of the synthetic market: the same seed and rate give the same events."`
	Symbols         int      `name:"symbols" env:"SYMBOLS" default:"210" help:"Instruments a venue."`
	Venues          []string `name:"venues" env:"VENUES" default:"binance,binance-usdm,kraken" help:"Venues to simulate."`
	FramesPerSecond float64  `name:"frames-per-second" env:"FRAMES_PER_SECOND" default:"800" help:"Mean frames of all venues and instruments together, at rate 1."`
	Rate            float64  `name:"rate" env:"RATE" default:"1" help:"How much faster the market runs than that."`
	Faults          []string `name:"fault" env:"FAULT" sep:";" placeholder:"kind=drop,rate=0.001,venue=binance" help:"Fault to begin with; repeatable."`

	MaxConnectionAge time.Duration `name:"max-connection-age" env:"MAX_CONNECTION_AGE" default:"24h" help:"Age at which a connection is cut; 0: never."`
	PingInterval     time.Duration `name:"ping-interval" env:"PING_INTERVAL" default:"0s" help:"Replaces the venues' own: 20 s on Binance spot, 3 min on futures."`
	RESTLatency      time.Duration `name:"rest-latency" env:"REST_LATENCY" default:"50ms" help:"Mean delay of a REST answer."`
	RESTWeight       int           `name:"rest-weight-per-minute" env:"REST_WEIGHT_PER_MINUTE" default:"0" help:"Replaces the venues' own budgets: 6000 on Binance spot, 2400 on futures."`
	Connections      int           `name:"connections-per-5m" env:"CONNECTIONS_PER_5M" default:"300" help:"New connections that one address may open in five minutes."`
	BufferBytes      int           `name:"connection-buffer-bytes" env:"CONNECTION_BUFFER_BYTES" default:"33554432" help:"What may wait for one client before it is cut."`
}

func main() {
	app.Main("venue-simulator", "A venue to test against: synthetic or replayed market data in the venues' own dialects.", &flags{},
		func(f *flags) *app.Config { return &f.Config }, build)
}

func build(a *app.App, f *flags) error {
	config, err := f.config()
	if err != nil {
		return err
	}
	server, err := simulator.New(config, a.Log, a.Registry)
	if err != nil {
		return err
	}
	if f.ListenFile != "" {
		if err := os.WriteFile(f.ListenFile, []byte(server.Address()), 0o644); err != nil {
			return fmt.Errorf("writing --listen-file: %w", err)
		}
	}
	a.Log.Info("serving", "listen_address", server.Address(), "source", f.Source, "replay", f.Replay)
	a.Add("simulator", server)
	a.Ready("simulator", server.Ready)
	return nil
}

func (f *flags) config() (simulator.Config, error) {
	c := simulator.DefaultConfig()
	c.Listen, c.Replay, c.Ledger = f.Listen, f.Replay, f.Ledger
	c.MaxConnectionAge, c.PingInterval, c.RESTLatency = f.MaxConnectionAge, f.PingInterval, f.RESTLatency
	c.RESTWeightPerMinute, c.ConnectionsPerFiveMinutes = f.RESTWeight, f.Connections
	c.Market.Seed, c.Market.Symbols, c.Market.Venues = f.Seed, f.Symbols, f.Venues
	c.Market.FramesPerSecond, c.Market.Rate = f.FramesPerSecond, f.Rate
	switch {
	case f.Source == "" && f.Replay != "":
		f.Source = "replay"
	case f.Source == "":
		f.Source = "synthetic"
	}
	if (f.Source == "replay") != (f.Replay != "") {
		return c, fmt.Errorf("--source is %s and --replay is %q: a replay needs a file, a synthetic market has none", f.Source, f.Replay)
	}
	if f.BufferBytes < 1<<16 {
		return c, fmt.Errorf("--connection-buffer-bytes is %d, expected at least %d", f.BufferBytes, 1<<16)
	}
	c.ConnectionBufferBytes = f.BufferBytes
	c.Speed = 0
	if f.Speed != "max" {
		speed, err := strconv.ParseFloat(f.Speed, 64)
		if err != nil || !(speed >= 1 && speed <= 100) {
			return c, fmt.Errorf("--speed is %q, expected 1 to 100, or max", f.Speed)
		}
		c.Speed = speed
	}
	for _, text := range f.Faults {
		fault, err := simulator.ParseFault(text)
		if err != nil {
			return c, err
		}
		c.Faults = append(c.Faults, fault)
	}
	return c, nil
}
