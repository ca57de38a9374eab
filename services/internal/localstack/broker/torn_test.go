package broker_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker"
)

// TestCommitsAfterAFullDiskAreKept fills the broker's disk, so that an entry of its log of groups is written in part, frees
// it, commits, and reads what a kill leaves: what was committed last must be in it.
func TestCommitsAfterAFullDiskAreKept(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	var log bytes.Buffer
	data := filepath.Join(disk, "broker")
	running, err := broker.New(broker.Config{Listen: "127.0.0.1:0", DataDir: data}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, running)
	if err := admin.Create(t.Context(), []kafka.NewTopic{{Name: "trades", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	commit := func(offset int64) {
		if err := admin.SetGroupOffsets(t.Context(), "group", []kafka.Committed{{
			TopicPartition: kafka.TopicPartition{Topic: "trades"}, Offset: offset, Metadata: strings.Repeat("m", 1000),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	commit(1)
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	// The last page of the log has room for some entries yet.
	for offset := int64(2); offset < 10; offset++ {
		commit(offset)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	commit(10)
	commit(11)
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	running.Close()
	if text := log.String(); !strings.Contains(text, "a piece of an entry was cut off "+filepath.Join(data, "groups.log")) {
		t.Fatalf("no entry was written in part, which this test needs:\n%s", text)
	}

	again, err := broker.New(broker.Config{Listen: "127.0.0.1:0", DataDir: left}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	committed, err := connect(t, again).GroupOffsets(t.Context(), "group", []kafka.TopicPartition{{Topic: "trades"}})
	if err != nil || len(committed) != 1 || committed[0].Offset != 11 {
		t.Fatalf("committed %+v, want 11: %v", committed, err)
	}
}

func connect(t *testing.T, b *broker.Broker) *kafka.Admin {
	t.Helper()
	admin, err := kafka.NewAdmin(kafka.ClientConfig{BootstrapServers: b.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

// fill takes all the space that is left, to the last byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
