package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/streamforge/streamforge/services/internal/market/venue"
)

const (
	dialTimeout = 10 * time.Second
	sendTimeout = 10 * time.Second
	// outboxMessages bounds what waits to be sent on one connection; what does not fit is asked for again later.
	outboxMessages = 1024
	// keepReadBuffer is how large a read buffer a connection keeps after a large frame.
	keepReadBuffer = 1 << 20
	// socketBuffer is read from the socket at once: the WebSocket library's own 4 KiB would cost a system call every 13 frames.
	socketBuffer = 64 << 10
)

// Reasons for which the loader itself ends a connection; all others come from the network or the venue.
var (
	errIdle    = errors.New("no frame and no ping within the venue's idle time: the connection is dead")
	errDrained = errors.New("the loader is stopping")
	errRotated = errors.New("replaced by the next connection")
)

// connection is one WebSocket: a reader goroutine and a control goroutine that sends and watches. It ends once, with err.
type connection struct {
	number    int64
	link      *link
	ws        *websocket.Conn
	plan      venue.Plan
	inspector venue.Inspector
	openedAt  int64 // µs
	limiter   *rate.Limiter

	lastSeen   atomic.Int64 // µs of the last frame or control frame
	lastFrame  atomic.Int64 // µs of the last frame; 0: none
	inspection venue.Inspection
	outbox     chan venue.Message
	done       chan struct{}
	err        error // valid after done
	cause      atomic.Pointer[error]

	// Guarded by link.mu.
	announced bool                // OPEN is written
	requests  map[string][]string // request id → venue symbols
}

// dial opens a WebSocket for the link; the caller starts it.
func dial(ctx context.Context, l *link) (*connection, error) {
	plan, address := venue.Plan{}, l.feed.WebSocket
	if !l.feed.Replay {
		var err error
		if plan, err = l.feed.Adapter.Connect(l.subscription); err != nil {
			return nil, fmt.Errorf("planning a connection to %s: %w", l.feed.Venue, err)
		}
		address = l.feed.endpoint() + plan.Path
	}
	c := &connection{
		link: l, plan: plan, inspector: l.feed.Adapter.NewInspector(), limiter: l.shared.messages,
		outbox: make(chan venue.Message, outboxMessages), done: make(chan struct{}), requests: map[string][]string{},
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	seen := func(context.Context, []byte) { c.lastSeen.Store(time.Now().UnixMicro()) }
	ws, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient:      l.shared.dialer,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(ctx context.Context, b []byte) bool { seen(ctx, b); return true },
		OnPongReceived:  seen,
	})
	if err != nil {
		return nil, dialError(address, response, err)
	}
	ws.SetReadLimit(MaxFrameBytes)
	c.ws = ws
	c.openedAt = time.Now().UnixMicro()
	c.lastSeen.Store(c.openedAt)
	return c, nil
}

// dialError says in one line what keeps from connecting to an address, and what to look at.
func dialError(address string, response *http.Response, err error) error {
	var request *url.Error
	switch {
	case response != nil && response.StatusCode == http.StatusSwitchingProtocols:
		return fmt.Errorf("connecting to %s: %w", address, err)
	case response != nil && wantsPeace(response.StatusCode):
		after := retryAfter(response.Header, time.Now())
		return &peaceError{after, fmt.Errorf("connecting to %s: the venue answered %s and wants to be left alone for %s", address, response.Status, after)}
	case response != nil:
		return fmt.Errorf("connecting to %s: the venue answered %s; check the address, and whether the venue lets this machine in", address, response.Status)
	case errors.As(err, &request):
		// The library's words before it name its own steps, which nobody who reads this has to know.
		err = request.Err
	}
	return fmt.Errorf("connecting to %s: %w; check this machine's network, or give the feed another address (websocket)", address, err)
}

// peaceError is a refusal that says for how long; to come back before may prolong it.
type peaceError struct {
	after time.Duration
	error
}

// start runs the connection until it ends or is ended.
func (c *connection) start() {
	stop := make(chan struct{})
	controlDone := make(chan struct{})
	go func() {
		defer close(controlDone)
		c.control(stop)
	}()
	go func() {
		err := c.read()
		close(stop)
		c.ws.CloseNow()
		<-controlDone
		if cause := c.cause.Load(); cause != nil {
			err = *cause
		}
		c.err = err
		close(c.done)
	}()
}

// end closes the socket because of err; done follows once the reader has handed over all that it read.
func (c *connection) end(err error) {
	if c.cause.CompareAndSwap(nil, &err) {
		if errors.Is(err, errIdle) {
			c.ws.CloseNow() // a closing handshake with a dead peer would only wait
			return
		}
		go func() {
			// The handshake may wait for a slow peer; the reader must end soon all the same.
			timer := time.AfterFunc(time.Second, func() { c.ws.CloseNow() })
			defer timer.Stop()
			c.ws.Close(websocket.StatusNormalClosure, "")
		}()
	}
}

// read hands every message to the link, verbatim and in order.
func (c *connection) read() error {
	buffer := make([]byte, 0, socketBuffer)
	for {
		// A context that can end would cost a timer a message; the socket is closed to end a read.
		kind, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if cap(buffer) > keepReadBuffer {
			buffer = make([]byte, 0, socketBuffer)
		}
		buffer, err = readAll(r, buffer[:0])
		if err != nil {
			return err
		}
		now := time.Now().UnixMicro()
		c.lastSeen.Store(now)
		c.link.deliver(c, kind == websocket.MessageBinary, now, buffer)
		c.lastFrame.Store(now)
	}
}

func readAll(r io.Reader, dst []byte) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			grown := make([]byte, len(dst), min(2*cap(dst), MaxFrameBytes+512))
			copy(grown, dst)
			dst = grown
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// control sends what is to be sent, at the venue's pace, and watches whether the peer is alive.
func (c *connection) control(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	liveness := c.link.feed.Adapter.Liveness()
	interval := time.Second
	for _, d := range []time.Duration{liveness.IdleTimeout, liveness.PingAfter} {
		if d > 0 {
			interval = min(interval, d/4)
		}
	}
	ticker := time.NewTicker(max(interval, time.Millisecond))
	defer ticker.Stop()
	for _, m := range c.plan.Messages {
		if !c.write(ctx, m) {
			return
		}
	}
	var pinged int64
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.outbox:
			if !c.write(ctx, m) {
				return
			}
		case <-ticker.C:
			seen := c.lastSeen.Load()
			silence := time.Duration(time.Now().UnixMicro()-seen) * time.Microsecond
			if liveness.IdleTimeout > 0 && silence > liveness.IdleTimeout && !c.link.feed.Replay {
				c.end(fmt.Errorf("%w (%s of silence)", errIdle, silence.Round(time.Millisecond)))
				return
			}
			if liveness.Ping != nil && silence > liveness.PingAfter && pinged < seen && !c.link.feed.Replay {
				pinged = time.Now().UnixMicro()
				if !c.write(ctx, venue.Message{Payload: liveness.Ping, Text: true}) {
					return
				}
			}
		}
	}
}

// write sends one message within the venue's limit; false: the connection has ended.
func (c *connection) write(ctx context.Context, m venue.Message) bool {
	if c.limiter.Wait(ctx) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	kind := websocket.MessageBinary
	if m.Text {
		kind = websocket.MessageText
	}
	if err := c.ws.Write(ctx, kind, m.Payload); err != nil {
		c.end(fmt.Errorf("sending to %s: %w", c.link.feed.Venue, err))
		return false
	}
	return true
}

// newDialer makes the HTTP client that opens WebSockets.
func newDialer() *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: dialTimeout,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &bufferedConn{Conn: conn, reader: bufio.NewReaderSize(conn, socketBuffer)}, nil
		},
	}}
}

// bufferedConn reads from the socket in large pieces.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

// Read reads from the buffer.
func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }
