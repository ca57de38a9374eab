package simulator

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

const (
	// maxClientMessageBytes is what a client may send; requests are small.
	maxClientMessageBytes = 1 << 20
	// writeTimeout is how long the operating system may refuse bytes before the client counts as gone.
	writeTimeout = 30 * time.Second
	// closeTimeout is how long a client may take to answer a close frame.
	closeTimeout = 2 * time.Second
)

// mark is where a frame ends in a buffer, and what it counts for. Control frames have no mark.
type mark struct {
	end   int
	entry ledger.Entry
}

// conn is one client. The server appends whole frames to a bounded buffer; one goroutine writes the buffer out, another
// reads. A client that does not read is cut when the buffer is full, as venues do.
type conn struct {
	id    int64
	venue int32
	net   net.Conn
	read  *wire.Reader
	limit int // of the buffer, bytes
	sink  connSink

	halfOpen atomic.Bool
	lastPong atomic.Int64 // unix nanoseconds

	mutex   sync.Mutex
	pending []byte
	forced  int // bytes of pending that the limit does not count
	marks   []mark
	held    *heldFrame
	last    []byte // close frame, to be sent when all else is
	dead    bool

	wake  chan struct{} // capacity 1
	space chan struct{} // capacity 1: a buffer was written out
	gone  chan struct{} // closed when the connection is

	dirty bool // has frames that the writer was not told of; guarded by the server's mutex
}

// connSink is told what became of frames.
type connSink interface {
	sent(c *conn, firstIndex int64, entries []ledger.Entry)
	unsent(c *conn, frames int)
	cutOff(c *conn, reason string)
}

type heldFrame struct {
	frame []byte
	entry ledger.Entry
}

func newConn(id int64, venue int32, n net.Conn, source *bufio.Reader, limit int, sink connSink) *conn {
	c := &conn{
		id: id, venue: venue, net: n, limit: limit, sink: sink, read: wire.NewReader(source, maxClientMessageBytes),
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	c.lastPong.Store(time.Now().UnixNano())
	return c
}

// enqueue appends a whole frame, and says whether it fitted; a connection for which it did not is cut.
func (c *conn) enqueue(frame []byte, entry ledger.Entry) bool {
	c.mutex.Lock()
	if c.dead || c.last != nil {
		c.mutex.Unlock()
		return false
	}
	if waiting := len(c.pending) - c.forced; waiting+len(frame) > c.limit && waiting > 0 {
		c.mutex.Unlock()
		c.cut("slow")
		return false
	}
	c.appendFrame(frame, entry)
	if c.held != nil {
		c.appendFrame(c.held.frame, c.held.entry)
		c.held = nil
	}
	c.mutex.Unlock()
	return true
}

func (c *conn) appendFrame(frame []byte, entry ledger.Entry) {
	c.pending = append(c.pending, frame...)
	c.marks = append(c.marks, mark{len(c.pending), entry})
}

// hold keeps a frame back until the next one overtook it. It fails when one is held already.
func (c *conn) hold(frame []byte, entry ledger.Entry) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.held != nil || c.dead || c.last != nil {
		return false
	}
	c.held = &heldFrame{append([]byte(nil), frame...), entry}
	return true
}

// control appends a control frame, which is not in the ledger.
func (c *conn) control(op wire.Opcode, payload []byte) {
	c.mutex.Lock()
	if !c.dead && c.last == nil && len(c.pending)-c.forced < c.limit {
		c.pending = wire.AppendFrame(c.pending, op, payload)
	}
	c.mutex.Unlock()
	c.notify()
}

// closeWith sends a close frame after everything that was enqueued; nothing can be enqueued after it.
func (c *conn) closeWith(code int, reason string) {
	c.mutex.Lock()
	if c.held != nil {
		c.appendFrame(c.held.frame, c.held.entry)
		c.held = nil
	}
	if c.last == nil {
		c.last = wire.AppendClose(nil, code, reason)
	}
	c.mutex.Unlock()
	c.notify()
}

// finish sends what is enqueued and then ends the TCP connection without a close frame.
func (c *conn) finish() {
	c.mutex.Lock()
	if c.last == nil {
		c.last = []byte{}
	}
	c.mutex.Unlock()
	c.notify()
}

// notify wakes the writer.
func (c *conn) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// cut ends the connection at once; what is enqueued is not sent.
func (c *conn) cut(reason string) {
	c.mutex.Lock()
	if c.dead {
		c.mutex.Unlock()
		return
	}
	c.dead = true
	unsent := len(c.marks)
	if c.held != nil {
		unsent++
	}
	c.pending, c.marks, c.held = nil, nil, nil
	c.mutex.Unlock()
	c.sink.unsent(c, unsent)
	c.sink.cutOff(c, reason)
	_ = c.net.Close()
	close(c.gone)
}

// reset makes the operating system answer with RST instead of ending the stream in order.
func (c *conn) reset() {
	if tcp, ok := c.net.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.cut("fault")
}

// waitForSpace blocks while more than limit bytes are buffered; false: the connection is gone.
func (c *conn) waitForSpace(limit int, stop <-chan struct{}) bool {
	for {
		c.mutex.Lock()
		full, dead := len(c.pending) > limit, c.dead
		c.mutex.Unlock()
		if dead {
			return false
		}
		if !full {
			return true
		}
		c.notify()
		select {
		case <-c.space:
		case <-c.gone:
			return false
		case <-stop:
			return false
		}
	}
}

// write runs until the connection ends: it sends what is enqueued, and at last the close frame.
func (c *conn) write() {
	var spare []byte
	var spareMarks []mark
	var entries []ledger.Entry
	var index int64
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		c.mutex.Lock()
		buffer, marks, last := c.pending, c.marks, c.last
		c.pending, c.marks, c.forced = spare[:0], spareMarks[:0], 0
		c.mutex.Unlock()
		if c.halfOpen.Load() {
			c.sink.unsent(c, len(marks))
			spare, spareMarks = buffer, marks
			continue
		}
		if len(buffer) > 0 {
			_ = c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
			n, err := c.net.Write(buffer)
			entries = entries[:0]
			for i := range marks {
				if marks[i].end > n {
					break
				}
				entries = append(entries, marks[i].entry)
			}
			c.sink.sent(c, index, entries)
			index += int64(len(entries))
			if err != nil {
				c.sink.unsent(c, len(marks)-len(entries))
				c.cut("write")
				return
			}
		}
		spare, spareMarks = recycle(buffer), marks
		select {
		case c.space <- struct{}{}:
		default:
		}
		if last != nil {
			c.end(last)
			return
		}
	}
}

// recycle lets a buffer go that a single giant frame has blown up.
func recycle(buffer []byte) []byte {
	if cap(buffer) > 16<<20 {
		return nil
	}
	return buffer
}

// end sends the close frame, when there is one, and waits for the client to answer it.
func (c *conn) end(last []byte) {
	if len(last) > 0 {
		_ = c.net.SetWriteDeadline(time.Now().Add(closeTimeout))
		if _, err := c.net.Write(last); err == nil {
			select {
			case <-c.gone:
			case <-time.After(closeTimeout):
			}
		}
	}
	c.cut("closed")
}

// receive reads until the connection ends and hands text messages to handle, which may close the connection.
func (c *conn) receive(handle func(message []byte), counted func()) {
	defer c.cut("client")
	for {
		message, err := c.read.Read()
		if c.halfOpen.Load() {
			if err != nil {
				return
			}
			continue
		}
		var violation *wire.CloseError
		if errors.As(err, &violation) {
			c.closeWith(violation.Code, violation.Reason)
			<-c.gone
			return
		}
		if err != nil {
			return
		}
		counted()
		switch message.Op {
		case wire.Ping:
			c.control(wire.Pong, message.Payload)
		case wire.Pong:
			c.lastPong.Store(time.Now().UnixNano())
		case wire.Close:
			if c.answerClose(message.Payload) {
				return
			}
			_, _ = io.Copy(io.Discard, c.net)
			return
		default:
			handle(message.Payload)
		}
	}
}

// answerClose echoes the client's close frame. True: we had closed first and this is the client's answer.
func (c *conn) answerClose(payload []byte) bool {
	c.mutex.Lock()
	first := c.last == nil
	if first {
		c.last = wire.AppendFrame(nil, wire.Close, payload)
	}
	c.mutex.Unlock()
	c.notify()
	return !first
}

// force appends a frame whatever the bound of the buffer, for the fault of a giant frame. Nor does it count for the
// frames after it: the client has done nothing to be cut for.
func (c *conn) force(frame []byte, entry ledger.Entry) {
	c.mutex.Lock()
	if !c.dead && c.last == nil {
		c.appendFrame(frame, entry)
		c.forced += len(frame)
	}
	c.mutex.Unlock()
	c.notify()
}
