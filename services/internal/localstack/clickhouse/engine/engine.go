// Package engine runs the ClickHouse engine inside this process: it is the only importer of purego and the only caller of
// libchdb. An Engine owns one data directory; a Conn is one session of it.
//
// What is not obvious:
//   - a process has one engine and one data directory; a second process on the same directory is refused (code 76);
//   - closing the last connection shuts the engine down, so the Engine holds one for itself as long as it lives;
//   - statements on one Conn run one after another, and a Conn with an open stream answers anything else with nothing;
//   - data must never stand inside the text of a statement (a blank line in it ends the data and the rest runs as SQL):
//     callers hand it over as a file.
package engine

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// Config says which library to load and what to open with it.
type Config struct {
	Library        string   // path of libchdb's shared library
	DataDir        string   // directory of tables and metadata; made when missing
	MaxMemoryBytes int64    // bound of the whole engine's memory in bytes; 0 leaves the engine's own default (90 % of RAM)
	ServerOptions  []string // more server-level options, each "--name=value"
}

// Engine is the running engine of this process.
type Engine struct {
	lib       *library
	arguments []string
	mu        sync.Mutex
	anchor    unsafe.Pointer
}

// Open loads the library, starts the engine on the data directory and gives Go its signal handlers back.
func Open(config Config) (*Engine, error) {
	saved, err := saveSignals()
	if err != nil {
		return nil, err
	}
	lib, err := load(config.Library)
	if err != nil {
		return nil, errors.Join(err, saved.restore())
	}
	e := &Engine{lib: lib, arguments: []string{"clickhouse", "--path=" + config.DataDir}}
	if config.MaxMemoryBytes > 0 {
		e.arguments = append(e.arguments, "--max_server_memory_usage="+strconv.FormatInt(config.MaxMemoryBytes, 10))
	}
	e.arguments = append(e.arguments, config.ServerOptions...)
	e.anchor = e.dial()
	if err := saved.restore(); err != nil {
		return nil, err
	}
	if e.anchor == nil {
		return nil, fmt.Errorf("opening the ClickHouse data directory %s: the engine refused it; another process may have it open (code 76), or its options are wrong: %s",
			config.DataDir, strings.Join(e.arguments[1:], " "))
	}
	return e, nil
}

// Close shuts the engine down. Every Conn must be closed before.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.anchor != nil {
		e.lib.closeConn(e.anchor)
		e.anchor = nil
	}
}

// dial opens one connection of the library; nil when it was refused.
func (e *Engine) dial() unsafe.Pointer {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	argv := make([]unsafe.Pointer, len(e.arguments)+1)
	for i, argument := range e.arguments {
		text := append([]byte(argument), 0)
		pinner.Pin(&text[0])
		argv[i] = unsafe.Pointer(&text[0])
	}
	pinner.Pin(&argv[0])
	return e.lib.connect(int32(len(e.arguments)), unsafe.Pointer(&argv[0]))
}

// Connect opens a session: settings and the current database are its own. It costs about 0.2 ms.
func (e *Engine) Connect() (*Conn, error) {
	e.mu.Lock()
	closed := e.anchor == nil
	e.mu.Unlock()
	if closed {
		return nil, errors.New("connecting to the embedded ClickHouse: it is shut down")
	}
	handle := e.dial()
	if handle == nil {
		return nil, errors.New("connecting to the embedded ClickHouse: the engine refused another connection")
	}
	return &Conn{lib: e.lib, handle: handle}, nil
}
