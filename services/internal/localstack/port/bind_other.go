//go:build !linux

package port

import "net"

// bind only looks: other systems let nobody listen on a port that is bound.
func bind(number int) (address string, release func(), err error) {
	listener, err := net.Listen("tcp", loopback(number))
	if err != nil {
		return "", nil, err
	}
	return listener.Addr().String(), func() {}, listener.Close()
}
