// Package telemetry gives every program its logger, its metrics registry, and one HTTP listener with /healthz, /readyz,
// /metrics and, when asked for, /debug/pprof.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config of logs and of the HTTP listener.
type Config struct {
	HTTPAddress     string `name:"http-address" env:"HTTP_ADDRESS" default:"127.0.0.1:0" help:"Address of /healthz, /readyz and /metrics; port 0 picks a free one."`
	HTTPAddressFile string `name:"http-address-file" env:"HTTP_ADDRESS_FILE" help:"File that the chosen address is written to." type:"path"`
	Pprof           bool   `name:"pprof" env:"PPROF" help:"Serve /debug/pprof as well."`
	LogLevel        string `name:"log-level" env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least severe level that is logged."`
	LogFormat       string `name:"log-format" env:"LOG_FORMAT" default:"json" enum:"json,text" help:"Form of the log lines."`
}

// NewLogger returns a logger on standard error.
func NewLogger(config Config, program string) *slog.Logger {
	return newLogger(os.Stderr, config).With("program", program)
}

func newLogger(w io.Writer, config Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if config.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// NewRegistry returns a metrics registry that already knows the Go runtime, the process and the build.
func NewRegistry(program, version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "streamforge_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"program": program, "version": version},
	})
	info.Set(1)
	registry.MustRegister(info)
	return registry
}

// Server is the HTTP listener of one program.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen serves until Close. ready decides /readyz: nil is 200 with the notes, lines that say what a person has asked of the program,
// an error is 503 with its text.
func Listen(config Config, registry *prometheus.Registry, ready func() (notes []string, err error)) (*Server, error) {
	listener, err := net.Listen("tcp", config.HTTPAddress)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics on %s: %w; choose another --http-address", config.HTTPAddress, err)
	}
	if config.HTTPAddressFile != "" {
		if err := os.WriteFile(config.HTTPAddressFile, []byte(listener.Addr().String()), 0o644); err != nil {
			listener.Close()
			return nil, fmt.Errorf("writing --http-address-file: %w", err)
		}
	}
	server := &http.Server{Handler: handler(config, registry, ready), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			slog.Default().Error("metrics listener ended", "error", err.Error())
		}
	}()
	return &Server{listener: listener, server: server}, nil
}

// Address is host:port as chosen.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the listener, giving requests under way a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
}

func handler(config Config, registry *prometheus.Registry, ready func() ([]string, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		notes, err := ready()
		if err != nil {
			http.Error(w, strings.Join(append([]string{err.Error()}, notes...), "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, strings.Join(append([]string{"ready"}, notes...), "\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	if config.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}
