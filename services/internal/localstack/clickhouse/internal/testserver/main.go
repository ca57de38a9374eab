// Command testserver is the embedded ClickHouse as a process of its own, for tests: the engine allows one a process, and
// a test wants to kill it. It ends when its standard input does, so that no test can leave one behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/goleak"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "testserver:", err)
		os.Exit(1)
	}
}

func run() error {
	var config clickhouse.Config
	remove := flag.Bool("remove", false, "remove the data directory at the end")
	flag.StringVar(&config.Listen, "listen", "127.0.0.1:0", "address")
	flag.StringVar(&config.DataDir, "data", "", "data directory")
	flag.StringVar(&config.CacheDir, "cache", "", "cache folder of the engine's library")
	flag.Int64Var(&config.MaxMemoryBytes, "memory", 2<<30, "the engine's memory in bytes")
	flag.IntVar(&config.Front.MaxQueries, "queries", 0, "queries at once")
	flag.Int64Var(&config.Front.MaxBodyBytes, "body", 0, "largest body in bytes")
	flag.StringVar(&config.Front.User, "user", "", "required user")
	flag.StringVar(&config.Front.Password, "password", "", "required password")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		if *remove {
			// The parent is gone and with it whoever would read the data: nothing is worth a drain.
			_ = os.RemoveAll(config.DataDir)
			os.Exit(0)
		}
		cancel()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := clickhouse.New(config, clickhouse.Deps{Log: log, Progress: os.Stderr})
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-server.Ready():
			fmt.Println(server.URL())
		case <-ctx.Done():
		}
	}()
	if err := server.Run(ctx); err != nil {
		return err
	}
	stop()
	cancel()
	// After a drain nothing of the front or the engine may run on; only the reader of standard input waits for the parent.
	return goleak.Find(goleak.IgnoreAnyFunction("main.run.func1"))
}
