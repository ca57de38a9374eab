package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clock is what plans and their deadlines are made and judged by: the machine's time when a session began, at which it is compared
// with ClickHouse's, and since then what a monotonic clock counts. A machine whose clock is set in the middle of a session would
// otherwise give plans a deadline that the table's memory does not reach, or look up a plan whose insert may still come.
type clock struct {
	wall  func() time.Time
	start atomic.Pointer[anchor]
}

// anchor is one moment by both clocks.
type anchor struct{ wall, monotonic time.Time }

// set begins anew at the machine's time.
func (c *clock) set() { c.start.Store(&anchor{wall: c.wall(), monotonic: time.Now()}) }

func (c *clock) now() time.Time {
	a := c.start.Load()
	if a == nil {
		return c.wall()
	}
	return a.wall.Add(time.Since(a.monotonic))
}

// clockError says that our clock and the server's are too far apart for a deadline to mean the same to both. It ends a session: the
// next one begins with the machine's time, and waits for as long as that is wrong.
type clockError struct{ text string }

func (e *clockError) Error() string { return e.text }

// sameClock compares our clock with the server's. A *clockError means that they differ by more than the margin.
func (p *product) sameClock(ctx context.Context) error {
	before := p.now()
	server, err := number(ctx, p.deps.ClickHouse, "SELECT toUnixTimestamp64Milli(now64(3))")
	if err != nil {
		return err
	}
	after := p.now()
	// What is left of the horizon after deadline and execution is the margin.
	margin := time.Duration(p.horizon()) * time.Second * (100 - deadlinePercent - executionPercent) / 100 / 2
	if server < before.Add(-margin).UnixMilli() || server > after.Add(margin).UnixMilli() {
		return &clockError{fmt.Sprintf("the clocks of ClickHouse (%s) and of this writer (%s) are more than %s apart, which exactly once does not allow; set them right",
			time.UnixMilli(server).UTC().Format(time.RFC3339Nano), after.UTC().Format(time.RFC3339Nano), margin)}
	}
	return nil
}
