// Command torture runs the writer, its neighbours and their network through random faults, and proves that every record
// is in the table or in dead letters, once.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// config of a torture.
type config struct {
	Seed     uint64  `name:"seed" default:"1" help:"First seed; the same seed makes the same schedule of faults."`
	Seeds    int     `name:"seeds" default:"1" help:"How many seeds, one after the other."`
	Minutes  float64 `name:"minutes" default:"0.167" help:"How long the faults of one seed go on."`
	Stack    string  `name:"stack" default:"embedded" enum:"embedded,apache" help:"Local stack."`
	Rate     int     `name:"rate" default:"1500" help:"Records a second."`
	Only     []kind  `name:"only" help:"Only faults of these kinds, comma-separated."`
	Clean    bool    `name:"clean" help:"No bad records."`
	Programs string  `name:"programs" type:"path" default:"bin" help:"Folder of streamforge."`
	Source   string  `name:"source" type:"path" default:"services/writer" help:"Folder of the writer's source, from which it is built with a clock that can be set wrong."`
	Writer   string  `name:"writer" type:"path" help:"A writer that is built already."`
	Build    string  `name:"build" type:"path" help:"Only build the writer, into this file."`
	Dir      string  `name:"dir" type:"path" default:".streamforge/torture" help:"Folder for data and logs; those of a seed with anomalies stay."`
	CacheDir string  `name:"cache-dir" env:"STREAMFORGE_CACHE_DIR" type:"path" help:"Folder of downloaded parts; default: the user's cache."`
	Keep     bool    `name:"keep" help:"Keep data and logs of every seed."`
	Quiet    bool    `name:"quiet" help:"Tell of seeds and not of faults."`
}

func (c config) length() time.Duration { return time.Duration(c.Minutes * float64(time.Minute)) }

func uuidText(id [16]byte) string { return uuid.UUID(id).String() }

func main() {
	var c config
	kong.Parse(&c, kong.Name("torture"), kong.Description("Random faults from a seed, and the proof that the writer loses and doubles nothing."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(c.main(ctx))
}

// main returns the exit status: 0, 1 for anomalies, 2 when the torture itself failed.
func (c config) main(ctx context.Context) int {
	if c.CacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		c.CacheDir = filepath.Join(cache, "streamforge")
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if c.Build != "" {
		return c.built(ctx, c.Build)
	}
	lock, err := localstack.Acquire(c.Dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v; another torture may be using it, --dir names another folder\n", c.Dir, err)
		return 2
	}
	defer lock.Release()
	if c.Writer == "" {
		c.Writer = filepath.Join(c.Dir, "writer")
		if status := c.built(ctx, c.Writer); status != 0 {
			return status
		}
	}
	total := result{}
	bad := 0
	for i := range c.Seeds {
		seed := c.Seed + uint64(i)
		r, err := c.one(ctx, seed)
		if err != nil {
			fmt.Fprintf(os.Stderr, "seed %d: the torture itself failed: %v; logs are in %s\n", seed, err, c.Dir)
			return 2
		}
		total.faults += r.faults
		total.records += r.records
		total.lost += r.lost
		total.duplicated += r.duplicated
		total.anomalies = append(total.anomalies, r.anomalies...)
		if len(r.anomalies) > 0 {
			bad++
			c.explain(r)
		}
	}
	name := fmt.Sprint(c.Seed)
	if c.Seeds > 1 {
		name = fmt.Sprintf("%d..%d", c.Seed, c.Seed+uint64(c.Seeds)-1)
		fmt.Printf("%d seeds, %d with anomalies\n", c.Seeds, bad)
	}
	fmt.Printf("torture: seed=%s faults=%d records=%d lost=%d duplicated=%d anomalies=%d\n",
		name, total.faults, total.records, total.lost, total.duplicated, len(total.anomalies))
	if bad > 0 {
		return 1
	}
	return 0
}

// built builds the writer and returns the exit status.
func (c config) built(ctx context.Context, program string) int {
	if err := buildWriter(ctx, c.Source, program, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

func (c config) one(ctx context.Context, seed uint64) (*result, error) {
	plan := draw(seed, c.length(), c.Only)
	if c.Clean {
		plan.Poisoned = 0
	}
	fmt.Printf("seed %d on %s: %d faults in %s, window %d tokens, candles %v, %.2f %% bad records\n",
		seed, c.Stack, len(plan.Faults), c.length().Round(time.Second), plan.Window, plan.Candles, float64(plan.Poisoned)/100)
	began := time.Now()
	r, err := run(ctx, c, seed, plan)
	if err != nil {
		return nil, err
	}
	var struck []string
	for _, k := range slices.Sorted(maps.Keys(r.struck)) {
		struck = append(struck, fmt.Sprintf("%s:%d", k, r.struck[k]))
	}
	fmt.Printf("seed %d: %d faults, %d records (%d not acknowledged) → %d rows, %d dead letters, %d buckets of the view; %d inserts, struck %s; healed in %.1f s, %d anomalies, %.1f s in all\n",
		seed, r.faults, r.records, r.unanswered, r.rows, r.letters, r.buckets, r.inserts, strings.Join(struck, " "), r.healed.Seconds(), len(r.anomalies), time.Since(began).Seconds())
	return r, nil
}

// explain says what is wrong, how to look and how to repeat it.
func (c config) explain(r *result) {
	for _, a := range r.anomalies {
		fmt.Println("  ANOMALY " + a)
	}
	fmt.Printf("  look: logs in %s/logs, data beside it; a server on it: %s local clickhouse --data-dir %s/data-%s/clickhouse --listen 127.0.0.1:0\n",
		r.dir, filepath.Join(c.Programs, "streamforge"), r.dir, c.Stack)
	again := fmt.Sprintf("make torture-writer SEED=%d MINUTES=%g STACK=%s", r.seed, c.Minutes, c.Stack)
	fmt.Printf("  repeat: %s (the schedule is the same, the machine's timing is not)\n", again)
}
