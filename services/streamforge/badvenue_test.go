//go:build cgo

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestAVenueThatSendsGarbage: frames that are none become dead letters, untouched and with the reason; a frame of 100 MB
// becomes a gap; and everything else goes on.
func TestAVenueThatSendsGarbage(t *testing.T) {
	t.Parallel()
	s := processtest.Start(t, localstack.Embedded, "--symbols", "8")
	s.AwaitRows(50, "SELECT count() FROM raw_trades")

	t.Run("garbage", func(t *testing.T) {
		s.Fault(`{"kind":"garbage","rate":0.01,"count":15}`)
		s.AwaitRows(15, "SELECT count() FROM dead_letters WHERE status = 'FAILED' AND error_class = 'bad-frame'")
		// A letter holds the record untouched: the frame of the same coordinates, behind the wire format's five bytes.
		processtest.Await(t, "every letter's frame", patience, func() error {
			answer, err := s.Query(`SELECT count(), countIf(endsWith(ifNull(l.value, ''), f.payload)), countIf(l.error = '')
				FROM dead_letters l JOIN raw_frames f ON f._topic_id = l.topic_id AND f._partition = l.partition AND f._offset = l.offset FORMAT TSV`)
			if err == nil && answer != "15\t15\t0" {
				err = fmt.Errorf("letters with a frame, letters that hold it, letters without a reason: %q, expected 15, 15 and 0", answer)
			}
			return err
		})
		flows(s)
	})

	t.Run("100 MB", func(t *testing.T) {
		s.Fault(`{"kind":"giant","venue":"kraken","count":1}`)
		processtest.Await(t, "a gap for every symbol of the connection", patience, func() error {
			answer, err := s.Query("SELECT uniqExact(symbol) FROM feed_gaps WHERE venue = 'kraken' AND reason = 'FRAME_TOO_LARGE' FORMAT TSV")
			if err == nil && answer != "8" {
				err = fmt.Errorf("%s of 8 symbols", answer)
			}
			return err
		})
		// The other venues never noticed, and kraken itself is back.
		flows(s)
		if answer := s.MustQuery("SELECT count() FROM feed_gaps WHERE venue != 'kraken' AND reason = 'FRAME_TOO_LARGE' FORMAT TSV"); answer != "0" {
			t.Errorf("%s gaps of other venues", answer)
		}
	})

	for _, name := range []string{"loader", "parser", "writer"} {
		if log := s.Log(name); stackTrace.MatchString(log) {
			t.Errorf("%s shows a stack trace:\n%s", name, log)
		}
		if n := strings.Count(s.Log(name), `"msg":"started"`); n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
	awaitHealth(t, s)
}

// flows waits until every venue's trades, received from now on, are rows.
func flows(s *processtest.Stack) {
	now := time.Now().UnixMicro()
	s.AwaitRows(3, fmt.Sprintf("SELECT uniqExact(venue) FROM raw_trades WHERE received_at > fromUnixTimestamp64Micro(%d)", now))
}
