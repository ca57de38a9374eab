package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/completeness"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// verifier proves, while the writer runs, that the table holds what the topic does. It asks Kafka and ClickHouse what an outsider
// would ask them, and knows nothing of the products but which partitions are theirs. One product is looked at at a time, so that
// one consumer reads beside the products.
type verifier struct {
	interval time.Duration
	deps     Deps
	products []*product
	log      *slog.Logger
	metrics  verifierMetrics
	said     map[string]string // by topic, what the log said last
	now      func() time.Time
}

type verifierMetrics struct {
	verified, failures                                             *prometheus.CounterVec
	missing, duplicated, foreign, differing, unverified, lastSound *prometheus.GaugeVec
}

const (
	// verifyFresh bounds the offsets of a product that a round judges for the first time; a writer that catches up is not slowed
	// down by more.
	verifyFresh = 1_000_000
	// verifyRound bounds the offsets that are held together, a bit each, and verifyAhead what is fetched ahead, in KiB.
	verifyRound, verifyAhead = 250_000, 1024
	// verifyLetters bounds what is remembered of dead letters.
	verifyLetters = 100_000
	// verifyViewsEvery is how many rounds go by between two looks at the views.
	verifyViewsEvery = 10
	// verifyTimeout bounds a look at one product, so that one that hangs does not hold up the others for ever.
	verifyTimeout = 5 * time.Minute
	// verifySettings keep a question from taking ClickHouse away from its users.
	verifySettings = "max_threads = 1, max_execution_time = 120, max_memory_usage = 2000000000"
)

func newVerifier(config Config, deps Deps, products []*product) *verifier {
	return &verifier{
		interval: config.VerifyInterval, deps: deps, products: products, log: deps.Log.With("part", "verify"),
		metrics: newVerifierMetrics(deps.Metrics), said: map[string]string{}, now: deps.Now,
	}
}

// run verifies until ctx ends, every product once an interval. Whatever fails is counted and tried again in the next round.
func (v *verifier) run(ctx context.Context, admin *kafka.Admin) {
	watch := v.watch(admin)
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(v.interval):
		}
		for _, p := range v.products {
			if err := v.guarded(ctx, func(ctx context.Context) error { return v.verify(ctx, watch, p, round%verifyViewsEvery == 0) }); ctx.Err() != nil {
				return
			} else if err != nil {
				v.metrics.failures.WithLabelValues(p.topic).Inc()
				v.tell(p.topic, "the table could not be verified: "+err.Error())
			}
		}
	}
}

func (v *verifier) watch(admin *kafka.Admin) *completeness.Watch {
	var products []completeness.Product
	for _, p := range v.products {
		products = append(products, completeness.Product{Contract: p.contract, Views: p.views, Group: p.group})
	}
	return completeness.NewWatch(completeness.WatchConfig{Fresh: verifyFresh, Letters: verifyLetters}, completeness.Deps{
		Kafka: v.deps.Kafka, Admin: admin, ClickHouse: v.deps.ClickHouse, Time: completeness.Times(v.deps.Registry),
		Round: verifyRound, AheadKBytes: verifyAhead, Settings: verifySettings,
	}, products)
}

// guarded bounds a look in time, and turns a panic into an error: a look must not end what it looks at.
func (v *verifier) guarded(ctx context.Context, look func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("BUG: %v\n%s", fault, debug.Stack())
		}
	}()
	return look(ctx)
}

// verify makes one round of a product, and says what stands.
func (v *verifier) verify(ctx context.Context, watch *completeness.Watch, p *product, views bool) error {
	found, behind, err := watch.Round(ctx, p.topic, p.owned.has)
	m := v.metrics
	if errors.Is(err, completeness.ErrCatchingUp) {
		m.unverified.WithLabelValues(p.topic).Set(float64(behind))
		return nil
	}
	if err != nil {
		return err
	}
	m.verified.WithLabelValues(p.topic).Add(float64(max(0, found.Records)))
	m.unverified.WithLabelValues(p.topic).Set(float64(behind))
	m.missing.WithLabelValues(p.topic).Set(float64(found.Lost))
	m.duplicated.WithLabelValues(p.topic).Set(float64(found.Duplicated))
	m.foreign.WithLabelValues(p.topic).Set(float64(found.Foreign))
	if found.Sound() {
		m.lastSound.WithLabelValues(p.topic).Set(float64(v.now().Unix()))
	}
	if schema := p.decoders.latest(); views && schema != "" {
		if found.Views, err = watch.Views(ctx, p.topic, schema, v.now()); err != nil {
			return err
		}
		for _, view := range found.Views {
			m.differing.WithLabelValues(p.topic, view.Name).Set(float64(view.Differing))
		}
	}
	if found.Sound() {
		v.tell(p.topic, "")
	} else {
		v.tell(p.topic, "the table is not what the topic is: "+found.Verdict()+"; `streamforge verify "+p.topic+"` shows each with its query")
	}
	return nil
}

// tell logs what has changed.
func (v *verifier) tell(topic, text string) {
	if text != "" && v.said[topic] != text {
		v.log.Error(text, "product", topic)
	}
	v.said[topic] = text
}

func newVerifierMetrics(registerer prometheus.Registerer) verifierMetrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "streamforge_writer_" + name, Help: help}, []string{"product"})
		registerer.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "streamforge_writer_" + name, Help: help}, append([]string{"product"}, labels...))
		registerer.MustRegister(g)
		return g
	}
	return verifierMetrics{
		verified:   counter("verified_records_total", "Records that were compared with table and dead letters, those that were looked at again included."),
		failures:   counter("verification_failures_total", "Rounds of verification that could not be ended; the next one begins where they did."),
		missing:    gauge("missing_records", "Committed records that are neither rows nor dead letters, as far as they were looked at; 0 again when they are mended."),
		duplicated: gauge("duplicated_records", "Rows beside the first of a record, and rows beside an open dead letter."),
		foreign:    gauge("foreign_rows", "Rows of offsets that hold no record."),
		differing:  gauge("differing_buckets", "Buckets of a view, of the last two hours, that are not what the table adds up to.", "view"),
		unverified: gauge("unverified_records", "Committed offsets that wait to be verified for the first time."),
		lastSound:  gauge("verified_timestamp_seconds", "When, in Unix time, a round last found nothing lost, doubled or foreign; none before the first."),
	}
}
