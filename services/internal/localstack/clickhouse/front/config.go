// Package front speaks ClickHouse's HTTP interface for an engine that runs in the same process. Clients use it unmodified:
// clickhouse-go with an http:// address, Native blocks in the body of a POST, Python's clickhouse-connect, curl.
//
// What is not obvious:
//   - the data of an INSERT is never part of the text that the engine runs: it goes to a file without a name, whole, and
//     only then the statement is run FROM INFILE. A body that was cut off inserts nothing, and nothing in it can be SQL;
//   - a request is one session of the engine; its query_id travels as the setting log_comment, which is how KILL QUERY and
//     a client that goes away find the query;
//   - bodies are received before a place in the engine is asked for, so that a slow sender holds up no query.
package front

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
)

// Config bounds what the front takes. The zero value of a field means its default.
type Config struct {
	MaxQueries      int           // queries in the engine at once; default 4 a core, at least 8
	MaxBodies       int           // request bodies that are being received at once; default 32
	MaxWaiting      int           // requests that may wait for a place; default 1,000
	MaxBodyBytes    int64         // largest request body, unpacked, in bytes; default 1 GiB
	MaxQueryBytes   int64         // largest text of a statement in bytes; default 4 MiB
	MaxQueryMemory  int64         // memory of one query in bytes; 0 leaves the engine's bound only
	SpillDir        string        // folder for bodies too big for memory; default the system's
	BodyIdleTimeout time.Duration // a sender that sends nothing for so long is cut off; default 60 s
	User            string        // the user that a client must name; empty lets everybody in
	Password        string        // that user's password
	DefaultDatabase string        // database of requests that name none; default "default"
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxQueries, max(4*runtime.NumCPU(), 8))
	setDefault(&c.MaxBodies, 32)
	setDefault(&c.MaxWaiting, 1000)
	setDefault(&c.MaxBodyBytes, 1<<30)
	setDefault(&c.MaxQueryBytes, 4<<20)
	setDefault(&c.BodyIdleTimeout, time.Minute)
	return c
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func (c Config) validate() error {
	var errs []error
	for name, value := range map[string]int64{
		"MaxQueries": int64(c.MaxQueries), "MaxBodies": int64(c.MaxBodies), "MaxWaiting": int64(c.MaxWaiting),
		"MaxBodyBytes": c.MaxBodyBytes, "MaxQueryBytes": c.MaxQueryBytes, "BodyIdleTimeout": int64(c.BodyIdleTimeout),
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, but must not be negative", name, value))
		}
	}
	if c.Password != "" && c.User == "" {
		errs = append(errs, errors.New("a Password is set without a User"))
	}
	return errors.Join(errs...)
}

// Engine is what the front needs of the engine.
type Engine interface {
	Connect() (*engine.Conn, error)
}

// Deps are what the front is given.
type Deps struct {
	Engine     Engine
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil keeps the metrics to itself
}
