// Package capture reads recordings of venues' connections, in the forms that the open-source recorders write them.
// The form, the compression and the venue are recognised from the content, never from the file's name, so a recording
// that was made elsewhere works the same as the ones that the tests know.
//
//	c, err := capture.Open("btcusdt-20240808.gz")
//	for entry, err := range c.Entries() { … }
package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// MaxFrameBytes is the largest frame that is read: what the loader accepts from a venue. A longer one ends the reading
// with an error, because a recording must not be able to take all memory.
const MaxFrameBytes = 16 << 20

// Format is the form of a recording.
type Format string

// Forms of recordings.
const (
	Hftbacktest Format = "hftbacktest" // `<unix ns> <frame>` a line
	Cbcap       Format = "cbcap"       // a header line, then `<mono ns> <length>\n<bytes>\n` a frame
	Cryptofeed  Format = "cryptofeed"  // `<unix s>: <frame>` a line, and lines for connecting, sending and REST
	BareJSON    Format = "json"        // one JSON document, or one a line, without times
)

// Capture is a recording that was recognised and read through once, so that replaying it cannot fail half way on a
// malformed line.
type Capture struct {
	Path   string
	Format Format
	// Venue is the name that the platform uses: "binance", "binance-usdm", "kraken", "coinbase", "okx", "bybit", "bybit-linear".
	Venue string
	// Symbols are the venue's spellings, in the order of their first appearance.
	Symbols []string
	// Frames and Snapshots count the entries that are WebSocket frames and REST bodies.
	Frames, Snapshots int64
	// FirstReceivedAt and LastReceivedAt span the entries, unix nanoseconds; both 0 where the form has no times.
	FirstReceivedAt, LastReceivedAt int64
	// Cut says where the file ends in the middle of a record, as it does when its recorder was killed; the entries are
	// those before. Empty: the file is whole.
	Cut string

	// restSymbols says, for each REST body in order, whose book it is.
	restSymbols []string
}

// Entry is one thing that the recorder received.
type Entry struct {
	// ReceivedAt is the recorder's clock, unix nanoseconds; 0 where the form has no times.
	ReceivedAt int64
	// REST says that the payload is the body of a REST snapshot; otherwise it is a WebSocket frame.
	REST bool
	// VenueSymbol and Request belong to a REST body: whose book it is, and the request that gets such a body. Recorders
	// that do not write the request down get the one that their venue answers so.
	VenueSymbol string
	Request     string
	// Payload is the received text verbatim; valid until the iteration goes on.
	Payload []byte
	// Line where the entry began, from 1.
	Line int
}

// Open recognises the recording at path and reads it through once. Errors name the file and the line.
func Open(path string) (*Capture, error) {
	c := &Capture{Path: path}
	if err := c.scan(); err != nil {
		return nil, err
	}
	return c, nil
}

// Entries iterates over the recording, in its order. After an error the iteration ends.
func (c *Capture) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		source, err := openSource(c.Path)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer source.Close()
		var rest int
		for {
			raw, err := source.next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && c.Cut != "" {
				return
			}
			if err != nil {
				yield(Entry{}, source.located(err))
				return
			}
			entry, ok := c.entry(raw, &rest)
			if ok && !yield(entry, nil) {
				return
			}
		}
	}
}

func (c *Capture) entry(r raw, rest *int) (Entry, bool) {
	e := Entry{ReceivedAt: r.at, Payload: r.payload, Line: r.line}
	switch {
	case isSnapshotBody(r.payload):
		e.REST = true
		if *rest < len(c.restSymbols) {
			e.VenueSymbol = c.restSymbols[*rest]
		}
		*rest++
		e.Request = snapshotRequest(c.Venue, e.VenueSymbol, r)
	case r.url != "":
		// Some other REST answer, such as the list of instruments: it is no part of the market's stream.
		return Entry{}, false
	}
	return e, true
}

// scan is the first pass: it finds the venue, its symbols and whose books the REST bodies are.
func (c *Capture) scan() error {
	source, err := openSource(c.Path)
	if err != nil {
		return err
	}
	defer source.Close()
	c.Format = source.format
	found := newFindings(source.venue)
	for {
		raw, err := source.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			c.Cut = fmt.Sprintf("line %d: the file ends in the middle of a record (its recorder was killed, or it was cut short in copying)", source.records.line())
			break
		}
		if err != nil {
			return source.located(err)
		}
		if found.inspect(raw) {
			c.Snapshots++
		} else if raw.url == "" {
			c.Frames++
		} else {
			continue
		}
		if c.FirstReceivedAt == 0 {
			c.FirstReceivedAt = raw.at
		}
		c.LastReceivedAt = max(c.LastReceivedAt, raw.at)
	}
	if c.Frames+c.Snapshots == 0 && c.Cut != "" {
		return fmt.Errorf("reading capture %s: %s, and holds no frame before", c.Path, c.Cut)
	}
	if c.Frames+c.Snapshots == 0 {
		return fmt.Errorf("reading capture %s: it holds no frame", c.Path)
	}
	if c.Venue, err = found.decide(source.urls); err != nil {
		return fmt.Errorf("reading capture %s: %w", c.Path, err)
	}
	c.Symbols = found.symbols
	if c.restSymbols, err = found.assignSnapshots(); err != nil {
		return fmt.Errorf("reading capture %s: %w", c.Path, err)
	}
	return nil
}

// source is an open file with the reader of its form.
type source struct {
	path    string
	file    *os.File
	gz      *gzip.Reader
	format  Format
	venue   string // named by the header, else empty
	urls    []string
	records records
}

// records reads one form. At the end next returns io.EOF.
type records interface {
	next() (raw, error)
	line() int
}

// raw is one record as its form gives it.
type raw struct {
	at      int64
	payload []byte
	url     string // of a REST answer
	line    int
}

func (s *source) next() (raw, error) { return s.records.next() }

func (s *source) located(err error) error {
	return fmt.Errorf("reading capture %s: line %d: %w", s.path, s.records.line(), err)
}

// Close closes the file.
func (s *source) Close() {
	if s.gz != nil {
		_ = s.gz.Close()
	}
	_ = s.file.Close()
}

// openSource opens the file and recognises compression and form from the first bytes.
func openSource(path string) (*source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening capture: %w", err)
	}
	s := &source{path: path, file: file}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		s.Close()
		return nil, fmt.Errorf("opening capture %s: it is a folder; name one of its files", path)
	}
	reader := bufio.NewReaderSize(file, 64<<10)
	if magic, _ := reader.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if s.gz, err = gzip.NewReader(reader); err != nil {
			s.Close()
			return nil, fmt.Errorf("opening capture %s: it looks like gzip but is not: %w", path, err)
		}
		reader = bufio.NewReaderSize(s.gz, 256<<10)
	}
	// Some editors put a byte order mark before the text; it is no part of the first record.
	if mark, _ := reader.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = reader.Discard(3)
	}
	if err := s.recognise(reader); err != nil {
		s.Close()
		return nil, fmt.Errorf("reading capture %s: %w", path, err)
	}
	return s, nil
}

// recognise chooses the reader by what the content begins with.
func (s *source) recognise(reader *bufio.Reader) error {
	head, err := reader.Peek(4 << 10)
	if len(head) == 0 {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return errors.New("the file is empty")
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(head, " \t\r\n"), []byte("\n"))
	if len(first) == 0 {
		return errors.New("the file begins with nothing but blank lines")
	}
	switch {
	case bytes.HasPrefix(head, []byte("CBCAP")):
		s.format = Cbcap
		records, err := newCbcap(reader)
		if err != nil {
			return err
		}
		s.records, s.venue = records, records.venue
	case isHftbacktest(first):
		s.format, s.records = Hftbacktest, newLines(reader, parseHftbacktest)
	case isCryptofeed(first):
		s.format = Cryptofeed
		s.records = newLines(reader, func(line []byte) (raw, bool, error) { return s.parseCryptofeed(line) })
	case bytes.IndexByte([]byte("{["), firstNonSpace(head)) >= 0:
		s.format = BareJSON
		records, err := newBareJSON(reader)
		if err != nil {
			return err
		}
		s.records = records
	default:
		return fmt.Errorf("the format is not recognised: the file begins with %q; known are hftbacktest (`<ns> <frame>` a line), cbcap (`CBCAP1 <venue> <symbol> <epoch ns>`), cryptofeed (`<s>: <frame>` a line) and a bare JSON frame", clip(first, 60))
	}
	return nil
}

func firstNonSpace(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

func clip(b []byte, n int) []byte {
	if len(b) > n {
		return b[:n]
	}
	return b
}
