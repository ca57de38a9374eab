package wire_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// clientFrame is what a client would send: masked.
func clientFrame(op wire.Opcode, final bool, payload, mask []byte) []byte {
	b := []byte{byte(op)}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:4]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func TestAMessageIsReadHoweverItIsCutIntoFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := []byte(rapid.StringN(0, 300, 70000).Draw(t, "payload"))
		mask := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "mask")
		pieces := rapid.IntRange(1, 4).Draw(t, "pieces")
		var stream []byte
		op := wire.Text
		for rest := payload; pieces > 0; pieces-- {
			n := len(rest)
			if pieces > 1 {
				n = rapid.IntRange(0, len(rest)).Draw(t, "cut")
			}
			stream = append(stream, clientFrame(op, pieces == 1, rest[:n], mask)...)
			if pieces > 1 {
				stream = append(stream, clientFrame(wire.Ping, true, []byte("between"), mask)...)
			}
			rest, op = rest[n:], wire.Continuation
		}
		r := wire.NewReader(bufio.NewReader(bytes.NewReader(stream)), 1<<20)
		for {
			m, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			if m.Op == wire.Ping && string(m.Payload) == "between" {
				continue
			}
			if m.Op != wire.Text || !bytes.Equal(m.Payload, payload) {
				t.Fatalf("read %v %q", m.Op, m.Payload)
			}
			return
		}
	})
}

func TestViolationsAreClosedWithTheirCode(t *testing.T) {
	mask := []byte{1, 2, 3, 4}
	tests := []struct {
		name   string
		stream []byte
		code   int
	}{
		{"not masked", []byte{0x81, 0x01, 'x'}, wire.ProtocolError},
		{"reserved bit", []byte{0xC1, 0x80, 0, 0, 0, 0}, wire.ProtocolError},
		{"unknown opcode", clientFrame(3, true, nil, mask), wire.ProtocolError},
		{"fragmented ping", clientFrame(wire.Ping, false, nil, mask), wire.ProtocolError},
		{"continuation of nothing", clientFrame(wire.Continuation, true, nil, mask), wire.ProtocolError},
		{"negative length", []byte{0x81, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0}, wire.ProtocolError},
		{"too big", clientFrame(wire.Text, true, make([]byte, 2000), mask), wire.MessageTooBig},
		{"not UTF-8", clientFrame(wire.Text, true, []byte{0xFF, 0xFE}, mask), 1007},
	}
	for _, test := range tests {
		_, err := wire.NewReader(bufio.NewReader(bytes.NewReader(test.stream)), 1000).Read()
		var violation *wire.CloseError
		if !errors.As(err, &violation) || violation.Code != test.code {
			t.Errorf("%s: %v, expected code %d", test.name, err, test.code)
		}
	}
}

func TestOnlyAWebSocketHandshakeIsUpgraded(t *testing.T) {
	for name, headers := range map[string]http.Header{
		"no upgrade":  {},
		"old version": {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}},
		"bad key":     {"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"short"}},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", strings.NewReader(""))
		r.Header = headers
		if _, _, err := wire.Upgrade(w, r); err == nil || w.Code < 400 {
			t.Errorf("%s: %v, status %d", name, err, w.Code)
		}
	}
}

func FuzzReader(f *testing.F) {
	mask := []byte{9, 8, 7, 6}
	f.Add(clientFrame(wire.Text, true, []byte(`{"method":"SUBSCRIBE"}`), mask))
	f.Add(append(clientFrame(wire.Text, false, []byte("a"), mask), clientFrame(wire.Continuation, true, []byte("b"), mask)...))
	f.Add(clientFrame(wire.Close, true, []byte{3, 232}, mask))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := wire.NewReader(bufio.NewReader(bytes.NewReader(stream)), 1<<16)
		for {
			m, err := r.Read()
			if err != nil {
				var violation *wire.CloseError
				if !errors.As(err, &violation) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			if len(m.Payload) > 1<<16 {
				t.Fatalf("a message of %d bytes", len(m.Payload))
			}
		}
	})
}
