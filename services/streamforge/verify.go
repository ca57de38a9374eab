//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/completeness"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// verifyCommand proves that tables hold what their topics hold.
type verifyCommand struct {
	clusterFlags
	Topics []string `arg:"" optional:"" name:"topic" help:"Topics; all that have a table when none is given."`
	JSON   bool     `name:"json" help:"For a program: an object a product."`
}

// Run is the command.
func (c *verifyCommand) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	if c.ClickHouse == "" {
		return errors.New("no ClickHouse to verify; set CLICKHOUSE_URL, or start a stack with `make up`")
	}
	if c.Sharded {
		return errors.New("tables over several shards cannot be verified yet")
	}
	things, err := wantedThings()
	if err != nil {
		return err
	}
	products, err := verified(things, c.Topics)
	if err != nil {
		return err
	}
	reports, err := c.verify(ctx, products)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	if err := c.print(os.Stdout, reports); err != nil {
		return err
	}
	if slices.ContainsFunc(reports, func(r completeness.Report) bool { return !r.Sound() }) {
		return exitError{1}
	}
	return nil
}

// verified are the products of some topics, or of all, with their views.
func verified(things governance.Deps, topics []string) (products []completeness.Product, err error) {
	var names []string
	for _, c := range things.Contracts {
		if !c.Sinks() {
			continue
		}
		names = append(names, c.Topic.Name)
		if len(topics) > 0 && !slices.Contains(topics, c.Topic.Name) {
			continue
		}
		subject, err := schemas.Get(c.Subject)
		if err != nil {
			return nil, err
		}
		p := completeness.Product{Contract: c}
		if p.Schema, err = schemas.SelfContained(subject); err != nil {
			return nil, err
		}
		p.Views = slices.DeleteFunc(slices.Clone(things.Views), func(v contract.View) bool { return v.Source != c.ID })
		products = append(products, p)
	}
	for _, topic := range topics {
		if !slices.Contains(names, topic) {
			return nil, fmt.Errorf("no contract asks for a table of topic %s; those that do: %s", topic, strings.Join(names, ", "))
		}
	}
	return products, nil
}

func (c *verifyCommand) verify(ctx context.Context, products []completeness.Product) ([]completeness.Report, error) {
	admin, err := kafka.NewAdmin(c.Kafka)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	store, err := clickhouse.New(clickhouse.Config{URL: c.ClickHouse})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return completeness.Verify(ctx, completeness.Deps{Kafka: c.Kafka, Admin: admin, ClickHouse: store, Time: completeness.Times(client)}, products)
}

func (c *verifyCommand) print(out io.Writer, reports []completeness.Report) error {
	for i := range reports {
		r := &reports[i]
		if c.JSON {
			encoder := json.NewEncoder(out)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(r); err != nil {
				return err
			}
			continue
		}
		for _, f := range r.Faults {
			fmt.Fprintf(out, "%s %s[%d] offsets %d–%d\n    %s\n", f.Kind, r.Topic, f.Partition, f.From, f.To-1, f.SQL)
		}
		if r.LeftOut > 0 {
			fmt.Fprintf(out, "%d more faults of %s are counted and not listed\n", r.LeftOut, r.Topic)
		}
		for _, v := range r.Views {
			for _, b := range v.Faults {
				fmt.Fprintf(out, "differs %s %s\n    %s\n", v.Name, safe(b.Key, 300), b.SQL)
			}
		}
		fmt.Fprintln(out, r.Verdict())
	}
	return nil
}
