package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// engineCommand is ClickHouse with the peer's librdkafka tuned, which only a configuration file can do.
type engineCommand struct {
	Listen  string `name:"listen" required:""`
	DataDir string `name:"data-dir" required:"" type:"path"`
	Cache   string `name:"cache" required:"" type:"path"`
	Config  string `name:"config" required:"" type:"path"`
}

// Run is the command.
func (e *engineCommand) Run(ctx context.Context) error {
	server, err := clickhouse.New(clickhouse.Config{
		Listen: e.Listen, DataDir: e.DataDir, CacheDir: e.Cache, ServerOptions: []string{"--config-file=" + e.Config},
	}, clickhouse.Deps{Log: slog.Default(), Progress: os.Stderr})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// engineConfig is what of the peer can be tuned in a file only: without fetch_queue_backoff_ms, librdkafka waits a second
// whenever its queue is full.
const engineConfig = `<clickhouse>
  <kafka>
    <fetch_queue_backoff_ms>10</fetch_queue_backoff_ms>
    <queued_min_messages>1000000</queued_min_messages>
    <auto_offset_reset>earliest</auto_offset_reset>
  </kafka>
</clickhouse>
`

// startEngine brings up a ClickHouse with nothing in it: a run meets neither merges nor caches of the run before.
func (b *bench) startEngine(ctx context.Context) (*localstack.Process, error) {
	dir := filepath.Join(b.config.Dir, "clickhouse")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(b.config.Dir, "engine.xml")
	if err := os.WriteFile(file, []byte(engineConfig), 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	listen, err := port.Reserve(b.enginePort)
	if err != nil {
		return nil, err
	}
	return localstack.Launch(ctx, localstack.Spec{
		Name: "clickhouse", Path: self,
		Args:    []string{"engine", "--listen", listen.Address(), "--data-dir", dir, "--cache", b.config.CacheDir, "--config", file},
		LogFile: b.logFile("clickhouse"), Ports: []*port.Reservation{listen},
		Ready:        func(ctx context.Context) error { return ask(ctx, b.addresses.ClickHouse+"/ping") },
		StartTimeout: time.Minute, StopTimeout: 30 * time.Second,
	})
}

// ask is nil when a URL answers with 200.
func ask(ctx context.Context, url string) error {
	_, err := get(ctx, url)
	return err
}
