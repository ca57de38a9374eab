// Command bench measures the writer against ClickHouse's own Kafka engine: the same records, broker, registry and engine, one
// consumer at a time, in turn.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/streamforge/streamforge/services/internal/localstack"
)

// commandLine of the program. The engine is a process of its own, because a run starts it anew and reads its processor time.
type commandLine struct {
	Run    runCommand    `cmd:"" default:"withargs" help:"Measure."`
	Engine engineCommand `cmd:"" hidden:"" help:"Run ClickHouse in this process."`
}

// runCommand is what a person starts.
type runCommand struct {
	Case     string        `name:"case" default:"trades" enum:"trades,wide,books,small" help:"What the records are."`
	Rows     int           `name:"rows" default:"0" help:"Records of a run; 0 is the case's own number."`
	Pairs    int           `name:"pairs" default:"5" help:"How often each consumer runs."`
	View     string        `name:"view" default:"candles" enum:"candles,one,none" help:"Views over the writer's table: those of the repository, the first of them only, or none."`
	Stack    string        `name:"stack" default:"embedded" enum:"embedded,apache" help:"Local stack."`
	Programs string        `name:"programs" type:"path" default:"bin" help:"Folder of streamforge and writer."`
	Dir      string        `name:"dir" type:"path" default:".streamforge/bench-writer" help:"Folder for data and logs; the data goes at the end."`
	CacheDir string        `name:"cache-dir" env:"STREAMFORGE_CACHE_DIR" type:"path" help:"Folder of downloaded parts; default: the user's cache."`
	Alone    bool          `name:"alone" help:"The writer alone, without the peer: to find out what it spends its time on."`
	Profile  string        `name:"profile" type:"path" help:"File for a CPU profile of the writer's last run, its first four seconds."`
	Patience time.Duration `name:"patience" default:"10m" help:"How long a run may take."`
}

func main() {
	var c commandLine
	parsed := kong.Parse(&c, kong.Name("bench-writer"), kong.Description("The writer against ClickHouse's own Kafka engine."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.FatalIfErrorf(parsed.Run())
}

// Run is the command.
func (c *runCommand) Run(ctx context.Context) (err error) {
	if c.CacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		c.CacheDir = filepath.Join(cache, "streamforge")
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	lock, err := localstack.Acquire(c.Dir)
	if err != nil {
		return fmt.Errorf("%s: %w; another bench-writer may be using it, --dir names another folder", c.Dir, err)
	}
	defer lock.Release()
	what := cases()[c.Case]
	if c.Rows > 0 {
		what.rows = c.Rows
	}
	if c.Case == "wide" {
		if err := c.buildWide(ctx); err != nil {
			return err
		}
	}
	b, err := newBench(ctx, c, what)
	if err != nil {
		return err
	}
	defer func() {
		if closed := b.close(); err == nil {
			err = closed
		}
	}()
	return b.pairs(ctx)
}

// consumers of a pair, in the order in which they are printed; the order in which they run turns round from pair to pair, so that
// a machine that slows down favours none.
var consumers = []struct {
	name  string
	count int // consumers of the peer; 0 is ours
}{{"ours", 0}, {"peer1", 1}, {"peer2", 2}}

func (b *bench) pairs(ctx context.Context) error {
	results := make([][]outcome, len(consumers))
	for pair := range b.config.Pairs {
		for i := range consumers {
			if pair%2 == 1 {
				i = len(consumers) - 1 - i
			}
			if b.config.Alone && consumers[i].count > 0 {
				continue
			}
			r, err := b.once(ctx, consumers[i].count)
			if err != nil {
				return fmt.Errorf("pair %d, %s: %w", pair+1, consumers[i].name, err)
			}
			results[i] = append(results[i], r)
			fmt.Printf("pair %d  %-5s  %s\n", pair+1, consumers[i].name, r)
		}
	}
	if b.what.paced {
		return nil
	}
	rates := make([]float64, len(consumers))
	for i, all := range results {
		if len(all) == 0 {
			continue
		}
		rates[i] = median(all, outcome.rate)
		fmt.Printf("median  %-5s  %9.0f rows/s, cpu s per million rows: consumer %.2f engine %.2f broker %.2f\n", consumers[i].name, rates[i],
			median(all, func(o outcome) float64 { return o.perMillion(o.writer) }), median(all, func(o outcome) float64 { return o.perMillion(o.engine) }),
			median(all, func(o outcome) float64 { return o.perMillion(o.broker) }))
	}
	// Ratios are taken pair by pair: the two runs of a pair met the same machine.
	ratio := func(peer int) float64 {
		all := make([]float64, len(results[0]))
		for i := range all {
			all[i] = results[0][i].rate() / results[peer][i].rate()
		}
		return middle(all)
	}
	fmt.Printf("writer: %.3f allocations a row, its start included\n", median(results[0], func(o outcome) float64 { return o.mallocs / float64(o.rows) }))
	if b.config.Alone {
		return nil
	}
	fmt.Printf("bench-writer: ours=%.0f peer1=%.0f peer2=%.0f ratio1=%.1f ratio2=%.1f\n", rates[0], rates[1], rates[2], ratio(1), ratio(2))
	return nil
}

func median(all []outcome, of func(outcome) float64) float64 {
	numbers := make([]float64, len(all))
	for i, o := range all {
		numbers[i] = of(o)
	}
	return middle(numbers)
}

// middle is the median; of an even number the mean of the two in the middle.
func middle(numbers []float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
