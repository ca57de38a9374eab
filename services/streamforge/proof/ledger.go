package proof

import (
	"bufio"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// payload identifies a frame's bytes well enough to compare two multisets of them.
type payload struct {
	hash   uint64
	length int64
}

func payloadOf(b []byte) payload { return payload{hash: xxhash.Sum64(b), length: int64(len(b))} }

// Ledger is what the simulator wrote down of what it sent, line by line: connection, index, kind (F a WebSocket
// message, S a REST body), xxhash64 of the bytes, their length, and the trades and book updates that it put into them.
type Ledger struct {
	sent            map[payload]int64
	frames          int64
	trades, updates int64
}

// ReadLedger reads the file that the simulator was told to write.
func ReadLedger(path string) (*Ledger, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the simulator's ledger: %w", err)
	}
	defer f.Close()
	l := &Ledger{sent: map[payload]int64{}}
	scanner := bufio.NewScanner(f)
	for line := 1; scanner.Scan(); line++ {
		if err := l.add(scanner.Text()); err != nil {
			return nil, fmt.Errorf("reading the simulator's ledger %s:%d: %w", path, line, err)
		}
	}
	return l, scanner.Err()
}

func (l *Ledger) add(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 7 || strings.HasPrefix(line, "#") {
		if strings.HasPrefix(line, "#") || len(fields) == 0 {
			return nil
		}
		return fmt.Errorf("%d fields in %q, want 7", len(fields), line)
	}
	if fields[2] != "F" && fields[2] != "S" {
		return nil
	}
	hash, err := strconv.ParseUint(fields[3], 16, 64)
	if err != nil {
		return err
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(fields[4+i], 10, 64); err != nil {
			return err
		}
	}
	l.sent[payload{hash: hash, length: numbers[0]}]++
	l.frames++
	l.trades += numbers[1]
	l.updates += numbers[2]
	return nil
}

// Sent is the ledger of payloads that were sent otherwise, those of a recording: nothing is said of what they hold.
func Sent(payloads iter.Seq2[[]byte, error]) (*Ledger, error) {
	l := &Ledger{sent: map[payload]int64{}}
	for body, err := range payloads {
		if err != nil {
			return nil, err
		}
		l.sent[payloadOf(body)]++
		l.frames++
	}
	return l, nil
}
