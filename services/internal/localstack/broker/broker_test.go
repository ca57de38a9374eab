package broker

import (
	"log/slog"
	"strings"
	"testing"
)

func start(t *testing.T, config Config) (*Broker, error) {
	t.Helper()
	b, err := New(config, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(b.Close)
	}
	return b, err
}

func TestRefusalsNameTheThing(t *testing.T) {
	dir := t.TempDir() + "/data"
	first, err := start(t, Config{Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"not loopback": {Config{Listen: "0.0.0.0:0"}, "loopback"},
		"no port":      {Config{Listen: "127.0.0.1"}, "host:port"},
		"taken port":   {Config{Listen: first.Address()}, "taken"},
		"folder used":  {Config{Listen: "127.0.0.1:0", DataDir: dir}, dir},
	} {
		if _, err := start(t, c.config); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
