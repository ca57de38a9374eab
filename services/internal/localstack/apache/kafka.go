package apache

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Command is how to start a process.
type Command struct {
	Path string
	Args []string
	Env  []string
}

// KafkaConfig is a one-node cluster.
type KafkaConfig struct {
	CacheDir string
	DataDir  string
	// Listen is host:port for clients, Controller host:port for the node's own controller.
	Listen, Controller string
	// SASLListen is host:port of a second listener, for clients that name themselves by SCRAM-SHA-512; empty for none. Users
	// are the names and passwords of those who exist when the storage is formatted.
	SASLListen string
	Users      map[string]string
}

// clusterID is fixed: the data folder, not the id, says which cluster it is.
const clusterID = "c3RyZWFtZm9yZ2UtbG9jYQ"

// properties are those of a small broker: few threads, little memory, one copy of everything, an internal topic of few
// partitions, and groups that start and rebalance without waiting.
func (c KafkaConfig) properties() string {
	clients, sasl := "PLAINTEXT://"+c.Listen, ""
	if c.SASLListen != "" {
		clients += ",SASL_PLAINTEXT://" + c.SASLListen
		sasl = "sasl.enabled.mechanisms=SCRAM-SHA-512\n" +
			"listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
	}
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + c.Controller,
		"listeners=" + clients + ",CONTROLLER://" + c.Controller,
		"advertised.listeners=" + clients,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
		sasl,
		// Access rights are kept and compared as on a real cluster. The stack's own clients have no name and may do all.
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:ANONYMOUS",
		"inter.broker.listener.name=PLAINTEXT",
		"controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(c.DataDir, "log"),
		// Topics are created from contracts and nowhere else.
		"auto.create.topics.enable=false",
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=8",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=8",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"default.replication.factor=1",
		"min.insync.replicas=1",
		"num.network.threads=2",
		"num.io.threads=4",
		"background.threads=2",
		"log.cleaner.dedupe.buffer.size=4194304",
		"log.cleaner.threads=1",
		// The largest message that a contract allows, and its envelope, must pass.
		"message.max.bytes=20971520",
		"replica.fetch.max.bytes=20971520",
		"socket.request.max.bytes=104857600",
		// A local group has all its members at once, and a commit need not gather others.
		"group.initial.rebalance.delay.ms=0",
		"group.coordinator.append.linger.ms=0",
		// A program that was killed is missed after seconds: its partitions move on.
		"group.min.session.timeout.ms=1000",
		"group.consumer.min.heartbeat.interval.ms=500",
		"group.consumer.heartbeat.interval.ms=500",
		"group.consumer.min.session.timeout.ms=1500",
		"group.consumer.session.timeout.ms=3000",
		"transaction.max.timeout.ms=900000",
	}
	return strings.Join(lines, "\n") + "\n"
}

// log4j2 keeps warnings and errors.
const log4j2 = `Configuration:
  Appenders:
    Console:
      name: STDERR
      target: SYSTEM_ERR
      PatternLayout:
        pattern: "%d %p %c{1} %m%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        ref: STDERR
`

// Kafka writes the broker's configuration, formats its storage if that was not done yet, and says how to start it.
func Kafka(ctx context.Context, c KafkaConfig) (Command, error) {
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return Command{}, fmt.Errorf("preparing Kafka's data folder: %w", err)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return Command{}, fmt.Errorf("kafka listen address %q is not host:port: %w", c.Listen, err)
	}
	properties := filepath.Join(c.DataDir, "server.properties")
	if err := os.WriteFile(properties, []byte(c.properties()), 0o644); err != nil {
		return Command{}, err
	}
	logging := filepath.Join(c.DataDir, "log4j2.yaml")
	if err := os.WriteFile(logging, []byte(log4j2), 0o644); err != nil {
		return Command{}, err
	}
	java := []string{
		"-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
		"-Dlog4j2.configurationFile=" + logging,
		"-cp", filepath.Join(kafkaDir(c.CacheDir), "libs", "*"),
	}
	if !exists(filepath.Join(c.DataDir, "log", "meta.properties")) {
		arguments := append(slices.Clone(java), "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", properties)
		for name, password := range c.Users {
			arguments = append(arguments, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", name, password))
		}
		format := exec.CommandContext(ctx, "java", arguments...)
		if output, err := format.CombinedOutput(); err != nil {
			return Command{}, fmt.Errorf("formatting Kafka's storage in %s: %w: %s", c.DataDir, err, firstLine(output))
		}
	}
	return Command{Path: "java", Args: append(java, "kafka.Kafka", properties)}, nil
}
