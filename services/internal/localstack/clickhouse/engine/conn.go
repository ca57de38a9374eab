package engine

import (
	"errors"
	"runtime"
	"strings"
	"unsafe"
)

// Conn is one session of the engine. It is used by one goroutine at a time.
type Conn struct {
	lib    *library
	handle unsafe.Pointer // chdb_connection*, a pointer to the connection
}

// Param is a query parameter: {name:Type} in the statement. The engine reads the value as one field of its escaped text
// form (a backslash is written \\, a newline \n), which is also how clients of the HTTP interface send it.
type Param struct {
	Name  string
	Value string
}

// Error is what the engine answered instead of a result. Its text begins with "Code: N.".
type Error struct {
	Message string
}

// Error returns the engine's own message.
func (e *Error) Error() string { return e.Message }

// Stats are the counts of a finished statement.
type Stats struct {
	RowsRead     uint64
	BytesRead    uint64
	RowsWritten  uint64
	BytesWritten uint64
	Seconds      float64
}

// Result is a finished answer. Data lies in the engine's memory and is valid until Close.
type Result struct {
	lib    *library
	handle uintptr
	Data   []byte
	Stats  Stats
}

// Close frees the answer's memory.
func (r *Result) Close() {
	if r.handle != 0 {
		r.lib.destroy(r.handle)
		r.handle, r.Data = 0, nil
	}
}

// Close ends the session.
func (c *Conn) Close() {
	if c.handle != nil {
		c.lib.closeConn(c.handle)
		c.handle = nil
	}
}

func (c *Conn) connection() uintptr { return *(*uintptr)(c.handle) }

// Exec runs a statement and drops what it answers.
func (c *Conn) Exec(statement string) error {
	result, err := c.Query(statement, "Null", nil)
	if err != nil {
		return err
	}
	result.Close()
	return nil
}

// Query runs one statement to its end and returns the whole answer in the given format (a FORMAT clause of the statement
// wins). An answer of the engine that is an exception is returned as *Error.
func (c *Conn) Query(statement, format string, params []Param) (*Result, error) {
	handle := c.call(c.lib.query, statement, format, params)
	return c.result(handle)
}

// Stream starts a SELECT whose answer is fetched piece by piece. Until the Stream is closed the Conn takes no other
// statement.
func (c *Conn) Stream(statement, format string, params []Param) (*Stream, error) {
	handle := c.call(c.lib.streamQuery, statement, format, params)
	if handle == 0 {
		return nil, errNoAnswer
	}
	if message := goString(c.lib.failure(handle)); message != "" {
		c.lib.destroy(handle)
		return nil, &Error{Message: message}
	}
	return &Stream{conn: c, handle: handle}, nil
}

var errNoAnswer = errors.New("the embedded ClickHouse gave no answer at all; it is shutting down or out of memory")

func (c *Conn) result(handle uintptr) (*Result, error) {
	if handle == 0 {
		return nil, errNoAnswer
	}
	if message := goString(c.lib.failure(handle)); message != "" {
		c.lib.destroy(handle)
		return nil, &Error{Message: message}
	}
	result := &Result{lib: c.lib, handle: handle, Stats: Stats{
		RowsRead: c.lib.rowsRead(handle), BytesRead: c.lib.bytesRead(handle),
		RowsWritten: c.lib.rowsWritten(handle), BytesWritten: c.lib.bytesWritten(handle),
		Seconds: c.lib.elapsed(handle),
	}}
	if length := c.lib.length(handle); length > 0 {
		result.Data = unsafe.Slice((*byte)(c.lib.buffer(handle)), length)
	}
	return result, nil
}

type queryFunc = func(conn uintptr, query unsafe.Pointer, queryLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr

func (c *Conn) call(f queryFunc, statement, format string, params []Param) uintptr {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	text := pinned(&pinner, statement)
	formatText := pinned(&pinner, format)
	if len(params) == 0 {
		return f(c.connection(), text, uintptr(len(statement)), formatText, uintptr(len(format)), nil, nil, nil, nil, 0)
	}
	names, values := make([]unsafe.Pointer, len(params)), make([]unsafe.Pointer, len(params))
	nameLens, valueLens := make([]uintptr, len(params)), make([]uintptr, len(params))
	for i, p := range params {
		names[i], nameLens[i] = pinned(&pinner, p.Name), uintptr(len(p.Name))
		values[i], valueLens[i] = pinned(&pinner, p.Value), uintptr(len(p.Value))
	}
	pinner.Pin(&names[0])
	pinner.Pin(&values[0])
	pinner.Pin(&nameLens[0])
	pinner.Pin(&valueLens[0])
	return f(c.connection(), text, uintptr(len(statement)), formatText, uintptr(len(format)),
		unsafe.Pointer(&names[0]), unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&values[0]), unsafe.Pointer(&valueLens[0]), uintptr(len(params)))
}

// pinned copies s with a NUL at its end, so that an empty string has an address too.
func pinned(pinner *runtime.Pinner, s string) unsafe.Pointer {
	b := make([]byte, len(s)+1)
	copy(b, s)
	pinner.Pin(&b[0])
	return unsafe.Pointer(&b[0])
}

// Stream is an answer that is still being made.
type Stream struct {
	conn   *Conn
	handle uintptr
	done   bool
}

// Next returns the next piece, or nil at the end. The caller closes each piece before it asks for the next.
func (s *Stream) Next() (*Result, error) {
	if s.done {
		return nil, nil
	}
	result, err := s.conn.result(s.conn.lib.streamFetch(s.conn.connection(), s.handle))
	if err != nil {
		s.done = true
		return nil, err
	}
	if len(result.Data) == 0 {
		s.done = true
		result.Close()
		return nil, nil
	}
	return result, nil
}

// Close ends the stream; when it was not read to its end the query is cancelled.
func (s *Stream) Close() {
	if s.handle == 0 {
		return
	}
	if !s.done {
		s.conn.lib.streamCancel(s.conn.connection(), s.handle)
	}
	s.conn.lib.destroy(s.handle)
	s.handle = 0
}

// Code returns the engine's error code of err, or 0 when err is not the engine's.
func Code(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	rest, ok := strings.CutPrefix(e.Message, "Code: ")
	if !ok {
		return 0
	}
	code := 0
	for _, r := range rest {
		if r < '0' || r > '9' {
			break
		}
		code = code*10 + int(r-'0')
	}
	return code
}
