// Package ledger is the simulator's own count of what it sent: the independent side of every proof that nothing was
// lost. A line stands for a frame that was handed to the operating system whole; a frame that was generated and then
// dropped, or was still buffered when its connection broke, has no line.
//
// The file has one line a frame:
//
//	<connection> <index> <F|S> <xxhash64 of the payload, 16 hex digits> <length> <trades> <updates>
//
// F is a WebSocket frame, S the body of a REST snapshot (connection 0). index counts from 0 a connection.
package ledger

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// Kind of what was sent.
type Kind byte

// Kinds, as the ledger's file shows them.
const (
	Frame        Kind = 'F'
	RESTSnapshot Kind = 'S'
)

// Entry is what one frame counts for.
type Entry struct {
	Venue    int32  // index into the venues that the ledger was made with
	Hash     uint64 // xxhash64 of the payload
	Length   int32
	Trades   int32
	Updates  int32
	Snapshot bool // the frame is a whole book
	Kind     Kind
}

// Totals are the sums. Frames counts WebSocket frames; REST bodies are counted in RESTSnapshots only.
type Totals struct {
	Frames           int64 `json:"frames"`
	Trades           int64 `json:"trades"`
	OrderbookUpdates int64 `json:"orderbook_updates"`
	Snapshots        int64 `json:"snapshots"`
	RESTSnapshots    int64 `json:"rest_snapshots"`
	Bytes            int64 `json:"bytes"`
	// DroppedFrames were generated for a connection and, on purpose or because it was slow, not sent.
	DroppedFrames int64 `json:"dropped_frames"`
	// DuplicatedFrames were sent once more on purpose; they are in Frames, too.
	DuplicatedFrames int64 `json:"duplicated_frames"`
}

// Report is the answer of /control/ledger.
type Report struct {
	Totals
	ByVenue  map[string]Totals `json:"by_venue"`
	Finished bool              `json:"finished"`
}

// Ledger counts and, when it has a file, writes. Safe for concurrent use.
type Ledger struct {
	mutex    sync.Mutex
	venues   []string
	totals   []Totals
	file     *os.File
	out      *bufio.Writer
	line     []byte
	restSent int64
	err      error
}

// New makes a ledger of these venues; path may be empty.
func New(venues []string, path string) (*Ledger, error) {
	l := &Ledger{venues: venues, totals: make([]Totals, len(venues))}
	if path == "" {
		return l, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating the ledger: %w; choose another --ledger", err)
	}
	l.file, l.out = file, bufio.NewWriterSize(file, 1<<20)
	return l, nil
}

// Sent records the frames of one connection, in order; firstIndex is the index of the first of them.
func (l *Ledger) Sent(connection, firstIndex int64, entries []Entry) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for i := range entries {
		l.record(connection, firstIndex+int64(i), &entries[i])
	}
}

// SentREST records a REST body.
func (l *Ledger) SentREST(entry Entry) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.record(0, l.restSent, &entry)
	l.restSent++
}

// Dropped counts frames that were generated and not sent.
func (l *Ledger) Dropped(venue int32, frames int64) {
	l.mutex.Lock()
	l.totals[venue].DroppedFrames += frames
	l.mutex.Unlock()
}

// Duplicated counts frames that were queued once more.
func (l *Ledger) Duplicated(venue int32, frames int64) {
	l.mutex.Lock()
	l.totals[venue].DuplicatedFrames += frames
	l.mutex.Unlock()
}

func (l *Ledger) record(connection, index int64, e *Entry) {
	t := &l.totals[e.Venue]
	t.Bytes += int64(e.Length)
	t.Trades += int64(e.Trades)
	t.OrderbookUpdates += int64(e.Updates)
	switch {
	case e.Kind == RESTSnapshot:
		t.RESTSnapshots++
	default:
		t.Frames++
		if e.Snapshot {
			t.Snapshots++
		}
	}
	if l.out == nil || l.err != nil {
		return
	}
	b := strconv.AppendInt(l.line[:0], connection, 10)
	b = strconv.AppendInt(append(b, ' '), index, 10)
	b = append(b, ' ', byte(e.Kind), ' ')
	b = appendHex16(b, e.Hash)
	b = strconv.AppendInt(append(b, ' '), int64(e.Length), 10)
	b = strconv.AppendInt(append(b, ' '), int64(e.Trades), 10)
	b = strconv.AppendInt(append(b, ' '), int64(e.Updates), 10)
	l.line = append(b, '\n')
	if _, err := l.out.Write(l.line); err != nil {
		l.err = fmt.Errorf("writing the ledger %s: %w", l.file.Name(), err)
	}
}

func appendHex16(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>uint(shift)&0xF])
	}
	return b
}

// Report sums up. finished says that nothing will be added.
func (l *Ledger) Report(finished bool) Report {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	r := Report{ByVenue: make(map[string]Totals, len(l.venues)), Finished: finished}
	for i, t := range l.totals {
		r.ByVenue[l.venues[i]] = t
		r.Frames += t.Frames
		r.Trades += t.Trades
		r.OrderbookUpdates += t.OrderbookUpdates
		r.Snapshots += t.Snapshots
		r.RESTSnapshots += t.RESTSnapshots
		r.Bytes += t.Bytes
		r.DroppedFrames += t.DroppedFrames
		r.DuplicatedFrames += t.DuplicatedFrames
	}
	return r
}

// Flush writes what is buffered to the file, and reports the first failure of writing: a ledger with a hole proves nothing.
func (l *Ledger) Flush() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.out == nil {
		return nil
	}
	if err := l.out.Flush(); err != nil && l.err == nil {
		l.err = fmt.Errorf("writing the ledger %s: %w", l.file.Name(), err)
	}
	return l.err
}

// Close flushes and closes the file.
func (l *Ledger) Close() error {
	err := l.Flush()
	if l.file == nil {
		return err
	}
	if closeErr := l.file.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing the ledger: %w", closeErr)
	}
	return err
}
