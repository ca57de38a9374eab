//go:build cgo

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/completeness"
)

// manifestCommand writes down what tables hold, and checks it later.
type manifestCommand struct {
	Write manifestWrite `cmd:"" help:"Write what tables hold of days that are over: a line a day and group, with rows, offsets, sequences and a hash."`
	Check manifestCheck `cmd:"" help:"Say where tables differ from what was written; the exit status says whether they do."`
}

type manifestWrite struct {
	clusterFlags
	Topics []string `arg:"" name:"topic" help:"Topics."`
	Days   []string `name:"day" help:"Days in UTC, as 2026-11-22; all that are over when none is given."`
	Out    string   `name:"out" help:"File to write; standard output when none is given."`
}

type manifestCheck struct {
	clusterFlags
	Files []string `arg:"" name:"file" type:"existingfile" help:"Manifests."`
}

// Run is the command.
func (c *manifestWrite) Run(ctx context.Context, cli *commandLine) error {
	for _, day := range c.Days {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return fmt.Errorf("--day %s: write it as 2026-11-22: %w", day, err)
		}
	}
	tables, err := c.tables(cli, c.Topics)
	if err != nil {
		return err
	}
	defer tables.close()
	if c.Out != "" {
		// Whole, or not there: half a manifest would look like one of fewer days.
		file, err := os.CreateTemp(filepath.Dir(c.Out), ".manifest-*")
		if err != nil {
			return err
		}
		defer os.Remove(file.Name())
		if err := errors.Join(c.write(ctx, file, tables), file.Sync(), file.Chmod(0o644), file.Close()); err != nil {
			return err
		}
		return os.Rename(file.Name(), c.Out)
	}
	return c.write(ctx, os.Stdout, tables)
}

func (c *manifestWrite) write(ctx context.Context, out io.Writer, tables *manifestTables) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, topic := range c.Topics {
		m, err := tables.open(ctx, topic)
		if err != nil {
			return err
		}
		days := slices.Compact(slices.Sorted(slices.Values(c.Days)))
		if len(days) == 0 {
			if days, err = m.Days(ctx); err != nil {
				return err
			}
		}
		head, err := m.Head(days)
		if err == nil {
			err = encoder.Encode(head)
		}
		for _, day := range days {
			var lines []completeness.ManifestLine
			if err == nil {
				lines, err = m.Lines(ctx, head, day)
			}
			for _, line := range lines {
				err = errors.Join(err, encoder.Encode(line))
			}
		}
		if err != nil {
			return fmt.Errorf("manifest of %s: %w", topic, err)
		}
	}
	return nil
}

// manifestTables opens the tables that manifests are about.
type manifestTables struct {
	store    *clickhouse.Client
	products []completeness.Product
}

func (f *clusterFlags) tables(cli *commandLine, topics []string) (*manifestTables, error) {
	f.resolve(cli)
	if f.ClickHouse == "" {
		return nil, errors.New("no ClickHouse to ask; set CLICKHOUSE_URL, or start a stack with `make up`")
	}
	things, err := wantedThings()
	if err != nil {
		return nil, err
	}
	products, err := verified(things, topics)
	if err != nil {
		return nil, err
	}
	store, err := clickhouse.New(clickhouse.Config{URL: f.ClickHouse})
	return &manifestTables{store, products}, err
}

func (t *manifestTables) close() { t.store.Close() }

func (t *manifestTables) open(ctx context.Context, topic string) (*completeness.Manifest, error) {
	i := slices.IndexFunc(t.products, func(p completeness.Product) bool { return p.Contract.Topic.Name == topic })
	if i < 0 {
		return nil, fmt.Errorf("no contract asks for a table of topic %s", topic)
	}
	return completeness.NewManifest(ctx, completeness.Deps{ClickHouse: t.store}, t.products[i])
}

// written is one product's part of a manifest.
type written struct {
	head  completeness.ManifestHead
	lines map[string][]completeness.ManifestLine // by day
}

// readManifest reads a file's products. A line that says what this program does not understand is an error, never left out.
func readManifest(in io.Reader) (all []written, err error) {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 64<<20)
	for n := 1; scanner.Scan(); n++ {
		strict := func(into any) error {
			d := json.NewDecoder(strings.NewReader(scanner.Text()))
			d.DisallowUnknownFields()
			return d.Decode(into)
		}
		var kind struct{ Manifest int }
		if err := json.Unmarshal(scanner.Bytes(), &kind); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if kind.Manifest > completeness.ManifestVersion {
			return nil, fmt.Errorf("line %d: a manifest of version %d, this program knows %d; run a newer one", n, kind.Manifest, completeness.ManifestVersion)
		}
		if kind.Manifest > 0 {
			w := written{lines: map[string][]completeness.ManifestLine{}}
			if err := strict(&w.head); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			all = append(all, w)
			continue
		}
		var line completeness.ManifestLine
		if err := strict(&line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("line %d: no head stands before it", n)
		}
		w := all[len(all)-1]
		if line.Topic != w.head.Topic || !slices.Contains(w.head.Days, line.Day) || len(line.Group) != len(w.head.GroupBy) {
			return nil, fmt.Errorf("line %d: %s of %s is not what the head above it announces", n, line.Day, line.Topic)
		}
		w.lines[line.Day] = append(w.lines[line.Day], line)
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no manifest: it has no head")
	}
	return all, nil
}

// Run is the command.
func (c *manifestCheck) Run(ctx context.Context, cli *commandLine) error {
	tables, err := c.tables(cli, nil)
	if err != nil {
		return err
	}
	defer tables.close()
	differing := 0
	for _, name := range c.Files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		all, err := readManifest(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, w := range all {
			found, err := c.check(ctx, os.Stdout, tables, w)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", name, w.head.Topic, err)
			}
			differing += found
		}
	}
	if differing > 0 {
		return exitError{1}
	}
	return nil
}

func (c *manifestCheck) check(ctx context.Context, out io.Writer, tables *manifestTables, w written) (differing int, err error) {
	m, err := tables.open(ctx, w.head.Topic)
	if err != nil {
		return 0, err
	}
	groups := 0
	var expired []string
	for _, day := range w.head.Days {
		if m.Expired(day) {
			expired = append(expired, day)
			continue
		}
		faults, err := m.Check(ctx, w.head, day, w.lines[day])
		if err != nil {
			return differing, err
		}
		groups += len(w.lines[day])
		differing += len(faults)
		for _, f := range faults {
			fmt.Fprintf(out, "differs %s %s %s: %s\n    %s\n", w.head.Topic, f.Day, safe(strings.Join(f.Group, "/"), 300), safe(f.What, 1000), f.SQL)
		}
	}
	fmt.Fprintf(out, "%s: %d days, %d groups, %d differ", w.head.Topic, len(w.head.Days)-len(expired), groups, differing)
	if len(expired) > 0 {
		fmt.Fprintf(out, "; past the table's TTL and not compared: %s", strings.Join(expired, ", "))
	}
	fmt.Fprintln(out)
	return differing, nil
}
