// Package app is the frame of every program: it parses flags and environment, starts telemetry, runs the program's
// components, and on SIGTERM or SIGINT lets them drain, in the reverse of the order in which they were started.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/telemetry"
)

// Config is what every program takes; a program embeds it in its own kong struct.
type Config struct {
	Telemetry    telemetry.Config `embed:""`
	DrainTimeout time.Duration    `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"30s" help:"How long a drain may take before the program gives up and exits with status 1."`
}

// Component is a part of a program that runs until its context ends and then drains.
type Component interface {
	// Run works until ctx ends, then finishes what it holds (stop intake, flush, commit, close) and returns nil. An error
	// before that stops the program.
	Run(ctx context.Context) error
}

// RunFunc makes a Component of a function.
type RunFunc func(ctx context.Context) error

// Run calls f.
func (f RunFunc) Run(ctx context.Context) error { return f(ctx) }

// App is a program in the making.
type App struct {
	Name     string
	Log      *slog.Logger
	Registry *prometheus.Registry

	config     Config
	server     *telemetry.Server
	components []named
	checks     []check
	notes      []note
}

type named struct {
	name      string
	component Component
}

type check struct {
	name  string
	ready func() error
}

type note struct {
	name string
	text func() string
}

// Main is the whole main function of a program: parse, build, run, exit. build wires the components with Add and Ready.
func Main[T any](name, description string, config *T, common func(*T) *Config, build func(a *App, config *T) error) {
	// Before everything else: a signal that comes while the program still starts is a drain like any other, and no death.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	kong.Parse(config, kong.Name(name), kong.Description(description))
	a := New(name, *common(config))
	if err := build(a, config); err != nil {
		a.Log.Error("starting failed", "error", err.Error())
		os.Exit(1)
	}
	if err := a.Run(ctx); err != nil {
		a.Log.Error("stopped", "error", err.Error())
		os.Exit(1)
	}
}

// New makes an App with its logger and metrics registry.
func New(name string, config Config) *App {
	registry := telemetry.NewRegistry(name, Version())
	return &App{
		Name:     name,
		Log:      telemetry.NewLogger(config.Telemetry, name),
		Registry: registry,
		config:   config,
	}
}

// Producer is the value of the record header "producer": which program, of which version, wrote a record.
func (a *App) Producer() string { return a.Name + "@" + Version() }

// Add appends a component. Components start in this order and drain in the reverse.
func (a *App) Add(name string, c Component) { a.components = append(a.components, named{name, c}) }

// Ready adds a check to /readyz; nil means ready.
func (a *App) Ready(name string, ready func() error) { a.checks = append(a.checks, check{name, ready}) }

// Note adds a line to /readyz whenever text is not empty: what a person has asked of the program, such as a pause. It makes nothing
// unready.
func (a *App) Note(name string, text func() string) { a.notes = append(a.notes, note{name, text}) }

// Run starts the telemetry server and the components, waits for ctx or for the first failure, drains, and returns the
// first error. A drain longer than DrainTimeout is an error.
func (a *App) Run(ctx context.Context) error {
	var stopping atomic.Bool
	server, err := telemetry.Listen(a.config.Telemetry, a.Registry, func() ([]string, error) { return a.readiness(&stopping) })
	if err != nil {
		return err
	}
	a.server = server
	defer server.Close()
	a.Log.Info("started", "version", Version(), "http_address", server.Address())

	failed := make(chan error, len(a.components))
	running := make([]*runningComponent, len(a.components))
	for i, c := range a.components {
		running[i] = start(c, failed)
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-failed:
	}
	stopping.Store(true)
	a.Log.Info("draining")
	if err := a.drain(running); err != nil && first == nil {
		first = err
	}
	if first == nil {
		a.Log.Info("drained")
	}
	return first
}

func (a *App) readiness(stopping *atomic.Bool) (notes []string, err error) {
	if stopping.Load() {
		return nil, errors.New("draining")
	}
	for _, n := range a.notes {
		if text := n.text(); text != "" {
			notes = append(notes, n.name+": "+text)
		}
	}
	var errs []error
	for _, c := range a.checks {
		if err := c.ready(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return notes, errors.Join(errs...)
}

func (a *App) drain(running []*runningComponent) error {
	deadline := time.NewTimer(a.config.DrainTimeout)
	defer deadline.Stop()
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		r := running[i]
		r.cancel()
		select {
		case <-r.done:
			if r.err != nil {
				errs = append(errs, r.err)
			}
		case <-deadline.C:
			return errors.Join(append(errs, fmt.Errorf("draining %s: not done after %s; raise --drain-timeout if it needs longer", r.name, a.config.DrainTimeout))...)
		}
	}
	return errors.Join(errs...)
}

type runningComponent struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// start runs a component on a context of its own, so that the drain decides when it ends.
func start(c named, failed chan<- error) *runningComponent {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningComponent{name: c.name, cancel: cancel, done: make(chan struct{})}
	var once sync.Once
	go func() {
		err := c.component.Run(ctx)
		// A component that was told to drain while it still waited for something has nothing to drain; that is no failure.
		if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
			r.err = fmt.Errorf("%s: %w", c.name, err)
		}
		close(r.done)
		if ctx.Err() == nil {
			once.Do(func() { failed <- r.err })
		}
	}()
	return r
}
