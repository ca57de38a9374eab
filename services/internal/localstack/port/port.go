// Package port holds ports on loopback for processes that are told which port to listen on, and are started, killed and
// started again on it.
package port

import (
	"fmt"
	"net"
	"strconv"
)

// Reservation keeps a port from everybody who asks for a free one, while one process at a time may listen on it: the port is
// bound, and nothing listens. A port that was only looked up goes to the next process that asks, or becomes the near end of
// somebody's connection, before its child has started or while it is down.
type Reservation struct {
	address string
	release func()
}

// Reserve reserves 127.0.0.1 with a port of the kernel's choice, or with the one given. A port that somebody listens on is an
// error.
func Reserve(number int) (*Reservation, error) {
	address, release, err := bind(number)
	if err != nil {
		return nil, fmt.Errorf("port %d on 127.0.0.1 is taken: %w; choose another", number, err)
	}
	return &Reservation{address: address, release: release}, nil
}

// Address is host:port.
func (r *Reservation) Address() string { return r.address }

// Release gives the port back; nil does nothing.
func (r *Reservation) Release() {
	if r != nil && r.release != nil {
		r.release()
		r.release = nil
	}
}

func loopback(number int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(number)) }
