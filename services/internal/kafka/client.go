package kafka

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

const (
	// logInterval is how often librdkafka's ring of log lines is emptied.
	logInterval = 250 * time.Millisecond
	// logQuiet is how long a line of the same kind stays suppressed; a broker that is away would fill a disk.
	logQuiet = 10 * time.Second
)

// client is a librdkafka handle with the goroutine that passes its log lines on.
type client struct {
	*rdkafka.Handle
	stop chan struct{}
	done sync.WaitGroup
}

func newClient(handle *rdkafka.Handle, bootstrap string, log *slog.Logger, metrics clientMetrics) *client {
	c := &client{Handle: handle, stop: make(chan struct{})}
	printer := &logPrinter{bootstrap: bootstrap, log: log, metrics: metrics, last: map[rdkafka.Code]time.Time{}}
	c.done.Go(func() {
		ticker := time.NewTicker(logInterval)
		defer ticker.Stop()
		for {
			select {
			case <-c.stop:
				printer.drain(handle)
				return
			case <-ticker.C:
				printer.drain(handle)
			}
		}
	})
	return c
}

// destroy ends the log goroutine, then frees the handle. hurry leaves a group without saying so.
func (c *client) destroy(hurry bool) {
	close(c.stop)
	c.done.Wait()
	c.Destroy(hurry)
}

// logPrinter turns what librdkafka tells into slog lines, at most one of a kind every logQuiet.
type logPrinter struct {
	bootstrap string
	log       *slog.Logger
	metrics   clientMetrics
	last      map[rdkafka.Code]time.Time
}

func (p *logPrinter) drain(handle *rdkafka.Handle) {
	entries, lost := handle.Logs()
	p.metrics.logs.WithLabelValues("suppressed").Add(float64(lost))
	for _, e := range entries {
		if e.Code != 0 {
			p.metrics.errors.WithLabelValues(itoa(int32(e.Code))).Inc()
		}
		// Lines without a code are kept apart by their level.
		kind := e.Code
		if kind == 0 {
			kind = rdkafka.Code(1_000_000 + e.Level)
		}
		if now := time.Now(); now.Sub(p.last[kind]) < logQuiet {
			p.metrics.logs.WithLabelValues("suppressed").Inc()
			continue
		} else {
			p.last[kind] = now
		}
		p.metrics.logs.WithLabelValues("written").Inc()
		p.print(e)
	}
}

func (p *logPrinter) print(e rdkafka.Log) {
	text := strings.Join(strings.Fields(e.Text), " ")
	switch kind := classify(e.Code); {
	case e.Code == rdkafka.LocalAllBrokersDown:
		p.log.Error("no kafka broker can be reached; waiting", "bootstrap_servers", p.bootstrap, "error", text, "remedy", remedy(ErrUnreachable))
	case e.Code != 0 && kind == ErrUnreachable:
		p.log.Warn("kafka broker cannot be reached; retrying", "bootstrap_servers", p.bootstrap, "error", text, "remedy", remedy(ErrUnreachable))
	case e.Code != 0 && kind != nil:
		p.log.Error("kafka client error", "error", text, "code", int(e.Code), "remedy", remedy(kind))
	case e.Code != 0 || e.Level <= 3:
		p.log.Warn("kafka client error", "error", text, "code", int(e.Code))
	case e.Level == 4:
		p.log.Warn("kafka client", "message", text)
	default:
		p.log.Debug("kafka client", "message", text)
	}
}

func lowOptions(options []option) []rdkafka.Option {
	low := make([]rdkafka.Option, len(options))
	for i, o := range options {
		low[i] = rdkafka.Option{Name: o.name, Value: o.value}
	}
	return low
}

func lowPartitions(parts []TopicPartition) []rdkafka.Partition {
	low := make([]rdkafka.Partition, len(parts))
	for i, tp := range parts {
		low[i] = rdkafka.Partition{Topic: tp.Topic, Partition: tp.Partition, Offset: OffsetNone}
	}
	return low
}

func highPartitions(low []rdkafka.Partition) []TopicPartition {
	parts := make([]TopicPartition, len(low))
	for i, p := range low {
		parts[i] = TopicPartition{Topic: p.Topic, Partition: p.Partition}
	}
	return parts
}
