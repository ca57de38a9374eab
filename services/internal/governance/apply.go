package governance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

var (
	// ErrRefused: the plan holds something that must not be done; nothing was changed.
	ErrRefused = errors.New("refused")
	// ErrChanged: the cluster is no longer what the plan was made from; nothing was changed.
	ErrChanged = errors.New("the cluster changed since the plan was made")
	// ErrNotSettled: every step was accepted, yet the cluster does not show what was wanted.
	ErrNotSettled = errors.New("the cluster does not show what was applied")
)

// Apply carries a plan out: it verifies that the cluster is still what the plan was made from, takes the steps in order,
// and then waits until the cluster shows all of it. Every step may be taken twice, so that an interrupted Apply is mended
// by planning and applying again.
func (g *Governance) Apply(ctx context.Context, plan Plan) error {
	if len(plan.Refused) > 0 {
		return fmt.Errorf("%w: %s %s: %s; %s", ErrRefused, plan.Refused[0].Kind, plan.Refused[0].Object, plan.Refused[0].Reason, plan.Refused[0].Do)
	}
	now, err := g.Plan(ctx)
	if err != nil {
		return err
	}
	if err := sameSteps(plan, now); err != nil {
		return err
	}
	// The same steps, in the order that they need and not in that of somebody's file.
	return g.carryOut(ctx, now)
}

func (g *Governance) carryOut(ctx context.Context, plan Plan) error {
	for i, s := range plan.Steps {
		if err := g.take(ctx, s, i+1, len(plan.Steps)); err != nil {
			return fmt.Errorf("step %d of %d, %s %s: %w", i+1, len(plan.Steps), s.Kind, s.Object, err)
		}
	}
	if len(plan.Steps) == 0 {
		return nil
	}
	return g.settle(ctx)
}

// PlanAndApply is for callers that show nothing in between: a demo, a test. It returns the plan that was applied. The plan is
// of this moment, so it is not verified a second time.
func (g *Governance) PlanAndApply(ctx context.Context) (Plan, error) {
	plan, err := g.Plan(ctx)
	if err != nil {
		return Plan{}, err
	}
	if len(plan.Refused) > 0 {
		return plan, g.Apply(ctx, plan)
	}
	return plan, g.carryOut(ctx, plan)
}

func sameSteps(plan, now Plan) error {
	if len(now.Refused) > 0 {
		return fmt.Errorf("%w: %s %s: %s", ErrChanged, now.Refused[0].Kind, now.Refused[0].Object, now.Refused[0].Reason)
	}
	have := map[string]int{}
	for _, s := range now.Steps {
		have[s.key()]++
	}
	for _, s := range plan.Steps {
		if have[s.key()]--; have[s.key()] < 0 {
			return fmt.Errorf("%w: %s %s (%s) is not needed any more; plan again", ErrChanged, s.Kind, s.Object, s.What)
		}
	}
	if len(now.Steps) != len(plan.Steps) {
		return fmt.Errorf("%w: %d steps are needed, %d were planned; plan again", ErrChanged, len(now.Steps), len(plan.Steps))
	}
	return nil
}

func (g *Governance) take(ctx context.Context, s Step, number, of int) error {
	tell := func(p Progress) {
		if g.deps.Progress != nil {
			p.Step, p.Number, p.Of = s, number, of
			g.deps.Progress(p)
		}
	}
	tell(Progress{})
	start := time.Now()
	err := g.execute(ctx, s)
	tell(Progress{Done: true, Err: err, Elapsed: time.Since(start)})
	return err
}

func (g *Governance) execute(ctx context.Context, s Step) error {
	switch s.Kind {
	case KindTable, KindView:
		return g.deps.Tables.Exec(ctx, s.SQL)
	case KindSubject:
		subject, err := g.subject(s.Object)
		if err != nil {
			return err
		}
		_, _, err = g.deps.Registry.Register(ctx, subject)
		return err
	case KindCompatibility:
		return g.deps.Registry.SetCompatibility(ctx, s.Object, avro.Level(s.To))
	case KindRight:
		if s.Action == ActionRevoke {
			return g.deps.Rights.Revoke(ctx, s.Rights...)
		}
		return g.deps.Rights.Grant(ctx, s.Rights...)
	case KindTopic:
		if s.Action == ActionCreate {
			return g.deps.Topics.Create(ctx, g.wantedTopic(s.Object), g.config.Replication)
		}
		return g.deps.Topics.AlterConfigs(ctx, s.Object, map[string]string{s.Setting: s.To})
	}
	return fmt.Errorf("BUG: no way to take a step of kind %q", s.Kind)
}

func (g *Governance) subject(name string) (schemas.Subject, error) {
	for _, s := range g.deps.Subjects {
		if s.Name == name {
			return s, nil
		}
	}
	return schemas.Subject{}, fmt.Errorf("subject %s: this build has no such schema", name)
}

// settle waits until a new plan is empty. A broker acknowledges a topic before all of its own views show it.
func (g *Governance) settle(ctx context.Context) error {
	again := backoff.NewExponentialBackOff()
	again.InitialInterval, again.MaxInterval = 10*time.Millisecond, time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		left, err := g.Plan(ctx)
		if err != nil {
			return struct{}{}, err
		}
		if !left.Empty() {
			return struct{}{}, fmt.Errorf("%w after %s; still to do:\n%s", ErrNotSettled, g.config.SettleTimeout, left)
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(again), backoff.WithMaxElapsedTime(g.config.SettleTimeout))
	return err
}
