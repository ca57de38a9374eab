package apache

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// ApicurioConfig is one registry.
type ApicurioConfig struct {
	CacheDir string
	DataDir  string
	// Listen is host:port.
	Listen string
}

// ApicurioPath is where Apicurio serves Confluent's API.
const ApicurioPath = "/apis/ccompat/v7"

// Apicurio says how to start the registry.
func Apicurio(c ApicurioConfig) (Command, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return Command{}, fmt.Errorf("apicurio listen address %q is not host:port: %w", c.Listen, err)
	}
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return Command{}, fmt.Errorf("preparing Apicurio's data folder: %w", err)
	}
	runners, err := filepath.Glob(filepath.Join(apicurioDir(c.CacheDir), "*-runner.jar"))
	if err != nil || len(runners) != 1 {
		return Command{}, fmt.Errorf("apicurio is not installed in %s; run `streamforge install --stack apache`", apicurioDir(c.CacheDir))
	}
	return Command{
		Path: "java",
		Args: []string{
			"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
			"-Dquarkus.http.host=" + host, "-Dquarkus.http.port=" + port,
			"-Dquarkus.log.level=WARN",
			"-jar", runners[0],
		},
		// Without WRITE_DELAY=0 a kill -9 loses what H2 has not written yet (version 2.6.13).
		Env: []string{"REGISTRY_DATASOURCE_URL=jdbc:h2:file:" + filepath.Join(c.DataDir, "registry") + ";WRITE_DELAY=0"},
	}, nil
}
