package localstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrRuns says that another process runs a stack in the folder.
var ErrRuns = errors.New("a stack runs there already")

// Lock is the right to run a stack in a folder. The kernel takes it back when the process ends, however it ends: unlike a
// process id in a file, it cannot be taken for alive after a crash, a reboot, or when the id has been given to another.
type Lock struct{ file *os.File }

// lockPath stands beside the folder, not in it, so that the folder can be cleared under the lock.
func lockPath(dir string) string { return filepath.Clean(dir) + ".lock" }

// lockPatience outlasts those who only look whether somebody holds the lock.
const lockPatience = 200 * time.Millisecond

// Acquire takes the lock of a stack's folder, which need not exist yet. Its error is ErrRuns when another process has it.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(lockPath(dir)), 0o755); err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	file, err := os.OpenFile(lockPath(dir), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if err == nil {
		// Whose it is, for a person and for those who are to end it. A full disk is no reason not to run.
		_ = file.Truncate(0)
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		return &Lock{file: file}, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrRuns
	}
	return nil, fmt.Errorf("locking %s: %w", dir, err)
}

// Release gives the lock back.
func (l *Lock) Release() {
	if l != nil {
		l.file.Close()
	}
}

// Holder is the process that runs a stack in a folder; ok is false when none does.
func Holder(dir string) (pid int, ok bool) {
	file, err := os.Open(lockPath(dir))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0, false // it was free; closing the file gives it back
	}
	text := make([]byte, 20)
	n, _ := file.ReadAt(text, 0)
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid, true
}
