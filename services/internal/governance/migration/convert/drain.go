package convert

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// drainPause between two looks.
const drainPause = 200 * time.Millisecond

// AwaitDrained waits until a direction's converter has committed every record of its topic. It tells the truth only when
// nobody writes to that topic any more but converters, which the caller has to see to.
func (p *Pair) AwaitDrained(ctx context.Context, admin *kafka.Admin, d Direction) error {
	source, _, _ := p.sides(d)
	tick := time.NewTicker(drainPause)
	defer tick.Stop()
	for {
		// A transaction of a producer that was killed may still be open, with records that are yet to be read.
		if err := admin.AwaitCommitted(ctx, source.Topic.Name); err != nil {
			return err
		}
		lags, err := admin.Lag(ctx, p.Group(d), []string{source.Topic.Name})
		if err != nil {
			return err
		}
		left := int64(0)
		for _, lag := range lags {
			left += lag.Records
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func countOf(c prometheus.Counter) int64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return 0
	}
	return int64(m.GetCounter().GetValue())
}
