// Package clickhouse is the way to ClickHouse: statements and queries over clickhouse-go, blocks of columns POSTed as
// Native, and the classifier that says what each error of either means for the one who inserts.
package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/app"
)

// Config says where ClickHouse is; a program embeds it in its own kong struct.
type Config struct {
	URL        string        `name:"clickhouse-url" env:"CLICKHOUSE_URL" default:"http://127.0.0.1:8123" help:"Address of ClickHouse's HTTP interface; a path names the database."`
	Username   string        `name:"clickhouse-username" env:"CLICKHOUSE_USERNAME" help:"User name."`
	Password   app.Secret    `name:"clickhouse-password" env:"CLICKHOUSE_PASSWORD" help:"Password of that user."`
	CALocation string        `name:"clickhouse-ca-location" env:"CLICKHOUSE_CA_LOCATION" help:"PEM file of the authorities to trust; the system's when empty."`
	Compress   string        `name:"clickhouse-compress" env:"CLICKHOUSE_COMPRESS" default:"auto" enum:"auto,on,off" help:"LZ4 of inserted blocks: auto is off on loopback, where it only costs."`
	Timeout    time.Duration `name:"clickhouse-timeout" env:"CLICKHOUSE_TIMEOUT" default:"60s" help:"How long one request may take before its outcome counts as unknown."`
}

// target is a Config taken apart.
type target struct {
	url      *url.URL // scheme and host only
	database string
	username string
	password app.Secret
	compress bool
}

func (c Config) target() (target, error) {
	text := c.URL
	if text == "" {
		text = "http://127.0.0.1:8123"
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats the text, and with it a password.
		return target{}, errors.New("ClickHouse address: CLICKHOUSE_URL is no URL; it must look like http://127.0.0.1:8123")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return target{}, fmt.Errorf("ClickHouse address %s: must look like http://127.0.0.1:8123; set CLICKHOUSE_URL", u.Redacted())
	}
	t := target{url: &url.URL{Scheme: u.Scheme, Host: u.Host}, username: c.Username, password: c.Password}
	t.database = strings.Trim(u.Path, "/")
	if d := u.Query().Get("database"); d != "" {
		t.database = d
	}
	if t.database == "" {
		t.database = "default"
	}
	if u.User != nil && t.username == "" {
		t.username = u.User.Username()
		password, _ := u.User.Password()
		t.password = app.Secret(password)
	}
	t.compress = c.Compress == "on" || c.Compress != "off" && !isLoopback(u.Hostname())
	return t, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 60 * time.Second
	}
	return c.Timeout
}

func (c Config) tls() (*tls.Config, error) {
	if c.CALocation == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CALocation)
	if err != nil {
		return nil, fmt.Errorf("reading ClickHouse's certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ClickHouse's certificates: %s holds no PEM certificate", c.CALocation)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func transport(security *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     security,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     10 * time.Second, // Below the server's own keep-alive, so that a retry seldom meets a closed connection.
		WriteBufferSize:     256 << 10,
	}
}
