package port

import (
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestAReservedPortCanBeListenedOnAgainAndAgain(t *testing.T) {
	r, err := Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for range 3 {
		listener, err := net.Listen("tcp", r.Address())
		if err != nil {
			t.Fatal(err)
		}
		connection, err := net.Dial("tcp", r.Address())
		if err != nil {
			t.Fatal(err)
		}
		if second, err := net.Listen("tcp", r.Address()); err == nil {
			second.Close()
			t.Fatal("two listen on one port")
		}
		_, text, _ := net.SplitHostPort(r.Address())
		number, _ := strconv.Atoi(text)
		if _, err := Reserve(number); err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "choose another") {
			t.Errorf("a port that is listened on was reserved: %v", err)
		}
		// The near end of the connection stays behind for a while, as it does when a server is killed.
		listener.Close()
		connection.Close()
	}
}

// Nobody who asks for a free port is given the one that is reserved, however many ask.
func TestAReservedPortIsGivenToNobodyElse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ports can be held on Linux alone")
	}
	reserved := map[string]bool{}
	for range 200 {
		r, err := Reserve(0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		if reserved[r.Address()] {
			t.Fatalf("%s is reserved twice", r.Address())
		}
		reserved[r.Address()] = true
	}
	for range 20_000 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if reserved[listener.Addr().String()] {
			t.Fatalf("%s is reserved, and given to a listener", listener.Addr())
		}
		listener.Close()
	}
}
