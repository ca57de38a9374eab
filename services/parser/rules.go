package main

import (
	"fmt"
	"log/slog"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// fieldRules are the contracts' rules of what is read, and of what is about to be produced: a record that a rule diverts
// never reaches its topic, so that no consumer diverts it again.
type fieldRules struct {
	frame, trade, book, gap *subscription.Rules
}

// newFieldRules compiles the rules for the schemas that this build reads and writes by.
func newFieldRules(all []contract.Contract, counter subscription.RuleCounter, log *slog.Logger) (rules fieldRules, err error) {
	for _, product := range []struct {
		id    string
		rules **subscription.Rules
	}{{topicFrames, &rules.frame}, {topicTrades, &rules.trade}, {topicBooks, &rules.book}, {topicGaps, &rules.gap}} {
		c, ok := contract.Find(all, product.id)
		if !ok {
			return rules, fmt.Errorf("no contract of %s in this build; see contracts/", product.id)
		}
		subject, err := schemas.Get(c.Subject)
		if err != nil {
			return rules, err
		}
		text, err := schemas.SelfContained(subject)
		if err != nil {
			return rules, err
		}
		if *product.rules, err = subscription.NewRules(c, text, counter, log); err != nil {
			return rules, err
		}
	}
	return rules, nil
}
