package simulator

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/internal/market/capture"
	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
	"github.com/streamforge/streamforge/services/venue-simulator/wire"
)

// replayBufferBytes is how far a replay runs ahead of its client.
const replayBufferBytes = 1 << 20

// replay serves a recording once.
type replay struct {
	recording *capture.Capture
	speed     float64
	taken     atomic.Bool
	finished  atomic.Bool
}

func newReplay(recording *capture.Capture, speed float64) *replay {
	return &replay{recording: recording, speed: speed}
}

// replayDialect ignores what the client sends: the recording holds the answers that the recorder got.
type replayDialect struct{}

func (replayDialect) handle(*session, []byte)  {}
func (replayDialect) beat(*session, time.Time) {}

// serveReplay serves the recording to the first client; there is no second time, so that a ledger counts once.
func (s *Server) serveReplay(w http.ResponseWriter, r *http.Request) {
	if s.replay == nil {
		http.Error(w, "nothing to replay: the simulator runs a synthetic market; start it with --replay FILE", http.StatusNotFound)
		return
	}
	if r.Header.Get("Upgrade") != "" && s.replay.taken.Swap(true) {
		http.Error(w, "the recording was served already; start the simulator again to serve it again", http.StatusGone)
		return
	}
	served := s.serveConn(w, r, s.venues[0], func(*session) dialect { return replayDialect{} }, func(session *session) {
		s.generator.Add(1)
		go s.play(session.conn)
	})
	if !served {
		s.replay.taken.Store(false)
	}
}

// play sends the entries, as a text message the frames, as a binary message the REST bodies with a line of JSON before.
func (s *Server) play(c *conn) {
	defer s.generator.Done()
	began := time.Now()
	var frame, payload []byte
	for e, err := range s.replay.recording.Entries() {
		if err != nil {
			s.log.Error("the replay ended early", "error", err.Error())
			c.finish()
			return
		}
		if !s.pace(c, began, e.ReceivedAt) {
			return
		}
		entry := ledger.Entry{Venue: c.venue, Kind: ledger.Frame, Length: int32(len(e.Payload)), Hash: xxhash.Sum64(e.Payload)}
		op := wire.Text
		payload = e.Payload
		if e.REST {
			op, entry.Kind = wire.Binary, ledger.RESTSnapshot
			payload = restMessage(e)
		}
		frame = wire.AppendFrame(frame[:0], op, payload)
		s.deliverEntry(c, frame, entry)
	}
	c.closeWith(wire.NormalClosure, "the recording has ended")
	<-c.gone
	if err := s.ledger.Flush(); err != nil {
		s.log.Error("the ledger is incomplete", "error", err.Error())
	}
	s.replay.finished.Store(true)
}

// deliverEntry enqueues one entry. Faults work on replays, too; a symbol cannot be told here, so those of all symbols do.
func (s *Server) deliverEntry(c *conn, frame []byte, entry ledger.Entry) {
	if s.faults.any.Load() && s.tampered(c, s.venues[0], "*", frame, entry) {
		return
	}
	if !c.enqueue(frame, entry) {
		s.drop(entry.Venue, "connection", 1)
	}
	c.notify()
}

// restMessage is the form of a REST body on the WebSocket: whose it is, a line feed, the body.
func restMessage(e capture.Entry) []byte {
	header, err := json.Marshal(struct {
		VenueSymbol string `json:"venue_symbol"`
		Request     string `json:"request"`
	}{e.VenueSymbol, e.Request})
	if err != nil {
		panic("BUG: a header of two strings cannot be written: " + err.Error())
	}
	return append(append(header, '\n'), e.Payload...)
}

// pace waits until an entry is due, and until the client has read most of what was sent. False: stop.
func (s *Server) pace(c *conn, began time.Time, receivedAt int64) bool {
	if s.replay.speed > 0 && receivedAt > 0 {
		due := began.Add(time.Duration(float64(receivedAt-s.replay.recording.FirstReceivedAt) / s.replay.speed))
		if wait := time.Until(due); wait > time.Millisecond {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-c.gone:
				return false
			case <-s.stop:
				return false
			}
		}
	}
	return c.waitForSpace(replayBufferBytes, s.stop)
}
