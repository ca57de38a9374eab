// The parser reads raw-frames and writes raw-trades, raw-orderbooks and feed-gaps, exactly once, in Kafka transactions.
package main

import (
	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

type flags struct {
	App      app.Config         `embed:""`
	Kafka    kafka.ClientConfig `embed:""`
	Registry registry.Config    `embed:""`
	Parser   Config             `embed:""`
}

func main() {
	app.Main("parser", "Parses raw frames into trades, order book events and gaps.", &flags{},
		func(f *flags) *app.Config { return &f.App }, build)
}

func build(a *app.App, f *flags) error {
	client, err := registry.New(f.Registry, a.Registry)
	if err != nil {
		return err
	}
	all, err := contract.Load(contracts.FS)
	if err != nil {
		return err
	}
	service, err := New(f.Parser, Deps{
		Kafka: f.Kafka, Registry: client, Contracts: all, Log: a.Log, Metrics: a.Registry, Producer: a.Producer(),
	})
	if err != nil {
		return err
	}
	a.Ready("parser", service.Ready)
	a.Add("parser", service)
	return nil
}
