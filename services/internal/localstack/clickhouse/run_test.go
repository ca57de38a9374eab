package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse"
)

func TestAWrongConfigurationIsToldBeforeAnythingStarts(t *testing.T) {
	if _, err := clickhouse.New(clickhouse.Config{}, clickhouse.Deps{}); err == nil || !strings.Contains(err.Error(), "DataDir") {
		t.Errorf("%v", err)
	}
	server, err := clickhouse.New(clickhouse.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:99999"}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:99999") {
		t.Errorf("%v", err)
	}
}
