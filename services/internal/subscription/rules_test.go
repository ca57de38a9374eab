package subscription_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/subscription"
	"github.com/streamforge/streamforge/services/internal/subscription/subscriptiontest"
)

// withAction is raw-trades with another action for the rules of price.
func withAction(t *testing.T, all []contract.Contract, action string) []contract.Contract {
	t.Helper()
	for i := range all {
		for j := range all[i].Fields {
			if f := &all[i].Fields[j]; all[i].ID == "raw-trades" && f.Name == "price" {
				f.OnViolation = action
				return all
			}
		}
	}
	t.Fatal("raw-trades has no price")
	return nil
}

// violations are the counters of rules that were broken.
func violations(t *testing.T, metrics *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "streamforge_rule_violations_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			broken[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return broken
}

func TestWhatARuleLeadsToIsTheContractsWord(t *testing.T) {
	for action, want := range map[string]string{
		"":       "",
		"count":  "",
		"divert": "rule: price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades",
		"block":  "price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades",
	} {
		t.Run("action "+action, func(t *testing.T) {
			all, err := contract.Load(contracts.FS)
			if err != nil {
				t.Fatal(err)
			}
			c, _ := contract.Find(withAction(t, all, action), "raw-trades")
			metrics, log := prometheus.NewRegistry(), &strings.Builder{}
			rules, err := subscription.NewRules(c, widened(t), subscription.NewRuleCounter(metrics, "momentum"), slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			record := &kafka.Record{Topic: "raw-trades", Partition: 3, Offset: 77}
			for i, price := range []string{"1", "0", "0", "0"} {
				err := rules.Judge(append(body(t, "1", price), 1), record, i == 3)
				if got := fmtError(err); i > 0 && got != want || i == 0 && err != nil {
					t.Fatalf("%q, want %q", got, want)
				}
				var bad *subscription.BadRecord
				if errors.As(err, &bad) != (i > 0 && action == "divert") || i > 0 && action == "block" && subscription.CauseOf(err) != subscription.CauseRule {
					t.Errorf("%T", err)
				}
			}
			told := action
			if told == "" {
				told = "count"
			}
			// The third time it was counted before.
			if diff := cmp.Diff(map[string]float64{told + " momentum raw-trades price:minimum": 2, "divert momentum raw-trades quantity:minimum": 0}, violations(t, metrics)); diff != "" {
				t.Error(diff)
			}
			if n := strings.Count(log.String(), "rule=price:minimum"); n != 1 || !strings.Contains(log.String(), "partition=3 offset=77") {
				t.Errorf("%d lines: %s", n, log)
			}
			var bad *subscription.BadRecord
			if err := rules.Judge([]byte{0xff}, record, false); !errors.As(err, &bad) || bad.Class != deadletters.BadValue {
				t.Errorf("garbage: %v", err)
			}
		})
	}
	var none *subscription.Rules
	if err := none.Judge(nil, nil, false); err != nil {
		t.Error(err)
	}
}

func fmtError(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestARuleThatBlocksStandsUntilAContractLetsTheRecordPass(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	deps, metrics := s.Deps("momentum")
	deps.Contracts = withAction(t, deps.Contracts, "block")
	events := make(chan subscription.Event[trade], 10)
	handle := func(_ context.Context, e subscription.Event[trade], _ kafka.Output) error { events <- e; return nil }
	start := func(deps subscription.Deps) (*subscribed, func()) {
		sub, err := subscription.New(subscription.Config{Group: "momentum"}, deps)
		if err == nil {
			err = subscription.On(sub, "raw-trades", tradeSchema, handle)
		}
		if err != nil {
			t.Fatal(err)
		}
		return &subscribed{Subscription: sub, events: events, metrics: metrics}, s.Run(sub)
	}
	r, stop := start(deps)
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "free", "0"))
	s.Await("/readyz to tell", func() error {
		return says(r.Ready(), "raw-trades/", "offset 0: price is 0, which breaks rule price:minimum")
	})
	if r.count(t, "blocked", "") != 1 || r.count(t, "blocked_batches_total", subscription.CauseRule) == 0 {
		t.Error("no alarm")
	}
	stop()
	if letters := s.Read(deadletters.Topic); len(letters) != 0 || len(events) != 0 {
		t.Errorf("%d dead letters, %d events", len(letters), len(events))
	}
	// The owner decides that it only counts; the program is deployed with that contract.
	deps.Metrics = prometheus.NewRegistry()
	deps.Contracts = withAction(t, deps.Contracts, "count")
	r, stop = start(deps)
	if e := r.next(t); e.Value.TradeID != "free" {
		t.Errorf("%+v", e)
	}
	stop()
}
