package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

// certificate makes one for 127.0.0.1, signed by itself, and the PEM file by which a client trusts it.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, path
}

// TestASecuredBroker goes through all that the package opens (admin, producer, consumer, transactions) on a broker with TLS
// and SCRAM.
func TestASecuredBroker(t *testing.T) {
	t.Parallel()
	server, ca := certificate(t)
	config := broker.Config{Users: map[string]string{"streamforge": "s3cr%t"}, Superusers: []string{"streamforge"}, TLS: server}
	c := &cluster{t: t, prefix: "secured-", client: ClientConfig{
		BootstrapServers: brokertest.StartBroker(t, config).Address(), SecurityProtocol: "sasl_ssl",
		SASLUsername: "streamforge", SASLPassword: "s3cr%t", SSLCALocation: ca,
	}}
	admin, err := NewAdmin(c.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	c.admin = admin
	in, out := c.topic("in", 2), c.topic("out", 2)
	var sent []*Message
	for i := range 100 {
		sent = append(sent, &Message{Topic: in, Partition: -1, Key: []byte{byte(i)}, Value: []byte{byte(i)}})
	}
	c.produce(sent...)
	process, err := NewProcessor(c.client, ProcessorConfig{Group: "g", Topics: []string{in}, TransactionalID: "g-0"}, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- process.Run(ctx, func(_ context.Context, batch []Record, to Output) error {
			for _, r := range batch {
				if err := to.Produce(out, r.Key, r.Value, r.TimestampMs, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	consumer, err := NewConsumer(c.client, ConsumerConfig{Group: "reader", Topics: []string{out}}, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.read(consumer, 100)
	stop()
	if err := errors.Join(<-done, consumer.Close()); err != nil {
		t.Fatal(err)
	}
}

// One that does not let one in never gets further than waiting, in words that name the settings to look at and show no
// password. (Apache Kafka says why; the embedded broker closes the connection.)
func TestABrokerThatDoesNotLetOneIn(t *testing.T) {
	t.Parallel()
	server, ca := certificate(t)
	config := broker.Config{Users: map[string]string{"streamforge": "s3cr%t"}, Superusers: []string{"streamforge"}, TLS: server}
	address := brokertest.StartBroker(t, config).Address()
	for name, client := range map[string]ClientConfig{
		"wrong password": {SecurityProtocol: "sasl_ssl", SASLUsername: "streamforge", SASLPassword: "guess", SSLCALocation: ca},
		"unknown user":   {SecurityProtocol: "sasl_ssl", SASLUsername: "nobody", SASLPassword: "guess", SSLCALocation: ca},
		"not trusted":    {SecurityProtocol: "sasl_ssl", SASLUsername: "streamforge", SASLPassword: "s3cr%t"},
		"not encrypted":  {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client.BootstrapServers = address
			admin, err := NewAdmin(client)
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = admin.ClusterID(ctx)
			if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "KAFKA_SECURITY_PROTOCOL") ||
				strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), "s3cr") {
				t.Error(err)
			}
		})
	}
}
