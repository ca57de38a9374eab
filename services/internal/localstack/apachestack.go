package localstack

import (
	"context"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/apache"
)

// javaStart bounds the start of a Java part on a busy machine.
const javaStart = 90 * time.Second

func (s *Stack) startApacheKafka(ctx context.Context) error {
	address, err := loopback(s.config.KafkaPort)
	if err != nil {
		return err
	}
	controller, err := loopback(0)
	if err != nil {
		return err
	}
	command, err := apache.Kafka(ctx, apache.KafkaConfig{
		CacheDir: s.config.CacheDir, DataDir: s.DataDir("broker"), Listen: address, Controller: controller,
	})
	if err != nil {
		return err
	}
	s.addresses.Kafka = address
	return s.launchJava(ctx, "broker", command, dialable(address))
}

func (s *Stack) startApicurio(ctx context.Context) error {
	address, err := loopback(s.config.RegistryPort)
	if err != nil {
		return err
	}
	command, err := apache.Apicurio(apache.ApicurioConfig{CacheDir: s.config.CacheDir, DataDir: s.DataDir("registry"), Listen: address})
	if err != nil {
		return err
	}
	s.addresses.Registry = "http://" + address + apache.ApicurioPath
	return s.launchJava(ctx, "registry", command, answers(s.addresses.Registry+"/subjects"))
}

func (s *Stack) launchJava(ctx context.Context, name string, command apache.Command, ready func(context.Context) error) error {
	return s.launch(ctx, Spec{
		Name: name, Path: command.Path, Args: command.Args, Env: command.Env,
		LogFile: s.LogFile(name), Ready: ready, StartTimeout: javaStart, StopTimeout: 20 * time.Second,
	})
}
