package subscription

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Standing is whether a member of a group is at work, for /readyz and for the alarm.
type Standing struct {
	running atomic.Pointer[kafka.Processor]
	blocked atomic.Pointer[string]
	waiting atomic.Pointer[string]

	blocks    *prometheus.CounterVec
	isBlocked prometheus.Gauge
}

// NewStanding makes one that counts standstills by cause, and shows whether there is one.
func NewStanding(blocks *prometheus.CounterVec, isBlocked prometheus.Gauge) *Standing {
	return &Standing{blocks: blocks, isBlocked: isBlocked}
}

// Ready says why nothing is handled: it waits for a registry, a broker or partitions, or a record blocks it.
func (s *Standing) Ready() error {
	if blocked := s.blocked.Load(); blocked != nil {
		return errors.New("blocked: " + *blocked)
	}
	if p := s.running.Load(); p == nil || !p.Ready() {
		if waiting := s.waiting.Load(); waiting != nil {
			return errors.New("waiting for " + *waiting)
		}
		return errors.New("starting")
	}
	return nil
}

// Waits names what is waited for.
func (s *Standing) Waits(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	s.waiting.Store(&text)
}

// Runs names the processor, which knows whether it has partitions.
func (s *Standing) Runs(p *kafka.Processor) { s.running.Store(p) }

// Tell keeps what became of a batch: nil, or why it was put back.
func (s *Standing) Tell(err error) {
	if err == nil {
		if s.blocked.Load() != nil {
			s.blocked.Store(nil)
			s.isBlocked.Set(0)
		}
		return
	}
	text := err.Error()
	s.blocked.Store(&text)
	s.isBlocked.Set(1)
	s.blocks.WithLabelValues(CauseOf(err)).Inc()
}
