package localstack

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestOneStackAFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "up")
	if pid, ok := Holder(dir); ok {
		t.Fatalf("process %d holds what was never locked", pid)
	}
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(dir); !errors.Is(err, ErrRuns) {
		t.Fatalf("a second lock: %v", err)
	}
	if pid, ok := Holder(dir); !ok || pid != os.Getpid() {
		t.Fatalf("held by %d, %v", pid, ok)
	}
	// The folder may be cleared under the lock.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, ok := Holder(dir); !ok {
		t.Fatal("clearing the folder gave the lock away")
	}
	lock.Release()
	// The id of a process is still in the file, as after a crash: it holds nothing, whoever has that id now.
	if pid, ok := Holder(dir); ok {
		t.Fatalf("held by %d after its release", pid)
	}
}

// Those who only look must not keep anybody from the lock.
func TestLookingIsNoHolding(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "up")
	stop := make(chan struct{})
	var lookers sync.WaitGroup
	for range 4 {
		lookers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Holder(dir)
				}
			}
		})
	}
	for i := range 50 {
		lock, err := Acquire(dir)
		if err != nil {
			t.Errorf("time %d: %v", i, err)
			break
		}
		lock.Release()
	}
	close(stop)
	lookers.Wait()
}
