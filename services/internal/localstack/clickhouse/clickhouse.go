// Package clickhouse is the ClickHouse of the local stack: the engine inside this process behind ClickHouse's own HTTP
// interface. A process runs one of them; it may be killed at any time and started again on the same port and directory.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/front"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/install"
)

// Config of the embedded ClickHouse. The zero value of a field means its default.
type Config struct {
	Listen         string        // address of the HTTP interface; default 127.0.0.1:0, a free port
	DataDir        string        // directory of the tables; made when missing
	CacheDir       string        // folder that keeps the engine's library between runs; default streamforge in the user's cache folder
	Library        string        // path of a library to use instead of installing one
	MaxMemoryBytes int64         // bound of the engine's memory in bytes; default 4 GiB
	DrainTimeout   time.Duration // how long running queries may take to end at a stop; default 10 s
	Front          front.Config  // bounds of the HTTP interface
	ServerOptions  []string      // more of the engine's server-level options, each "--name=value"
}

// Deps are what the server is given.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Progress   io.Writer             // gets the progress of the download; may be nil
}

// Server is the embedded ClickHouse.
type Server struct {
	config Config
	deps   Deps
	ready  chan struct{}
	url    string
	front  *front.Front
}

// New checks the configuration; nothing is started, fetched or opened yet.
func New(config Config, deps Deps) (*Server, error) {
	if config.DataDir == "" {
		return nil, errors.New("configuring the embedded ClickHouse: DataDir is empty; name the folder of its tables")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.MaxMemoryBytes == 0 {
		config.MaxMemoryBytes = 4 << 30
	}
	if config.DrainTimeout == 0 {
		config.DrainTimeout = 10 * time.Second
	}
	return &Server{config: config, deps: deps, ready: make(chan struct{})}, nil
}

// Ready is closed when the server answers; URL is its address from then on.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// URL is the server's address, such as http://127.0.0.1:8123, once Ready is closed.
func (s *Server) URL() string { return s.url }

// Health is nil when the engine answers.
func (s *Server) Health() error {
	select {
	case <-s.ready:
		return s.front.Probe()
	default:
		return errors.New("the embedded ClickHouse is still starting")
	}
}

// Run installs the engine when it is missing, opens the data and serves until ctx ends; then it lets running queries end
// and closes the engine. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	// The port first: a wrong address is told before a long download.
	listener, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listening for the embedded ClickHouse on %s: %w; choose another address", s.config.Listen, err)
	}
	defer listener.Close()
	e, err := s.openEngine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	frontConfig := s.config.Front
	if frontConfig.SpillDir == "" {
		frontConfig.SpillDir = s.config.DataDir // The disk that the data goes to anyway; often /tmp is memory.
	}
	s.front, err = front.New(frontConfig, front.Deps{Engine: e, Log: s.deps.Log, Registerer: s.deps.Registerer})
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String()
	return s.serve(ctx, listener)
}

func (s *Server) openEngine(ctx context.Context) (*engine.Engine, error) {
	library := s.config.Library
	if library == "" {
		var err error
		library, err = install.Library(ctx, install.Config{CacheDir: s.config.CacheDir, Progress: s.deps.Progress})
		if err != nil {
			return nil, err
		}
	}
	dataDir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the data directory of the embedded ClickHouse: %w", err)
	}
	purged, err := purgeDropped(dataDir)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	e, err := engine.Open(engine.Config{
		Library: library, DataDir: dataDir, MaxMemoryBytes: s.config.MaxMemoryBytes,
		ServerOptions: append(cacheOptions(s.config.MaxMemoryBytes), s.config.ServerOptions...),
	})
	if err != nil {
		return nil, err
	}
	s.deps.Log.Info("engine opened", "data_dir", dataDir, "seconds", time.Since(began).Seconds(), "purged_tables", purged, "max_memory_bytes", s.config.MaxMemoryBytes)
	return e, nil
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.front,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	s.deps.Log.Info("clickhouse serves", "url", s.url)
	close(s.ready)
	select {
	case err := <-failed:
		return fmt.Errorf("serving ClickHouse's HTTP interface on %s: %w", s.url, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		// Closing the connections makes the front kill their queries.
		s.deps.Log.Warn("queries still run at the end of the drain and are stopped", "drain_timeout", s.config.DrainTimeout.String())
		_ = server.Close()
		if err := s.front.Wait(5 * time.Second); err != nil {
			return err
		}
	}
	return nil
}
