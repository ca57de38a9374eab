//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// upCommand starts the stack and the pipeline in the background.
type upCommand struct {
	superviseFlags
}

type superviseFlags struct {
	stackFlags
	Venues   []string `name:"venues" env:"VENUES" help:"Connect to these live venues instead of the simulator."`
	Symbols  int      `name:"symbols" default:"60" help:"Symbols that the simulator offers."`
	Seed     int64    `name:"seed" default:"1" help:"Seed of the simulator."`
	Rate     float64  `name:"rate" default:"1" help:"Multiplies the simulator's rate of frames."`
	NoSource bool     `name:"no-pipeline" help:"Start the stack alone, without the programs."`
}

// Run is the command.
func (u *upCommand) Run(ctx context.Context, cli *commandLine) error {
	dir := cli.folder("up")
	if err := errors.Join(checkFree(dir), checkVenues(u.Venues)); err != nil {
		return err
	}
	if err := installParts(ctx, cli, u.Stack, u.stackFlags); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "supervisor.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	child := exec.Command(self, append([]string{"--dir", cli.Dir, "--cache-dir", cli.CacheDir, "supervise"}, u.arguments()...)...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	return awaitUp(ctx, dir, child, log.Name())
}

func (f *superviseFlags) arguments() []string {
	args := []string{
		"--stack", f.Stack, "--symbols", fmt.Sprint(f.Symbols), "--seed", fmt.Sprint(f.Seed), "--rate", fmt.Sprint(f.Rate),
		"--kafka-port", fmt.Sprint(f.KafkaPort), "--registry-port", fmt.Sprint(f.RegistryPort), "--clickhouse-port", fmt.Sprint(f.ClickHousePort),
	}
	for flag, address := range map[string]string{"--kafka-bootstrap-servers": f.Kafka, "--schema-registry-url": f.Registry, "--clickhouse-url": f.ClickHouse} {
		if address != "" {
			args = append(args, flag, address)
		}
	}
	if len(f.Venues) > 0 {
		args = append(args, "--venues", strings.Join(f.Venues, ","))
	}
	if f.NoSource {
		args = append(args, "--no-pipeline")
	}
	return args
}

// upPatience bounds the start of the whole stack; the Apache parts take the longest.
const upPatience = 2 * time.Minute

func awaitUp(ctx context.Context, dir string, child *exec.Cmd, log string) error {
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			text, _ := os.ReadFile(log)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			return errors.New(strings.TrimPrefix(lines[len(lines)-1], "streamforge: "))
		case <-ctx.Done():
			return fmt.Errorf("the stack is not up after %s; see %s", upPatience, log)
		case <-tick.C:
			if state, err := localstack.ReadState(dir); err == nil && state.Ready {
				printState(os.Stdout, state)
				return nil
			}
		}
	}
}

// superviseCommand is what up starts: it holds the children until it is told to end.
type superviseCommand struct {
	superviseFlags
}

// Run is the command.
func (c *superviseCommand) Run(ctx context.Context, cli *commandLine) error {
	dir := cli.folder("up")
	progress := func(line string) { fmt.Println(line) }
	s, err := startSession(ctx, cli, c.stackFlags, dir, progress)
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: dir, source: source{venues: c.Venues, symbols: c.Symbols, seed: c.Seed, rate: c.Rate}}
	if !c.NoSource {
		if err := p.start(ctx, progress); err != nil {
			return errors.Join(err, s.close())
		}
	}
	c.hold(ctx, s, p)
	drain, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if !c.NoSource {
		_, err = p.drain(drain, s.lag, progress)
	}
	return errors.Join(err, s.close())
}

// hold keeps the state file true until ctx ends: a child that was started again has a new process id.
func (c *superviseCommand) hold(ctx context.Context, s *session, p *pipeline) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for {
		// A full disk ends nothing: everything goes on, and only what status shows may be old.
		err := s.writeState(c.Stack, p.simulator, true)
		if err != nil && !failing {
			s.progress(oneLine(err) + "; trying again every second")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// downCommand ends what up started.
type downCommand struct{}

// Run is the command.
func (d *downCommand) Run(ctx context.Context, cli *commandLine) error {
	state, err := localstack.ReadState(cli.folder("up"))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !state.Alive()) {
		fmt.Println("nothing runs")
		return localstack.RemoveState(cli.folder("up"))
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(state.Supervisor, syscall.SIGTERM); err != nil {
		return fmt.Errorf("telling the supervisor %d to end: %w", state.Supervisor, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for state.Alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	fmt.Println("drained and down")
	return nil
}

// statusCommand shows what runs.
type statusCommand struct {
	JSON bool `name:"json" help:"For a program: addresses and the health of each program."`
}

// programStatus is a program as status shows it.
type programStatus struct {
	localstack.ProgramState
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail,omitempty"`
}

// Run is the command. Its exit status is 0 when everything is well, 1 otherwise.
func (c *statusCommand) Run(ctx context.Context, cli *commandLine) error {
	state, err := running(cli)
	if err != nil {
		if c.JSON {
			fmt.Println(`{"running":false}`)
			return exitError{1}
		}
		return err
	}
	well := true
	var programs []programStatus
	for _, program := range state.Programs {
		p := health(ctx, program)
		well = well && p.Healthy
		programs = append(programs, p)
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{
			"running": true, "stack": state.Stack, "supervisor_pid": state.Supervisor,
			"kafka": state.Addresses.Kafka, "registry": state.Addresses.Registry, "clickhouse": state.Addresses.ClickHouse,
			"simulator": state.Simulator, "programs": programs, "healthy": well,
		}); err != nil {
			return err
		}
	} else {
		printState(os.Stdout, state)
		for _, p := range programs {
			mark := "ok"
			if !p.Healthy {
				mark = "NOT WELL: " + p.Detail
			}
			fmt.Printf("  %-16s pid %-7d %-22s %s\n", p.Name, p.PID, p.HTTP, mark)
		}
	}
	if !well {
		return exitError{1}
	}
	return nil
}

// running finds the state of what runs: what up started, else a demo or a replay.
func running(cli *commandLine) (localstack.State, error) {
	for _, use := range []string{"up", "demo", "replay"} {
		if state, err := localstack.ReadState(cli.folder(use)); err == nil && state.Alive() {
			return state, nil
		}
	}
	return localstack.State{}, errors.New("nothing runs; start it with `make up`")
}

func health(ctx context.Context, program localstack.ProgramState) programStatus {
	p := programStatus{ProgramState: program}
	if program.HTTP == "" {
		p.Healthy = program.PID > 0 && syscall.Kill(program.PID, 0) == nil
		if !p.Healthy {
			p.Detail = "its process is gone"
		}
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+program.HTTP+"/readyz", nil)
	if err != nil {
		p.Detail = err.Error()
		return p
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.Detail = err.Error()
		return p
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	p.Healthy = response.StatusCode == http.StatusOK
	if !p.Healthy {
		p.Detail = strings.TrimSpace(string(body))
	}
	return p
}

func printState(out io.Writer, state localstack.State) {
	fmt.Fprintf(out, "%s stack\n  kafka       %s\n  registry    %s\n  clickhouse  %s\n", state.Stack, state.Addresses.Kafka, state.Addresses.Registry, state.Addresses.ClickHouse)
	if state.Simulator != "" {
		fmt.Fprintf(out, "  simulator   http://%s\n", state.Simulator)
	}
}
