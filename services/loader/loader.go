package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

const (
	framesTopic   = "raw-frames"
	framesSubject = framesTopic + "-value"
	// kafkaRecordBytes is a frame of the greatest size in its envelope, and what the topic allows.
	kafkaRecordBytes = 20 << 20
)

// Config of a Loader.
type Config struct {
	Feeds []Feed
	// BufferBytes bounds what waits between the readers and the Kafka client.
	BufferBytes int64
	// QueueBytes bounds what waits in the Kafka client.
	QueueBytes int
	// DrainTimeout is how long a drain may take until what is not in Kafka counts as lost.
	DrainTimeout time.Duration
	Rotation     RotationConfig
	// ProducerName is the header "producer" of every record.
	ProducerName string
}

// Deps are what a Loader works with.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Registry   Registry
	Admin      Admin
	Consumer   func(kafka.ConsumerConfig) (Consumer, error)
	Producer   func(kafka.ProducerConfig) (Producer, error)
}

// Loader holds the connections of its feeds and publishes what they bring.
type Loader struct {
	config  Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	buffer  *Buffer
	opaques *opaques
	lanes   []*lane
	links   []*link
	rest    *restClients
	// frames reads the tail, resyncRequests what is asked for.
	frames, resyncRequests *subscription.Values

	mu      sync.Mutex
	waiting string // for /readyz while starting; empty: started
}

// New makes a Loader; it does nothing before Run.
func New(config Config, deps Deps) (*Loader, error) {
	buffer, err := NewBuffer(config.BufferBytes, len(config.Feeds))
	if err != nil {
		return nil, err
	}
	l := &Loader{
		config: config, deps: deps, log: deps.Log, buffer: buffer, opaques: newOpaques(), waiting: "starting",
		metrics: newMetrics(deps.Registerer, func() float64 { return float64(buffer.Bytes()) }),
	}
	if l.frames, err = newValues(deps.Registry, framesSubject); err != nil {
		return nil, err
	}
	if l.resyncRequests, err = newValues(deps.Registry, resyncSubject); err != nil {
		return nil, err
	}
	l.rest = &restClients{all: map[string]*restClient{}, make: func(feed *Feed) *restClient { return newRESTClient(feed, l.log, l.metrics) }}
	shared := map[string]*venueShared{}
	for i := range config.Feeds {
		feed := &config.Feeds[i]
		if shared[feed.Venue] == nil {
			shared[feed.Venue] = newVenueShared(feed, l.rest)
		}
		l.addFeed(feed, shared[feed.Venue])
	}
	return l, nil
}

func (l *Loader) addFeed(feed *Feed, shared *venueShared) {
	m := l.metrics.of(feed.Venue, feed.Name)
	ln := &lane{
		venue: feed.Venue, feed: feed.Name, key: []byte(records.FrameKey(feed.Venue, feed.Name)),
		blocks: feed.Replay, metrics: m, opaques: l.opaques,
	}
	for _, instrument := range feed.Subscription.Instruments {
		ln.symbols = append(ln.symbols, instrument.VenueSymbol)
	}
	slices.Sort(ln.symbols)
	l.buffer.add(ln)
	l.lanes = append(l.lanes, ln)
	numbers := &numbers{}
	var links []*link
	for _, subscription := range feed.split() {
		k := &link{
			feed: feed, subscription: subscription, lane: ln, shared: shared, numbers: numbers, metrics: m,
			rotation: l.config.Rotation, kick: make(chan struct{}, 1), goAway: make(chan struct{}, 1), state: notStarted,
			log: l.log.With("venue", feed.Venue, "feed", feed.Name), ctx: context.Background(),
		}
		k.symbols, k.names = newSymbols(feed, subscription)
		links = append(links, k)
	}
	ln.onReopened = func() {
		for _, k := range links {
			k.wantAll("frames were dropped")
		}
	}
	l.links = append(l.links, links...)
}

// newVenueShared makes the limiters of one venue. A fifth of what the venue allows is left to pings and pongs, and to others
// behind the same address.
func newVenueShared(feed *Feed, clients *restClients) *venueShared {
	limits := feed.Adapter.Limits()
	s := &venueShared{
		dialer: newDialer(), rest: clients.of, rotating: make(chan struct{}, concurrentRotations),
		messages: rate.NewLimiter(rate.Inf, 1), connections: rate.NewLimiter(rate.Inf, 1),
	}
	if limits.MessagesPerSecond > 0 {
		s.messages = rate.NewLimiter(rate.Limit(0.8*limits.MessagesPerSecond), max(1, int(limits.MessagesPerSecond/2)))
	}
	if limits.ConnectionsPerMinute > 0 {
		s.connections = rate.NewLimiter(rate.Limit(0.8*limits.ConnectionsPerMinute/60), max(1, int(limits.ConnectionsPerMinute/4)))
	}
	return s
}

// Ready says why the loader is not ready: what the start waits for, or the feeds that are not up.
func (l *Loader) Ready() error {
	l.mu.Lock()
	waiting := l.waiting
	l.mu.Unlock()
	if waiting != "" {
		return errors.New(waiting)
	}
	var errs []error
	for _, k := range l.links {
		if err := k.ready(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *Loader) setWaiting(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = why
}

// lingerMs is how long a frame may wait for others of its feed. Frames come in one by one, and a request of a few costs the
// client and the broker several times what a fuller one does; downstream this is a twentieth of the time to a row.
const lingerMs = 20

// Run loads until ctx ends, then drains: sockets closed, buffer flushed, CLOSE written.
func (l *Loader) Run(ctx context.Context) error {
	topic, err := l.prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // nothing was received yet
		}
		return err
	}
	p := &publisher{topic: framesTopic, buffer: l.buffer, opaques: l.opaques, metrics: l.metrics, log: l.log}
	p.producer, err = l.deps.Producer(kafka.ProducerConfig{
		ProducerName: l.config.ProducerName, LingerMs: lingerMs, QueueMaxBytes: l.config.QueueBytes,
		MaxMessageBytes: kafkaRecordBytes, OnDelivery: p.onDelivery,
	})
	if err != nil {
		return fmt.Errorf("making the producer of %s: %w", framesTopic, err)
	}
	defer p.producer.Close()

	stop := make(chan struct{})
	deadline, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	published := make(chan error, 1)
	go func() { published <- p.run(stop, deadline) }()

	intake, stopIntake := context.WithCancel(ctx)
	defer stopIntake()
	ended := l.startIntake(intake, topic)
	l.setWaiting("")
	l.log.Info("loading", "feeds", len(l.lanes), "topic", framesTopic)

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-published:
		published <- nil
	}
	timer := time.AfterFunc(l.config.DrainTimeout, giveUp)
	defer timer.Stop()
	stopIntake()
	<-ended
	close(stop)
	return l.flush(deadline, p, errors.Join(failure, <-published))
}

// startIntake starts what brings frames; the channel is closed when all of it has ended.
func (l *Loader) startIntake(ctx context.Context, topic kafka.TopicDescription) <-chan struct{} {
	var group sync.WaitGroup
	for _, k := range l.links {
		k.lane.partitions = topic.Partitions
		group.Go(func() { k.run(ctx) })
	}
	for _, client := range l.restClients() {
		group.Go(func() { client.run(ctx) })
	}
	resyncs := &resyncReader{
		admin: l.deps.Admin, consumer: l.deps.Consumer, values: l.resyncRequests,
		log: l.log, metrics: l.metrics, topicID: topic.ID, links: l.byVenueSymbol(),
	}
	if len(resyncs.links) > 0 {
		group.Go(func() { resyncs.run(ctx) })
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	return ended
}

// restClients makes a client for every endpoint whose snapshots come by REST.
func (l *Loader) restClients() []*restClient {
	seen := map[*restClient]bool{}
	var all []*restClient
	for _, k := range l.links {
		if k.feed.Replay || !k.hasBook() {
			continue
		}
		if client := l.rest.of(k.feed); !seen[client] {
			seen[client] = true
			all = append(all, client)
		}
	}
	return all
}

// byVenueSymbol indexes the links whose books may be asked for; a replay cannot bring a fresh one.
func (l *Loader) byVenueSymbol() map[string]map[string][]*link {
	index := map[string]map[string][]*link{}
	for _, k := range l.links {
		if k.feed.Replay || !k.hasBook() {
			continue
		}
		if index[k.feed.Venue] == nil {
			index[k.feed.Venue] = map[string][]*link{}
		}
		for _, name := range k.names {
			index[k.feed.Venue][name] = append(index[k.feed.Venue][name], k)
		}
	}
	return index
}

// flush waits for Kafka's acknowledgements, and says what is lost when they do not come in time.
func (l *Loader) flush(deadline context.Context, p *publisher, failure error) error {
	if errors.Is(failure, errDeadline) {
		failure = nil
	}
	flushed := p.producer.Flush(deadline)
	// The client's queue is empty before the last deliveries have been told.
	for flushed == nil && p.produced.Load() > p.settled.Load() && sleep(deadline, time.Millisecond) {
	}
	left := p.undelivered()
	p.closing.Store(true)
	if left > 0 {
		cause := "no acknowledgement within " + l.config.DrainTimeout.String()
		if flushed != nil {
			cause += ": " + flushed.Error()
		}
		return errors.Join(failure, fmt.Errorf(
			"draining: %d records are not in Kafka and lost (%s); the next start writes a GAP LOADER_RESTART for them; raise --drain-timeout if Kafka needs longer", left, cause))
	}
	return failure
}

// prepare waits for registry and broker, and finds out where the feeds stand.
func (l *Loader) prepare(ctx context.Context) (kafka.TopicDescription, error) {
	var topic kafka.TopicDescription
	var id int
	err := l.await(ctx, "registry", func() (err error) {
		id, err = l.deps.Registry.ID(ctx, framesSubject)
		return err
	})
	if err != nil {
		return topic, err
	}
	err = l.await(ctx, "broker", func() error {
		topics, err := l.deps.Admin.Describe(ctx, framesTopic)
		if err != nil {
			return err
		}
		found, exists := topics[framesTopic]
		if !exists {
			return fmt.Errorf("topic %s does not exist; create it from its contract with `streamforge apply`", framesTopic)
		}
		topic = found
		return nil
	})
	if err != nil {
		return topic, err
	}
	return topic, l.await(ctx, "tail", func() error { return l.begin(ctx, topic, id) })
}

// await tries until f succeeds, with a capped backoff: infrastructure that is away comes back by itself. Only a schema that
// is not registered is final: publishing with another would break the readers.
func (l *Loader) await(ctx context.Context, what string, f func() error) error {
	retry := newBackoff()
	retry.MaxInterval = 5 * time.Second
	complaint := complaint{}
	for {
		err := f()
		if err == nil || ctx.Err() != nil || errors.Is(err, registry.ErrNotRegistered) || errors.Is(err, kafka.ErrDenied) {
			return err
		}
		l.metrics.waits.WithLabelValues(what).Inc()
		l.setWaiting("waiting for the " + what + ": " + err.Error())
		if complaint.due(err) {
			l.log.Warn("cannot start yet; trying again", "waiting_for", what, "error", err.Error())
		}
		if !sleep(ctx, retry.NextBackOff()) {
			return ctx.Err()
		}
	}
}

// begin reads the tail of the feeds and gives each lane its epoch and what it missed.
func (l *Loader) begin(ctx context.Context, topic kafka.TopicDescription, schemaID int) error {
	keys := make([]string, len(l.lanes))
	for i, ln := range l.lanes {
		keys[i] = string(ln.key)
	}
	tail := &tailReader{topic: topic, admin: l.deps.Admin, consumer: l.deps.Consumer, decode: l.frames.Body}
	ends, err := tail.read(ctx, keys)
	if err != nil {
		return err
	}
	wire := registry.AppendWireHeader(nil, schemaID)
	now := time.Now().UnixMicro()
	for _, ln := range l.lanes {
		ln.wire = wire
		ln.epoch = max(ends[string(ln.key)].epoch+1, now)
	}
	for _, k := range l.links {
		end := ends[string(k.lane.key)]
		switch {
		case end.found:
			k.missing = missing{since: end.receivedAt, reason: market.GapLoaderRestart, detail: "the loader was not running, or what it held was not in Kafka"}
		case end.beyond:
			oldest := now - retentionMicros(topic)
			k.missing = missing{
				since: oldest, reason: market.GapLoaderRestart,
				detail: fmt.Sprintf("no record of this feed among the last %d of its partition: when it ran last is not known", tailMost),
			}
		}
	}
	return nil
}

// retentionMicros is how far back a record of the topic can be.
func retentionMicros(topic kafka.TopicDescription) int64 {
	const week = 7 * 24 * time.Hour
	text := strings.TrimSpace(topic.Configs["retention.ms"])
	var ms int64
	if _, err := fmt.Sscan(text, &ms); err != nil || ms <= 0 {
		return week.Microseconds()
	}
	return ms * 1000
}
