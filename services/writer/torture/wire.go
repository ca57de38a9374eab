package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire stands between the writers and the broker, and does to connections what networks do. It knows of Kafka's protocol where messages
// begin, and where the broker says its address, for which it says its own: writers would go round it otherwise.
type wire struct {
	broker   string
	listener net.Listener
	host     string
	port     int32

	mutex  sync.Mutex
	random *rand.Rand
	active map[kind]int
	holes  [2]int // how many black holes swallow requests, and answers
	links  map[*link]bool
	asked  int  // fetches that writers asked for: they do not go round it
	atEnd  bool // the next end of a transaction is passed on, and its answer is not
	closed bool // nothing is struck any more
}

// link is one connection of a writer and the one to the broker behind it.
type link struct {
	ends [2]net.Conn // writer, broker

	mutex sync.Mutex
	asked map[int32]question // by correlation id
	lost  bool               // a message was swallowed: the connection is good for nothing more
}

// question is what a request's answer has to be read by.
type question struct{ key, version int16 }

// Directions of a link, which are also the indexes of the end that is read.
const (
	requests = 0
	answers  = 1
)

// maxFrame bounds a message, in bytes.
const maxFrame = 128 << 20

// slowest is by how much a slow broker's messages are late at most, each way.
const slowest = 200 * time.Millisecond

func newWire(broker string, seed uint64) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	w := &wire{
		broker: broker, listener: listener, host: host, port: int32(number), random: rand.New(rand.NewPCG(seed, 17)),
		active: map[kind]int{}, links: map[*link]bool{},
	}
	go w.accept()
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		writer, err := w.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			broker, err := net.DialTimeout("tcp", w.broker, 10*time.Second)
			if err != nil {
				_ = writer.Close()
				return
			}
			l := &link{ends: [2]net.Conn{writer, broker}, asked: map[int32]question{}}
			w.mutex.Lock()
			w.links[l] = true
			w.mutex.Unlock()
			var both sync.WaitGroup
			for direction := range 2 {
				both.Go(func() {
					_ = w.pump(l, direction)
					l.cut()
				})
			}
			both.Wait()
			w.mutex.Lock()
			delete(w.links, l)
			w.mutex.Unlock()
		}()
	}
}

func (l *link) cut() {
	for _, end := range l.ends {
		_ = end.Close()
	}
}

// close ends everything.
func (w *wire) close() {
	_ = w.listener.Close()
	w.cutAll(func(*link) bool { return true })
}

func (w *wire) cutAll(which func(*link) bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for l := range w.links {
		if which(l) {
			l.cut()
		}
	}
}

// cut ends every connection, at once or when the next transaction was ended and the writer does not know it yet.
func (w *wire) cut(inTransaction bool) {
	if !inTransaction {
		w.cutAll(func(*link) bool { return true })
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.atEnd = !w.closed
}

// slow makes every message late until the returned function is called.
func (w *wire) slow() (end func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.active[slowBroker]++
	return func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		w.active[slowBroker]--
	}
}

// swallow has the messages of some directions vanish until the returned function is called, which ends the connections that have lost any.
func (w *wire) swallow(directions ...int) (end func()) {
	w.hole(1, directions)
	return func() {
		w.hole(-1, directions)
		w.cutAll(func(l *link) bool {
			l.mutex.Lock()
			defer l.mutex.Unlock()
			return l.lost
		})
	}
}

func (w *wire) hole(by int, directions []int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, d := range directions {
		w.holes[d] += by
	}
}

// settle ends what strikes connections.
func (w *wire) settle() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.closed, w.atEnd = true, false
}

// fate says by how much a message is late, whether it vanishes, and whether its connection ends after it.
func (w *wire) fate(direction int, key int16) (late time.Duration, vanishes, last bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.active[slowBroker] > 0 {
		late = time.Duration(w.random.Int64N(int64(slowest)))
	}
	if direction == requests && key == kmsg.Fetch.Int16() {
		w.asked++
	}
	if last = w.atEnd && direction == requests && key == kmsg.EndTxn.Int16(); last {
		w.atEnd = false
	}
	return late, w.holes[direction] > 0, last
}

// pump passes messages of one direction on.
func (w *wire) pump(l *link, direction int) error {
	from, to := l.ends[direction], l.ends[1-direction]
	for {
		frame, err := readFrame(from)
		if err != nil {
			return err
		}
		asked := question{key: -1}
		if direction == requests {
			asked = l.ask(frame)
		} else if frame, err = w.readdress(l, frame); err != nil {
			return err
		}
		late, vanishes, last := w.fate(direction, asked.key)
		time.Sleep(late)
		l.mutex.Lock()
		// What follows on a message that vanished never arrives either.
		l.lost = l.lost || vanishes
		vanishes = l.lost
		l.mutex.Unlock()
		if vanishes {
			continue
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
		if last {
			// The broker has it; the answer stays away.
			time.Sleep(20 * time.Millisecond)
			return nil
		}
	}
}

// readFrame reads a message with its length.
func readFrame(from io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	frame := append(head[:], make([]byte, size)...)
	_, err := io.ReadFull(from, frame[4:])
	return frame, err
}

// ask remembers a request: length, key, version and correlation id begin it.
func (l *link) ask(frame []byte) question {
	if len(frame) < 12 {
		return question{key: -1}
	}
	q := question{key: int16(binary.BigEndian.Uint16(frame[4:])), version: int16(binary.BigEndian.Uint16(frame[6:]))}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.asked[int32(binary.BigEndian.Uint32(frame[8:]))] = q
	return q
}

// readdress says our address where an answer says the broker's.
func (w *wire) readdress(l *link, frame []byte) ([]byte, error) {
	number := int32(binary.BigEndian.Uint32(frame[4:]))
	l.mutex.Lock()
	q, known := l.asked[number]
	delete(l.asked, number)
	l.mutex.Unlock()
	if !known || q.key != kmsg.Metadata.Int16() && q.key != kmsg.FindCoordinator.Int16() && q.key != kmsg.DescribeCluster.Int16() {
		return frame, nil
	}
	answer := kmsg.ResponseForKey(q.key)
	answer.SetVersion(q.version)
	head := 8
	if answer.IsFlexible() {
		head++ // The header's tags, of which there are none.
	}
	if len(frame) < head {
		return nil, fmt.Errorf("an answer to request %d of %d bytes", q.key, len(frame))
	}
	if err := answer.ReadFrom(frame[head:]); err != nil {
		return nil, fmt.Errorf("an answer to request %d of version %d: %w", q.key, q.version, err)
	}
	switch a := answer.(type) {
	case *kmsg.MetadataResponse:
		for i := range a.Brokers {
			a.Brokers[i].Host, a.Brokers[i].Port = w.host, w.port
		}
	case *kmsg.FindCoordinatorResponse:
		if a.Port > 0 {
			a.Host, a.Port = w.host, w.port
		}
		for i := range a.Coordinators {
			if a.Coordinators[i].Port > 0 {
				a.Coordinators[i].Host, a.Coordinators[i].Port = w.host, w.port
			}
		}
	case *kmsg.DescribeClusterResponse:
		for i := range a.Brokers {
			a.Brokers[i].Host, a.Brokers[i].Port = w.host, w.port
		}
	}
	frame = answer.AppendTo(frame[:head:head])
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame, nil
}
