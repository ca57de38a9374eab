package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config of the registry.
type Config struct {
	// Listen is the address to serve on; "" is a free port of 127.0.0.1.
	Listen string
	// BootstrapServers are the brokers that hold the topic _schemas.
	BootstrapServers string
	// MaxBodyBytes bounds a request; 0 means 4 MiB.
	MaxBodyBytes int64
	// WriteTimeout is how long the broker may take to acknowledge a record before the client gets error 50001; 0 means 10 s.
	WriteTimeout time.Duration
}

// Server is the registry as a component: New opens its address, Run serves until its context ends.
type Server struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	listener net.Listener
	topic    *topic
	registry *Registry
}

// New opens the address, so that it can be told to others, but does not serve yet.
func New(config Config, log *slog.Logger, registerer prometheus.Registerer) (*Server, error) {
	if config.BootstrapServers == "" {
		return nil, errors.New("schema registry: no broker given; set BootstrapServers")
	}
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.MaxBodyBytes <= 0 {
		config.MaxBodyBytes = 4 << 20
	}
	if config.WriteTimeout <= 0 {
		config.WriteTimeout = 10 * time.Second
	}
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the schema registry's metrics: %w", err)
	}
	t, err := newTopic(config.BootstrapServers, config.WriteTimeout)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		t.close()
		return nil, fmt.Errorf("schema registry: opening %s: %w", config.Listen, err)
	}
	s := &Server{config: config, log: log, metrics: m, listener: listener, topic: t}
	s.registry = newRegistry(t, func(err error) {
		m.skipped.Inc()
		log.Warn("skipping a record of the topic that cannot be understood", "topic", topicName, "error", err.Error())
	})
	return s, nil
}

// Address is where the registry serves, for example 127.0.0.1:8081.
func (s *Server) Address() string { return s.listener.Addr().String() }

// URL is the address as clients want it.
func (s *Server) URL() string { return "http://" + s.Address() }

// Ready returns nil once the topic has been read.
func (s *Server) Ready() error { return s.registry.read(func(*state) error { return nil }) }

// Run waits for the broker, reads the topic and serves until ctx ends. Until the topic is read, requests are answered with
// Confluent's error 50001.
func (s *Server) Run(ctx context.Context) error {
	defer s.topic.close()
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	err := s.waitAndLoad(ctx)
	if err == nil {
		s.log.Info("schema registry ready", "address", s.URL(), "kafka", s.config.BootstrapServers)
		select {
		case err = <-served:
			return fmt.Errorf("schema registry: serving %s: %w", s.Address(), err)
		case <-ctx.Done():
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if shutdown := server.Shutdown(stop); shutdown != nil {
		_ = server.Close()
		err = errors.Join(err, fmt.Errorf("schema registry: closing %s: %w", s.Address(), shutdown))
	}
	<-served
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// waitAndLoad reads the topic, waiting for a broker that is not there yet: it may be starting beside this program.
func (s *Server) waitAndLoad(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := s.dial(try)
		if err == nil {
			err = s.registry.load(try)
		}
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt%10 == 0 {
			s.log.Warn("waiting for the broker", "kafka", s.config.BootstrapServers, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// dial tries a plain connection first: the Kafka client would retry on its own for long, without a word.
func (s *Server) dial(ctx context.Context) error {
	var last error
	for _, broker := range strings.Split(s.config.BootstrapServers, ",") {
		d := net.Dialer{Timeout: 2 * time.Second}
		c, err := d.DialContext(ctx, "tcp", broker)
		if err == nil {
			return c.Close()
		}
		last = err
	}
	return fmt.Errorf("connecting to the broker: %w", last)
}

type metrics struct {
	requests *prometheus.CounterVec
	skipped  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "local_schema_registry_requests_total", Help: "Requests by HTTP status.",
		}, []string{"status"}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "local_schema_registry_skipped_records_total", Help: "Records of _schemas that could not be understood.",
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.skipped))
}
