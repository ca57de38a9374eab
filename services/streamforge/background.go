//go:build cgo

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
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
	dir := cli.folder(useUp)
	// The supervisor does all this itself as well; a person who waits sees it here.
	if err := errors.Join(checkFree(dir), checkVenues(u.Venues)); err != nil {
		return err
	}
	if err := u.reachable(ctx); err != nil {
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
	// Two that are started at once have one log until the lock tells which of them runs: each appends, and reads what came since.
	if log, err := os.Stat(supervisorLog(dir)); err == nil && log.Size() > maxSupervisorLog {
		if err := os.Truncate(supervisorLog(dir), 0); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(supervisorLog(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return err
	}
	child := exec.Command(self, append([]string{"--dir", cli.Dir, "--cache-dir", cli.CacheDir, "supervise"}, u.arguments()...)...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	return awaitUp(ctx, dir, child, before.Size())
}

// maxSupervisorLog is the size in bytes beyond which the log of earlier runs is not kept.
const maxSupervisorLog = 1 << 20

func supervisorLog(dir string) string { return filepath.Join(dir, "supervisor.log") }

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
const upPatience = 4 * time.Minute

// awaitUp returns when the supervisor says that everything is up. One that does not get there is ended: nothing stays in
// the background of which a person has been told that it failed. logFrom is where its lines begin in the log, in bytes.
func awaitUp(ctx context.Context, dir string, child *exec.Cmd, logFrom int64) error {
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	patience := time.NewTimer(upPatience)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			lines, complains := supervisorSaid(dir, logFrom)
			return errors.New(cmp.Or(complains, lines[len(lines)-1]))
		case <-ctx.Done():
			fmt.Println("interrupted: ending what has been started")
			_ = child.Process.Signal(syscall.SIGTERM)
			<-ended
			return exitError{1}
		case <-patience.C:
			_ = child.Process.Signal(syscall.SIGTERM)
			<-ended
			return fmt.Errorf("the stack was not up after %s and has been ended; see %s", upPatience, supervisorLog(dir))
		case <-tick.C:
			if state, err := localstack.ReadState(dir); err == nil && state.Ready && state.Supervisor == child.Process.Pid {
				printState(os.Stdout, state)
				return nil
			}
		}
	}
}

// complaint is how a failed command begins its last line.
const complaint = "streamforge: "

// supervisorSaid are the lines of the supervisor's log behind an offset, and the last complaint among them, if there is one.
func supervisorSaid(dir string, from int64) (lines []string, complains string) {
	text, err := os.ReadFile(supervisorLog(dir))
	if err != nil {
		return []string{err.Error()}, ""
	}
	lines = strings.Split(strings.TrimSpace(string(text[min(from, int64(len(text))):])), "\n")
	for _, line := range slices.Backward(lines) {
		if said, ok := strings.CutPrefix(line, complaint); ok {
			return lines, said
		}
	}
	return lines, ""
}

// superviseCommand is what up starts: it holds the children until it is told to end.
type superviseCommand struct {
	superviseFlags
}

// Run is the command.
func (c *superviseCommand) Run(ctx context.Context, cli *commandLine) error {
	s, err := startSession(ctx, cli, c.stackFlags, sessionConfig{use: useUp, tellEnds: true, progress: func(_ time.Duration, line string) {
		fmt.Println(time.Now().Format(time.TimeOnly), line)
	}})
	if err != nil {
		return err
	}
	p := &pipeline{stack: s.stack, settled: s.settled, dir: s.dir, source: source{venues: c.Venues, symbols: c.Symbols, seed: c.Seed, rate: c.Rate}}
	if !c.NoSource {
		if err := p.start(ctx, s.progress); err != nil {
			return errors.Join(err, s.close())
		}
	}
	s.keepState(ctx, p.simulator)
	s.progress("told to end")
	drain, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if !c.NoSource {
		_, err = p.drain(drain, s.lag, s.progress)
	}
	return errors.Join(err, s.close())
}

// downCommand ends what up started.
type downCommand struct{}

// Run is the command.
func (d *downCommand) Run(ctx context.Context, cli *commandLine) error {
	dir := cli.folder(useUp)
	pid, runs := localstack.Holder(dir)
	if !runs {
		fmt.Println("nothing runs")
		return localstack.RemoveState(dir)
	}
	if pid <= 0 {
		return fmt.Errorf("%s is in use, but not by whom; the process that has %s.lock open is the one to end", dir, dir)
	}
	from := int64(0)
	if log, err := os.Stat(supervisorLog(dir)); err == nil {
		from = log.Size()
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("telling the supervisor %d to end: %w", pid, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for runs {
		select {
		case <-ctx.Done():
			fmt.Printf("process %d goes on draining in the background; see %s\n", pid, supervisorLog(dir))
			return exitError{1}
		case <-tick.C:
			_, runs = localstack.Holder(dir)
		}
	}
	if _, complains := supervisorSaid(dir, from); complains != "" {
		return errors.New("down, but not without a fault: " + complains)
	}
	fmt.Println("drained and down")
	return nil
}

// statusCommand shows what runs.
type statusCommand struct {
	JSON bool `name:"json" help:"For a program: addresses and the health of each program."`
}

// programStatus is a program or part as status shows it.
type programStatus struct {
	localstack.ProgramState
	// External is a part that an address replaces: nobody here started it.
	External bool   `json:"external,omitempty"`
	Healthy  bool   `json:"healthy"`
	Detail   string `json:"detail,omitempty"`
	// Notes are what a person has asked of a program that is well, such as a pause.
	Notes []string `json:"notes,omitempty"`
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
	programs := healthOfAll(ctx, state)
	well := true
	for _, p := range programs {
		well = well && p.Healthy
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
			printHealth(os.Stdout, p)
		}
	}
	if !well {
		return exitError{1}
	}
	return nil
}

func printHealth(out io.Writer, p programStatus) {
	mark := "ok"
	if !p.Healthy {
		// What a program says has a line for each thing that it waits for.
		mark = "NOT WELL: " + strings.ReplaceAll(p.Detail, "\n", "\n"+strings.Repeat(" ", 53))
	}
	switch {
	case p.Restarts == 1:
		mark += " (started again once)"
	case p.Restarts > 1:
		mark += fmt.Sprintf(" (started again %d times)", p.Restarts)
	}
	for _, note := range p.Notes {
		mark += "\n" + strings.Repeat(" ", 53) + note
	}
	who := fmt.Sprintf("pid %d", p.PID)
	if p.External {
		who = "not ours"
	}
	fmt.Fprintf(out, "  %-16s %-11s %-22s %s\n", p.Name, who, p.HTTP, mark)
}

// running finds the state of what runs: what up started, else a demo or a replay.
func running(cli *commandLine) (localstack.State, error) {
	for _, use := range []string{useUp, "demo", "replay"} {
		dir := cli.folder(use)
		pid, runs := localstack.Holder(dir)
		if !runs {
			continue
		}
		if state, err := localstack.ReadState(dir); err == nil && state.Supervisor == pid {
			return state, nil
		}
		if use == useUp {
			return localstack.State{}, fmt.Errorf("a stack is being started or ended in %s (process %d); ask again, or see %s", dir, pid, supervisorLog(dir))
		}
	}
	return localstack.State{}, errors.New("nothing runs; start it with `make up`")
}

// healthOfAll asks every part and program at the same time.
func healthOfAll(ctx context.Context, state localstack.State) []programStatus {
	programs := slices.Clone(state.Programs)
	all := make([]programStatus, 0, len(programs)+3)
	for _, part := range []string{"broker", "registry", "clickhouse"} {
		if !slices.ContainsFunc(programs, func(p localstack.ProgramState) bool { return p.Name == part }) {
			all = append(all, programStatus{ProgramState: localstack.ProgramState{Name: part}, External: true})
		}
	}
	for _, p := range programs {
		all = append(all, programStatus{ProgramState: p})
	}
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i].ask(ctx, state.Addresses) })
	}
	group.Wait()
	return all
}

// healthPatience bounds one question after health.
const healthPatience = 2 * time.Second

// ask finds out whether a program says that it is ready, or a part answers at its address.
func (p *programStatus) ask(ctx context.Context, addresses localstack.Addresses) {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	if err := p.question(ctx, addresses); err != nil {
		p.Detail = strings.TrimSpace(err.Error())
		if !p.External && syscall.Kill(p.PID, 0) != nil {
			p.Detail = "its process is gone; " + p.Detail
		}
		return
	}
	p.Healthy = true
}

func (p *programStatus) question(ctx context.Context, addresses localstack.Addresses) error {
	switch p.Name {
	case "broker":
		return brokerAnswers(ctx, addresses.Kafka, p.External)
	case "registry":
		_, err := answersOK(ctx, strings.TrimRight(addresses.Registry, "/")+"/subjects", p.External)
		return err
	case "clickhouse":
		target, err := url.Parse(addresses.ClickHouse)
		if err != nil {
			return err
		}
		_, err = answersOK(ctx, "http://"+target.Host+"/ping", p.External)
		return err
	}
	answer, err := answersOK(ctx, "http://"+p.HTTP+"/readyz", false)
	if lines := strings.Split(answer, "\n"); err == nil && len(lines) > 1 {
		p.Notes = lines[1:]
	}
	return err
}

// brokerAnswers asks the cluster a question: a broker that hangs still takes connections. Only somebody else's may want
// the credentials that the environment holds.
func brokerAnswers(ctx context.Context, address string, external bool) error {
	var config kafka.ClientConfig
	if external {
		if err := fromEnvironment(&config); err != nil {
			return err
		}
	}
	config.BootstrapServers = address
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return err
	}
	defer admin.Close()
	_, err = admin.ClusterID(ctx)
	return err
}

// answersOK asks for a page. Of somebody else's part any answer will do: it may want credentials.
func answersOK(ctx context.Context, page string, anyAnswer bool) (answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the rest repeats the address
		}
		return "", err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	answer = strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK && !anyAnswer {
		return "", errors.New(answer)
	}
	return answer, nil
}

func printState(out io.Writer, state localstack.State) {
	fmt.Fprintf(out, "%s stack\n  kafka       %s\n  registry    %s\n  clickhouse  %s\n", state.Stack, state.Addresses.Kafka, state.Addresses.Registry, state.Addresses.ClickHouse)
	if state.Simulator != "" {
		fmt.Fprintf(out, "  simulator   http://%s\n", state.Simulator)
	}
}
