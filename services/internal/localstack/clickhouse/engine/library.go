package engine

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library holds the C functions of libchdb that the engine calls. They are bound at run time, so that the program builds
// without cgo and starts on machines where the library is not installed yet.
type library struct {
	connect      func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn    func(conn unsafe.Pointer)
	query        func(conn uintptr, query unsafe.Pointer, queryLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr
	streamQuery  func(conn uintptr, query unsafe.Pointer, queryLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr
	streamFetch  func(conn, stream uintptr) uintptr
	streamCancel func(conn, stream uintptr)
	destroy      func(result uintptr)
	buffer       func(result uintptr) unsafe.Pointer
	length       func(result uintptr) uintptr
	failure      func(result uintptr) unsafe.Pointer
	rowsRead     func(result uintptr) uint64
	bytesRead    func(result uintptr) uint64
	rowsWritten  func(result uintptr) uint64
	bytesWritten func(result uintptr) uint64
	elapsed      func(result uintptr) float64
}

// loadOnce guards the library: a process can load libchdb once and never unload it (its threads outlive every connection),
// so this is the state of the process, not of a package user.
var loadOnce struct {
	sync.Mutex
	path string
	lib  *library
}

// load opens the shared library at path and binds its functions. The signal handlers must have been saved before.
func load(path string) (*library, error) {
	loadOnce.Lock()
	defer loadOnce.Unlock()
	if loadOnce.lib != nil {
		if loadOnce.path != path {
			return nil, fmt.Errorf("loading %s: this process already runs the engine of %s; one library a process", path, loadOnce.path)
		}
		return loadOnce.lib, nil
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading the ClickHouse engine %s: %w", path, err)
	}
	lib := &library{}
	functions := []struct {
		pointer any
		symbol  string
	}{
		{&lib.connect, "chdb_connect"},
		{&lib.closeConn, "chdb_close_conn"},
		{&lib.query, "chdb_query_with_params_n"},
		{&lib.streamQuery, "chdb_stream_query_with_params_n"},
		{&lib.streamFetch, "chdb_stream_fetch_result"},
		{&lib.streamCancel, "chdb_stream_cancel_query"},
		{&lib.destroy, "chdb_destroy_query_result"},
		{&lib.buffer, "chdb_result_buffer"},
		{&lib.length, "chdb_result_length"},
		{&lib.failure, "chdb_result_error"},
		{&lib.rowsRead, "chdb_result_rows_read"},
		{&lib.bytesRead, "chdb_result_bytes_read"},
		{&lib.rowsWritten, "chdb_result_rows_written"},
		{&lib.bytesWritten, "chdb_result_bytes_written"},
		{&lib.elapsed, "chdb_result_elapsed"},
	}
	for _, f := range functions {
		address, err := purego.Dlsym(handle, f.symbol)
		if err != nil {
			return nil, fmt.Errorf("binding %s of %s: %w; the library is not the version this build was made for", f.symbol, path, err)
		}
		purego.RegisterFunc(f.pointer, address)
	}
	loadOnce.lib, loadOnce.path = lib, path
	return lib, nil
}

// goString copies a NUL-terminated C string.
func goString(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
