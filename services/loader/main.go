// Command loader connects to the venues and publishes every message it receives, verbatim and in order, to raw-frames.
package main

import (
	"time"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/internal/registry"
)

type flags struct {
	App      app.Config         `embed:""`
	Kafka    kafka.ClientConfig `embed:""`
	Registry registry.Config    `embed:""`
	Rotation RotationConfig     `embed:""`

	Config      string `name:"config" env:"LOADER_CONFIG" required:"" type:"path" help:"File that names the feeds (YAML)."`
	BufferBytes int64  `name:"buffer-bytes" env:"LOADER_BUFFER_BYTES" default:"268435456" help:"Bytes that may wait between the sockets and Kafka; beyond them the newest frames are dropped and a GAP says so."`
	QueueBytes  int    `name:"kafka-queue-bytes" env:"LOADER_KAFKA_QUEUE_BYTES" default:"67108864" help:"Bytes that may wait in the Kafka client, besides the buffer."`
}

func main() {
	app.Main("loader", "Loads the venues' frames into Kafka.", &flags{}, func(f *flags) *app.Config { return &f.App }, build)
}

func build(a *app.App, f *flags) error {
	adapters, err := adapters()
	if err != nil {
		return err
	}
	feeds, err := ReadFile(f.Config, adapters)
	if err != nil {
		return err
	}
	schemas, err := registry.New(f.Registry, a.Registry)
	if err != nil {
		return err
	}
	admin, err := kafka.NewAdmin(f.Kafka)
	if err != nil {
		return err
	}
	loader, err := New(Config{
		Feeds: feeds, BufferBytes: f.BufferBytes, QueueBytes: f.QueueBytes, Rotation: f.Rotation, ProducerName: a.Producer(),
		// The app gives up at DrainTimeout without a word of what is lost, so the loader's own deadline comes before.
		DrainTimeout: max(f.App.DrainTimeout-2*time.Second, f.App.DrainTimeout/2),
	}, Deps{
		Log: a.Log, Registerer: a.Registry, Registry: schemas, Admin: admin,
		Consumer: func(c kafka.ConsumerConfig) (Consumer, error) {
			return kafka.NewConsumer(f.Kafka, c, a.Log, a.Registry)
		},
		Producer: func(c kafka.ProducerConfig) (Producer, error) {
			return kafka.NewProducer(f.Kafka, c, a.Log, a.Registry)
		},
	})
	if err != nil {
		return err
	}
	a.Add("loader", loader)
	a.Ready("loader", loader.Ready)
	return nil
}

// adapters are the venues of this build by name.
func adapters() (map[string]venue.Adapter, error) {
	byName := map[string]venue.Adapter{}
	for _, name := range all.Names() {
		adapter, err := all.Get(name)
		if err != nil {
			return nil, err
		}
		byName[name] = adapter
	}
	return byName, nil
}
