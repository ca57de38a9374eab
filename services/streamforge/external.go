//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// reachable looks whether somebody listens at each address that replaces a part of the stack, before anything is fetched
// or started. Credentials and what is spoken there are the business of the clients that come later.
func (f *stackFlags) reachable(ctx context.Context) error {
	var errs []error
	if f.Kafka != "" {
		errs = append(errs, kafkaListens(ctx, f.Kafka))
	}
	if f.Registry != "" {
		errs = append(errs, urlListens(ctx, "the schema registry", "SCHEMA_REGISTRY_URL", f.Registry, "http://host:8081"))
	}
	if f.ClickHouse != "" {
		errs = append(errs, urlListens(ctx, "ClickHouse", "CLICKHOUSE_URL", f.ClickHouse, "http://host:8123 or http://host:8123/database"))
	}
	return errors.Join(errs...)
}

// kafkaListens is nil when one of the brokers listens: they name each other.
func kafkaListens(ctx context.Context, servers string) error {
	var last error
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if host, port, err := net.SplitHostPort(server); err != nil || host == "" || port == "" || strings.Contains(host, "/") {
			return fmt.Errorf("KAFKA_BOOTSTRAP_SERVERS %q: it is host:port, or several with commas between them", servers)
		}
		if last = listens(ctx, server); last == nil {
			return nil
		}
	}
	return fmt.Errorf("kafka at %s does not answer: %w; check that it runs and KAFKA_BOOTSTRAP_SERVERS names it", servers, last)
}

func urlListens(ctx context.Context, what, variable, address, form string) error {
	target, err := url.Parse(address)
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Hostname() == "" {
		return fmt.Errorf("%s %q: it is %s", variable, withoutPassword(address), form)
	}
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	if err := listens(ctx, net.JoinHostPort(target.Hostname(), port)); err != nil {
		return fmt.Errorf("%s at %s does not answer: %w; check that it runs and %s names it", what, target.Host, err, variable)
	}
	return nil
}

// withoutPassword is an address that is none, as far as it may be shown: neither what stands before an @ nor a query's values.
func withoutPassword(address string) string {
	if at := strings.LastIndex(address, "@"); at >= 0 {
		address = "…" + address[at:]
	}
	if address, _, query := strings.Cut(address, "?"); query {
		return address + "?…"
	}
	return address
}

// dialPatience bounds the wait for one address.
const dialPatience = 5 * time.Second

func listens(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: dialPatience}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}
