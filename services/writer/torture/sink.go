package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// sink stands between the writers and ClickHouse, and does to inserts what networks, and servers in trouble, do. All else
// passes.
type sink struct {
	server string // http://host:port
	client *http.Client
	front  *http.Server
	url    string

	mutex  sync.Mutex
	random *rand.Rand
	active map[kind]int // faults of inserts that are on
	sent   func()       // called once, when the next insert has been given to ClickHouse
	counts map[kind]int // inserts that each fault has struck
	passed int
	late   sync.WaitGroup // inserts that a fault has struck
	closed bool           // no insert is struck any more
	longer bool           // late inserts arrive after a horizon of seconds
}

// requestBound of one request at ClickHouse.
const requestBound = 2 * time.Minute

func newSink(server string, seed uint64, longer bool) (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{
		server: server, client: &http.Client{Timeout: requestBound}, url: "http://" + listener.Addr().String(),
		random: rand.New(rand.NewPCG(seed, 7)), active: map[kind]int{}, counts: map[kind]int{}, longer: longer,
	}
	s.front = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.front.Serve(listener) }()
	return s, nil
}

func (s *sink) close() { _ = s.front.Close() }

// during turns a fault of inserts on until the returned function is called.
func (s *sink) during(k kind) (end func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.active[k]++
	return func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.active[k]--; s.active[k] == 0 {
			delete(s.active, k)
		}
	}
}

// onInsert has strike called right after the next insert was given to ClickHouse.
func (s *sink) onInsert(strike func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.sent = strike
}

// settle ends what strikes inserts and returns when every insert that was struck has come to its end.
func (s *sink) settle() {
	s.mutex.Lock()
	s.closed = true
	s.sent = nil
	clear(s.active)
	s.mutex.Unlock()
	s.late.Wait()
}

// errorAnswers are codes of ClickHouse for trouble that passes: too many parts, memory, timeout, read only, Keeper.
var errorAnswers = []int{252, 241, 159, 242, 999}

// fate draws what becomes of an insert: one of the faults that are on, for two of three inserts.
func (s *sink) fate() (k kind, draw uint32) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.passed++
	if s.closed || len(s.active) == 0 || s.random.IntN(3) == 0 {
		return "", 0
	}
	var on []kind
	for _, k := range allKinds() {
		if s.active[k] > 0 {
			on = append(on, k)
		}
	}
	k = on[s.random.IntN(len(on))]
	s.counts[k]++
	s.late.Add(1)
	return k, s.random.Uint32()
}

// answer is ClickHouse's, or that of a server in trouble.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// trouble is an error that says that it passes.
func trouble(draw uint32) answer {
	code := strconv.Itoa(errorAnswers[int(draw)%len(errorAnswers)])
	return answer{http.StatusInternalServerError, http.Header{"X-Clickhouse-Exception-Code": {code}}, []byte("Code: " + code + ". DB::Exception: said by the torture")}
}

// ServeHTTP is the network.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	// A request of its own: that its sender is gone does not end it.
	send := func() (answer, error) { return s.send(r.Method, r.URL.RequestURI(), r.Header.Clone(), body) }
	if r.URL.Query().Get("insert_deduplication_token") == "" {
		pass(w, send)
		return
	}
	k, draw := s.fate()
	if k != "" {
		defer s.late.Done()
	}
	wait := time.Duration(draw%2000) * time.Millisecond
	switch k {
	case slowInserts:
		time.Sleep(wait)
		pass(w, send)
	case failingInserts:
		trouble(draw).write(w)
	case falseErrors:
		_, _ = send()
		trouble(draw).write(w)
	case lostRequests:
		cut(w)
	case lostAcks:
		_, _ = send()
		cut(w)
	case cutInserts:
		cut(w)
		_, _ = send()
	case lateInserts:
		cut(w)
		if s.longer {
			wait += 6 * time.Second
		}
		time.Sleep(wait)
		_, _ = send()
	case doubledInserts:
		done := make(chan struct{})
		go func() { defer close(done); _, _ = send() }()
		pass(w, send)
		<-done
	default:
		pass(w, send)
	}
}

// pass answers what ClickHouse answers, and ends the connection when it does not.
func pass(w http.ResponseWriter, send func() (answer, error)) {
	a, err := send()
	if err != nil {
		cut(w)
		return
	}
	a.write(w)
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			_ = conn.Close()
		}
	}
}

func (s *sink) send(method, uri string, header http.Header, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, s.server+uri, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header = header
	s.mutex.Lock()
	strike := s.sent
	if request.URL.Query().Get("insert_deduplication_token") == "" {
		strike = nil
	} else {
		s.sent = nil
	}
	s.mutex.Unlock()
	if strike != nil {
		go strike()
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, text}, err
}
