package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// replayer performs the replays that people ask this process's groups for, one after the other, beside the products. What
// keeps a row from being doubled needs no owner and no order of words: it is written in internal/deadletters/README.md.
type replayer struct {
	deps     Deps
	admin    *kafka.Admin
	products map[string]*product // by group
	producer *kafka.Producer
	log      *slog.Logger
	replays  *prometheus.CounterVec

	cluster  string
	requests *deadletters.Requests
	next     map[string]time.Time // by group, not before this is the next replay
	said     string
}

const (
	replayPause = time.Second
	// performTimeout bounds one replay, so that one that hangs does not hold up the others for ever.
	performTimeout = time.Minute
	// slotSeconds is how long a letter's token is the same, at most.
	slotSeconds = 30
	// replayShare is one over the share of a table's parts a second that replays may take, which the margin of a plan's horizon bears.
	replayShare = 20
)

func newReplayer(deps Deps, admin *kafka.Admin, products []*product) (*replayer, error) {
	r := &replayer{
		deps: deps, admin: admin, products: map[string]*product{}, log: deps.Log.With("part", "replay"),
		next: map[string]time.Time{},
		replays: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamforge_writer_replays_total", Help: "Dead letters whose replay was tried, by what came of it: replayed, present, failed, waiting.",
		}, []string{"product", "outcome"}),
	}
	deps.Metrics.MustRegister(r.replays)
	for _, p := range products {
		r.products[p.group] = p
	}
	r.requests = deadletters.NewRequests(deps.Kafka, admin, func(group string) bool { return r.products[group] != nil })
	var err error
	r.producer, err = kafka.NewProducer(deps.Kafka, kafka.ProducerConfig{ProducerName: deps.Producer, QueueMaxBytes: 32 << 20}, r.log, prometheus.NewRegistry())
	return r, err
}

// run replays until ctx ends. Whatever fails is tried again: a request stays open until its group has answered it.
func (r *replayer) run(ctx context.Context) {
	defer r.producer.Close()
	for ctx.Err() == nil {
		if err := r.round(ctx); err != nil && ctx.Err() == nil && err.Error() != r.said {
			r.said = err.Error()
			r.log.Warn("replays are waiting", "error", r.said)
		}
		select {
		case <-ctx.Done():
		case <-time.After(replayPause):
		}
	}
}

// round reads to the end first, so that a request that was withdrawn or answered since is not performed.
func (r *replayer) round(ctx context.Context) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	var failed error
	for key, request := range r.requests.Open {
		p := r.products[request.Group]
		now := time.Now()
		if p.controls.Last(p.group).Paused() || !p.owned.has(request.Source) || now.Before(r.next[request.Group]) {
			continue
		}
		done, err := r.perform(ctx, p, request)
		if err != nil {
			r.replays.WithLabelValues(p.topic, "waiting").Inc()
			failed = fmt.Errorf("replay of %s: %w", key, err)
		}
		if done {
			delete(r.requests.Open, key)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.next[request.Group] = now.Add(p.owned.interval(p.partsPerSecond()))
	}
	return failed
}

// catchUp reads what dead-letters has since the last time.
func (r *replayer) catchUp(ctx context.Context) error {
	if r.cluster == "" {
		id, err := r.admin.ClusterID(ctx)
		if err != nil {
			return err
		}
		r.cluster = id
	}
	return r.requests.CatchUp(ctx)
}

// perform replays one letter. Done says that its group has answered.
func (r *replayer) perform(ctx context.Context, p *product, request deadletters.Request) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, performTimeout)
	defer cancel()
	key := request.Key
	letter, asked, err := r.requests.Read(ctx, request)
	if err != nil || !asked {
		return err == nil, err
	}
	there, err := r.insert(ctx, p, &letter)
	var bad *badRecordError
	switch {
	case errors.As(err, &bad):
		r.replays.WithLabelValues(p.topic, "failed").Inc()
		r.log.Warn("replay failed", "letter", key, "class", bad.class, "error", bad.Error())
		return r.say(ctx, func(w *deadletters.Writer) kafka.Message { return w.Again(letter, bad.class, bad.err) })
	case err != nil:
		return false, err
	}
	outcome, how := "replayed", "replayed by "
	if there {
		outcome, how = "present", "was in the table already, found by "
	}
	done, err = r.say(ctx, func(w *deadletters.Writer) kafka.Message {
		return w.Resolve(letter, records.DeadLetterReplayed, how+r.deps.Producer+"; "+letter.Resolution)
	})
	if done {
		r.replays.WithLabelValues(p.topic, outcome).Inc()
		r.log.Info("replayed", "letter", key, "outcome", outcome)
	}
	return done, err
}

// insert brings a letter's row into the table, unless it is there. A *badRecordError means that it is still no row.
func (r *replayer) insert(ctx context.Context, p *product, letter *records.DeadLetter) (there bool, err error) {
	if letter.Value == nil {
		return false, &badRecordError{letter.ErrorClass, fmt.Errorf("the letter holds no value to replay; before: %s", letter.Error)}
	}
	id, body, err := registry.ParseWire(letter.Value)
	if err != nil {
		return false, &badRecordError{deadletters.NotWireFormat, err}
	}
	plan, err := p.decoders.get(ctx, id)
	if err != nil {
		return false, err
	}
	block := columnar.NewBlock(plan.Layout())
	origin := columnar.Origin{TopicID: letter.TopicID, Partition: letter.Partition, Offset: letter.Offset}
	if err := plan.Append(block, &origin, body); err != nil {
		return false, &badRecordError{deadletters.BadValue, err}
	}
	// The slot is the server's, and begins before the table is looked at: all inserts of earlier slots have ended by then.
	now, err := number(ctx, p.deps.ClickHouse, "SELECT toInt64(toUnixTimestamp(now()))")
	if err != nil {
		return false, err
	}
	count := fmt.Sprintf("SELECT toInt64(count()) FROM %s WHERE _topic_id = toUUID('%s') AND _partition = %d AND _offset = %d",
		p.spec.Name(), uuidText(letter.TopicID), letter.Partition, letter.Offset)
	rows, err := number(ctx, p.deps.ClickHouse, count)
	if err != nil || rows > 0 {
		return rows > 0, err
	}
	if err := p.checkHorizon(); err != nil {
		return false, err
	}
	s := slotAt(now, p.horizon())
	if now >= s.deadline {
		return false, errors.New("the slot's deadline is past; the next one is waited for")
	}
	token := s.token(r.cluster, p.spec.Database+"."+p.spec.Table, letter.KafkaKey())
	err = p.deps.ClickHouse.Insert(ctx, clickhouse.Block{
		Database: p.spec.Database, Table: p.spec.Table, Columns: block.Layout().Names(), Chunks: block.Native(), Rows: 1, Token: token,
		QueryID: fmt.Sprintf("%s-%d", token, time.Now().UnixNano()), MaxExecution: s.execution,
	})
	if err != nil && clickhouse.Classify(err).Action == clickhouse.Split && !strings.Contains(err.Error(), ddl.DeadlineConstraint) {
		return false, &badRecordError{deadletters.RejectedRow, err}
	}
	if err != nil {
		return false, err
	}
	// An attempt before this one may have burnt the token (burnt.go).
	if rows, err = number(ctx, p.deps.ClickHouse, count); err == nil && rows == 0 {
		err = errors.New("ClickHouse drops the row and has it not; the next slot's token is waited for")
	}
	return false, err
}

// say writes a word and waits until Kafka has it.
func (r *replayer) say(ctx context.Context, word func(*deadletters.Writer) kafka.Message) (bool, error) {
	id, err := r.deps.Registry.ID(ctx, deadletters.Subject)
	if err != nil {
		return false, err
	}
	m := word(&deadletters.Writer{SchemaID: id, Producer: r.deps.Producer})
	if err := r.producer.Produce(&m); err != nil {
		return false, err
	}
	if err := r.producer.Flush(ctx); err != nil {
		return false, err
	}
	return true, nil
}

// number asks ClickHouse for one number.
func number(ctx context.Context, client *clickhouse.Client, query string) (n int64, err error) {
	rows, err := client.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// slot is a stretch of the server's time in which all inserts of a letter have the same token. They begin before its
// deadline and end, by execution, before its end.
type slot struct {
	deadline, end int64 // seconds since 1970
	execution     time.Duration
}

func slotAt(now, horizon int64) slot {
	length := min(slotSeconds, horizon)
	begin := now - now%length
	return slot{
		deadline: begin + length*deadlinePercent/100, end: begin + length,
		execution: max(time.Second, time.Duration(length)*time.Second*executionPercent/100),
	}
}

func (s slot) token(cluster, table, key string) string {
	text := cluster + "\x00" + table + "\x00" + key
	return fmt.Sprintf("%s%d-%016x%016x", ddl.TokenPrefix, s.deadline, xxhash.Sum64String("replay\x00"+text), xxhash.Sum64String("streamforge\x00replay\x00"+text))
}

// ownership is which partitions a product has, for others than its session's goroutine.
type ownership struct {
	mutex sync.Mutex
	parts map[int32]bool
	of    int // partitions of the topic
}

func (o *ownership) reset(of int) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.parts, o.of = map[int32]bool{}, of
}

func (o *ownership) set(partition int32, owned bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if delete(o.parts, partition); owned {
		o.parts[partition] = true
	}
}

// has says whether a letter of the partition is ours to replay; the topic may have had more partitions when it failed.
func (o *ownership) has(partition int32) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.of > 0 && o.parts[partition%int32(o.of)]
}

// interval keeps the replays of all writers together within their share of the table's parts a second.
func (o *ownership) interval(partsPerSecond int) time.Duration {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	share := float64(max(1, len(o.parts))) / float64(max(1, o.of))
	return time.Duration(math.Ceil(float64(time.Second) * replayShare / (float64(partsPerSecond) * share)))
}
