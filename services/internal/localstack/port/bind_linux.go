package port

import (
	"os"
	"sync"
	"syscall"
)

// bind takes the port without listening on it. Linux gives a bound port to nobody who asks for a free one, neither to listen
// nor to connect from, but lets another socket bind it by number when both have SO_REUSEADDR, as Go's, Java's and Python's
// listeners do.
func bind(number int) (address string, release func(), err error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	release = sync.OnceFunc(func() { _ = syscall.Close(socket) })
	err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		release()
		return "", nil, os.NewSyscallError("bind", err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		release()
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	return loopback(bound.(*syscall.SockaddrInet4).Port), release, nil
}
