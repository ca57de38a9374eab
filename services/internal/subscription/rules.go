package subscription

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/fieldrules"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// ruleLogInterval is the least time between two lines about one rule: a rule may be broken by every record, and the counter
// counts them all.
const ruleLogInterval = time.Minute

// RuleCounter counts records that break a rule of their contract, by product, rule and action.
type RuleCounter struct{ vec *prometheus.CounterVec }

// NewRuleCounter makes the counter of one group.
func NewRuleCounter(registerer prometheus.Registerer, group string) RuleCounter {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "streamforge", Name: "rule_violations_total", Help: "Records that break a field rule of their contract; one that blocks is counted at each try.",
		ConstLabels: prometheus.Labels{"group": group},
	}, []string{"product", "rule", "action"})
	if registerer != nil {
		registerer.MustRegister(vec)
	}
	return RuleCounter{vec}
}

// Rules are a contract's field rules, carried out on bodies of one schema: what was read with it, or is about to be written.
// Nil has no rules. Rules are not safe for concurrent use.
type Rules struct {
	checker *fieldrules.Checker
	known   map[*fieldrules.Rule]*countedRule
	log     *slog.Logger
	found   []fieldrules.Violation
}

type countedRule struct {
	counter prometheus.Counter
	lines   rate.Sometimes
}

// NewRules compiles the rules of a contract for the text of a self-contained schema.
func NewRules(c contract.Contract, schema string, counter RuleCounter, log *slog.Logger) (*Rules, error) {
	checker, err := fieldrules.Compile(c, schema)
	if err != nil {
		return nil, err
	}
	r := &Rules{checker: checker, known: map[*fieldrules.Rule]*countedRule{}, log: log}
	for _, rule := range checker.Rules() {
		// A series that begins with its first violation would hide it from rate().
		r.known[rule] = &countedRule{counter.vec.WithLabelValues(rule.Product, rule.Name(), string(rule.Action)), rate.Sometimes{First: 1, Interval: ruleLogInterval}}
	}
	return r, nil
}

// Judge holds a body to the rules. record is where the body came from, for the log; again says that it was counted before.
// The error is a *BadRecord where a rule diverts, a *BlockedError where one blocks, and nil where rules only count.
func (r *Rules) Judge(body []byte, record *kafka.Record, again bool) error {
	if r == nil {
		return nil
	}
	var err error
	if r.found, err = r.checker.Check(body, r.found[:0]); err != nil {
		return &BadRecord{deadletters.BadValue, fmt.Errorf("holding %d bytes to the rules of the contract: %w", len(body), err)}
	}
	if len(r.found) == 0 {
		return nil
	}
	if !again {
		r.count(record)
	}
	broken := fieldrules.Gravest(r.found)
	switch broken.Action {
	case fieldrules.Block:
		return &BlockedError{CauseRule, broken}
	case fieldrules.Divert:
		return &BadRecord{deadletters.BrokenRule, broken}
	}
	return nil
}

func (r *Rules) count(record *kafka.Record) {
	for _, v := range r.found {
		known := r.known[v.Rule]
		known.counter.Inc()
		known.lines.Do(func() {
			r.log.Warn("a record breaks a rule of its contract", "rule", v.Rule.Name(), "action", v.Rule.Action, "violation", v.Error(),
				"topic", record.Topic, "partition", record.Partition, "offset", record.Offset, "next_line_in", ruleLogInterval.String())
		})
	}
}
