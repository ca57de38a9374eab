package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/backfill"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/groupcontrol"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// product is the pipeline of one topic into one table: one consumer, polled from one goroutine that also decodes and
// commits, and at most one insert under way. Blocks go into the table one after the other.
type product struct {
	config   Config
	deps     Deps
	contract contract.Contract
	topic    string
	group    string
	spec     ddl.Spec
	views    []contract.View // over the product, as the repository has them
	specErr  error
	log      *slog.Logger
	metrics  *metrics
	budget   *budget
	admin    *kafka.Admin
	controls *groupcontrol.Follower
	frontier *frontier // of a backfill
	decoders *decoders
	clock    clock
	owned    ownership // of partitions, for replays

	quiet atomic.Bool // held, and nothing under way any more

	// What holds the product up, for /readyz: of the whole session, of the insert under way, of partitions that are parked.
	sessionState, insertState, parkState atomic.Pointer[trouble]

	// Below: the session's, touched by its goroutine only. clusterID and topicID do not change within a session.
	consumer    *kafka.Consumer
	transactor  *kafka.Transactor
	clusterID   string
	topicID     [16]byte
	partitions  int // of the topic
	parts       map[int32]*partition
	plans       map[int]*columnar.Plan
	open        openBlock
	spare       *columnar.Block
	sorter      columnar.Sorter
	order       *columnar.Order // of the table's rows in orderLayout's blocks; nil when they cannot be sorted
	orderLayout *columnar.Layout
	job         *job
	missing     *job   // looked up in the table; what it lacks waits for a plan
	leasing     *job   // an old plan, whose views are to be rebuilt, waits for a lease
	waiting     []*job // planned blocks of predecessors
	done        chan *job
	nextBlock   time.Time       // not before this is the next block planned
	begun       int             // blocks with rows that this session has planned
	nextCommit  time.Time       // nor this, after a commit that the broker refused
	toldOfWait  time.Time       // when the log last said so
	completed   map[int32]int64 // ends of blocks in the table that are not committed yet
	rewind      bool
	paused      bool
	held        bool  // by a person
	fault       error // ends the session
	// behind says that the last batch came full, or nearly: more records wait at the broker.
	behind bool
	// flood measures the share of bad records; good counts the rows since it was last told.
	flood deadletters.Flood
	good  int64
}

type trouble struct {
	text  string
	alarm bool
}

// partition is a part of the topic that this writer owns.
type partition struct {
	// next is the offset to be read next, -1 before the first record of a partition that starts at its beginning.
	next int64
	// from is where the open block's range of the partition begins; touched says that there is one.
	from     int64
	touched  bool
	excluded []offsetRun
	// parked says why the next record cannot be decoded yet; retryAt is when to try again, zero for never.
	parked  string
	retryAt time.Time
}

// openBlock is the block that is being filled.
type openBlock struct {
	block    *columnar.Block
	hash     uint64
	began    time.Time
	oldest   int64 // Kafka timestamp, ms
	letters  []letter
	excluded int // runs of offsets
	touched  int
	close    bool
	sorted   int // how many of its rows are sorted

	letterBytes int
}

func newProduct(config Config, deps Deps, c contract.Contract, m *metrics, shared *budget) *product {
	group, front := contract.WriterGroup(c.Topic.Name), (*frontier)(nil)
	if config.Backfill == c.Topic.Name {
		group, front, c = backfill.Group(c.Topic.Name), &frontier{}, backfill.Contract(c)
	}
	p := &product{
		config: config, deps: deps, contract: c, topic: c.Topic.Name, group: group, frontier: front,
		log: deps.Log.With("product", c.Topic.Name), metrics: m, budget: shared,
	}
	p.clock.wall = deps.Now
	p.spec, p.specErr = ddl.SpecOf(c, deps.ClickHouse.Database())
	for _, v := range deps.Views {
		if v.Source == c.ID {
			p.views = append(p.views, v)
		}
	}
	if front != nil {
		p.views = backfill.Views(p.views)
	}
	p.decoders = &decoders{
		registry: deps.Registry, clickhouse: deps.ClickHouse, spec: p.spec, subject: c.Subject,
		patience: config.UnknownSchemaWait, lookEvery: lookEvery, plans: map[int]*columnar.Plan{}, denied: map[int]time.Time{},
		sameClock: p.sameClock,
	}
	p.flood.Limit = c.DeadLetterRate
	if slices.Contains(config.AcceptDeadLetters, p.topic) {
		p.flood.Limit = 1
	}
	p.sessionState.Store(&trouble{text: "starting"})
	return p
}

// ready says what holds the product up.
func (p *product) ready() error {
	for _, state := range []*atomic.Pointer[trouble]{&p.sessionState, &p.parkState, &p.insertState} {
		if t := state.Load(); t != nil {
			return errors.New(t.text)
		}
	}
	return p.heldUp()
}

// run holds sessions one after the other until ctx ends. A session ends early when something that it rests on is missing
// or broken; what it had not committed is read again by the next.
func (p *product) run(ctx context.Context) error {
	if p.specErr != nil {
		return p.specErr
	}
	var err error
	p.transactor, err = kafka.NewTransactor(p.deps.Kafka, kafka.TransactorConfig{
		Group: p.group, TransactionalID: p.transactionalID(), Producer: p.deps.Producer,
	}, p.log, p.deps.Metrics)
	if err != nil {
		return err
	}
	defer p.transactor.Close()
	said := ""
	for ctx.Err() == nil {
		err := p.session(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		p.sessionState.Store(&trouble{text: err.Error(), alarm: true})
		p.metrics.blocked.WithLabelValues(p.topic).Set(1)
		if said != err.Error() {
			p.log.Warn("product is waiting", "error", err.Error())
			said = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// pollInterval is also for how long a rebalance waits for members that died while they joined: the default of five minutes
// would be the outage of the whole group.
const pollInterval = time.Minute

// maxBatchRecords bounds what one poll brings.
const maxBatchRecords = 4096

func (p *product) session(ctx context.Context) (err error) {
	if err := p.prepare(ctx); err != nil {
		return err
	}
	p.consumer, err = kafka.NewConsumer(p.deps.Kafka, kafka.ConsumerConfig{
		Group: p.group, InstanceID: p.instanceID(), Topics: []string{p.topic}, HeadersLater: true, NoReset: true, MaxBatchRecords: min(maxBatchRecords, p.config.MaxBlockRows),
		MaxBatchWait: 10 * time.Millisecond, QueuedMaxKBytes: p.fetchAhead(),
		Start: p.begin, OnRevoked: p.revoked, SessionTimeout: p.config.SessionTimeout, MaxPollInterval: pollInterval,
		// Before the group has said what is ours, be it nothing, nobody may take the product for one that works.
		OnAssigned: func([]kafka.TopicPartition) { p.sessionState.Store(nil) },
	}, p.log, p.deps.Metrics)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := p.consumer.Close(); err == nil {
			err = closeErr
		}
		p.abandon()
	}()
	p.sessionState.Store(&trouble{text: "waiting for the group to assign partitions"})
	for ctx.Err() == nil {
		records, err := p.consumer.Poll(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if p.rewind {
			if err := p.rewindAll(); err != nil {
				return err
			}
			continue
		}
		if err := p.take(ctx, records); err != nil {
			return err
		}
		p.behind = len(records) >= min(maxBatchRecords, p.config.MaxBlockRows)/2
		if err := p.progress(time.Now()); err != nil {
			return err
		}
	}
	return p.drain()
}

// leastFetchAhead is what a consumer of 64 partitions needs to be fast, in KiB.
const leastFetchAhead = 4 << 10

// fetchAhead is how much librdkafka may fetch ahead, in KiB. Small records take up to eight times their bytes there, so that it is
// little beside the limit of the process.
func (p *product) fetchAhead() int {
	return max(leastFetchAhead, p.config.MemoryLimit/len(p.deps.Contracts)/40/1024)
}

func (p *product) instanceID() string {
	if p.config.InstanceID == "" {
		return ""
	}
	return p.config.InstanceID + "." + p.topic
}

// transactionalID is stable over restarts where the instance has a name, so that a restarted writer ends at once what its
// predecessor left open; the broker waits ten seconds for others.
func (p *product) transactionalID() string {
	instance := p.config.InstanceID
	if instance == "" {
		instance = rand.Text()[:12]
	}
	return p.group + "." + instance
}

// now is the time that plans are made and judged by.
func (p *product) now() time.Time { return p.clock.now() }

// prepare finds out what the session rests on, and waits for it by failing.
func (p *product) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	// Before anything is planned, whether anything may be.
	if err := p.controls.Await(ctx); err != nil {
		return err
	}
	topics, err := p.admin.Describe(ctx, p.topic)
	if err != nil {
		return err
	}
	description, exists := topics[p.topic]
	if !exists {
		return fmt.Errorf("topic %s does not exist; run `streamforge apply`", p.topic)
	}
	p.topicID, p.partitions = description.ID, description.Partitions
	if p.clusterID, err = p.admin.ClusterID(ctx); err != nil {
		return err
	}
	// Before the first record is read, a letter of it must be possible.
	if _, err := p.deps.Registry.ID(ctx, deadletters.Subject); err != nil {
		return err
	}
	p.decoders.mutex.Lock()
	err = p.decoders.refresh(ctx)
	p.decoders.looked = time.Now()
	p.decoders.mutex.Unlock()
	if err != nil {
		return err
	}
	if err := p.checkHorizon(); err != nil {
		return err
	}
	p.clock.set()
	if err := p.sameClock(ctx); err != nil {
		return err
	}
	if err := p.transactor.Open(ctx); err != nil {
		return err
	}
	p.parts, p.completed = map[int32]*partition{}, map[int32]int64{}
	p.owned.reset(p.partitions)
	p.plans, p.done, p.begun = map[int]*columnar.Plan{}, make(chan *job, 1), 0
	p.open, p.spare, p.waiting, p.job, p.missing, p.leasing = openBlock{}, nil, nil, nil, nil, nil
	p.rewind, p.paused, p.held, p.fault = false, false, false, nil
	p.quiet.Store(false)
	return nil
}

func (p *product) partitionName(partition int32) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: p.topic, Partition: partition}
}

// completedMark stands in the metadata of an offset whose block is in the table, with the topic's id: an offset of a
// topic that was since recreated says nothing about the new one.
const completedMark = backfill.CompletedMark

func (p *product) completedText() string {
	return completedMark + " " + strings.ReplaceAll(uuidText(p.topicID), "-", "")
}

func uuidText(id [16]byte) string { return uuid.UUID(id).String() }

// begin says where newly assigned partitions start. It runs inside Poll.
func (p *product) begin(parts []kafka.TopicPartition) ([]kafka.Committed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// What is assigned is not paused, and what stays would be; progress decides anew.
	if err := p.pause(false); err != nil {
		return nil, err
	}
	committed, err := p.consumer.Committed(ctx, parts)
	if err != nil {
		return nil, err
	}
	var last map[int32]int64
	starts := make([]kafka.Committed, 0, len(parts))
	for _, c := range committed {
		offset, known, err := p.resume(c)
		if err != nil {
			return nil, err
		}
		if !known {
			if last == nil {
				if last, err = p.lastInTable(ctx); err != nil {
					return nil, err
				}
			}
			offset = kafka.OffsetBeginning
			if in, has := last[c.Partition]; has {
				offset = in + 1
			}
		}
		p.parts[c.Partition] = &partition{next: max(-1, offset)}
		p.owned.set(c.Partition, true)
		starts = append(starts, kafka.Committed{TopicPartition: c.TopicPartition, Offset: offset})
	}
	return starts, nil
}

// resume reads what a predecessor left at a partition: the end of a block, or the plan of one that may be in the table.
func (p *product) resume(c kafka.Committed) (offset int64, known bool, err error) {
	switch {
	case c.Offset < 0:
		return 0, false, nil
	case c.Metadata == "":
		return c.Offset, true, nil
	case strings.HasPrefix(c.Metadata, completedMark+" "):
		// The offset of a topic that was deleted and made again under its name counts for nothing.
		return c.Offset, c.Metadata == p.completedText(), nil
	}
	text := c.Metadata
	var leased lease
	if strings.HasPrefix(text, leaseVersion+" ") {
		leased, text, err = parseLease(text)
	}
	var plan blockPlan
	if err == nil {
		plan, err = parsePlan(text)
	}
	if err != nil {
		return 0, false, fmt.Errorf("group %s, partition %d: %w; a newer writer wrote it, run that one", p.group, c.Partition, err)
	}
	if plan.TopicID != p.topicID {
		return 0, false, nil
	}
	r, has := plan.rangeOf(c.Partition)
	if !has {
		return 0, false, fmt.Errorf("group %s, partition %d: its plan does not name it: %.200q", p.group, c.Partition, c.Metadata)
	}
	p.takeOver(plan, c.Partition, leased)
	return r.To, true, nil
}

// takeOver adds a partition to our share of a plan.
func (p *product) takeOver(plan blockPlan, partition int32, leased lease) {
	p.quiet.Store(false)
	text := plan.String()
	known := p.waiting
	if p.job != nil {
		known = append([]*job{p.job}, known...)
	}
	for _, j := range known {
		if j.plan.String() == text {
			j.mine[partition], j.found = true, j.found.later(leased)
			if j != p.job {
				j.lease = j.lease.later(leased)
			}
			return
		}
	}
	j := share(plan, partition)
	j.lease = leased
	p.waiting = append(p.waiting, j)
}

// lastInTable asks how far the table goes, for partitions without a committed offset.
func (p *product) lastInTable(ctx context.Context) (map[int32]int64, error) {
	rows, err := p.deps.ClickHouse.Query(ctx, fmt.Sprintf(
		"SELECT _partition, max(_offset) FROM %s WHERE _topic_id = toUUID('%s') GROUP BY _partition", p.spec.Name(), uuidText(p.topicID)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	last := map[int32]int64{}
	for rows.Next() {
		var partition int32
		var offset int64
		if err := rows.Scan(&partition, &offset); err != nil {
			return nil, err
		}
		last[partition] = offset
	}
	return last, rows.Err()
}
