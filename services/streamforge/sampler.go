//go:build cgo

package main

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack"
)

// Sample is what the live view shows: the state of a running pipeline at one moment.
type Sample struct {
	At      time.Time
	Elapsed time.Duration
	// FramesPerSecond and TradesPerSecond over the last sample interval.
	FramesPerSecond, TradesPerSecond float64
	Frames, Trades, Books            int64
	Groups                           []GroupLag
	// Rows by table.
	Rows map[string]int64
	// Latency from received_at to visible in a SELECT.
	P50, P99 time.Duration
	// DeadLetters in the table.
	DeadLetters int64
	// Errors are the newest error lines of the programs' logs.
	Errors []string
}

// TotalRows of all tables.
func (s *Sample) TotalRows() int64 {
	var total int64
	for _, n := range s.Rows {
		total += n
	}
	return total
}

// GroupLag is how far one consumer group is behind.
type GroupLag struct {
	Group   string
	Records int64
	Seconds float64
}

// sampler observes a pipeline from outside: the programs' metrics, the broker's groups and ClickHouse's tables.
type sampler struct {
	stack   *localstack.Stack
	admin   *kafka.Admin
	db      *sql.DB
	groups  map[string][]string // group → topics
	tables  []string
	logs    *logTail
	started time.Time
	latency *latencyProbe

	// lagPatience is how long one look waits for the lags; 0 waits until they are there. The first ones take a second or
	// two, for a reader of the topics must be connected, and a view must not stand still for so long.
	lagPatience time.Duration

	mu       sync.Mutex
	previous Sample
	lagging  chan measuredLag // a measurement under way, or nil
}

// measuredLag is how far every group is behind.
type measuredLag struct {
	groups []GroupLag
	err    error
}

// newSampler begins an observation: rates are over the time since then.
func newSampler(ctx context.Context, s *session) *sampler {
	view := &sampler{
		stack: s.stack, admin: s.admin, db: s.db, groups: s.groups(), tables: s.tables(), started: time.Now(),
		logs: s.logs, latency: newLatencyProbe(s.db, "raw_trades", s.found.TopicIDs["raw-trades"], func(partition int32) int64 {
			return s.found.Offsets[kafka.TopicPartition{Topic: "raw-trades", Partition: partition}]
		}),
	}
	view.previous.At = view.started
	view.sampleCounts(ctx, &view.previous)
	return view
}

// Sample looks once. What cannot be seen this time keeps its last value and is told among the errors.
func (s *sampler) Sample(ctx context.Context) Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	sample := s.previous
	sample.At, sample.Elapsed, sample.Errors = now, now.Sub(s.started), nil
	s.sampleCounts(ctx, &sample)
	if interval := now.Sub(s.previous.At).Seconds(); !s.previous.At.IsZero() && interval > 0 {
		sample.FramesPerSecond = max(0, float64(sample.Frames-s.previous.Frames)/interval)
		sample.TradesPerSecond = max(0, float64(sample.Trades-s.previous.Trades)/interval)
	}
	s.sampleLag(ctx, &sample)
	s.sampleRows(ctx, &sample)
	sample.P50, sample.P99 = s.latency.Quantiles()
	sample.Errors = append(sample.Errors, s.logs.Errors()...)
	s.previous = sample
	s.previous.Errors = nil
	return sample
}

func (s *sampler) sampleCounts(ctx context.Context, sample *Sample) {
	loader := scrape(ctx, s.stack.HTTP("loader"))
	parser := scrape(ctx, s.stack.HTTP("parser"))
	if v, ok := loader["streamforge_loader_records_total"]; ok {
		sample.Frames = int64(v)
	}
	if v, ok := parser["streamforge_parser_trades_total"]; ok {
		sample.Trades = int64(v)
		sample.Books = int64(parser["streamforge_parser_orderbook_events_total"])
	}
}

// sampleLag takes the lags of a measurement that is ready in time; the last ones stand until then.
func (s *sampler) sampleLag(ctx context.Context, sample *Sample) {
	if s.lagging == nil {
		s.lagging = make(chan measuredLag, 1)
		go func(ready chan<- measuredLag) { ready <- s.measureLag(ctx) }(s.lagging)
	}
	var late <-chan time.Time
	if s.lagPatience > 0 {
		timer := time.NewTimer(s.lagPatience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case measured := <-s.lagging:
		s.lagging = nil
		if measured.err != nil {
			sample.Errors = append(sample.Errors, measured.err.Error())
			return
		}
		sample.Groups = measured.groups
	case <-late:
	}
}

func (s *sampler) measureLag(ctx context.Context) measuredLag {
	var groups []GroupLag
	for group, topics := range s.groups {
		lags, err := s.admin.Lag(ctx, group, topics)
		if err != nil {
			return measuredLag{err: fmt.Errorf("lag of %s: %w", group, err)}
		}
		total := GroupLag{Group: group}
		for _, lag := range lags {
			total.Records += lag.Records
			total.Seconds = max(total.Seconds, lag.Seconds)
		}
		groups = append(groups, total)
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].Group < groups[j].Group })
	return measuredLag{groups: groups}
}

func (s *sampler) sampleRows(ctx context.Context, sample *Sample) {
	parts := make([]string, len(s.tables))
	for i, table := range s.tables {
		parts[i] = fmt.Sprintf("SELECT '%s', toInt64(count()) FROM %s", table, table)
	}
	rows, err := s.db.QueryContext(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		sample.Errors = append(sample.Errors, fmt.Sprintf("rows in ClickHouse: %v", err))
		return
	}
	defer rows.Close()
	counts := map[string]int64{}
	for rows.Next() {
		var table string
		var n int64
		if err := rows.Scan(&table, &n); err != nil {
			sample.Errors = append(sample.Errors, err.Error())
			return
		}
		counts[table] = n
	}
	sample.Rows = counts
	sample.DeadLetters = counts["dead_letters"]
}

// scrape reads a program's metrics, summed over their labels; nothing when it does not answer.
func scrape(ctx context.Context, address string) map[string]float64 {
	sums := map[string]float64{}
	for name, family := range scrapeFamilies(ctx, address) {
		for _, m := range family.GetMetric() {
			sums[name] += valueOf(m)
		}
	}
	return sums
}

// scrapeBy reads one metric of a program, summed by the values of one label.
func scrapeBy(ctx context.Context, address, metric, label string) map[string]float64 {
	sums := map[string]float64{}
	for _, m := range scrapeFamilies(ctx, address)[metric].GetMetric() {
		for _, pair := range m.GetLabel() {
			if pair.GetName() == label {
				sums[pair.GetValue()] += valueOf(m)
			}
		}
	}
	return sums
}

func valueOf(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

func scrapeFamilies(ctx context.Context, address string) map[string]*dto.MetricFamily {
	if address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil
	}
	return families
}

// latencyProbe measures from outside when rows become visible: it asks the table again and again for rows that it has
// not seen, by offset, and takes the age of their received_at. Its own interval is part of what it measures, so the
// figures are upper bounds.
type latencyProbe struct {
	db      *sql.DB
	table   string
	topicID uuid.UUID
	next    [maxPartitions]int64

	mu      sync.Mutex
	buckets [latencyBuckets]int64
	total   int64
}

const (
	probeInterval  = 100 * time.Millisecond
	maxPartitions  = 64
	latencyBuckets = 60_000 // one a millisecond; the last holds everything above
)

// newLatencyProbe looks at rows of one topic from the offsets given on.
func newLatencyProbe(db *sql.DB, table string, topicID uuid.UUID, from func(partition int32) int64) *latencyProbe {
	l := &latencyProbe{db: db, table: table, topicID: topicID}
	for partition := range l.next {
		l.next[partition] = from(int32(partition))
	}
	return l
}

// Run probes until ctx ends.
func (l *latencyProbe) Run(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A failed look is not an error of the pipeline; the rows are seen, older, by the next one.
			_ = l.probe(ctx)
		}
	}
}

func (l *latencyProbe) probe(ctx context.Context) error {
	next := make([]string, len(l.next))
	for i, offset := range l.next {
		next[i] = fmt.Sprint(offset)
	}
	// The condition on received_at lets ClickHouse skip what cannot be new.
	query := fmt.Sprintf(`SELECT _partition, max(_offset), groupArraySample(1000)(toInt64(dateDiff('millisecond', received_at, now64(6))))
		FROM %s WHERE received_at > now64(6) - INTERVAL 60 SECOND AND _topic_id = '%s' AND _offset >= [%s][_partition + 1] GROUP BY _partition`,
		l.table, l.topicID, strings.Join(next, ","))
	rows, err := l.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var partition int32
		var highest int64
		var ages []int64
		if err := rows.Scan(&partition, &highest, &ages); err != nil {
			return err
		}
		if partition < maxPartitions {
			l.next[partition] = highest + 1
		}
		l.add(ages)
	}
	return rows.Err()
}

func (l *latencyProbe) add(ages []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, age := range ages {
		l.buckets[min(max(age, 0), latencyBuckets-1)]++
		l.total++
	}
}

// Quantiles are the median and the 99th percentile of all rows seen so far.
func (l *latencyProbe) Quantiles() (p50, p99 time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quantile(0.50), l.quantile(0.99)
}

func (l *latencyProbe) quantile(q float64) time.Duration {
	want := int64(math.Ceil(q * float64(l.total)))
	if want == 0 {
		return 0
	}
	var seen int64
	for i, n := range l.buckets {
		if seen += n; seen >= want {
			return time.Duration(i) * time.Millisecond
		}
	}
	return latencyBuckets * time.Millisecond
}
