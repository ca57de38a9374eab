//go:build cgo

package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestAFullDisk puts the whole stack on a small disk and fills it. Each part that cannot write must say so, all go on
// when there is space again, and what was acknowledged must be there, also after the broker has read its disk anew;
// what was not is named by a GAP.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	processtest.Require(t, localstack.Embedded)
	disk := smallDisk(t, "256m")
	s := processtest.StartWith(t, processtest.Config{Dir: disk}, localstack.Embedded, "--symbols", "8")
	s.AwaitRows(50, "SELECT count() FROM raw_trades")

	ballast := fill(t, disk)
	processtest.Await(t, "the writer to say that the disk is full", patience, func() error {
		writer, _ := s.Status().Program("writer")
		if writer.Healthy || !strings.Contains(writer.Detail, "not enough space: free or add disk") {
			return errors.New("it says " + writer.Detail)
		}
		return nil
	})
	processtest.Await(t, "the loader to say that the broker does not take its records", patience, func() error {
		if log := s.Log("loader"); !strings.Contains(log, "see its log, and whether its disk is full") {
			return errors.New(log)
		}
		return nil
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	flows(s)
	awaitHealth(t, s)
	s.AwaitRows(1, "SELECT count() FROM raw_frames WHERE kind = 'GAP' AND payload LIKE '%lost%'")

	// What the broker has acknowledged must be on its disk: it reads that anew, and no offset is given twice.
	s.Signal("broker", syscall.SIGKILL)
	flows(s)
	// Positions that the broker could not write down are read again, so a record may be two rows; but never is there a
	// hole, nor an offset that stands for two records.
	processtest.Await(t, "every record of raw-frames to be in the table", patience, func() error {
		broken, err := s.Query(`SELECT _partition, uniqExact(_offset), max(_offset) + 1, uniqExact(_offset, feed, loader_epoch, sequence, payload) FROM raw_frames
			GROUP BY _partition HAVING uniqExact(_offset) != max(_offset) + 1 OR uniqExact(_offset, feed, loader_epoch, sequence, payload) != uniqExact(_offset) FORMAT TSV`)
		if err == nil && broken != "" {
			err = errors.New("partition, offsets, end, records: " + broken)
		}
		return err
	})
	t.Logf("rows that stand twice in raw_frames: %s", s.MustQuery("SELECT count() - uniqExact(_partition, _offset) FROM raw_frames FORMAT TSV"))
	for _, name := range []string{"broker", "registry", "clickhouse", "loader", "parser", "writer"} {
		if log := s.Log(name); stackTrace.MatchString(log) {
			t.Errorf("%s shows a stack trace:\n%s", name, log)
		}
	}
}

// smallDisk mounts one of its own for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes all the space that is left.
func fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "ballast")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size >= 1; {
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return file
}
