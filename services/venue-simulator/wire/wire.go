// Package wire is the server's side of WebSocket (RFC 6455) as a venue needs it: a frame is rendered once, header and
// all, and its bytes are appended to the buffers of many connections, which write hundreds of frames with one system
// call. A general library flushes every message on its own, which at 100,000 frames a second is most of the work. The
// clients of the tests are such a library.
package wire

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 prescribes SHA-1 for the handshake; it protects nothing.
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Opcode is the kind of a frame.
type Opcode byte

// Opcodes of RFC 6455, section 5.2.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Close codes that a venue uses.
const (
	NormalClosure   = 1000
	GoingAway       = 1001
	ProtocolError   = 1002
	PolicyViolation = 1008
	MessageTooBig   = 1009
)

// MaxHeaderBytes is the longest header of a frame that a server sends.
const MaxHeaderBytes = 10

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AppendHeader appends the header of an unfragmented, unmasked frame.
func AppendHeader(dst []byte, op Opcode, length int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case length < 126:
		return append(dst, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
	}
}

// AppendFrame appends a whole frame.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendClose appends a close frame; a control frame's payload is at most 125 bytes, so a long reason is cut.
func AppendClose(dst []byte, code int, reason string) []byte {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	payload = append(payload, reason...)
	return AppendFrame(dst, Close, payload[:min(len(payload), 125)])
}

// Upgrade answers the handshake and takes the connection over from the HTTP server. When it fails, the answer has been
// written.
func Upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, *bufio.Reader, error) {
	key := r.Header.Get("Sec-WebSocket-Key")
	switch {
	case !tokenIn(r.Header.Values("Connection"), "upgrade") || !tokenIn(r.Header.Values("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		return nil, nil, refuse(w, http.StatusUpgradeRequired, "this path speaks WebSocket; connect with a WebSocket client")
	case r.Method != http.MethodGet || r.Header.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		return nil, nil, refuse(w, http.StatusBadRequest, "WebSocket version 13 is required")
	}
	if nonce, err := base64.StdEncoding.DecodeString(key); err != nil || len(nonce) != 16 {
		return nil, nil, refuse(w, http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64")
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return nil, nil, refuse(w, http.StatusInternalServerError, "this HTTP server cannot hand a connection over")
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection of %s: %w", r.RemoteAddr, err)
	}
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // see the import
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	// The HTTP server's deadlines end with the handshake.
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(answer)); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("answering the handshake of %s: %w", r.RemoteAddr, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, buffered.Reader, nil
}

func refuse(w http.ResponseWriter, status int, text string) error {
	http.Error(w, text, status)
	return errors.New(text)
}

func tokenIn(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// CloseError is a violation of the protocol: the connection is to be closed with this code.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closing with %d: %s", e.Code, e.Reason) }

// Message is what a client sent: a whole text or binary message, or a control frame.
type Message struct {
	Op      Opcode
	Payload []byte // valid until the next Read
}

// Reader reads a client's messages. Not safe for concurrent use.
type Reader struct {
	source   *bufio.Reader
	maxBytes int
	message  []byte
	control  [125]byte
	partial  Opcode // of the message under way; 0: none
}

// NewReader reads from source messages of at most maxBytes.
func NewReader(source *bufio.Reader, maxBytes int) *Reader {
	return &Reader{source: source, maxBytes: maxBytes}
}

type header struct {
	op     Opcode
	final  bool
	length int64
	mask   [4]byte
}

// Read returns the next whole message, or the next control frame, which may stand between the parts of a message.
func (r *Reader) Read() (Message, error) {
	for {
		h, err := r.header()
		if err != nil {
			return Message{}, err
		}
		if h.op >= Close {
			payload := r.control[:h.length]
			if err := r.body(payload, h.mask); err != nil {
				return Message{}, err
			}
			return Message{h.op, payload}, nil
		}
		if r.partial == 0 {
			r.message, r.partial = r.message[:0], h.op
		}
		if h.length > int64(r.maxBytes-len(r.message)) {
			return Message{}, &CloseError{MessageTooBig, fmt.Sprintf("a message is longer than %d bytes", r.maxBytes)}
		}
		start := len(r.message)
		r.message = append(r.message, make([]byte, h.length)...)
		if err := r.body(r.message[start:], h.mask); err != nil {
			return Message{}, err
		}
		if !h.final {
			continue
		}
		op := r.partial
		r.partial = 0
		if op == Text && !utf8.Valid(r.message) {
			return Message{}, &CloseError{1007, "a text message is not UTF-8"}
		}
		return Message{op, r.message}, nil
	}
}

func (r *Reader) header() (header, error) {
	var b [8]byte
	if _, err := io.ReadFull(r.source, b[:2]); err != nil {
		return header{}, err
	}
	h := header{op: Opcode(b[0] & 0x0F), final: b[0]&0x80 != 0, length: int64(b[1] & 0x7F)}
	masked := b[1]&0x80 != 0
	switch h.length {
	case 126:
		if _, err := io.ReadFull(r.source, b[:2]); err != nil {
			return header{}, err
		}
		h.length = int64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		if _, err := io.ReadFull(r.source, b[:8]); err != nil {
			return header{}, err
		}
		h.length = int64(binary.BigEndian.Uint64(b[:8]))
	}
	if err := r.check(h, b[0], masked); err != nil {
		return header{}, err
	}
	_, err := io.ReadFull(r.source, h.mask[:])
	return h, err
}

func (r *Reader) check(h header, first byte, masked bool) error {
	control := h.op >= Close
	switch {
	case first&0x70 != 0:
		return &CloseError{ProtocolError, "reserved bits are set"}
	case !masked:
		return &CloseError{ProtocolError, "a client's frame is not masked"}
	case h.op > Binary && !control || h.op > Pong:
		return &CloseError{ProtocolError, "unknown opcode"}
	case control && (!h.final || h.length > 125):
		return &CloseError{ProtocolError, "a control frame is fragmented or too long"}
	case h.length < 0:
		return &CloseError{ProtocolError, "a length has its highest bit set"}
	case h.op == Continuation && r.partial == 0, !control && h.op != Continuation && r.partial != 0:
		return &CloseError{ProtocolError, "the fragments of a message are out of order"}
	}
	return nil
}

func (r *Reader) body(dst []byte, mask [4]byte) error {
	if _, err := io.ReadFull(r.source, dst); err != nil {
		return err
	}
	for i := range dst {
		dst[i] ^= mask[i&3]
	}
	return nil
}
