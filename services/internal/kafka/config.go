package kafka

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/app"
)

// ClientConfig says how to reach and enter a Kafka cluster. Every program embeds it in its own kong struct.
type ClientConfig struct {
	BootstrapServers string `name:"kafka-bootstrap-servers" env:"KAFKA_BOOTSTRAP_SERVERS" default:"127.0.0.1:9092" help:"Brokers to begin with, host:port, comma-separated."`

	SecurityProtocol string     `name:"kafka-security-protocol" env:"KAFKA_SECURITY_PROTOCOL" default:"plaintext" enum:"plaintext,ssl,sasl_plaintext,sasl_ssl" help:"plaintext, ssl, sasl_plaintext or sasl_ssl."`
	SASLMechanism    string     `name:"kafka-sasl-mechanism" env:"KAFKA_SASL_MECHANISM" default:"SCRAM-SHA-512" help:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."`
	SASLUsername     string     `name:"kafka-sasl-username" env:"KAFKA_SASL_USERNAME" help:"User name for sasl_plaintext and sasl_ssl."`
	SASLPassword     app.Secret `name:"kafka-sasl-password" env:"KAFKA_SASL_PASSWORD" help:"Password of that user."`

	SSLCALocation          string     `name:"kafka-ssl-ca-location" env:"KAFKA_SSL_CA_LOCATION" help:"PEM file of the authorities to trust; the system's when empty."`
	SSLCertificateLocation string     `name:"kafka-ssl-certificate-location" env:"KAFKA_SSL_CERTIFICATE_LOCATION" help:"PEM file of this client's certificate."`
	SSLKeyLocation         string     `name:"kafka-ssl-key-location" env:"KAFKA_SSL_KEY_LOCATION" help:"PEM file of this client's key."`
	SSLKeyPassword         app.Secret `name:"kafka-ssl-key-password" env:"KAFKA_SSL_KEY_PASSWORD" help:"Password of that key."`

	GroupProtocol string `name:"kafka-group-protocol" env:"KAFKA_GROUP_PROTOCOL" default:"classic" enum:"classic,consumer" help:"classic (cooperative-sticky) or consumer (KIP-848)."`
	ClientID      string `name:"kafka-client-id" env:"KAFKA_CLIENT_ID" help:"Name of this client in the broker's logs and quotas."`
}

// option is one setting of librdkafka.
type option struct{ name, value string }

// maxMessageBytes is what a client takes and sends at most, in bytes: the largest topics allow 20 MiB.
const maxMessageBytes = 20 << 20

func (c ClientConfig) bootstrap() string {
	if c.BootstrapServers == "" {
		return "127.0.0.1:9092"
	}
	return c.BootstrapServers
}

// clientOptions are those that every kind of client shares.
func (c ClientConfig) clientOptions() ([]option, error) {
	options := []option{
		{"bootstrap.servers", c.bootstrap()},
		// One name in the broker's log a program; librdkafka's own default says nothing.
		{"client.id", orDefault(c.ClientID, "streamforge")},
		// A restarted local broker should be found again at once; a real one should not be stormed.
		{"reconnect.backoff.ms", "50"},
		{"reconnect.backoff.max.ms", "2000"},
		// The default of 100 makes each transaction that meets the last one still closing wait 100 ms.
		{"retry.backoff.ms", "5"},
		// A broker that is away for minutes is retried once a second, not ever more rarely.
		{"retry.backoff.max.ms", "1000"},
		// A topic or leader that moved is noticed within half a minute even when nothing failed.
		{"topic.metadata.refresh.interval.ms", "30000"},
		// A half-open connection to a dead machine is noticed by the kernel.
		{"socket.keepalive.enable", "true"},
		// Small requests (commits, heartbeats) should not wait for Nagle's algorithm.
		{"socket.nagle.disable", "true"},
		// On loopback "localhost" may resolve to ::1 first, where nothing listens; the brokers' addresses decide.
		{"broker.address.family", "any"},
		// The platform has metrics of its own; pushing librdkafka's to the broker is work for nobody.
		{"enable.metrics.push", "false"},
		// An idle connection closed by the broker is not a fault worth a log line.
		{"log.connection.close", "false"},
	}
	secured, err := c.securityOptions()
	return append(options, secured...), err
}

func (c ClientConfig) securityOptions() ([]option, error) {
	protocol := strings.ToLower(orDefault(c.SecurityProtocol, "plaintext"))
	options := []option{{"security.protocol", protocol}}
	switch protocol {
	case "plaintext", "ssl":
	case "sasl_plaintext", "sasl_ssl":
		if c.SASLUsername == "" || c.SASLPassword == "" {
			return nil, fmt.Errorf("kafka security protocol %s needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD", protocol)
		}
		options = append(options,
			option{"sasl.mechanism", orDefault(c.SASLMechanism, "SCRAM-SHA-512")},
			option{"sasl.username", c.SASLUsername},
			option{"sasl.password", c.SASLPassword.Reveal()})
	default:
		return nil, fmt.Errorf("kafka security protocol %q is not one of plaintext, ssl, sasl_plaintext, sasl_ssl: set KAFKA_SECURITY_PROTOCOL", c.SecurityProtocol)
	}
	if strings.HasSuffix(protocol, "ssl") {
		for _, o := range []option{
			{"ssl.ca.location", c.SSLCALocation},
			{"ssl.certificate.location", c.SSLCertificateLocation},
			{"ssl.key.location", c.SSLKeyLocation},
			{"ssl.key.password", c.SSLKeyPassword.Reveal()},
		} {
			if o.value != "" {
				options = append(options, o)
			}
		}
	}
	return options, nil
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func itoa[T int | int32 | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
