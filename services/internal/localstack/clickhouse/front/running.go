package front

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// running are the requests by their query_id, from the first byte to the last. It refuses a second request under the same
// id, as a server does, and it is how a KILL reaches a request that the engine does not know yet.
type running struct {
	mu   sync.Mutex
	byID map[string]*request
}

var errKilled = errors.New("killed by KILL QUERY")

func (r *running) add(q *request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.byID[q.id]; taken {
		return false
	}
	r.byID[q.id] = q
	return true
}

func (r *running) remove(q *request) {
	r.mu.Lock()
	delete(r.byID, q.id)
	r.mu.Unlock()
	close(q.ended)
}

func (r *running) get(id string) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// kill marks the requests as killed, so that one that is still being received or waiting never starts, and returns those
// that it found.
func (r *running) kill(ids []string) []*request {
	var found []*request
	for _, id := range ids {
		if q := r.get(id); q != nil {
			q.cancel(errKilled)
			found = append(found, q)
		}
	}
	return found
}

// waitEnded waits until the requests are over or ctx ends.
func waitEnded(ctx context.Context, requests []*request) {
	for _, q := range requests {
		select {
		case <-q.ended:
		case <-ctx.Done():
			return
		}
	}
}

// Wait waits until no request is left, at most for the time given.
func (f *Front) Wait(atMost time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	f.running.mu.Lock()
	var left []*request
	for _, q := range f.running.byID {
		left = append(left, q)
	}
	f.running.mu.Unlock()
	waitEnded(ctx, left)
	if ctx.Err() != nil {
		return fmt.Errorf("stopping the queries of the embedded ClickHouse: some still run after %s; the process has to be killed", atMost)
	}
	f.data.close()
	return nil
}
