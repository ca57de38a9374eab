package front

import (
	"context"
	"errors"
	"sync/atomic"
)

// places is a bounded number of places with a bounded queue before them.
type places struct {
	free    chan struct{}
	waiting atomic.Int64
	most    int64
	onWait  func(delta float64)
}

var errTooManyWaiting = errors.New("too many simultaneous queries")

func newPlaces(count, queue int, onWait func(delta float64)) *places {
	return &places{free: make(chan struct{}, count), most: int64(queue), onWait: onWait}
}

// take waits for a place until ctx ends.
func (p *places) take(ctx context.Context) error {
	select {
	case p.free <- struct{}{}:
		return nil
	default:
	}
	if p.waiting.Add(1) > p.most {
		p.waiting.Add(-1)
		return errTooManyWaiting
	}
	p.onWait(1)
	defer func() { p.waiting.Add(-1); p.onWait(-1) }()
	select {
	case p.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *places) give() { <-p.free }
