package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// maxLineBytes leaves room for what a recorder puts before a frame.
const maxLineBytes = MaxFrameBytes + 4<<10

// lines reads the forms that have one record a line.
type lines struct {
	scanner *bufio.Scanner
	parse   func(line []byte) (r raw, ok bool, err error)
	number  int
	ended   bool // what the scanner gave last was ended by a line feed
	crlf    bool // the file's lines end in CR LF
}

func newLines(reader io.Reader, parse func([]byte) (raw, bool, error)) *lines {
	l := &lines{scanner: bufio.NewScanner(reader), parse: parse}
	l.scanner.Buffer(make([]byte, 0, 256<<10), maxLineBytes)
	l.scanner.Split(l.split)
	return l
}

// split ends a line at LF only: a CR before it belongs to what was recorded, unless all lines of the file end so.
func (l *lines) split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		l.ended = true
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		l.ended = false
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (l *lines) line() int { return l.number }

func (l *lines) next() (raw, error) {
	for l.scanner.Scan() {
		l.number++
		line := l.scanner.Bytes()
		if l.number == 1 {
			l.crlf = bytes.HasSuffix(line, []byte("\r"))
		}
		if l.crlf {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r, ok, err := l.parse(line)
		if err != nil && !l.ended && l.number > 1 {
			// The beginning of a record that was never finished. What can be read as a record is one, however it ends.
			return raw{}, io.ErrUnexpectedEOF
		}
		if err != nil {
			return raw{}, err
		}
		if ok {
			r.line = l.number
			return r, nil
		}
	}
	err := l.scanner.Err()
	if err == nil {
		return raw{}, io.EOF
	}
	l.number++
	if errors.Is(err, bufio.ErrTooLong) {
		return raw{}, fmt.Errorf("the line is longer than %d bytes, the largest frame that is read", MaxFrameBytes)
	}
	return raw{}, err
}

// isHftbacktest: unix nanoseconds, one space, a JSON document. The number has 16 digits at least, so that a list of
// small numbers is not taken for a recording.
func isHftbacktest(line []byte) bool {
	digits := countDigits(line)
	return digits >= 16 && digits <= 19 && len(line) > digits+1 && line[digits] == ' ' && (line[digits+1] == '{' || line[digits+1] == '[')
}

func countDigits(line []byte) int {
	n := 0
	for n < len(line) && line[n] >= '0' && line[n] <= '9' {
		n++
	}
	return n
}

func parseHftbacktest(line []byte) (raw, bool, error) {
	at, payload, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(payload) == 0 {
		return raw{}, false, fmt.Errorf("expected `<unix ns> <frame>`, found %q", clip(line, 60))
	}
	ns, err := strconv.ParseInt(string(at), 10, 64)
	if err != nil || ns < 0 {
		return raw{}, false, fmt.Errorf("expected unix nanoseconds, found %q", clip(at, 60))
	}
	return raw{at: ns, payload: payload}, true, nil
}

// isCryptofeed: a configuration line, a URL with one of the three arrows, or `<unix s>: `.
func isCryptofeed(line []byte) bool {
	if bytes.HasPrefix(line, []byte("configuration: ")) {
		return true
	}
	if isURL(line) {
		return bytes.Contains(line, []byte(" <-> ")) || bytes.Contains(line, []byte(" <- ")) || bytes.Contains(line, []byte(" -> "))
	}
	at, _, ok := bytes.Cut(line, []byte(": "))
	if !ok || len(at) > 40 {
		return false
	}
	_, err := secondsToNanos(at)
	return err == nil
}

func isURL(line []byte) bool {
	for _, scheme := range []string{"wss://", "ws://", "https://", "http://"} {
		if bytes.HasPrefix(line, []byte(scheme)) {
			return true
		}
	}
	return false
}

func (s *source) parseCryptofeed(line []byte) (raw, bool, error) {
	if bytes.HasPrefix(line, []byte("configuration: ")) {
		return raw{}, false, nil
	}
	var url string
	if isURL(line) {
		address, rest, ok := bytes.Cut(line, []byte(" "))
		if !ok {
			return raw{}, false, fmt.Errorf("expected an arrow after the address, found %q", clip(line, 100))
		}
		s.noteURL(string(address))
		switch {
		case bytes.HasPrefix(rest, []byte("<-> ")), bytes.HasPrefix(rest, []byte("<- ")):
			return raw{}, false, nil // connecting, and what the client sent
		case bytes.HasPrefix(rest, []byte("-> ")):
			url, line = string(address), rest[len("-> "):]
		default:
			return raw{}, false, fmt.Errorf("expected <->, <- or -> after the address, found %q", clip(rest, 20))
		}
	}
	at, payload, ok := bytes.Cut(line, []byte(": "))
	if !ok || len(payload) == 0 {
		return raw{}, false, fmt.Errorf("expected `<unix s>: <frame>`, found %q", clip(line, 60))
	}
	ns, err := secondsToNanos(at)
	if err != nil {
		return raw{}, false, err
	}
	return raw{at: ns, payload: payload, url: url}, true, nil
}

// noteURL remembers the addresses, which tell a venue's markets apart; the first few are enough.
func (s *source) noteURL(url string) {
	if len(s.urls) < 16 {
		s.urls = append(s.urls, url)
	}
}

// secondsToNanos reads decimal seconds without going through a float, which could not hold nanoseconds.
func secondsToNanos(text []byte) (int64, error) {
	whole, fraction, _ := strings.Cut(string(text), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt64/1_000_000_000-1 || len(fraction) > 18 {
		return 0, fmt.Errorf("expected unix seconds, found %q", clip(text, 60))
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	var nanos int64
	for i := range 9 {
		digit := byte('0')
		if i < len(fraction) {
			digit = fraction[i]
		}
		if digit < '0' || digit > '9' {
			return 0, fmt.Errorf("expected unix seconds, found %q", clip(text, 60))
		}
		nanos = nanos*10 + int64(digit-'0')
	}
	return seconds*1_000_000_000 + nanos, nil
}

// cbcap reads `<mono ns> <length>\n<bytes>\n` after the header `CBCAP1 <venue> <symbol> <epoch ns>`.
type cbcap struct {
	reader    *bufio.Reader
	venue     string
	epoch     int64 // wall clock of the first frame
	firstMono int64
	started   bool
	number    int
	payload   []byte
	end       []byte // of a line and of a frame: LF, or CR LF where somebody has converted the file
}

func newCbcap(reader *bufio.Reader) (*cbcap, error) {
	header, err := reader.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("line 1: expected `CBCAP1 <venue> <symbol> <epoch ns>`, found %q", clip(header, 60))
	}
	fields := strings.Fields(string(header))
	if len(fields) != 4 || fields[0] != "CBCAP1" {
		return nil, fmt.Errorf("line 1: expected `CBCAP1 <venue> <symbol> <epoch ns>`, found %q", clip(bytes.TrimSpace(header), 60))
	}
	epoch, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || epoch < 0 {
		return nil, fmt.Errorf("line 1: expected unix nanoseconds as the fourth word, found %q", fields[3])
	}
	c := &cbcap{reader: reader, venue: fields[1], epoch: epoch, number: 1, end: []byte("\n")}
	if bytes.HasSuffix(header, []byte("\r\n")) {
		c.end = []byte("\r\n")
	}
	return c, nil
}

func (c *cbcap) line() int { return c.number }

func (c *cbcap) next() (raw, error) {
	head, err := c.reader.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(bytes.TrimSpace(head)) == 0 {
		return raw{}, io.EOF
	}
	c.number++
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return raw{}, io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return raw{}, err
	}
	mono, length, err := parseCbcapHead(head)
	if err != nil {
		return raw{}, err
	}
	whole := length + len(c.end)
	if cap(c.payload) < whole {
		c.payload = make([]byte, whole)
	}
	c.payload = c.payload[:whole]
	if n, err := io.ReadFull(c.reader, c.payload); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.ErrUnexpectedEOF
		}
		if n < length || !errors.Is(err, io.ErrUnexpectedEOF) {
			return raw{}, err
		}
		c.payload = append(c.payload[:length], c.end...) // the frame is whole, only its line feed is not there
	}
	if !bytes.Equal(c.payload[length:], c.end) {
		return raw{}, fmt.Errorf("the frame of %d bytes does not end in a line feed: its length is wrong", length)
	}
	if !c.started {
		c.started, c.firstMono = true, mono
	}
	line := c.number
	c.number += bytes.Count(c.payload, []byte("\n"))
	// The monotonic clock has an origin of its own; the header gives the wall clock at the beginning.
	return raw{at: c.epoch + (mono - c.firstMono), payload: c.payload[:length], line: line}, nil
}

func parseCbcapHead(head []byte) (mono int64, length int, err error) {
	at, size, ok := bytes.Cut(bytes.TrimRight(head, "\r\n"), []byte(" "))
	if ok {
		mono, err = strconv.ParseInt(string(at), 10, 64)
	}
	if !ok || err != nil || mono < 0 {
		return 0, 0, fmt.Errorf("expected `<mono ns> <length>`, found %q", clip(head, 60))
	}
	length, err = strconv.Atoi(string(size))
	if err != nil || length < 0 {
		return 0, 0, fmt.Errorf("expected `<mono ns> <length>`, found %q", clip(head, 60))
	}
	if length > MaxFrameBytes {
		return 0, 0, fmt.Errorf("the frame has %d bytes; the largest frame that is read has %d", length, MaxFrameBytes)
	}
	return mono, length, nil
}

// single is a file that is one JSON document.
type single struct {
	payload []byte
	read    bool
}

// newBareJSON reads one JSON document, or, when the whole is not one, a document a line.
func newBareJSON(reader *bufio.Reader) (records, error) {
	content, err := io.ReadAll(io.LimitReader(reader, MaxFrameBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) <= MaxFrameBytes && json.Valid(content) {
		return &single{payload: bytes.TrimSpace(content)}, nil
	}
	first, _, more := bytes.Cut(bytes.TrimLeft(content, " \t\r\n"), []byte("\n"))
	if !more || !json.Valid(first) {
		if len(content) > MaxFrameBytes {
			return nil, fmt.Errorf("line 1: the frame is longer than %d bytes, the largest that is read", MaxFrameBytes)
		}
		return nil, errors.New("line 1: the file begins like JSON but is not a JSON document, nor one a line")
	}
	return newLines(io.MultiReader(bytes.NewReader(content), reader), parseBareLine), nil
}

func parseBareLine(line []byte) (raw, bool, error) {
	if !json.Valid(line) {
		return raw{}, false, fmt.Errorf("expected a JSON document, found %q", clip(line, 60))
	}
	return raw{payload: bytes.TrimSpace(line)}, true, nil
}

func (s *single) line() int { return 1 }

func (s *single) next() (raw, error) {
	if s.read {
		return raw{}, io.EOF
	}
	s.read = true
	return raw{payload: s.payload, line: 1}, nil
}
