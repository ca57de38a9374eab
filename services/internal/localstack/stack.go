// Package localstack starts what the platform needs on one machine without Docker: a broker, a schema registry and a
// ClickHouse, as supervised child processes on loopback, with their data in one folder; and on top of them the
// platform's programs. Each of the three parts can be replaced by the address of a real one.
package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// Kinds of local stack.
const (
	Embedded = "embedded"
	Apache   = "apache"
)

// Config of a local stack.
type Config struct {
	// Kind is Embedded or Apache.
	Kind string
	// Dir holds data, logs and the state file of this stack.
	Dir string
	// CacheDir keeps what was downloaded (the ClickHouse engine, the Apache jars) for every stack of this user.
	CacheDir string
	// Executable is the streamforge binary, whose hidden `local` commands are the embedded parts.
	Executable string
	// Ports on loopback; 0 picks a free one.
	KafkaPort, RegistryPort, ClickHousePort int
	// External replaces each part whose address is not empty.
	External Addresses
	// Progress gets a line for every step, for a person.
	Progress func(line string)
	// Ended is told of a child that ended by itself after it had been up, and is about to be started again.
	Ended func(name string, reason error)
}

// Stack is a running local stack.
type Stack struct {
	config    Config
	addresses Addresses

	mu       sync.Mutex
	parts    []*Process // in the order of their start
	programs []*program
}

type program struct {
	process *Process
	http    string
}

// Start brings up the three parts and returns when each answers.
func Start(ctx context.Context, config Config) (*Stack, error) {
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("starting the local stack: %w", err)
	}
	s := &Stack{config: config, addresses: config.External}
	group, groupCtx := errgroup.WithContext(ctx)
	// ClickHouse depends on neither of the others, and the registry waits for the broker by itself.
	if s.addresses.ClickHouse == "" {
		group.Go(func() error { return s.startClickHouse(groupCtx) })
	}
	if s.config.Kind == Apache && s.addresses.Registry == "" {
		group.Go(func() error { return s.startApicurio(groupCtx) })
	}
	group.Go(func() error {
		if s.addresses.Kafka == "" {
			if err := s.startBroker(groupCtx); err != nil {
				return err
			}
		}
		if s.config.Kind != Apache && s.addresses.Registry == "" {
			return s.startRegistry(groupCtx)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Addresses of the three parts.
func (s *Stack) Addresses() Addresses { return s.addresses }

// DataDir is where a part keeps its data.
func (s *Stack) DataDir(part string) string {
	return filepath.Join(s.config.Dir, "data-"+s.config.Kind, part)
}

// LogFile of a child.
func (s *Stack) LogFile(name string) string { return filepath.Join(s.config.Dir, "logs", name+".log") }

func (s *Stack) launch(ctx context.Context, spec Spec) error {
	began := time.Now()
	spec.Ended = s.config.Ended
	p, err := Launch(ctx, spec)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.parts = append(s.parts, p)
	s.mu.Unlock()
	s.progress("%s is up after %s", spec.Name, time.Since(began).Round(10*time.Millisecond))
	return nil
}

func (s *Stack) progress(format string, args ...any) {
	if s.config.Progress != nil {
		s.config.Progress(fmt.Sprintf(format, args...))
	}
}

// partStart bounds the start of an embedded part or a program on a busy machine: what cannot start says so by ending.
const partStart = 90 * time.Second

// partStop and drainTimeout bound the end of a part and a program's drain on a busy machine: what is killed before it is through
// leaves work to its successor, and here there may be none.
const (
	partStop     = time.Minute
	drainTimeout = time.Minute
)

// part is the Spec of an embedded part: a hidden command of the streamforge binary itself.
func (s *Stack) part(name string, listen *port.Reservation, args ...string) Spec {
	return Spec{
		Name: name, Path: s.config.Executable,
		Args:         append([]string{"local", name, "--listen", listen.Address(), "--data-dir", s.DataDir(name)}, args...),
		LogFile:      s.LogFile(name),
		Ports:        []*port.Reservation{listen},
		StartTimeout: partStart,
		StopTimeout:  partStop,
	}
}

func (s *Stack) startBroker(ctx context.Context) error {
	if s.config.Kind == Apache {
		return s.startApacheKafka(ctx)
	}
	listen, err := port.Reserve(s.config.KafkaPort)
	if err != nil {
		return err
	}
	spec := s.part("broker", listen)
	spec.Ready = dialable(listen.Address())
	s.addresses.Kafka = listen.Address()
	return s.launch(ctx, spec)
}

func (s *Stack) startRegistry(ctx context.Context) error {
	listen, err := port.Reserve(s.config.RegistryPort)
	if err != nil {
		return err
	}
	spec := s.part("registry", listen)
	spec.Env = []string{"KAFKA_BOOTSTRAP_SERVERS=" + s.addresses.Kafka}
	s.addresses.Registry = "http://" + listen.Address()
	spec.Ready = answers(s.addresses.Registry + "/subjects")
	return s.launch(ctx, spec)
}

func (s *Stack) startClickHouse(ctx context.Context) error {
	listen, err := port.Reserve(s.config.ClickHousePort)
	if err != nil {
		return err
	}
	spec := s.part("clickhouse", listen, "--cache-dir", s.config.CacheDir)
	s.addresses.ClickHouse = "http://" + listen.Address()
	spec.Ready = answers(s.addresses.ClickHouse + "/ping")
	return s.launch(ctx, spec)
}

// OneArena makes C's allocator keep one heap. librdkafka allocates a record on the program's thread and frees it on its
// own; with a heap a thread that costs a tenth more processor time, and memory that is not given back. The image of
// compose/ sets it as well.
const OneArena = "MALLOC_ARENA_MAX=1"

// Program starts one of the platform's programs with the stack's addresses in its environment and its HTTP listener on
// a free loopback port, and returns once it says that it is ready.
func (s *Stack) Program(ctx context.Context, name, path string, args, env []string) (*Process, error) {
	return s.program(ctx, name, path, args, env, "/readyz")
}

// ProgramUnready is Program for one that may never be ready, because it waits for somebody outside of the stack: it
// returns once the program lives.
func (s *Stack) ProgramUnready(ctx context.Context, name, path string, args, env []string) (*Process, error) {
	return s.program(ctx, name, path, args, env, "/healthz")
}

func (s *Stack) program(ctx context.Context, name, path string, args, env []string, ask string) (*Process, error) {
	listen, err := port.Reserve(0)
	if err != nil {
		return nil, err
	}
	address := listen.Address()
	spec := Spec{
		Name: name, Path: path, Args: args,
		Env:          slices.Concat(s.addresses.Environment(), []string{"HTTP_ADDRESS=" + address, "DRAIN_TIMEOUT=" + drainTimeout.String(), OneArena}, env),
		LogFile:      s.LogFile(name),
		Ready:        answers("http://" + address + ask),
		Ended:        s.config.Ended,
		Ports:        []*port.Reservation{listen},
		StartTimeout: partStart,
		StopTimeout:  drainTimeout + 10*time.Second,
	}
	p, err := Launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.programs = append(s.programs, &program{process: p, http: address})
	s.mu.Unlock()
	return p, nil
}

// States lists every child, parts first.
func (s *Stack) States() []ProgramState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var states []ProgramState
	for _, p := range s.parts {
		states = append(states, ProgramState{Name: p.Name(), PID: p.PID(), Log: s.LogFile(p.Name()), Restarts: p.Restarts()})
	}
	for _, p := range s.programs {
		states = append(states, ProgramState{Name: p.process.Name(), PID: p.process.PID(), HTTP: p.http, Log: s.LogFile(p.process.Name()), Restarts: p.process.Restarts()})
	}
	return states
}

// HTTP is host:port of a program's HTTP listener; empty when it does not run.
func (s *Stack) HTTP(name string) string {
	for _, state := range s.States() {
		if state.Name == name {
			return state.HTTP
		}
	}
	return ""
}

// Process finds a child by name; nil when there is none.
func (s *Stack) Process(name string) *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.programs {
		if p.process.Name() == name {
			return p.process
		}
	}
	for _, p := range s.parts {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// StopProgram drains one program and forgets it.
func (s *Stack) StopProgram(name string) error {
	s.mu.Lock()
	var found *program
	for i, p := range s.programs {
		if p.process.Name() == name {
			found = p
			s.programs = append(s.programs[:i:i], s.programs[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	if found == nil {
		return nil
	}
	return found.process.Stop()
}

// Stop drains the programs in the order of the data, then ends the parts in the reverse order of their start.
func (s *Stack) Stop() error {
	s.mu.Lock()
	programs, parts := s.programs, s.parts
	s.programs, s.parts = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, p := range programs {
		errs = append(errs, p.process.Stop())
	}
	for i := len(parts) - 1; i >= 0; i-- {
		errs = append(errs, parts[i].Stop())
	}
	return errors.Join(errs...)
}

func dialable(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// answers asks a URL; 200 means ready, and any other answer's text says why not.
func answers(url string) func(context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", response.Status, body)
		}
		return nil
	}
}
