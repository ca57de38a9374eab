//go:build linux

package engine

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelSigaction is the kernel's struct sigaction of Linux on amd64 and arm64 (not libc's): handler, flags, restorer,
// mask. It is only ever read and written back whole.
type kernelSigaction [4]uint64

const signalCount = 64

// signalActions are the actions of all signals, as the Go runtime installed them.
type signalActions [signalCount + 1]kernelSigaction

// saveSignals reads what every signal does now. The engine installs handlers of its own when its first connection opens,
// and with them a nil dereference in Go would hang the process instead of panicking.
func saveSignals() (*signalActions, error) {
	var saved signalActions
	for number := 1; number <= signalCount; number++ {
		if err := sigaction(number, nil, &saved[number]); err != nil {
			return nil, fmt.Errorf("reading the action of signal %d: %w", number, err)
		}
	}
	return &saved, nil
}

// restore puts the saved actions back.
func (s *signalActions) restore() error {
	for number := 1; number <= signalCount; number++ {
		if number == int(unix.SIGKILL) || number == int(unix.SIGSTOP) {
			continue // The kernel lets nobody change these two.
		}
		if err := sigaction(number, &s[number], nil); err != nil {
			return fmt.Errorf("restoring the action of signal %d: %w", number, err)
		}
	}
	return nil
}

func sigaction(number int, set, get *kernelSigaction) error {
	const kernelSigsetSize = 8
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(number),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), kernelSigsetSize, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
