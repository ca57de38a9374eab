package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// The product that is written: a topic, its table, and a view's target.
const (
	topic   = "raw-trades"
	subject = "raw-trades-value"
	table   = "raw_trades"
	minutes = "torture_minutes"
	group   = "writer." + topic
)

// partitions of the topic: enough for blocks of several and for three writers, few enough to start soon.
const partitions = 6

// world is a stack of processes of a folder's own, and the connections to it that bypass every fault.
type world struct {
	config     config
	dir        string
	stack      *localstack.Stack
	kafka      kafka.ClientConfig
	admin      *kafka.Admin
	registry   *registry.Client
	clickhouse *clickhouse.Client
	topicID    [16]byte
	oldID      [16]byte // of the topic that was there before; zero for none
	topic      kafka.NewTopic
	sink       *sink
	wire       *wire
	targets    []string // of the candles
	disk       string   // where a small disk is mounted; empty for none
}

// smallDiskSize of ClickHouse's data when its disk is to fill up.
const smallDiskSize = "256m"

// build starts the parts and makes schemas, topics, table and view.
func build(ctx context.Context, config config, seed uint64, plan schedule) (w *world, err error) {
	w = &world{config: config, dir: filepath.Join(config.Dir, fmt.Sprintf("seed-%d", seed))}
	if err := os.RemoveAll(w.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if plan.SmallDisk {
		if err := w.mount(); err != nil {
			return w, err
		}
	}
	w.stack, err = localstack.Start(ctx, localstack.Config{
		Kind: config.Stack, Dir: w.dir, CacheDir: config.CacheDir, Executable: filepath.Join(config.Programs, "streamforge"),
	})
	if err != nil {
		return w, err
	}
	addresses := w.stack.Addresses()
	w.kafka.BootstrapServers = addresses.Kafka
	if w.admin, err = kafka.NewAdmin(w.kafka); err != nil {
		return w, err
	}
	if w.registry, err = registry.New(registry.Config{URL: addresses.Registry}, prometheus.NewRegistry()); err != nil {
		return w, err
	}
	if w.clickhouse, err = clickhouse.New(clickhouse.Config{URL: addresses.ClickHouse, Timeout: time.Minute}); err != nil {
		return w, err
	}
	if w.sink, err = newSink(addresses.ClickHouse, seed, plan.Candles); err != nil {
		return w, err
	}
	if w.wire, err = newWire(addresses.Kafka, seed); err != nil {
		return w, err
	}
	return w, w.fill(ctx, plan)
}

// fill makes what the writer finds.
func (w *world) fill(ctx context.Context, plan schedule) error {
	subjects, err := schemas.All()
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if _, _, err := w.registry.Register(ctx, s); err != nil {
			return err
		}
	}
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return err
	}
	for _, c := range all {
		name := c.Topic.Name
		made := kafka.NewTopic{Name: name, Partitions: partitions, Replication: 1, Configs: map[string]string{"cleanup.policy": c.Topic.CleanupPolicy}}
		switch name {
		case topic, deadletters.Topic:
		case groupcontrol.Topic:
			made.Partitions = c.Topic.Partitions
		default:
			continue
		}
		if err := w.admin.Create(ctx, []kafka.NewTopic{made}); err != nil {
			return err
		}
		if name == topic {
			w.topic = made
			if err := w.createTable(ctx, c, plan); err != nil {
				return err
			}
		}
	}
	return w.learnTopicID(ctx)
}

// learnTopicID waits for a topic that was made a moment ago: a broker may not know it yet.
func (w *world) learnTopicID(ctx context.Context) error {
	return again(ctx, func() (err error) { w.topicID, err = w.admin.TopicID(ctx, topic); return err })
}

func (w *world) createTable(ctx context.Context, c contract.Contract, plan schedule) error {
	s, err := schemas.Get(c.Subject)
	if err != nil {
		return err
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		return err
	}
	create, err := ddl.CreateTable(c, text, w.clickhouse.Database(), ddl.Options{Tuning: ddl.Tuning()})
	if err != nil {
		return err
	}
	statements := []string{create, fmt.Sprintf("ALTER TABLE %s MODIFY SETTING non_replicated_deduplication_window = %d", table, plan.Window)}
	if plan.Candles {
		views, err := w.candles(c, text, plan.Window)
		if err != nil {
			return err
		}
		statements = append(statements, views...)
	} else {
		statements = append(statements,
			fmt.Sprintf("CREATE TABLE %s (symbol String, minute DateTime, trades UInt64, volume Decimal(38, 18)) ENGINE = SummingMergeTree ORDER BY (symbol, minute) SETTINGS non_replicated_deduplication_window = %d", minutes, plan.Window),
			// It sleeps, so that there is time to strike between the source's part and the view's.
			fmt.Sprintf("CREATE MATERIALIZED VIEW %s_mv TO %s AS %s HAVING sleep(0.02) = 0", minutes, minutes, minutesQuery))
	}
	for _, statement := range statements {
		if err := w.clickhouse.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// candles are the repository's views over the product, with a window of so many tokens.
func (w *world) candles(c contract.Contract, schema string, window int) (statements []string, err error) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return nil, err
	}
	views, err := contract.LoadViews(contracts.FS, all)
	if err != nil {
		return nil, err
	}
	for _, v := range views {
		if v.Source != c.ID {
			continue
		}
		tables, err := ddl.Views(v, c, schema, w.clickhouse.Database(), ddl.Options{})
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			t.Target.DedupWindow = window
			if t.From == table {
				t.FillSelect += " HAVING sleep(0.02) = 0" // Time to strike, as below.
			}
			statements = append(statements, t.CreateTarget(ddl.Options{}), t.CreateFill(ddl.Options{}))
			w.targets = append(w.targets, t.Target.Table)
		}
	}
	return statements, nil
}

// minutesQuery is the view: what it says of all of the table is what its target has to hold.
const minutesQuery = "SELECT symbol, toStartOfMinute(toDateTime(received_at)) AS minute, count() AS trades, CAST(sum(quantity), 'Decimal(38, 18)') AS volume FROM " + table + " GROUP BY symbol, minute"

// launch starts a writer; it need not be ready, because what it rests on may be away. Without an instance's name it is a new member
// of its group each time.
func (w *world) launch(ctx context.Context, name, instance string) error {
	environment := []string{
		"CLICKHOUSE_URL=" + w.sink.url, "KAFKA_BOOTSTRAP_SERVERS=" + w.wire.address(), "WRITER_TOPICS=" + topic, "WRITER_INSTANCE_ID=" + instance, "WRITER_FLUSH_INTERVAL=50ms",
		"WRITER_UNKNOWN_SCHEMA_WAIT=2s", "WRITER_ACCEPT_DEAD_LETTERS=" + topic, "CLICKHOUSE_TIMEOUT=15s", "DRAIN_TIMEOUT=20s",
		clockVariable + "=" + w.clock(name),
	}
	_, err := w.stack.ProgramUnready(ctx, name, w.config.Writer, nil, environment)
	return err
}

// clock is the file that says by how much a writer's clock is off; there is none for one that is right.
func (w *world) clock(name string) string { return filepath.Join(w.dir, "clock-"+name) }

// setClock has a writer's clock off from now on.
func (w *world) setClock(name string, by time.Duration) error {
	// Renamed, so that no writer reads half of it.
	file := w.clock(name)
	if err := os.WriteFile(file+".new", strconv.AppendInt(nil, int64(by), 10), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// mount puts ClickHouse's data on a small disk.
func (w *world) mount() error {
	dir := filepath.Join(w.dir, "data-"+w.config.Stack, "clickhouse")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+smallDiskSize); err != nil {
		return nil // Only root may; the fault then says that it is left out.
	}
	w.disk = dir
	return nil
}

// ballast takes all the space that is left on the small disk.
func (w *world) ballast() (remove func(), err error) {
	name := filepath.Join(w.disk, "ballast")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size >= 1; {
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return nil, errors.Join(err, os.Remove(name))
		}
	}
	return func() { _ = os.Remove(name) }, nil
}

// note is the field of the schema's second version.
const note = `, {"name": "note", "type": ["null", "string"], "default": null}`

// addColumn and registerNext are the two halves of a new version; registerNext returns its id.
func (w *world) addColumn(ctx context.Context) error {
	return w.clickhouse.Exec(ctx, "ALTER TABLE "+table+" ADD COLUMN IF NOT EXISTS note Nullable(String)")
}

func (w *world) registerNext(ctx context.Context) (int, error) {
	s, err := schemas.Get(subject)
	if err != nil {
		return 0, err
	}
	end := strings.LastIndex(s.Text, "]")
	s.Text = s.Text[:end] + note + s.Text[end:]
	id, _, err := w.registry.Register(ctx, s)
	return id, err
}

// close ends every process. Data and logs stay in the folder.
func (w *world) close() error {
	var err error
	if w.stack != nil {
		err = w.stack.Stop()
	}
	if w.sink != nil {
		w.sink.close()
	}
	if w.wire != nil {
		w.wire.close()
	}
	if w.clickhouse != nil {
		_ = w.clickhouse.Close()
	}
	if w.registry != nil {
		w.registry.Close()
	}
	if w.admin != nil {
		w.admin.Close()
	}
	if w.disk != "" {
		err = errors.Join(err, w.unmount())
	}
	return err
}

// unmount ends the small disk; what was on it goes on in the folder.
func (w *world) unmount() error {
	kept := w.disk + "-kept"
	copied := os.CopyFS(kept, os.DirFS(w.disk))
	if err := syscall.Unmount(w.disk, 0); err != nil {
		return errors.Join(copied, fmt.Errorf("unmounting %s: %w", w.disk, err))
	}
	if err := os.Remove(w.disk); err != nil {
		return errors.Join(copied, err)
	}
	return errors.Join(copied, os.Rename(kept, w.disk))
}
