// Command writer fills ClickHouse tables from Kafka: every product whose contract asks for a sink, each in a consumer
// group of its own, writer.<topic>.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

type config struct {
	App        app.Config         `embed:""`
	Kafka      kafka.ClientConfig `embed:""`
	Registry   registry.Config    `embed:""`
	ClickHouse clickhouse.Config  `embed:""`
	Writer     Config             `embed:""`
}

func main() {
	app.Main("writer", "Writes data products from Kafka into ClickHouse.", &config{}, func(c *config) *app.Config { return &c.App }, build)
}

func build(a *app.App, c *config) error {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return err
	}
	views, err := contract.LoadViews(contracts.FS, all)
	if err != nil {
		return err
	}
	if c.Writer.Backfill != "" {
		c.Writer.Topics = []string{c.Writer.Backfill}
	}
	chosen, err := choose(all, c.Writer.Topics)
	if err != nil {
		return err
	}
	store, err := clickhouse.New(c.ClickHouse)
	if err != nil {
		return err
	}
	schemas, err := registry.New(c.Registry, a.Registry)
	if err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// The rest is for what Go does not see: librdkafka's queues, the C library's heap and the program itself. The blocks, which are
		// most of what Go has, hold no pointers, so that a collector that is kept busy costs little;
		// with three eighths it costs as much as all else.
		debug.SetMemoryLimit(int64(c.Writer.withDefaults().MemoryLimit) / 16 * 7)
	}
	w, err := New(c.Writer, Deps{
		Kafka: c.Kafka, Registry: schemas, ClickHouse: store, Contracts: chosen, Views: views,
		Log: a.Log, Metrics: a.Registry, Producer: a.Producer(),
	})
	if err != nil {
		return err
	}
	for _, p := range w.products {
		a.Ready(p.topic, p.ready)
		a.Note(p.topic, p.note)
	}
	a.Add("writer", w)
	return nil
}

// choose takes the contracts with a sink, or those of the topics named.
func choose(all []contract.Contract, topics []string) ([]contract.Contract, error) {
	var chosen []contract.Contract
	named := map[string]bool{}
	for _, topic := range topics {
		named[topic] = true
	}
	for _, c := range all {
		if !c.Sinks() || len(topics) > 0 && !named[c.Topic.Name] {
			continue
		}
		delete(named, c.Topic.Name)
		chosen = append(chosen, c)
	}
	for topic := range named {
		return nil, fmt.Errorf("topic %s: no contract with a ClickHouse sink; see contracts/", topic)
	}
	return chosen, nil
}
