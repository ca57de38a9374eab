package registry

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

// Config says where the registry is; a program embeds it in its own kong struct.
type Config struct {
	URL        string        `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" default:"http://127.0.0.1:8081" help:"Address of the schema registry's Confluent API; user and password may stand in it."`
	Username   string        `name:"schema-registry-username" env:"SCHEMA_REGISTRY_USERNAME" help:"User for basic authentication."`
	Password   app.Secret    `name:"schema-registry-password" env:"SCHEMA_REGISTRY_PASSWORD" help:"Password for basic authentication."`
	CALocation string        `name:"schema-registry-ca-location" env:"SCHEMA_REGISTRY_CA_LOCATION" help:"PEM file with the certificates to trust; empty for the system's."`
	Timeout    time.Duration `name:"schema-registry-timeout" env:"SCHEMA_REGISTRY_TIMEOUT" default:"10s" help:"How long one request may take."`
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	_, err := c.resolve()
	return err
}

// resolve checks the configuration and takes user and password out of the address: messages and logs show that one.
func (c Config) resolve() (Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		// The error of url.Parse repeats the text, and with it a password.
		return c, errors.New("schema registry address: SCHEMA_REGISTRY_URL is no URL; it must look like http://127.0.0.1:8081")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return c, fmt.Errorf("schema registry address %q: must look like http://127.0.0.1:8081; set SCHEMA_REGISTRY_URL", withoutUser(c.URL))
	}
	if u.User != nil && c.Username == "" {
		password, _ := u.User.Password()
		c.Username, c.Password = u.User.Username(), app.Secret(password)
	}
	u.User = nil
	c.URL = strings.TrimRight(u.String(), "/")
	if (c.Username == "") != (c.Password == "") {
		return c, errors.New("schema registry: user name and password belong together; set both SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD")
	}
	return c, nil
}

// withoutUser is an address that is none, as far as it may be shown: without a scheme nobody knows where a password is.
func withoutUser(address string) string {
	if at := strings.LastIndex(address, "@"); at >= 0 {
		return "…" + address[at:]
	}
	return address
}

// baseURL of a resolved configuration.
func (c Config) baseURL() string { return c.URL }

func (c Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 10 * time.Second
	}
	return c.Timeout
}

func (c Config) transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: c.timeout(),
	}
	if c.CALocation == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CALocation)
	if err != nil {
		return nil, fmt.Errorf("reading the schema registry's certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("schema registry's certificates: %s holds no PEM certificate", c.CALocation)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}
