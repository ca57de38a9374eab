package localstack

import (
	"context"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/apache"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
)

// javaStart bounds the start of a Java part on a busy machine.
const javaStart = 3 * time.Minute

func (s *Stack) startApacheKafka(ctx context.Context) error {
	listen, err := port.Reserve(s.config.KafkaPort)
	if err != nil {
		return err
	}
	controller, err := port.Reserve(0)
	if err != nil {
		listen.Release()
		return err
	}
	command, err := apache.Kafka(ctx, apache.KafkaConfig{
		CacheDir: s.config.CacheDir, DataDir: s.DataDir("broker"), Listen: listen.Address(), Controller: controller.Address(),
	})
	if err != nil {
		listen.Release()
		controller.Release()
		return err
	}
	s.addresses.Kafka = listen.Address()
	return s.launchJava(ctx, "broker", command, dialable(listen.Address()), listen, controller)
}

func (s *Stack) startApicurio(ctx context.Context) error {
	listen, err := port.Reserve(s.config.RegistryPort)
	if err != nil {
		return err
	}
	command, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: s.config.CacheDir, DataDir: s.DataDir("registry"), Listen: listen.Address()})
	if err != nil {
		listen.Release()
		return err
	}
	s.addresses.Registry = "http://" + listen.Address() + apache.ApicurioPath
	return s.launchJava(ctx, "registry", command, answers(s.addresses.Registry+"/subjects"), listen)
}

func (s *Stack) launchJava(ctx context.Context, name string, command apache.Command, ready func(context.Context) error, ports ...*port.Reservation) error {
	return s.launch(ctx, Spec{
		Name: name, Path: command.Path, Args: command.Args, Env: command.Env,
		LogFile: s.LogFile(name), Ready: ready, Ports: ports, StartTimeout: javaStart, StopTimeout: partStop,
	})
}
