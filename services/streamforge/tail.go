//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// tailCommand shows a topic's records, decoded by the schemas that wrote them. It joins no group and commits nothing.
type tailCommand struct {
	clusterFlags
	Topic         string   `arg:"" help:"Topic to show."`
	Filter        []string `name:"filter" sep:"none" help:"Only records whose field has this value: symbol=BTC-USDT, price=61837.63, frame.partition=3, bids[].price=1, and _key, _partition, _offset, _producer, _version. Several must all hold."`
	FromBeginning bool     `name:"from-beginning" help:"Begin with the oldest record instead of with what comes now."`
	Last          int      `name:"last" help:"Begin with the newest so many records (that pass the filters)."`
	Limit         int      `name:"limit" help:"End after so many records."`
	NoFollow      bool     `name:"no-follow" help:"End with the newest record that there is now."`
	JSON          bool     `name:"json" help:"For a program: an object a line."`
}

// Run is the command.
func (t *tailCommand) Run(ctx context.Context, cli *commandLine) error {
	if t.FromBeginning && t.Last > 0 {
		return errors.New("--from-beginning and --last: say one of them")
	}
	filters, err := parseFilters(t.Filter)
	if err != nil {
		return err
	}
	kind := t.resolve(cli)
	client, err := registry.New(t.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer client.Close()
	admin, err := kafka.NewAdmin(t.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	parts, err := partitionsOf(ctx, admin, t.Topic)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	ends, err := admin.Offsets(ctx, parts, true)
	if err != nil {
		return err
	}
	run := &tailing{command: t, filters: filters, showing: newShowing(client), out: os.Stdout}
	if err := run.checkFilters(ctx); err != nil {
		return err
	}
	if err := run.all(ctx, ends); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// orNothingRuns adds to an unreachable broker what is probably the matter: nobody has started a platform, or named one.
func orNothingRuns(kind string, err error) error {
	if kind == "" && os.Getenv("KAFKA_BOOTSTRAP_SERVERS") == "" && errors.Is(err, kafka.ErrUnreachable) {
		return fmt.Errorf("nothing runs here; start it with `make up`, or set KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL: %w", err)
	}
	return err
}

// partitionsOf lists a topic's partitions; a topic that does not exist is an error that names those that do.
func partitionsOf(ctx context.Context, admin *kafka.Admin, topic string) ([]kafka.TopicPartition, error) {
	described, err := admin.Describe(ctx, topic)
	if err != nil {
		return nil, err
	}
	if d, ok := described[topic]; ok {
		return d.TopicPartitions(), nil
	}
	names, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w %q: there are %s", kafka.ErrUnknownTopic, topic, strings.Join(names, ", "))
}

// tailing is a tail at work.
type tailing struct {
	command *tailCommand
	filters []filter
	showing *showing
	out     io.Writer
	printed int
}

// all shows what there is, as far as it was asked for, and then what comes.
func (t *tailing) all(ctx context.Context, ends map[kafka.TopicPartition]kafka.OffsetRange) error {
	from := map[kafka.TopicPartition]int64{}
	for tp, r := range ends {
		from[tp] = r.Latest
		if t.command.FromBeginning {
			from[tp] = r.Earliest
		}
	}
	if t.command.Last > 0 {
		newest, err := t.newest(ctx, ends)
		if err != nil {
			return err
		}
		for i := range newest {
			t.print(&newest[i])
		}
	}
	if t.full() {
		return nil
	}
	return t.follow(ctx, from, ends)
}

func (t *tailing) full() bool { return t.command.Limit > 0 && t.printed >= t.command.Limit }

func (t *tailing) print(v *shown) {
	if t.full() {
		return
	}
	text := v.line()
	if t.command.JSON {
		text = v.json()
	}
	fmt.Fprintln(t.out, text)
	t.printed++
}

// newest finds the newest records that pass the filters. Offsets also count the markers of transactions, so a window may
// hold fewer records than it is long; it is widened until there are enough, or until it holds everything.
func (t *tailing) newest(ctx context.Context, ends map[kafka.TopicPartition]kafka.OffsetRange) ([]shown, error) {
	for window := int64(t.command.Last); ; window *= 4 {
		from := map[kafka.TopicPartition]int64{}
		whole := true
		for tp, r := range ends {
			from[tp] = max(r.Earliest, r.Latest-window)
			whole = whole && from[tp] == r.Earliest
		}
		var found []shown
		err := t.read(ctx, from, ends, func(v *shown) error {
			// Twice as many as are wanted bound the memory.
			if found = append(found, *v); len(found) >= 2*t.command.Last+1000 {
				found = newestOf(found, t.command.Last)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if whole || len(found) >= t.command.Last {
			return newestOf(found, t.command.Last), nil
		}
	}
}

// newestOf keeps the n newest, oldest first.
func newestOf(found []shown, n int) []shown {
	sort.SliceStable(found, func(i, j int) bool {
		a, b := &found[i], &found[j]
		if !a.time.Equal(b.time) {
			return a.time.Before(b.time)
		}
		if a.partition != b.partition {
			return a.partition < b.partition
		}
		return a.offset < b.offset
	})
	return slices.Clone(found[max(0, len(found)-n):])
}

// follow shows records from the given offsets on, until the context ends, the limit is reached, or, without following, the
// ends of now.
func (t *tailing) follow(ctx context.Context, from map[kafka.TopicPartition]int64, ends map[kafka.TopicPartition]kafka.OffsetRange) error {
	if t.command.NoFollow {
		err := t.read(ctx, from, ends, func(v *shown) error {
			if t.print(v); t.full() {
				return io.EOF
			}
			return nil
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	consumer, err := t.consumer(from)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for !t.full() {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return err
		}
		for _, r := range batch {
			v, passes, err := t.pass(ctx, r)
			if err != nil {
				return err
			}
			if passes {
				t.print(&v)
			}
		}
	}
	return nil
}

func (t *tailing) consumer(from map[kafka.TopicPartition]int64) (*kafka.Consumer, error) {
	var assign []kafka.Committed
	for tp, offset := range from {
		assign = append(assign, kafka.Committed{TopicPartition: tp, Offset: offset})
	}
	return kafka.NewConsumer(t.command.Kafka, kafka.ConsumerConfig{Assign: assign, Headers: true, PartitionEnds: true}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// read hands over the records that pass the filters between offsets.
func (t *tailing) read(ctx context.Context, from map[kafka.TopicPartition]int64, ends map[kafka.TopicPartition]kafka.OffsetRange, tell func(*shown) error) error {
	open := map[kafka.TopicPartition]int64{}
	starts := map[kafka.TopicPartition]int64{}
	for tp, offset := range from {
		if offset < ends[tp].Latest {
			open[tp], starts[tp] = ends[tp].Latest, offset
		}
	}
	if len(open) == 0 {
		return nil
	}
	consumer, err := t.consumer(starts)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for len(open) > 0 {
		batch, err := consumer.Poll(ctx)
		if err != nil {
			return err
		}
		for _, r := range batch {
			if r.Offset >= ends[kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}].Latest {
				continue
			}
			v, passes, err := t.pass(ctx, r)
			if err == nil && passes {
				err = tell(&v)
			}
			if err != nil {
				return err
			}
		}
		for tp, end := range open {
			if consumer.Position(tp) >= end {
				delete(open, tp)
			}
		}
	}
	return nil
}

// pass decodes a record and says whether it passes the filters.
func (t *tailing) pass(ctx context.Context, r kafka.Record) (shown, bool, error) {
	v, err := t.showing.show(ctx, r)
	if err != nil {
		return v, false, err
	}
	for _, f := range t.filters {
		if !f.matches(&v) {
			return v, false, nil
		}
	}
	return v, true, nil
}

// checkFilters names a field that no version of the topic's schema has: nothing would ever pass it.
func (t *tailing) checkFilters(ctx context.Context) error {
	versions, err := t.showing.registry.LiveVersions(ctx, t.command.Topic+"-value")
	if err != nil || len(versions) == 0 {
		return err
	}
	var fields []string
	for _, v := range versions {
		reader, err := t.showing.reader(ctx, v.ID)
		if err != nil {
			return err
		}
		fields = reader.Fields()
		for i := range t.filters {
			f := &t.filters[i]
			f.known = f.known || f.isMeta() || slices.Contains(fields, f.path)
		}
	}
	for _, f := range t.filters {
		if !f.known {
			return fmt.Errorf("--filter %s=…: %s has no such field: there are %s, and %s", f.path, t.command.Topic, strings.Join(fields, ", "), strings.Join(metaFields, ", "))
		}
	}
	return nil
}

// metaFields are what a filter can ask of the record rather than of its value.
var metaFields = []string{"_key", "_partition", "_offset", "_producer", "_version"}

// filter is a field and the value that it must have.
type filter struct {
	path, want string
	number     *big.Rat // of want, where it is one
	known      bool
}

func parseFilters(texts []string) ([]filter, error) {
	var filters []filter
	for _, text := range texts {
		path, want, ok := strings.Cut(text, "=")
		if !ok || path == "" {
			return nil, fmt.Errorf("--filter %q: write it as field=value, for example symbol=BTC-USDT", text)
		}
		f := filter{path: path, want: want}
		f.number = number(want)
		filters = append(filters, f)
	}
	return filters, nil
}

func (f filter) isMeta() bool { return slices.Contains(metaFields, f.path) }

func (f filter) matches(v *shown) bool {
	if f.isMeta() {
		return f.equals(map[string]string{
			"_key": v.key, "_partition": fmt.Sprint(v.partition), "_offset": fmt.Sprint(v.offset), "_producer": v.producer, "_version": fmt.Sprint(v.version),
		}[f.path])
	}
	for _, leaf := range v.value.At(f.path) {
		if f.equals(leaf.Text) {
			return true
		}
	}
	return false
}

// equals compares numbers by value, so that 61837.63 finds 61837.630, and anything else as text.
func (f filter) equals(text string) bool {
	if text == f.want {
		return true
	}
	if f.number == nil {
		return false
	}
	n := number(text)
	return n != nil && n.Cmp(f.number) == 0
}

// number reads a number as this command writes it; nil for anything else, exponents included, which could cost gigabytes.
func number(text string) *big.Rat {
	if len(text) > 100 || strings.Trim(text, "+-.0123456789") != "" {
		return nil
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil
	}
	return n
}
